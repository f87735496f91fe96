"""Components of the STFT of a waveform: mel bands, times × bands, superpixels."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from lime_jax.audio import timefrequency
from lime_jax.audio.fills import spectrogram_fill
from lime_jax.audio.segmented_audio import (
    ComponentExtent,
    MaybeKey,
    Rate,
    SegmentedAudio,
    Used,
    Waveform,
    as_waveform,
    segment_labels,
    whole_rate,
)
from lime_jax.audio.superpixels import superpixels
from lime_jax.audio.timefrequency import View, band_edges, frame_extent
from lime_jax.core.arguments import MOST, listed, whole_number
from lime_jax.core.components import from_labels

_IMAGE_ROWS = 96


def by_frequency(
    waveform: Waveform,
    sample_rate: Rate,
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
    sample_rate = whole_rate(sample_rate)
    view = timefrequency.analyse(as_waveform(waveform), sample_rate, n_fft)
    bands = timefrequency.bands(view, num_segments)
    extents = [
        ComponentExtent(f"F{index + 1}", None, 0.0, view.seconds, low, high)
        for index, (low, high) in enumerate(band_edges(sample_rate, num_segments))
    ]
    return _segment(view, "frequency", bands[:, None], extents, fill, key)


def by_grid(
    waveform: Waveform,
    sample_rate: Rate,
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
    sample_rate = whole_rate(sample_rate)
    view = timefrequency.analyse(as_waveform(waveform), sample_rate, n_fft)
    num_time, num_frequency = _pair(num_segments)
    num_used = None if used is None else 1 + _whole(used) // (view.n_fft // 4)
    times = segment_labels(view.num_frames, num_time, "STFT frames", num_used)
    bands = timefrequency.bands(view, num_frequency)
    firsts = [view.num_frames // num_time * time for time in range(num_time)] + [view.num_frames]
    extents = [
        ComponentExtent(
            f"T{time + 1} F{band + 1}", None, *frame_extent(view, first, end), low, high
        )
        for time, (first, end) in enumerate(itertools.pairwise(firsts))
        for band, (low, high) in enumerate(band_edges(sample_rate, num_frequency))
    ]
    labels = times[None, :] * num_frequency + bands[:, None]
    return _segment(view, "grid", labels, extents, fill, key)


def by_superpixels(
    waveform: Waveform,
    sample_rate: Rate,
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
    sample_rate = whole_rate(sample_rate)
    view = timefrequency.analyse(as_waveform(waveform), sample_rate, n_fft)
    num_rows = timefrequency.most_bands(view, _IMAGE_ROWS)
    bands = timefrequency.bands(view, num_rows)
    regions = superpixels(timefrequency.image(view, bands), num_segments, algorithm)
    edges = band_edges(sample_rate, num_rows)
    extents = []
    for region in range(regions.max() + 1):
        rows, columns = np.nonzero(regions == region)
        start, end = frame_extent(view, int(columns.min()), int(columns.max()) + 1)
        low, high = edges[rows.min()][0], edges[rows.max()][1]
        extents.append(ComponentExtent(f"S{region + 1}", None, start, end, low, high))
    return _segment(view, "superpixels", regions[bands], extents, fill, key)


def _pair(num_segments: Any) -> list[int]:
    numbers = listed("num_segments", num_segments, "two numbers")
    if len(numbers) != 2:
        raise ValueError(
            f"`num_segments` must be two numbers, of times and of bands, got {num_segments!r:.60}."
        )
    return [whole_number("num_segments", number, -MOST) for number in numbers]


def _whole(used: Any) -> Any:
    is_traced = isinstance(used, jax.Array) and jnp.issubdtype(used.dtype, jnp.integer)
    return used if is_traced and used.ndim == 0 else whole_number("used", used, 0)


def _segment(
    view: View,
    kind: str,
    labels: Int[Array | np.ndarray, "bins_or_one frames_or_one"],
    extents: list[ComponentExtent],
    fill: str,
    key: MaybeKey,
) -> SegmentedAudio:
    filling = spectrogram_fill(fill, view.spectrogram, key)
    components = from_labels(view.spectrogram, labels, len(extents), filling)
    return SegmentedAudio(
        components, tuple(extents), kind, view.waveform, view.sample_rate, view.n_fft
    )
