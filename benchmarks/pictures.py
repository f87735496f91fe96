"""Draws the pictures of docs/sampling.md from the stored results.

python -m benchmarks.pictures         writes docs/pictures/
"""

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from benchmarks.sampling_table import one_array, point

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "cpu" / "designs.json"
FOLDER = ROOT / "docs" / "pictures"
NUMBERS = (10, 14, 25, 50)
# Sampler: colour, marker, what the legend says. Colours that the colour-blind tell apart.
STYLES = {
    "fair coins": ("#D55E00", "o", "fair coins"),
    "orthogonal arrays": ("#0072B2", "s", "orthogonal arrays"),
    "kernel SHAP": ("#777777", "^", "kernel SHAP, of Shapley values"),
}
_INK = "#333333"


def main() -> None:
    """Writes all pictures."""
    cases = json.loads(RESULT.read_text(encoding="utf-8"))["numbers"]["cases"]
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, draw in (("error-over-evaluations", errors), ("top-3-right", top_3_right)):
        draw(cases).savefig(FOLDER / f"{name}.png", dpi=100, metadata={"Software": None})


def errors(cases: list[dict[str, Any]]) -> Figure:
    """Draws a panel per network and number of components."""
    names = list(dict.fromkeys(case["network"] for case in cases))
    figure = Figure(figsize=(8.8, 1.8 * len(names) + 0.8), layout="constrained")
    panels = figure.subplots(len(names), len(NUMBERS), sharex="col", sharey="row", squeeze=False)
    found = {(case["network"], case["num_components"]): case for case in cases}
    for row, name in zip(panels, names, strict=True):
        for panel, number in zip(row, NUMBERS, strict=True):
            _plain(panel)
            panel.set(xscale="log", yscale="log")
            panel.xaxis.set_minor_locator(NullLocator())
            if (name, number) in found:
                _curves(panel, found[name, number])
            else:
                _say_nothing(panel)
        row[0].set_ylabel(f"{_title(cases, name)}\nrelative error", color=_INK)
    for panel, number in zip(panels[0], NUMBERS, strict=True):
        panel.set_title(f"{number} components", color=_INK, fontsize=11)
    for panel, number in zip(panels[-1], NUMBERS, strict=True):
        sizes = _sizes(cases, number)
        panel.set_xticks(sizes, [_short(size) for size in sizes])
        panel.set_xlabel("evaluations", color=_INK)
    _legend(figure, panels)
    return figure


def top_3_right(cases: list[dict[str, Any]]) -> Figure:
    """A panel per number of components: all samplers with as many masks as one array has."""
    names = list(dict.fromkeys(case["network"] for case in cases))
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    panels = figure.subplots(1, len(NUMBERS), sharey=True, squeeze=False)
    for panel, number in zip(panels[0], NUMBERS, strict=True):
        _plain(panel)
        panel.grid(axis="x", visible=False)
        panel.set_xlim(-0.6, len(names) - 0.4)
        panel.set_xticks([])
        some = [case for case in cases if case["num_components"] == number]
        panel.set_title(f"{number} components", color=_INK, fontsize=11)
        if some:
            panel.set_xlabel(f"{one_array(some[0]):,} masks", color=_INK)
            _bars(panel, some, names)
        else:
            _say_nothing(panel)
    panels[0, 0].set_ylabel("runs whose top 3 are right", color=_INK)
    panels[0, 0].yaxis.set_major_formatter(PercentFormatter(1))
    panels[0, 0].set_ylim(0, 1.02)
    _legend(figure, panels)
    return figure


def _sizes(cases: list[dict[str, Any]], number: int) -> list[int]:
    points = (one for case in cases if case["num_components"] == number for one in case["points"])
    return sorted({one["num_samples"] for one in points})


def _short(size: int) -> str:
    return f"{size // 1024}k" if size >= 1024 else str(size)


def _curves(panel: Axes, case: dict[str, Any]) -> None:
    for sampler, (colour, marker, label) in STYLES.items():
        some = [one for one in case["points"] if one["sampler"] == sampler]
        x = [one["num_samples"] for one in some]
        y = [one["relative_error"] for one in some]
        panel.plot(x, y, color=colour, marker=marker, markersize=5, linewidth=1.5, label=label)


def _bars(panel: Axes, cases: list[dict[str, Any]], names: list[str]) -> None:
    width = 0.8 / len(STYLES)
    for k, (sampler, (colour, _, label)) in enumerate(STYLES.items()):
        for case in cases:
            if (one := point(case, sampler, one_array(case))) is None:
                continue
            x = names.index(case["network"]) + (k - 1) * width
            panel.bar(x, one["top_3_right"], 0.9 * width, color=colour, label=label)
    panel.set_xticks(
        range(len(names)), [_title(cases, name) for name in names], rotation=35, ha="right"
    )


def _plain(panel: Axes) -> None:
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color("#999999")
    panel.tick_params(which="both", color="#999999", labelcolor=_INK, labelsize=9)
    panel.grid(color="#E6E6E6", linewidth=0.8)
    panel.set_axisbelow(True)


def _say_nothing(panel: Axes) -> None:
    middle = {"ha": "center", "va": "center", "transform": panel.transAxes}
    panel.text(0.5, 0.5, "not measured", color="#999999", fontsize=9, **middle)


def _title(cases: list[dict[str, Any]], name: str) -> str:
    is_random = any(case["network"] == name and case["weights"] == "random" for case in cases)
    return f"{name},\nrandom weights" if is_random else name


def _legend(figure: Figure, panels: Any) -> None:
    """One for all panels, which have no other order of lines."""
    entries = {}
    for panel in panels.flat:
        handles, labels = panel.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    figure.legend(
        entries.values(), entries.keys(), loc="outside lower center", ncols=3, frameon=False
    )


if __name__ == "__main__":
    main()
