"""Audio cut into components that a listener understands: times, bands, regions, instruments."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Array, Float

from lime_jax.audio.fills import waveform_fill
from lime_jax.audio.segmented_audio import ComponentExtent as ComponentExtent
from lime_jax.audio.segmented_audio import (
    MaybeKey,
    Rate,
    SegmentedAudio,
    Used,
    Waveform,
    as_waveform,
    sample_edges,
    segment_labels,
    whole_rate,
)
from lime_jax.audio.spectrogram_segments import by_frequency, by_grid, by_superpixels
from lime_jax.audio.stem_segments import by_stems, by_stems_and_time
from lime_jax.audio.stem_segments import with_residual as with_residual
from lime_jax.audio.waveform import check_floating
from lime_jax.core.arguments import one_of
from lime_jax.core.components import from_labels

Kind = Literal["time", "frequency", "grid", "superpixels", "stems", "stems-time"]


def by_kind(
    kind: str,
    waveforms: Float[Array | np.ndarray, "num_sources num_samples"],
    sample_rate: Rate,
    num_segments: Any,
    *,
    names: Sequence[str] = (),
    fill: str = "zero",
    key: MaybeKey = None,
    used: Used = None,
) -> SegmentedAudio:
    """Cuts audio into components of a kind: the one table from kinds to functions.

    Args:
      kind: one of `Kind`.
      waveforms: the stems for "stems" and "stems-time", else a single mixture.
      sample_rate: in Hz.
      num_segments: how many; `(num_time, num_frequency)` for "grid", ignored for "stems".
      names: one per stem.
      fill: see `by_time` and `by_frequency`; stems are silent where they are off.
      key: for uniform, noise and shuffle.
      used: see `by_time`; only "time", "grid" and "stems-time" cut by it.

    Raises:
      ValueError: for an unknown kind, and for what its function refuses.
    """
    kind = one_of("kind", kind, get_args(Kind))
    options: dict[str, Any] = {"fill": fill, "key": key}
    if "stems" not in kind:
        check_floating(waveforms, "waveforms")
        if len(shape := np.shape(waveforms)) != 2 or shape[0] == 0:
            raise ValueError(
                f"`waveforms` must have shape (num_sources, num_samples), got {shape}."
            )
    match kind:
        case "time":
            return by_time(waveforms[0], sample_rate, num_segments, used=used, **options)
        case "frequency":
            return by_frequency(waveforms[0], sample_rate, num_segments, **options)
        case "grid":
            return by_grid(waveforms[0], sample_rate, num_segments, used=used, **options)
        case "superpixels":
            return by_superpixels(waveforms[0], sample_rate, num_segments, **options)
        case "stems":
            return by_stems(waveforms, names, sample_rate)
        case "stems-time":
            return by_stems_and_time(waveforms, names, sample_rate, num_segments, used=used)
    raise AssertionError(kind)


def by_time(
    waveform: Waveform,
    sample_rate: Rate,
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
        time. None means all. The extents of the components do not know of it.

    Raises:
      ValueError: for more segments than samples, an unknown fill or integer samples.
    """
    waveform, sample_rate = as_waveform(waveform), whole_rate(sample_rate)
    labels = segment_labels(len(waveform), num_segments, "samples", used)
    filling = waveform_fill(fill, waveform, key)
    edges = sample_edges(len(waveform), num_segments, sample_rate)
    extents = [
        ComponentExtent(f"T{index + 1}", None, start, end, 0.0, sample_rate / 2)
        for index, (start, end) in enumerate(edges)
    ]
    components = from_labels(waveform, labels, num_segments, filling)
    return SegmentedAudio(components, tuple(extents), "time", waveform, sample_rate, None)
