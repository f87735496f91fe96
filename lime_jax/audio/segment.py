"""Audio taken apart into pieces that a listener understands: times, bands, regions, instruments."""

import dataclasses
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from lime_jax.audio import timefrequency
from lime_jax.audio.fills import spectrogram_fill, waveform_fill
from lime_jax.audio.io import STEM_TOLERANCE
from lime_jax.audio.superpixels import superpixels
from lime_jax.audio.timefrequency import View, band_edges, frame_extent
from lime_jax.core.components import (
    Components,
    cross,
    equal_segments,
    from_labels,
    from_stems,
    recompose,
)

Waveform = Float[Array | np.ndarray, " num_samples"] | Sequence[float]
Stems = Float[Array | np.ndarray, "num_stems num_samples"] | Sequence[Sequence[float]]
MaybeKey = Key[Array, ""] | None
Used = int | Int[Array, ""] | None

RESIDUAL = "residual"

RESIDUAL_LEVEL = 1e-3
"""A residual quieter than this share of the mixture's RMS (-60 dB) is no stem of its own."""

_IMAGE_ROWS = 96


@dataclasses.dataclass(frozen=True)
class Piece:
    """Where a component lies; for a superpixel the box around it.

    Attributes:
      name: such as "T3", "F1", "T3 F1", "S12", "drums" or "drums T3", counted from 1.
      source: the stem it belongs to, or None.
      start: in seconds.
      end: in seconds.
      low: in Hz.
      high: in Hz.
    """

    name: str
    source: str | None
    start: float
    end: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, eq=False)
class SegmentedAudio:
    """An excerpt and its components.

    Attributes:
      components: over the waveform `(num_samples,)` where `n_fft` is None, else over its complex
        STFT `(num_bins, num_frames)` with that window and a hop of a quarter of it.
      pieces: one per component, in the order of the mask.
      kind: "time", "frequency", "grid", "superpixels", "stems" or "stems-time".
      waveform: float32 `(num_samples,)`, the input; what all components together sound like.
      sample_rate: in Hz.
      n_fft: window length of the STFT in samples, or None.
    """

    components: Components
    pieces: tuple[Piece, ...]
    kind: str
    waveform: Float[Array, " num_samples"]
    sample_rate: int
    n_fft: int | None

    @property
    def hop_length(self) -> int | None:
        """Samples between the frames of the STFT, or None."""
        return None if self.n_fft is None else self.n_fft // 4


def by_time(
    waveform: Waveform,
    sample_rate: int,
    num_segments: int,
    *,
    fill: str = "zero",
    key: MaybeKey = None,
    used: Used = None,
) -> SegmentedAudio:
    """Cuts the waveform into equal times; the last takes the remainder.

    Args:
      waveform: `(num_samples,)`.
      sample_rate: in Hz.
      num_segments: how many times.
      fill: one of `WAVEFORM_FILLS`, see `lime_jax.audio.fills`.
      key: for uniform, noise and shuffle.
      used: how many samples are cut, where silence was added behind them; it belongs to the last
        time. None means all. The extents of the pieces do not know of it.

    Raises:
      ValueError: for more segments than samples or an unknown fill.
    """
    waveform = _checked_waveform(waveform)
    labels = _segments(len(waveform), num_segments, "samples", used)
    filling = waveform_fill(fill, waveform, key)
    edges = _sample_edges(len(waveform), num_segments, sample_rate)
    pieces = [
        Piece(f"T{index + 1}", None, start, end, 0.0, sample_rate / 2)
        for index, (start, end) in enumerate(edges)
    ]
    components = from_labels(waveform, labels, num_segments, filling)
    return SegmentedAudio(components, tuple(pieces), "time", waveform, sample_rate, None)


def by_frequency(
    waveform: Waveform,
    sample_rate: int,
    num_segments: int,
    *,
    fill: str = "zero",
    key: MaybeKey = None,
    n_fft: int | None = None,
) -> SegmentedAudio:
    """Cuts the STFT into bands that are equally wide on the mel scale, as hearing is.

    Args:
      waveform: `(num_samples,)`.
      sample_rate: in Hz.
      num_segments: how many bands.
      fill: one of `FILLS`, see `lime_jax.audio.fills`.
      key: for uniform, noise and shuffle.
      n_fft: window length in samples, a multiple of 4; None takes about 64 ms.

    Raises:
      ValueError: for more bands than the STFT resolves, an unknown fill or an odd `n_fft`.
    """
    view = timefrequency.analyse(_checked_waveform(waveform), sample_rate, n_fft)
    bands = timefrequency.bands(view, num_segments)
    pieces = [
        Piece(f"F{index + 1}", None, 0.0, view.seconds, low, high)
        for index, (low, high) in enumerate(band_edges(sample_rate, num_segments))
    ]
    return _segmented(view, "frequency", bands[:, None], pieces, fill, key)


def by_grid(
    waveform: Waveform,
    sample_rate: int,
    num_segments: tuple[int, int],
    *,
    fill: str = "zero",
    key: MaybeKey = None,
    n_fft: int | None = None,
    used: Used = None,
) -> SegmentedAudio:
    """Cuts the STFT into equal times × mel bands; the id is `time * num_frequency + band`.

    Args:
      waveform: `(num_samples,)`.
      sample_rate: in Hz.
      num_segments: `(num_time, num_frequency)`.
      fill: see `by_frequency`.
      key: for uniform, noise and shuffle.
      n_fft: see `by_frequency`.
      used: see `by_time`.

    Raises:
      ValueError: for more segments than frames, more bands than the STFT resolves, an unknown fill
        or an odd `n_fft`.
    """
    view = timefrequency.analyse(_checked_waveform(waveform), sample_rate, n_fft)
    num_time, num_frequency = num_segments
    num_used = None if used is None else 1 + used // (view.n_fft // 4)
    times = _segments(view.num_frames, num_time, "STFT frames", num_used)
    bands = timefrequency.bands(view, num_frequency)
    firsts = [view.num_frames // num_time * time for time in range(num_time)] + [view.num_frames]
    pieces = [
        Piece(f"T{time + 1} F{band + 1}", None, *frame_extent(view, first, end), low, high)
        for time, (first, end) in enumerate(itertools.pairwise(firsts))
        for band, (low, high) in enumerate(band_edges(sample_rate, num_frequency))
    ]
    labels = times[None, :] * num_frequency + bands[:, None]
    return _segmented(view, "grid", labels, pieces, fill, key)


def by_superpixels(
    waveform: Waveform,
    sample_rate: int,
    num_segments: int,
    *,
    algorithm: str = "slic",
    fill: str = "zero",
    key: MaybeKey = None,
    n_fft: int | None = None,
) -> SegmentedAudio:
    """Cuts the STFT into regions of similar level, found in its log-mel image.

    The image has up to 96 bands of equal mel width and 80 dB: on a linear scale half of all regions
    would lie above a quarter of the sample rate, where music has little. Every bin belongs to the
    region of its band.

    Args:
      waveform: `(num_samples,)`.
      sample_rate: in Hz.
      num_segments: SLIC gives about so many regions, Felzenszwalb at most.
      algorithm: "slic" or "felzenszwalb".
      fill: see `by_frequency`.
      key: for uniform, noise and shuffle.
      n_fft: see `by_frequency`.

    Raises:
      ValueError: for more regions than pixels, an unknown algorithm or fill, or an odd `n_fft`.
    """
    view = timefrequency.analyse(_checked_waveform(waveform), sample_rate, n_fft)
    num_rows = timefrequency.most_bands(view, _IMAGE_ROWS)
    bands = timefrequency.bands(view, num_rows)
    regions = superpixels(timefrequency.image(view, bands), num_segments, algorithm)
    edges = band_edges(sample_rate, num_rows)
    pieces = []
    for region in range(regions.max() + 1):
        rows, columns = np.nonzero(regions == region)
        start, end = frame_extent(view, int(columns.min()), int(columns.max()) + 1)
        low, high = edges[rows.min()][0], edges[rows.max()][1]
        pieces.append(Piece(f"S{region + 1}", None, start, end, low, high))
    return _segmented(view, "superpixels", regions[bands], pieces, fill, key)


def by_stems(stems: Stems, names: Sequence[str], sample_rate: int) -> SegmentedAudio:
    """Makes every stem a component; a removed stem is silent.

    Args:
      stems: `(num_stems, num_samples)`; their sum is the input. See `with_residual`.
      names: one per stem.
      sample_rate: in Hz.

    Raises:
      ValueError: if names and stems do not match.
    """
    stems = _checked_stems(stems, names)
    seconds = stems.shape[1] / sample_rate
    pieces = [Piece(name, name, 0.0, seconds, 0.0, sample_rate / 2) for name in names]
    return _summed(from_stems(stems), pieces, "stems", sample_rate)


def by_stems_and_time(
    stems: Stems,
    names: Sequence[str],
    sample_rate: int,
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
      ValueError: if names and stems do not match, or for more segments than samples.
    """
    stems = _checked_stems(stems, names)
    labels = _segments(stems.shape[1], num_segments, "samples", used)
    edges = _sample_edges(stems.shape[1], num_segments, sample_rate)
    pieces = [
        Piece(f"{name} T{index + 1}", name, start, end, 0.0, sample_rate / 2)
        for index, (start, end) in enumerate(edges)
        for name in names
    ]
    components = cross(from_stems(stems), labels, num_segments)
    return _summed(components, pieces, "stems-time", sample_rate)


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
      ValueError: if stems and mixture differ more in length.
    """
    # In NumPy: the result depends on the values, and files of any length compile nothing.
    stems, mix = np.asarray(stems, np.float32), np.asarray(mix, np.float32)
    _check_stems(stems.shape, names)
    _check_waveform(mix.shape)
    difference = abs(stems.shape[1] - mix.shape[0])
    if difference > STEM_TOLERANCE:
        raise ValueError(
            f"`stems` and `mix` must have the same length, got {stems.shape[1]} and {mix.shape[0]} "
            "samples. Take the same excerpt of both."
        )
    num_samples = min(stems.shape[1], mix.shape[0])
    kept = [index for index, name in enumerate(names) if name != RESIDUAL]
    names = tuple(names[index] for index in kept)
    stems, mix = stems[kept, :num_samples], mix[:num_samples]
    residual = mix - stems.sum(axis=0)
    if _rms(residual) <= RESIDUAL_LEVEL * _rms(mix):
        loudest = int(np.argmax(np.square(stems).sum(axis=1)))
        stems[loudest] += residual
        return stems, names
    return np.concatenate([stems, residual[None]]), (*names, RESIDUAL)


def _segmented(
    view: View,
    kind: str,
    labels: Int[Array | np.ndarray, "bins_or_one frames_or_one"],
    pieces: list[Piece],
    fill: str,
    key: MaybeKey,
) -> SegmentedAudio:
    filling = spectrogram_fill(fill, view.spectrogram, key)
    components = from_labels(view.spectrogram, labels, len(pieces), filling)
    return SegmentedAudio(
        components, tuple(pieces), kind, view.waveform, view.sample_rate, view.n_fft
    )


def _summed(
    components: Components, pieces: list[Piece], kind: str, sample_rate: int
) -> SegmentedAudio:
    waveform = _recomposed(components, np.ones(len(pieces), bool))
    return SegmentedAudio(components, tuple(pieces), kind, waveform, sample_rate, None)


@jax.jit
def _recomposed(components: Components, mask: Bool[np.ndarray | Array, " pieces"]) -> Array:
    return recompose(components, jnp.asarray(mask))


def _checked_stems(stems: Stems, names: Sequence[str]) -> Float[Array, "num_stems num_samples"]:
    stems = jnp.asarray(stems, jnp.float32)
    _check_stems(stems.shape, names)
    return stems


def _check_stems(shape: tuple[int, ...], names: Sequence[str]) -> None:
    if len(shape) != 2 or shape[0] != len(names) or len(set(names)) < len(names):
        raise ValueError(
            f"`names` must hold a different name for each stem, got {len(names)} names "
            f"({', '.join(names)}) for stems of shape {shape}. Stems have shape (num_stems, "
            "num_samples)."
        )


def _checked_waveform(waveform: Waveform) -> Float[Array, " num_samples"]:
    waveform = jnp.asarray(waveform, jnp.float32)
    _check_waveform(waveform.shape)
    return waveform


def _check_waveform(shape: tuple[int, ...]) -> None:
    if len(shape) != 1 or shape[0] == 0:
        raise ValueError(
            f"`waveform` must have shape (num_samples,) and hold a sample, got {shape}. Mix to "
            "mono first."
        )


def _segments(size: int, num_segments: int, what: str, used: Used) -> Int[Array, " size"]:
    if not 1 <= num_segments <= size:
        raise ValueError(
            f"`num_segments` must lie between 1 and {size}, the number of {what}, got "
            f"{num_segments}. Use fewer segments or a longer excerpt."
        )
    return equal_segments(size, num_segments, used=used)


def _sample_edges(
    num_samples: int, num_segments: int, sample_rate: int
) -> list[tuple[float, float]]:
    """Start and end of every segment of `equal_segments`, in seconds."""
    starts = [index * (num_samples // num_segments) / sample_rate for index in range(num_segments)]
    return list(zip(starts, [*starts[1:], num_samples / sample_rate], strict=True))


def _rms(signal: Float[np.ndarray, " num_samples"]) -> float:
    return float(np.sqrt(np.mean(np.square(signal))))
