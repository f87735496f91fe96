"""The numbers and pictures of reproduce.py, the paper's beside ours."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lime_jax.report import style
from scripts.experiments.common.results import Figure, mean_and_deviation, percent, where

Row = Mapping[str, Any]

PAPER = {"auc": "0.758 ± 0.113", "map": "0.734 ± 0.130"}
NEEDED = {"auc": 0.75, "map": 0.73}
LOVED = 0.8
# U_n of the top three, by the number of samples; three is the least.
STABILITY = {512: "median about 4 to 5, up to 14", 4096: "median about 3 to 4"}
LEAST = 3
KINDS = {"time": "Time", "source": "Source", "time-source": "Time + Source"}


def figures_of(
    scores: Sequence[Row], explanations: Sequence[Row], sizes: Sequence[int]
) -> list[Figure]:
    """Returns the paper's numbers and these."""
    return [
        *score_figures(scores),
        *love_figures(explanations),
        *fidelity_figures(explanations),
        missed_figure(explanations),
        *stability_figures(explanations, sizes),
    ]


def score_figures(scores: Sequence[Row]) -> list[Figure]:
    figures = []
    for name, words in (("auc", "ROC-AUC"), ("map", "average precision")):
        values = [row[name] for row in scores]
        needed = NEEDED[name]
        figures.append(
            Figure(
                f"mean {words} of {len(values)} listeners on test tracks",
                PAPER[name],
                mean_and_deviation(values),
                f"at least {needed}",
                bool(np.mean(values) >= needed),
            )
        )
    told = ", ".join(f"{row['persona']} {row['auc']:.2f}" for row in scores)
    return [*figures, Figure("ROC-AUC of each listener", None, told)]


def love_figures(explanations: Sequence[Row]) -> list[Figure]:
    """Returns how often the first component belongs to what the listener loves."""
    figures = []
    for kind in ("source", "time-source"):
        rows = [row for row in where(explanations, kind=kind) if row["is_loved"] is not None]
        loved = sum(row["is_loved"] for row in rows)
        chance = f"{100 * np.mean([row['by_chance'] for row in rows]):.0f} %" if rows else "none"
        each = ", ".join(
            f"{name} {percent(sum(r['is_loved'] for r in of), len(of))}"
            for name in dict.fromkeys(row["persona"] for row in rows)
            for of in [where(rows, persona=name)]
        )
        figures.append(
            Figure(
                f"the loved instrument on top, {KINDS[kind]}, rightly recommended tracks where it "
                f"plays (by chance {chance})",
                None,
                percent(loved, len(rows)),
                f"at least {LOVED:.0%}",
                loved >= LOVED * len(rows) if rows else None,
            )
        )
        figures.append(Figure(f"the same, each listener, {KINDS[kind]}", None, each or "none"))
        figures += loudest_figures(rows, KINDS[kind])
    return figures


def loudest_figures(rows: Sequence[Row], name: str) -> list[Figure]:
    """Returns what loudness alone would say, and what explanations say where that is wrong."""
    wrong = where(rows, loudest_is_loved=False)
    return [
        Figure(
            f"the loudest component belongs to what is loved, {name}, the same tracks",
            None,
            percent(len(rows) - len(wrong), len(rows)),
        ),
        Figure(
            f"the loved instrument on top where the loudest component is of another, {name}",
            None,
            percent(sum(row["is_loved"] for row in wrong), len(wrong)),
        ),
    ]


def fidelity_figures(explanations: Sequence[Row]) -> list[Figure]:
    return [
        Figure(
            f"fidelity, {name}",
            None,
            mean_and_deviation([row["fidelity"] for row in where(explanations, kind=kind)]),
        )
        for kind, name in KINDS.items()
    ]


def missed_figure(explanations: Sequence[Row]) -> Figure:
    """Returns whether relevance falls more without the top component than without another one."""
    rows = [r for r in where(explanations, kind="time-source") if r["without_top"] is not None]
    falls = {
        name: np.array([r["relevance"] - r[f"without_{name}"] for r in rows])
        for name in ("top", "other")
    }
    if not rows:
        return Figure("relevance lost without the top component", None, "none")
    more = int((falls["top"] > falls["other"]).sum())
    return Figure(
        "relevance lost without the Top Highlight, and without another component that plays",
        None,
        f"{falls['top'].mean():.2f} and {falls['other'].mean():.2f}; more in "
        f"{percent(more, len(rows))}",
        "more without the Top Highlight, on average",
        bool(falls["top"].mean() > falls["other"].mean()),
    )


def stability_figures(explanations: Sequence[Row], sizes: Sequence[int]) -> list[Figure]:
    """Returns U_n of the top three over repeats, by the number of samples."""
    rows = where(explanations, kind="time-source")
    medians = [float(np.median([r[f"u_n_{size}"] for r in rows])) for size in sizes if rows]
    figures = [
        Figure(f"U_n of the top three, {size} samples", STABILITY.get(size), _spread(rows, size))
        for size in sizes
    ]
    means = [np.mean([r[f"u_n_{size}"] for r in rows]) for size in sizes if rows]
    is_stable = bool(means[-1] < means[0] or means[0] == means[-1] == LEAST) if rows else None
    told = ", ".join(f"{median:g}" for median in medians) or "none"
    name = f"median U_n with {', '.join(map(str, sizes))} samples"
    asked = f"mean with {sizes[-1]} below that with {sizes[0]}, or {LEAST} with both"
    return [*figures, Figure(name, "falls", told, asked, is_stable)]


def _spread(rows: Sequence[Row], size: int) -> str:
    values = [row[f"u_n_{size}"] for row in rows]
    if not values:
        return "none"
    return f"median {np.median(values):g}, mean {np.mean(values):.2f}, up to {max(values)}"


def drawn(
    scores: Sequence[Row], explanations: Sequence[Row], sizes: Sequence[int]
) -> dict[str, tuple[Any, str]]:
    """Pictures by name, with captions."""
    return {
        "loved": (
            draw_loved(scores, explanations),
            "How often the component on top belongs to the instrument that the listener loves, "
            "how often it would by chance (lines), and how often the loudest one does (diamonds)",
        ),
        "stability": (
            draw_stability(explanations, sizes),
            "U_n, the size of the union of five top threes, by the number of samples; times and "
            "sources",
        ),
    }


@style.own_style()
def draw_loved(scores: Sequence[Row], explanations: Sequence[Row]) -> Any:
    figure = style.figure(3.4)
    axes = figure.subplots()
    rows = [row for row in explanations if row["is_loved"] is not None]
    names = [row["persona"] for row in scores if where(rows, persona=row["persona"])]
    for offset, (kind, colour) in enumerate(
        (("source", style.AGAINST), ("time-source", style.FOR))
    ):
        for place, name in enumerate(names):
            of = where(rows, persona=name, kind=kind)
            if not of:
                continue
            at = place + 0.4 * offset - 0.2
            share = 100 * float(np.mean([row["is_loved"] for row in of]))
            label = KINDS[kind] if place == 0 else None
            hatch = style.HATCH if kind == "source" else None
            axes.bar(at, share, 0.36, color=colour, hatch=hatch, edgecolor="white", label=label)
            axes.text(at, share + 1, f"{len(of)}", ha="center", fontsize=style.SMALL)
            chance = 100 * np.mean([row["by_chance"] for row in of])
            axes.hlines(chance, at - 0.18, at + 0.18, color=style.INK)
            loudest = 100 * np.mean([row["loudest_is_loved"] for row in of])
            axes.plot(at, loudest, "D", color=style.INK, markeredgecolor="white")
    axes.axhline(100 * LOVED, color=style.FAINT, linestyle="--")
    axes.set(ylim=(0, 108), ylabel="% of tracks", xticks=range(len(names)))
    axes.set_xticklabels([name.capitalize() for name in names])
    if names:
        axes.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    style.dress(axes)
    return figure


@style.own_style()
def draw_stability(explanations: Sequence[Row], sizes: Sequence[int]) -> Any:
    figure = style.figure(3.0)
    axes = figure.subplots()
    rows = where(explanations, kind="time-source")
    values = [[row[f"u_n_{size}"] for row in rows] for size in sizes]
    if rows:
        axes.boxplot(values, widths=0.5, medianprops={"color": style.FOR, "linewidth": 2})
    axes.set(xlabel="samples", ylabel="U_n, five repeats", ylim=(2.5, None))
    axes.set_xticks(range(1, len(sizes) + 1), [str(size) for size in sizes])
    style.dress(axes)
    return figure
