"""The numbers and pictures of reproduce.py, the paper's beside ours."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import lime_jax as lj
from lime_jax.report import style as look
from scripts.experiments.common import results
from scripts.experiments.common.results import where
from scripts.experiments.veracity import adversaries
from scripts.experiments.veracity.measures import GRID, NUM_COMPONENTS, PARTS, SUBSETS, Rows

# Their numbers, in the order of `PARTS`.
TABLE_1 = (53, 21, 41, 32)
TABLE_2 = {"lime": (86, 49, 91, 44), "energy": (99, 74, 98, 55)}
MEDIANS = {"waveform": (0.71, 0.68), "spectrogram": (0.74, 0.67)}


def column(rows: Rows, name: str) -> list:
    return [row[name] for row in rows]


def median(values: Sequence[float], unit: str = "") -> str:
    return f"{np.median(values):.2f}{unit}" if len(values) else "none"


def figures_of(tables: Mapping[str, Rows]) -> list[results.Figure]:
    """Returns the paper's numbers and these."""
    return [
        *adversary_figures(tables["adversaries"]),
        *flip_figures(tables["flips"]),
        *subset_figures(tables["subsets"]),
        *fidelity_figures(tables["fidelity"]),
        *horse_figures(tables["horses"]),
    ]


def adversary_figures(rows: Rows) -> list[results.Figure]:
    figures = []
    for part in PARTS:
        here = where(rows, domain=part[0], direction=part[1])
        found = where(here, success=True)
        told = f"{results.percent(len(found), len(here))}, {median(column(found, 'snr_db'), ' dB')}"
        name = f"successful adversaries and their median SNR, {', '.join(part)}"
        figures.append(results.Figure(name, None, told))
    return figures


def flip_figures(rows: Rows) -> list[results.Figure]:
    figures = []
    for number, part in enumerate(PARTS):
        here, named = where(rows, domain=part[0], direction=part[1]), ", ".join(part)
        three = {s: column(where(here, k=3, selection=s), "flipped") for s in TABLE_2}
        num = len(three["lime"])
        told = {s: results.percent(sum(flips), num) for s, flips in three.items()}
        holds = sum(three["energy"]) >= sum(three["lime"]) if num else None
        wish = "energy at least as good as LIME"
        paper = f"{TABLE_1[number]} %"
        figures += [
            results.Figure(f"flips by the 3 top components of LIME, {named}", paper, told["lime"]),
            results.Figure(f"the same by energy, {named}", None, told["energy"], wish, holds),
        ]
        for selection, values in TABLE_2.items():
            flips = sum(column(where(here, right_sign=True, selection=selection), "flipped"))
            by = "LIME" if selection == "lime" else "energy, as many"
            name = f"flips by all components of the right sign, {by}, {named}"
            figures.append(results.Figure(name, f"{values[number]} %", results.percent(flips, num)))
    last = column(where(rows, k=NUM_COMPONENTS), "flipped")
    told, wish = results.percent(sum(last), len(last)), "all flip"
    holds = all(last) if last else None
    return [*figures, results.Figure("flips by all components", "100 %", told, wish, holds)]


def subset_figures(rows: Rows) -> list[results.Figure]:
    figures = []
    papers = {3: "mostly 1 or 2", 5: "mostly 2 or 3"}
    for part, k in itertools.product(PARTS, SUBSETS):
        hits = column(where(rows, domain=part[0], direction=part[1], k=k), "hits")
        paper = papers.get(k, "10 %" if part == ("waveform", "plays to rests") else "40 to 50 %")
        told = f"{np.mean(hits):.2f} on average of {len(hits)}" if hits else "none"
        told = results.percent(sum(hits), len(hits)) if k == 1 else told
        name = f"found of the {k} changed components" if k > 1 else "found the changed component"
        figures.append(results.Figure(f"{name}, {', '.join(part)}", paper, told))
    return figures


def fidelity_figures(rows: Rows) -> list[results.Figure]:
    figures = []
    for domain, paper in MEDIANS.items():
        hit, missed = (column(where(rows, domain=domain, hit=hit), "r2") for hit in (True, False))
        both = bool(hit and missed)
        apart = abs(np.median(hit) - np.median(missed)) if both else None
        figures.append(
            results.Figure(
                f"median R² of explanations that hit | that miss, {domain}",
                f"{paper[0]:.2f} | {paper[1]:.2f}",
                f"{median(hit)} | {median(missed)}",
                "less than 0.1 apart",
                bool(apart < 0.1) if both else None,
            )
        )
    return figures


def horse_figures(rows: Rows) -> list[results.Figure]:
    found = where(rows, flipped=True)
    hits, chance = sum(column(found, "hit")), np.sum([len(row["covers"]) for row in found])
    told = f"{results.percent(hits, len(found))}"
    if found:
        told += f" (by chance {100 * chance / len(found) / NUM_COMPONENTS:.0f} %)"
    wish = "more than half"
    return [
        results.Figure("rests that a mark turns into plays", "3 shown",
                       results.percent(len(found), len(rows))),
        results.Figure("explanations whose top component the mark covers", "3 of 3", told, wish,
                       2 * hits > len(found) if found else None),
        results.Figure("median R² of these explanations", "0.68, 0.74 and 0.96",
                       median(column(found, "r2"))),
    ]  # fmt: skip


def draw_flips(rows: Rows) -> Any:
    """The share of labels that flip over the number of components, as Figure 2 of the paper."""
    figure = look.figure(6.4)
    panels = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
    styles = {
        "energy": (look.AGAINST, "o", "energy of the change"),
        "lime": (look.FOR, "s", "LIME"),
    }
    counts = range(1, NUM_COMPONENTS + 1)
    for axes, part in zip(panels, PARTS, strict=True):
        here = where(rows, domain=part[0], direction=part[1])
        for selection, (colour, marker, label) in styles.items():
            chosen = [column(where(here, selection=selection, k=k), "flipped") for k in counts]
            shares = [100 * np.mean(flips) if flips else np.nan for flips in chosen]
            axes.plot(counts, shares, color=colour, marker=marker, markersize=4, label=label)
        told = f"{', '.join(part)} ({len(here) // (2 * NUM_COMPONENTS)})"
        axes.set_title(told, fontsize=look.SMALL, color=look.INK)
        axes.set_xticks([1, 3, 5, 10, 15, 20])
        look.dress(axes)
    panels[0].legend(loc="lower right", fontsize=look.SMALL, frameon=False)
    figure.supxlabel("components of the change that are added", fontsize=look.TEXT)
    figure.supylabel("labels that flip (%)", fontsize=look.TEXT)
    return figure


def draw_subsets(rows: Rows) -> Any:
    """Returns how many of the changed components were found, as Figure 3 of the paper."""
    figure = look.figure(8.2)
    panels = figure.subplots(len(PARTS), len(SUBSETS), sharey=True, width_ratios=(2, 4, 6))
    for (part, k), axes in zip(itertools.product(PARTS, SUBSETS), panels.ravel(), strict=True):
        hits = column(where(rows, domain=part[0], direction=part[1], k=k), "hits")
        shares = np.bincount(hits, minlength=k + 1) / max(len(hits), 1)
        axes.bar(range(k + 1), 100 * shares, color=look.FOR, width=0.7, label="LIME")
        axes.plot(
            range(k + 1), [100 * p for p in by_chance(k)], color=look.INK, marker="_",
            markersize=16, markeredgewidth=2, linestyle="none", label="by chance",
        )  # fmt: skip
        axes.set_xticks(range(k + 1))
        axes.set_title(f"{k} changed, {len(hits)} flip", fontsize=look.SMALL, color=look.INK)
        look.dress(axes)
    for axes, part in zip(panels[:, 0], PARTS, strict=True):
        axes.set_ylabel(f"{part[0]},\n{part[1]} (%)", fontsize=look.SMALL)
    panels[0, -1].legend(loc="upper right", fontsize=look.SMALL, frameon=False)
    figure.supxlabel("of them among as many top components", fontsize=look.TEXT)
    return figure


def by_chance(k: int) -> list[float]:
    """How likely `k` components drawn blindly are to hold 0, 1, … of the `k` changed ones."""
    others = NUM_COMPONENTS - k
    return [
        math.comb(k, hits) * math.comb(others, k - hits) / math.comb(NUM_COMPONENTS, k)
        for hits in range(k + 1)
    ]


def draw_fidelity(rows: Rows) -> Any:
    """Fidelity of explanations that hit and of those that miss, as Figure 4 of the paper."""
    figure = look.figure(3.8)
    panels = figure.subplots(1, len(PARTS), sharey=True)
    for axes, part in zip(panels, PARTS, strict=True):
        here = where(rows, domain=part[0], direction=part[1])
        values = [column(where(here, hit=hit), "r2") for hit in (True, False)]
        names = [f"{n}\n({len(v)})" for n, v in zip(("hit", "miss"), values, strict=True)]
        drawn = axes.boxplot(values, widths=0.5, patch_artist=True, medianprops={"color": look.INK})
        for box, colour in zip(drawn["boxes"], (look.FOR, look.AGAINST), strict=True):
            box.set_facecolor(colour)
            box.set_alpha(0.6)
        axes.set_xticks([1, 2], names)
        axes.set_title("\n".join(part), fontsize=look.SMALL, color=look.INK)
        look.dress(axes)
    panels[0].set_ylim(0, 1.02)
    panels[0].set_ylabel("fidelity (R²)")
    return figure


def draw_horses(rows: Rows, patches: Any) -> Any:
    """Returns the excerpt that a mark flips furthest: as it was, marked, and its explanation."""
    figure = look.figure(3.6)
    number = max(range(len(rows)), key=lambda n: rows[n]["after"] or 0.0)
    row = rows[number]
    clean = np.asarray(patches[number])
    if not row["flipped"]:
        told = "No mark of the grid makes the network hear the family."
        figure.text(0.5, 0.5, told, ha="center", **look.plain_text())
        return figure
    marks = adversaries.marks(GRID, clean.shape)
    named = (row["mark"], tuple(row["covers"]))
    mark = next(mark for mark in marks if (mark.shape, mark.components) == named)
    patch = clean + np.float32(row["amplitude"]) * mark.drawing
    weights = np.asarray(row["weights"])[np.asarray(lj.grid(GRID, clean.shape))]
    panels = figure.subplots(1, 3, sharey=True)
    titles = (
        f"clean: p = {row['before']:.2f}",
        f"marked: p = {row['after']:.2f}",
        f"LIME's weights: R² = {row['r2']:.2f}",
    )
    for axes, values, told in zip(panels, (clean, patch, weights), titles, strict=True):
        of_weights = {"cmap": look.colormap(), "norm": look.norm(weights)}
        style = of_weights if values is weights else {"cmap": "viridis", "vmax": patch.max()}
        shown = axes.imshow(values.T, origin="lower", aspect="auto", **style)
        axes.set_title(told, fontsize=look.SMALL, color=look.INK)
        axes.set_xlabel("frame")
        look.dress(axes)
    panels[-1].contour(mark.drawing.T, levels=[0.5], colors=look.INK, linewidths=0.8)
    figure.colorbar(shown, ax=panels[-1], pad=0.02)
    panels[0].set_ylabel("mel band")
    return figure
