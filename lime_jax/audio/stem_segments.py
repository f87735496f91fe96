"""Components that are stems, or equal times of stems."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lime_jax.audio.io import STEM_TOLERANCE
from lime_jax.audio.segmented_audio import (
    ComponentExtent,
    Rate,
    SegmentedAudio,
    Stems,
    Used,
    check_waveform,
    sample_edges,
    segment_labels,
    whole_rate,
)
from lime_jax.audio.waveform import check_floating
from lime_jax.core.arguments import listed
from lime_jax.core.components import Components, cross, from_stems, recompose

RESIDUAL = "residual"

RESIDUAL_LEVEL = 1e-3
"""A residual quieter than this share of the mixture's RMS (-60 dB) is no stem of its own."""


def by_stems(stems: Stems, names: Sequence[str], sample_rate: Rate) -> SegmentedAudio:
    """Makes every stem a component; a removed stem is silent.

    Args:
      stems: `(num_stems, num_samples)`; their sum is the input. See `with_residual`.
      names: one per stem.
      sample_rate: in Hz.

    Raises:
      ValueError: if names and stems do not match, or for integers.
    """
    stems, sample_rate = _checked_stems(stems, names), whole_rate(sample_rate)
    seconds = stems.shape[1] / sample_rate
    extents = [ComponentExtent(name, name, 0.0, seconds, 0.0, sample_rate / 2) for name in names]
    return _sum_stems(from_stems(stems), extents, "stems", sample_rate)


def by_stems_and_time(
    stems: Stems,
    names: Sequence[str],
    sample_rate: Rate,
    num_segments: int,
    *,
    used: Used = None,
) -> SegmentedAudio:
    """Cuts every stem into equal times; the id is `segment * num_stems + stem`.

    Args:
      stems: `(num_stems, num_samples)`; their sum is the input. See `with_residual`.
      names: one per stem.
      sample_rate: in Hz.
      num_segments: how many times.
      used: see `by_time`.

    Raises:
      ValueError: if names and stems do not match, for more segments than samples, or integers.
    """
    stems, sample_rate = _checked_stems(stems, names), whole_rate(sample_rate)
    labels = segment_labels(stems.shape[1], num_segments, "samples", used)
    edges = sample_edges(stems.shape[1], num_segments, sample_rate)
    extents = [
        ComponentExtent(f"{name} T{index + 1}", name, start, end, 0.0, sample_rate / 2)
        for index, (start, end) in enumerate(edges)
        for name in names
    ]
    components = cross(from_stems(stems), labels, num_segments)
    return _sum_stems(components, extents, "stems-time", sample_rate)


def with_residual(
    stems: Stems,
    names: Sequence[str],
    mix: Float[Array | np.ndarray, " mix_samples"] | Sequence[float],
) -> tuple[Float[np.ndarray, "num_stems_or_one_more shortest"], tuple[str, ...]]:
    """Adds what the stems lack of the mixture as a further stem called "residual".

    Stems of a separation seldom add up to the mixture; with the residual they do, so that all
    components switched on are the input. A residual below -60 dB of the mixture (RMS) is no stem of
    its own but added to the loudest one; a stem called "residual" is replaced.

    Args:
      stems: `(num_stems, num_samples)`.
      names: one per stem.
      mix: `(num_samples,)`; a difference in length of up to 32 samples is cut off.

    Raises:
      ValueError: if stems and mixture differ more in length, or hold integers.
    """
    check_floating(stems, "stems")
    check_floating(mix, "mix")
    # In NumPy: the result depends on the values, and files of any length compile nothing.
    stems, mix = np.asarray(stems, np.float32), np.asarray(mix, np.float32)
    _check_stems(stems.shape, names)
    check_waveform(mix.shape)
    difference = abs(stems.shape[1] - mix.shape[0])
    if difference > STEM_TOLERANCE:
        raise ValueError(
            f"`stems` and `mix` must have the same length, got {stems.shape[1]} and {mix.shape[0]} "
            "samples. Take the same excerpt of both."
        )
    num_samples = min(stems.shape[1], mix.shape[0])
    others = [index for index, name in enumerate(names) if name != RESIDUAL]
    names = tuple(names[index] for index in others)
    stems, mix = stems[others, :num_samples], mix[:num_samples]
    residual = mix - stems.sum(axis=0)
    if _rms(residual) <= RESIDUAL_LEVEL * _rms(mix):
        loudest = int(np.argmax(np.square(stems).sum(axis=1)))
        stems[loudest] += residual
        return stems, names
    return np.concatenate([stems, residual[None]]), (*names, RESIDUAL)


def _sum_stems(
    components: Components, extents: list[ComponentExtent], kind: str, sample_rate: int
) -> SegmentedAudio:
    waveform = recompose(components, jnp.ones(len(extents), bool))
    return SegmentedAudio(components, tuple(extents), kind, waveform, sample_rate, None)


def _checked_stems(stems: Stems, names: Sequence[str]) -> Float[Array, "num_stems num_samples"]:
    check_floating(stems, "stems")
    stems = jnp.asarray(stems, jnp.float32)
    _check_stems(stems.shape, names)
    return stems


def _check_stems(shape: tuple[int, ...], names: Sequence[str]) -> None:
    if not all(
        isinstance(name, str)
        for name in listed("names", tuple(names) if isinstance(names, str) else names, "texts")
    ):
        raise ValueError(f"`names` must be a list of texts, got {names!r:.60}.")
    if len(shape) != 2 or 0 in shape or shape[0] != len(names) or len(set(names)) < len(names):
        raise ValueError(
            f"`names` must hold a different name for each stem, got {len(names)} names "
            f"({', '.join(names)}) for stems of shape {shape}. Stems have shape (num_stems, "
            "num_samples)."
        )


def _rms(signal: Float[np.ndarray, " num_samples"]) -> float:
    return float(np.sqrt(np.mean(np.square(signal))))
