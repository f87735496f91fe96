"""Pictures: every kind of components, readable numbers, honest colours."""

import io

import numpy as np
import pytest

from lime_jax import report
from lime_jax.audio import segment
from lime_jax.report import style
from lime_jax.report.explanation_plots import picture

RATE = 16_000
KINDS = {
    "time": lambda stems: segment.by_time(stems.sum(axis=0), RATE, 5),
    "frequency": lambda stems: segment.by_frequency(stems.sum(axis=0), RATE, 5),
    "grid": lambda stems: segment.by_grid(stems.sum(axis=0), RATE, (3, 2)),
    "superpixels": lambda stems: segment.by_superpixels(stems.sum(axis=0), RATE, 12),
    "stems": lambda stems: segment.by_stems(stems, ("a", "b", "c"), RATE),
    "stems-time": lambda stems: segment.by_stems_and_time(stems, ("a", "b", "c"), RATE, 4),
}


def pixels(audio, explain, coefficients, **fields):
    """RGB of the picture of one output."""
    from matplotlib.image import imread

    explanation = explain([coefficients], **fields)
    record = report.to_json(explanation, audio, output_names=["out"])
    labels = list(audio.names)
    return imread(io.BytesIO(picture(record["outputs"][0], labels, audio)))[..., :3]


def share_of(image, colour):
    """The share of pixels that have nearly this colour."""
    from matplotlib.colors import to_rgb

    return float((np.abs(image - np.array(to_rgb(colour))).max(axis=-1) < 0.04).mean())


@pytest.mark.slow
@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_positive_is_vermilion_and_negative_blue(make, explain, stems):
    audio = make(stems)
    num_components = len(audio.extents)
    weights = np.where(np.arange(num_components) < 0.6 * num_components, 1.0, -1.0)
    image = pixels(audio, explain, weights)
    assert image.shape[1] == 1350
    assert share_of(image, style.FOR) > share_of(image, style.AGAINST) > 0.002


@pytest.mark.parametrize("kind", ["time", "grid", "stems-time"])
def test_nothing_known_can_be_drawn(kind, explain, stems):
    audio = KINDS[kind](stems)
    nan = np.full(len(audio.extents), np.nan)
    image = pixels(audio, explain, nan, std_error=nan[None], fidelity=[np.nan], status=[2])
    assert image.std() > 0.02
    assert max(share_of(image, style.FOR), share_of(image, style.AGAINST)) < 0.001


def test_larger_weights_draw_longer_bars(song, explain):
    small, large = (pixels(song, explain, [w, 1.0, 0.0]) for w in (0.3, 0.9))
    assert share_of(large, style.FOR) > 1.2 * share_of(small, style.FOR)


@pytest.mark.slow
def test_many_components_fit(stems, explain):
    audio = segment.by_stems_and_time(stems, ("a", "b", "c"), RATE, 60)
    image = pixels(audio, explain, np.linspace(-1, 1, 180))
    assert image.shape[0] < 1000


def test_names_are_drawn_as_they_are_written():
    assert style.short("$\\frac{") == "$\\frac{"
    assert style.short("日本 語\n") == "□□ □□"
    assert style.short("a" * 50) == "a" * 35 + "…"
