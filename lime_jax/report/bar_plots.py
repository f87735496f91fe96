"""Weights drawn as bars and as a table of colours."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lime_jax.report import style
from lime_jax.report.wording import format_signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh

_NUM_NUMBERS = 16  # bars or cells side by side that leave room for a printed weight
_FILL = 0.84  # of the room of a bar
_MINUS = "\N{MINUS SIGN}"


def upright(axes: "Axes", edges: np.ndarray, weights: np.ndarray, margins: np.ndarray) -> None:
    """Draws vertical bars between `edges` along x, with their margins of error."""
    centres, widths = _middle(edges)
    axes.bar(centres, weights, widths, yerr=_whiskers(margins), **_style(weights))
    axes.axhline(0, color=style.INK, linewidth=0.8)
    axes.set_ylim(*_room(weights, margins, 0.12))
    axes.set_ylabel("weight")
    if len(weights) <= _NUM_NUMBERS:
        rows = zip(format_signed(weights), centres, weights, margins, strict=True)
        for text, centre, weight, margin in rows:
            down = -1 if weight < 0 else 1
            axes.annotate(
                text, (centre, weight + down * margin), (0, 3 * down),
                textcoords="offset points", ha="center", va="top" if down < 0 else "bottom",
                fontsize=style.SMALL, color=style.INK,
            )  # fmt: skip
    style.dress(axes)


def lying(axes: "Axes", edges: np.ndarray, weights: np.ndarray, margins: np.ndarray) -> None:
    """Horizontal bars between `edges` along y, with their margins of error."""
    centres, heights = _middle(edges)
    axes.barh(centres, weights, heights, xerr=_whiskers(margins), **_style(weights))
    axes.axvline(0, color=style.INK, linewidth=0.8)
    axes.set_xlim(*_room(weights, margins, 0.22))
    axes.set_xlabel("weight")
    for text, centre, weight, margin in zip(
        format_signed(weights), centres, weights, margins, strict=True
    ):
        left = -1 if weight < 0 else 1
        axes.annotate(
            text, (weight + left * margin, centre), (4 * left, 0),
            textcoords="offset points", ha="right" if left < 0 else "left", va="center",
            fontsize=style.SMALL, color=style.INK,
        )  # fmt: skip
    style.dress(axes)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def ranking(axes: "Axes", names: Sequence[str], weights: np.ndarray, margins: np.ndarray) -> None:
    """Horizontal bars with names, from top to bottom in the order given."""
    lying(axes, np.arange(len(names) + 1) - 0.5, weights, margins)
    _name_rows(axes, names)


def heat_map(
    axes: "Axes", edges: np.ndarray, names: Sequence[str], weights: np.ndarray
) -> "QuadMesh":
    """Returns weights `(num_sources, num_segments)` as colours over time, one row per source."""
    mesh = cells(axes, edges, weights)
    _print_weights(axes, edges, weights)
    _name_rows(axes, names)
    return mesh


def cells(axes: "Axes", edges: np.ndarray, weights: np.ndarray) -> "QuadMesh":
    """Returns rows of colours between `edges` along x, with room for a waveform in each."""
    mesh = axes.pcolormesh(
        edges, np.arange(len(weights) + 1) - 0.5, weights, cmap=style.colormap(),
        norm=style.norm(weights), edgecolors=style.FAINT, linewidth=0.6,
    )  # fmt: skip
    style.dress(axes)
    return mesh


def _name_rows(axes: "Axes", names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [style.short(name) for name in names], **style.plain_text())
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _print_weights(axes: "Axes", edges: np.ndarray, weights: np.ndarray) -> None:
    """Prints every weight into the corner of its cell, or just minus signs in narrow ones."""
    texts = format_signed(weights.ravel())
    if weights.shape[1] > _NUM_NUMBERS:
        texts = [_MINUS if text.startswith(_MINUS) else "" for text in texts]
    size = style.SMALL - 0.1 * min(weights.shape[1], _NUM_NUMBERS)
    dark = style.shades(weights) @ (0.299, 0.587, 0.114) < 0.5
    for (row, column), text in zip(np.ndindex(weights.shape), texts, strict=True):
        colour = "white" if dark[row, column] else style.INK
        axes.annotate(
            text, (edges[column], row - 0.5), (3, -3), textcoords="offset points", ha="left",
            va="top", fontsize=size, color=colour,
        )  # fmt: skip


def _middle(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = np.asarray(edges)
    return (edges[1:] + edges[:-1]) / 2, _FILL * np.diff(edges)


def _style(weights: np.ndarray) -> dict[str, Any]:
    return {
        "color": [style.AGAINST if weight < 0 else style.FOR for weight in weights],
        "hatch": [style.HATCH if weight < 0 else "" for weight in weights],
        "edgecolor": "white",
        "linewidth": 0,
        "error_kw": {"ecolor": style.INK, "elinewidth": 1.2, "capsize": 3},
    }


def _whiskers(margins: np.ndarray) -> np.ndarray | None:
    return margins if np.any(margins) else None


def _room(weights: np.ndarray, margins: np.ndarray, share: float) -> tuple[float, float]:
    """Limits that include zero, all whiskers, and a share for the printed weights."""
    low, high = min(0.0, (weights - margins).min()), max(0.0, (weights + margins).max())
    pad = share * ((high - low) or 1.0)
    return low - (pad if low < 0 else 0.02 * pad), high + pad
