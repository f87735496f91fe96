"""Pictures: every kind of components, readable numbers, honest colours."""

import io
import os
import subprocess
import sys
from pathlib import Path

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


# What people set for pictures of their own.
SETTINGS = {
    "TeX": {"text.usetex": True},
    "dark": {"axes.facecolor": "black", "text.color": "white", "axes.edgecolor": "white"},
    "fonts": {"font.family": "cursive", "font.size": 30, "axes.unicode_minus": False},
    "lines": {"lines.linewidth": 9, "axes.grid": True, "hatch.linewidth": 5},
    "files": {"savefig.dpi": 20, "savefig.bbox": "tight", "savefig.facecolor": "red"},
    "layout": {"figure.constrained_layout.h_pad": 3, "xtick.direction": "in", "image.lut": 3},
}


@pytest.fixture(scope="module")
def plain_pixels(explain, stems):
    return pixels(KINDS["stems-time"](stems), explain, np.linspace(-1, 1, 12))


@pytest.mark.parametrize("name", SETTINGS)
def test_what_users_set_for_their_pictures_is_not_ours(name, explain, stems, plain_pixels):
    """With `text.usetex` and without TeX a report ended with exit code 2, after all the work."""
    import matplotlib

    with matplotlib.rc_context(SETTINGS[name]):
        theirs = dict(matplotlib.rcParams)
        image = pixels(KINDS["stems-time"](stems), explain, np.linspace(-1, 1, 12))
        assert dict(matplotlib.rcParams) == theirs
    np.testing.assert_array_equal(image, plain_pixels)


_DRAW = """
import os
from lime_jax.report import style
with style.own_style():
    figure = style.figure(2)
    figure.subplots().set_title("a_b")
    figure.savefig("picture.png")
import matplotlib
print(os.environ["MPLBACKEND"], matplotlib.rcParams["text.usetex"])
print(dict.__getitem__(matplotlib.rcParams, "backend"))
"""


@pytest.mark.parametrize(
    ("backend", "kept"),
    [("module://no_such_notebook.backend_inline", True), ("svg", True), ("no such one", False)],
)
def test_backends_of_notebooks_need_not_be_there(tmp_path, backend, kept):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\naxes.facecolor: black\n")
    environment = {
        **os.environ,
        "MPLBACKEND": backend,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        [sys.executable, "-c", _DRAW], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == f"{backend} True", "what users chose is theirs"
    assert (second == backend) == kept
    assert (tmp_path / "picture.png").stat().st_size > 1000
