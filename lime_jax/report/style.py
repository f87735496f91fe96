"""The common look of the pictures: size, type, colours.

Weights run from blue (against) over white to vermilion (for), a pair that colour-blind readers tell
apart; signs are printed and negative areas hatched, so that the pictures also work in grey. What a
user has set for pictures of their own (backend, TeX, styles, fonts) does not matter here.
"""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

INK, FAINT = "#1a1a1a", "#9a9a9a"
AGAINST, NEUTRAL, FOR = "#0072b2", "#ffffff", "#d55e00"
HATCH = "///"
TEXT, SMALL = 11.0, 9.5  # points

_WIDTH, _DPI = 9.0, 150  # inches and dots per inch: 1350 pixels, sharp at 900
_NAME_LENGTH = 36


@contextlib.contextmanager
def own_style() -> Iterator[None]:
    """Draws as matplotlib is made, whatever matplotlibrc and the environment say; also a decorator.

    What is drawn takes its look when it is made, and some of it when it is saved: do both within.
    """
    _import_matplotlib()
    import matplotlib.style

    with matplotlib.style.context("default"):
        yield


def figure(height: float) -> "Figure":
    """Returns an empty figure of the common width; `height` in inches."""
    _import_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH, height), dpi=_DPI, layout="constrained", facecolor="white")


def dress(axes: "Axes") -> None:
    """Sets type sizes and takes away what carries no information."""
    axes.tick_params(labelsize=SMALL, color=FAINT, labelcolor=INK)
    axes.xaxis.label.set(fontsize=TEXT, color=INK)
    axes.yaxis.label.set(fontsize=TEXT, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(FAINT)


def shades(weights: np.ndarray) -> np.ndarray:
    """Returns RGB of every weight, `(*weights, 3)`; full colour for the largest absolute one."""
    return colormap()(norm(weights)(weights))[..., :3]


@functools.cache
def colormap() -> "Colormap":
    """Returns the colours from blue over white to vermilion."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("weights", [AGAINST, NEUTRAL, FOR])


def norm(weights: np.ndarray) -> "Normalize":
    """Returns a symmetric scale around zero."""
    from matplotlib.colors import Normalize

    largest = float(np.abs(weights).max()) or 1.0
    return Normalize(-largest, largest)


def short(text: str, length: int = _NAME_LENGTH) -> str:
    """Returns a name as the font can draw it, cut where it would not fit."""
    drawn = "".join(c if ord(c) in _glyphs() else "\N{WHITE SQUARE}" for c in text)
    return drawn if len(drawn) <= length else drawn[: length - 1] + "…"


@functools.cache
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import findfont
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(findfont("DejaVu Sans")).get_charmap()) - {ord("\n"), ord("\r")}


def plain_text(**options: Any) -> dict[str, Any]:
    """Returns text options that keep dollar signs in names from being read as mathematics."""
    return {"parse_math": False, "color": INK, "family": "DejaVu Sans", **options}


def _import_matplotlib() -> None:
    """Imports matplotlib, even if MPLBACKEND names what is not there, as that of notebooks."""
    if "matplotlib" in sys.modules:
        return
    chosen = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if chosen is not None:
            os.environ["MPLBACKEND"] = chosen
    if chosen:
        # As its import would have done: the user's own pictures get the backend, if it is there.
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = chosen
