"""Pictures about many explanations at once."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lime_jax.report import style
from lime_jax.report.wording import ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_NAMES = 20  # components side by side that can be title apart
_COLOURS = "viridis"  # ordered in lightness too, so that it works in grey
_MOST_CELLS = 8  # labels, and predicted outputs


@style.own_style()
def output_picture(
    name: str,
    names: Sequence[str],
    weights: np.ndarray,
    prediction: np.ndarray,
    local_prediction: np.ndarray,
    fidelity: np.ndarray,
    faithfulness: Mapping[str, Any],
) -> bytes:
    """Weights as parallel coordinates, faithfulness as a scatter, fidelity as a histogram; PNG.

    The first two are Figures 4a and 4b of the audioLIME paper.

    Args:
      name: of the output.
      names: of the components.
      weights: `(num_explanations, num_components)`.
      prediction: of the model, `(num_explanations,)`.
      local_prediction: of the surrogates.
      fidelity: of the surrogates.
      faithfulness: the row of that table about this output.
    """
    figure = style.figure(6.6)
    above, below = np.ravel(figure.subfigures(2, 1, height_ratios=(1.15, 1), squeeze=False))
    _parallel_coordinates(above, names, weights, prediction)
    left, right = below.subplots(1, 2, width_ratios=(1, 1.1))
    _scatter(left, prediction, local_prediction, faithfulness)
    _histogram(right, fidelity, faithfulness)
    return _png(figure, f"What raises and lowers {style.short(name, 48)}")


@style.own_style()
def cells_picture(cells: Sequence[Mapping[str, Any]]) -> bytes:
    """A histogram of the most important component for every label and predicted output; PNG.

    Figure 2 of the audioLIME paper.

    Args:
      cells: rows of the table of that name.
    """
    named = [{**cell, "component": cell["component"] or "none"} for cell in cells]
    labels, predicted = (_most_frequent(named, column) for column in ("label", "predicted"))
    names = _most_frequent(named, "component", _MOST_NAMES)
    figure = style.figure(1.1 + (0.75 + 0.22 * len(names)) * len(labels))
    axes = figure.subplots(len(labels), len(predicted), sharex=True, sharey=True, squeeze=False)
    for row, label in enumerate(labels):
        for column, output in enumerate(predicted):

            def is_here(cell, here=(label, output)):
                return (cell["label"], cell["predicted"]) == here

            _cell(axes[row][column], list(filter(is_here, named)), names)
        if label is not None:
            axes[row][0].set_ylabel(style.short(label, 16), **style.plain_text())
    for column, output in enumerate(predicted):
        name = style.short(output, 14)
        axes[0][column].set_title(name, fontsize=style.TEXT, **style.plain_text())
    title = "Most important component for the predicted output (columns)"
    return _png(figure, title + (" by label (rows)" if labels != [None] else ""))


@style.own_style()
def violins_picture(stability: Mapping[str, np.ndarray], title: str, values: str) -> bytes:
    """Returns how a number is distributed over the explanations of every output; PNG.

    Args:
      stability: the numbers of every output.
      title: of the picture.
      values: what the axis says.
    """
    from matplotlib.ticker import MaxNLocator

    figure = style.figure(3.2)
    axes = figure.subplots()
    names = list(stability)
    axes.set_xticks(range(len(names)), [_tick(name, 16) for name in names])
    drawn = axes.violinplot(
        [stability[name] for name in names],
        positions=range(len(names)), showmedians=True, showextrema=True,
    )  # fmt: skip
    bodies: Any = drawn["bodies"]
    for body in bodies:
        body.set_facecolor(style.FOR)
    for part in ("cmedians", "cbars", "cmins", "cmaxes"):
        drawn[part].set_color(style.INK)
    if len(names) > 6:
        axes.tick_params(axis="x", rotation=40)
    axes.set_ylabel(values)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    style.dress(axes)
    return _png(figure, title)


def _parallel_coordinates(
    figure: Any, names: Sequence[str], weights: np.ndarray, prediction: np.ndarray
) -> None:
    from matplotlib.collections import LineCollection

    shown = np.argsort(-np.abs(weights).mean(axis=0), kind="stable")[:_MOST_NAMES]
    shown = np.sort(shown)
    values, places = weights[:, shown], np.arange(len(shown))
    axes = figure.subplots()
    # The highest predictions are drawn last, on top of the others.
    order = np.argsort(prediction, kind="stable")
    lines = [np.column_stack([places, row]) for row in values[order]]
    drawn = LineCollection(
        lines, cmap=_COLOURS, linewidths=0.8, alpha=max(0.15, min(0.9, 30 / len(lines)))
    )
    drawn.set_array(prediction[order])
    axes.add_collection(drawn)
    axes.plot(places, values.mean(axis=0), color=style.INK, linewidth=2.2, marker="o", label="mean")
    axes.axhline(0, color=style.FAINT, linewidth=0.8)
    labels = [_tick(names[int(i)], 14) for i in shown]
    axes.set_xticks(places, labels, rotation=40 if len(shown) > 8 else 0)
    axes.set_xlim(-0.2, len(shown) - 0.8)
    axes.set_ylabel("weight")
    axes.legend(loc="upper right", fontsize=style.SMALL, frameon=False)
    style.dress(axes)
    bar = figure.colorbar(drawn, ax=axes, label="prediction", pad=0.01)
    bar.solids.set_alpha(1.0)


def _scatter(
    axes: "Axes", prediction: np.ndarray, local: np.ndarray, faithfulness: Mapping[str, Any]
) -> None:
    low, high = (f(np.concatenate([prediction, local])) for f in (np.min, np.max))
    axes.plot([low, high], [low, high], color=style.FAINT, linewidth=1)
    axes.scatter(prediction, local, s=9, alpha=0.5, color=style.AGAINST, linewidths=0)
    axes.set_xlabel("prediction of the model")
    axes.set_ylabel("prediction of the surrogate")
    title = f"r = {ratio(faithfulness['correlation'])}, R² = {ratio(faithfulness['r2'])}"
    axes.set_title(title, fontsize=style.SMALL, color=style.INK)
    style.dress(axes)


def _histogram(axes: "Axes", fidelity: np.ndarray, faithfulness: Mapping[str, Any]) -> None:
    axes.hist(np.clip(fidelity, 0, 1), bins=np.linspace(0, 1, 21).tolist(), color=style.AGAINST)
    axes.set_xlabel("fidelity (weighted R²)")
    axes.set_ylabel("explanations")
    title = f"median {ratio(faithfulness['median_fidelity'])}"
    axes.set_title(title, fontsize=style.SMALL, color=style.INK)
    style.dress(axes)


def _tick(name: str, length: int) -> str:
    """A name whose dollar signs are not read as mathematics."""
    return style.short(name, length).replace("$", r"\$")


def _cell(axes: "Axes", cells: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    shares = {cell["component"]: cell["share"] for cell in cells}
    places = np.arange(len(names))
    axes.barh(places, [shares.get(name, 0.0) for name in names], color=style.AGAINST)
    axes.set_yticks(places, [_tick(name, 12) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    style.dress(axes)
    number = sum(cell["num_explanations"] for cell in cells)
    axes.set_xlabel(f"share of {number:,}", fontsize=style.SMALL)


def _most_frequent(
    cells: Sequence[Mapping[str, Any]], column: str, number: int = _MOST_CELLS
) -> list[Any]:
    counts: dict[Any, int] = {}
    for cell in cells:
        counts[cell[column]] = counts.get(cell[column], 0) + cell["num_explanations"]
    most = sorted(counts, key=lambda value: (-counts[value], str(value)))[:number]
    return sorted(most, key=str)


def _png(figure: "Figure", title: str) -> bytes:
    figure.suptitle(title, x=0.01, ha="left", fontsize=style.TEXT + 1, **style.plain_text())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
