"""One picture per explained output: the sound, its components, and the weight of each."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lime_jax.audio import features
from lime_jax.audio.segment import SegmentedAudio
from lime_jax.report import bar_plots, signal_plots, style
from lime_jax.report.wording import format_signed, number, ratio

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Layout = Callable[[SegmentedAudio, Sequence[str], np.ndarray, np.ndarray], "Figure"]

_NUM_BARS = 20
_NUM_RANKED = 8  # components of a spectrogram that get a bar and a label


@style.own_style()
def picture(output: Mapping[str, Any], labels: Sequence[str], audio: SegmentedAudio) -> bytes:
    """Draws one explained output as PNG, 1350 pixels wide.

    Args:
      output: an entry of `outputs` in the record that `lime_jax.report.to_json` makes.
      labels: what to call each component.
      audio: the sound that was explained.
    """
    weights = np.nan_to_num(np.array(output["coefficients"], float))
    ends = np.array(output["confidence_interval"], float)
    margins = np.nan_to_num((ends[:, 1] - ends[:, 0]) / 2)
    figure = _layout(audio)(audio, labels, weights, margins)
    is_table = _layout(audio) is _stems_over_time
    figure.suptitle(
        f"Weights for {style.short(output['name'], 48)} (prediction "
        f"{number(output['prediction'])}, fidelity {ratio(output['fidelity'])})"
        + (", with 95 % intervals" if margins.any() and not is_table else ""),
        x=0.01, ha="left", fontsize=style.TEXT + 1, **style.plain_text(),
    )  # fmt: skip
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _layout(audio: SegmentedAudio) -> Layout:
    if audio.n_fft is not None:
        return _bands if audio.kind == "frequency" else _tiles
    if audio.components.num_sources == 1:
        return _segments
    return _stems if audio.components.num_segments == 1 else _stems_over_time


def _segments(
    audio: SegmentedAudio, labels: Sequence[str], weights: np.ndarray, margins: np.ndarray
) -> "Figure":
    del labels  # the time axis tells them
    figure = style.figure(4.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.2))
    signal_plots.waveform(above, audio)
    signal_plots.shade_segments(above, audio, weights)
    bar_plots.upright(below, _time_edges(audio), weights, margins)
    below.set_xlabel("time (s)")
    return figure


def _bands(
    audio: SegmentedAudio, labels: Sequence[str], weights: np.ndarray, margins: np.ndarray
) -> "Figure":
    del labels  # the frequency axis tells them
    figure = style.figure(4.8)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    signal_plots.spectrogram(left, signal_plots.image(audio), weights)
    edges = [extent.low for extent in audio.extents] + [audio.extents[-1].high]
    bar_plots.lying(right, features.hz_to_mel(np.array(edges)), weights, margins)
    return figure


def _tiles(
    audio: SegmentedAudio, labels: Sequence[str], weights: np.ndarray, margins: np.ndarray
) -> "Figure":
    top = _largest(weights, _NUM_RANKED)
    figure = style.figure(4.6 + 0.26 * len(top))
    above, below = figure.subplots(2, 1, height_ratios=(3.6, 0.4 + 0.26 * len(top)))
    image = signal_plots.image(audio)
    signal_plots.spectrogram(above, image, weights)
    for component, text in zip(top, format_signed(weights[top]), strict=True):
        signal_plots.label(above, image, component, text)
    bar_plots.ranking(below, [labels[i] for i in top], weights[top], margins[top])
    return figure


def _stems(
    audio: SegmentedAudio, labels: Sequence[str], weights: np.ndarray, margins: np.ndarray
) -> "Figure":
    top = _largest(weights, _NUM_BARS)
    figure = style.figure(1.0 + 0.55 * len(top))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.6, 1))
    edges = np.array([0.0, audio.extents[0].end])
    bar_plots.cells(left, edges, weights[top][:, None])
    signal_plots.draw_stacked(left, audio, top)
    left.set_xlabel("time (s)")
    bar_plots.ranking(right, [labels[i] for i in top], weights[top], margins[top])
    right.tick_params(axis="y", labelleft=False)
    left.tick_params(axis="y", labelleft=True)
    return figure


def _stems_over_time(
    audio: SegmentedAudio, labels: Sequence[str], weights: np.ndarray, margins: np.ndarray
) -> "Figure":
    del labels, margins  # the axes and the table of the page have them
    num_sources = audio.components.num_sources
    figure = style.figure(1.0 + 0.75 * num_sources)
    axes = figure.subplots()
    names = [extent.source or extent.name for extent in audio.extents[:num_sources]]
    table = weights.reshape(-1, num_sources).T
    mesh = bar_plots.heat_map(axes, _time_edges(audio), names, table)
    signal_plots.draw_stacked(axes, audio, range(num_sources))
    axes.set_xlabel("time (s)")
    figure.colorbar(mesh, ax=axes, label="weight", pad=0.01)
    return figure


def _time_edges(audio: SegmentedAudio) -> np.ndarray:
    first = audio.extents[:: audio.components.num_sources]
    return np.array([*(extent.start for extent in first), first[-1].end])


def _largest(weights: np.ndarray, num: int) -> list[int]:
    """The `num` components of largest absolute weight, the most positive one first."""
    strongest = np.argsort(-np.abs(weights), kind="stable")[:num]
    return strongest[np.argsort(-weights[strongest], kind="stable")].tolist()
