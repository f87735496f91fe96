"""The explained sound drawn as waveform and as spectrogram."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lime_jax.audio import features
from lime_jax.audio.segment import SegmentedAudio
from lime_jax.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NUM_COLUMNS = 1200  # of a drawn waveform
_ROW_CENTRE, _ROW_HEIGHT = 0.1, 0.36  # of a stem in its row, below the printed weight
_NUM_ROWS = 400  # of a drawn spectrogram, equally spaced in mel
_TICKS = np.array([0, 250, 500, 1000, 2000, 4000, 8000, 16_000])  # Hz
_RANGE_DB = 80.0
_SPECTROGRAM_AXIS = f"time (s); darker is louder, over {_RANGE_DB:.0f} dB"
_CONTRAST = 1.5
_DARKEST = 0.8  # how far the loudest element darkens the tint
_STRONG = 0.25  # share of the largest weight from which negative areas are hatched


@dataclass(frozen=True)
class Image:
    """A spectrogram as it is drawn, over time and mel.

    Attributes:
      components: id of the component, `(num_rows, num_frames)`.
      loudness: 0 where the level is 80 dB or more below the peak, 1 at the peak.
      times: edges of the frames in seconds.
      mels: edges of the rows.
    """

    components: np.ndarray
    loudness: np.ndarray
    times: np.ndarray
    mels: np.ndarray


def waveform(axes: "Axes", audio: SegmentedAudio) -> None:
    """Draws the outline of the waveform over time."""
    samples = np.asarray(audio.waveform)
    times, low, high = _outline(samples, audio.sample_rate)
    axes.fill_between(times, low, high, facecolor=style.INK, edgecolor=style.INK, linewidth=0.4)
    peak = 1.05 * max(float(np.abs(samples).max()), 1e-6)
    axes.set(xlim=(0, len(samples) / audio.sample_rate), ylim=(-peak, peak), ylabel="amplitude")
    style.dress(axes)


def draw_stacked(axes: "Axes", audio: SegmentedAudio, sources: Sequence[int]) -> None:
    """Draws the outlines of stems below each other, around 0, 1, …, all on one scale."""
    stems = np.asarray(audio.components.sources)
    peak = max(float(np.abs(stems).max()), 1e-6)
    for row, source in enumerate(sources):
        times, low, high = _outline(stems[source], audio.sample_rate)
        # Rows count downwards, so a positive sample goes up by becoming less.
        up, down = (_ROW_CENTRE + row - _ROW_HEIGHT * side / peak for side in (high, low))
        axes.fill_between(
            times, up, down, facecolor=style.INK, edgecolor=style.INK, linewidth=0.3, alpha=0.75
        )
    axes.set_xlim(0, stems.shape[1] / audio.sample_rate)


def shade_segments(axes: "Axes", audio: SegmentedAudio, weights: np.ndarray) -> None:
    """Colours the time segments by weight, behind what else `axes` shows."""
    hatches = np.where(_strongly_negative(weights), style.HATCH, "")
    for extent, colour, hatch in zip(audio.extents, style.shades(weights), hatches, strict=True):
        axes.axvspan(
            extent.start, extent.end, facecolor=colour, edgecolor=style.FAINT, linewidth=0.6,
            hatch=str(hatch), zorder=0,
        )  # fmt: skip


def image(audio: SegmentedAudio) -> Image:
    """Resamples the spectrogram of components over the STFT to rows of equal mel width."""
    if audio.n_fft is None:
        raise ValueError("`audio` must be cut along its spectrogram. Draw its waveform instead.")
    mels = np.linspace(0, features.hz_to_mel(audio.sample_rate / 2), _NUM_ROWS + 1)
    frequencies = features.mel_to_hz((mels[1:] + mels[:-1]) / 2)
    bins = np.round(frequencies * audio.n_fft / audio.sample_rate).astype(int)
    spectrum = np.asarray(audio.components.sources.sum(axis=0))
    labels = np.broadcast_to(np.asarray(audio.components.labels), spectrum.shape)
    hop_seconds = audio.n_fft // 4 / audio.sample_rate
    times = (np.arange(spectrum.shape[1] + 1) - 0.5) * hop_seconds
    return Image(labels[bins], _loudness(np.abs(spectrum[bins])), times, mels)


def spectrogram(axes: "Axes", image: Image, weights: np.ndarray) -> None:
    """Draws the spectrogram, tinted by weight, with the edges of the components."""
    tint = style.shades(weights)[image.components]
    axes.imshow(
        tint * (1 - _DARKEST * image.loudness)[..., None], origin="lower", aspect="auto",
        extent=(image.times[0], image.times[-1], image.mels[0], image.mels[-1]),
        interpolation="antialiased",
    )  # fmt: skip
    _hatch(axes, image, weights)
    _draw_edges(axes, image)
    heights = features.hz_to_mel(_TICKS)
    shown = heights <= image.mels[-1]
    axes.set_yticks(heights[shown], [f"{tick / 1000:g}" for tick in _TICKS[shown]])
    axes.set(xlim=(0, image.times[-1]), ylim=(0, image.mels[-1]))
    axes.set(xlabel=_SPECTROGRAM_AXIS, ylabel="frequency (kHz)")
    style.dress(axes)


def label(axes: "Axes", image: Image, component: int, text: str) -> None:
    """Writes into a component of a drawn spectrogram."""
    inside = np.argwhere(image.components == component)
    if not len(inside):
        return
    # The element nearest to the centre of mass lies inside, which the centre itself need not.
    row, frame = inside[np.argmin(np.square(inside - inside.mean(axis=0)).sum(axis=1))]
    axes.text(
        float(image.times[frame : frame + 2].mean()), float(image.mels[row : row + 2].mean()), text,
        ha="center", va="center", fontsize=style.SMALL, color=style.INK, clip_on=True,
        bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": style.FAINT, "lw": 0.6},
    )  # fmt: skip


def _outline(samples: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, and the lowest and highest sample from each to the next."""
    starts = np.unique(np.linspace(0, len(samples), _NUM_COLUMNS, endpoint=False).astype(int))
    low, high = np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)
    return starts / sample_rate, low, high


def _loudness(magnitude: np.ndarray) -> np.ndarray:
    """0 where the spectrogram lies `_RANGE_DB` or more below its peak, 1 at the peak."""
    peak = max(float(magnitude.max()), 1e-10)
    decibels = 20 * np.log10(np.maximum(magnitude / peak, 1e-10))
    return np.clip(1 + decibels / _RANGE_DB, 0, 1) ** _CONTRAST


def _hatch(axes: "Axes", image: Image, weights: np.ndarray) -> None:
    strong = _strongly_negative(weights)
    if not strong.any():
        return
    times, mels = (edges[:-1] + np.diff(edges) / 2 for edges in (image.times, image.mels))
    area = axes.contourf(
        times, mels, strong[image.components], levels=[0.5, 1.5], colors="none",
        hatches=[style.HATCH],
    )  # fmt: skip
    area.set(edgecolor="white", linewidth=0)


def _strongly_negative(weights: np.ndarray) -> np.ndarray:
    return (weights < 0) & (weights <= -_STRONG * np.abs(weights).max())


def _draw_edges(axes: "Axes", image: Image) -> None:
    from matplotlib.collections import LineCollection

    components, times, mels = image.components, image.times, image.mels
    column, bottom, top = _runs((components[:, 1:] != components[:, :-1]).T)
    row, left, right = _runs(components[1:] != components[:-1])
    x, y = times[column + 1], mels[row + 1]
    lines = [
        np.stack([x, mels[bottom], x, mels[top]], axis=-1),
        np.stack([times[left], y, times[right], y], axis=-1),
    ]
    points = list(np.concatenate(lines).reshape(-1, 2, 2))
    axes.add_collection(LineCollection(points, colors=style.INK, linewidths=0.7))


def _runs(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, start and end of every run of true cells along the rows."""
    steps = np.diff(np.pad(cells.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    row, start = np.nonzero(steps == 1)
    return row, start, np.nonzero(steps == -1)[1]
