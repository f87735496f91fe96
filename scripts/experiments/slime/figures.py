"""The numbers and pictures of reproduce.py, the paper's beside ours."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lime_jax.report import style
from scripts.experiments.common.results import Figure, where
from scripts.experiments.slime.claims import (
    SAMPLED,
    Tables,
    column,
    content_figures,
    named,
    planted_figures,
    stability_figures,
)
from scripts.experiments.slime.measures import (
    DISTANCES,
    MARGINAL,
    NUM_SAMPLES,
    PLANTED_CONTENTS,
    Rows,
)
from scripts.experiments.slime.neighbourhoods import CONTENTS, NUM_MASKS, SEGMENTATIONS


@dataclasses.dataclass(frozen=True)
class Told:
    """How an experiment is told.

    Attributes:
      title: of its section.
      section: of the paper.
      claim: in a sentence.
      figures: from tables and the seconds that the work took.
      pictures: file, drawing from tables, caption.
    """

    title: str
    section: str
    claim: str
    figures: Callable[[Tables, float], list[Figure]]
    pictures: Sequence[tuple[str, Callable[[Tables], Any], str]]


@style.own_style()
def draw_stability(tables: Tables, sign: str = "positive") -> Any:
    """Figure 3: U_n over numbers of samples."""
    figure = style.figure(6.4)
    panels = figure.subplots(len(DISTANCES), 1, sharex=True, sharey=True)
    for axes, distance in zip(panels, DISTANCES, strict=True):

        def of(number, distance=distance):
            return where(tables["u_n"], distance=distance, num_samples=number, sign=sign)

        values = [column(of(number), "u_n") for number in NUM_SAMPLES]
        _violins(axes, values, [f"{number // 1000} 000" for number in NUM_SAMPLES])
        exact = column(where(tables["exhaustive"], distance=distance, sign=sign), "u_n")
        axes.axhline(
            float(np.mean(exact)), color=style.AGAINST, linewidth=1.4, linestyle="--",
            label=f"all {NUM_MASKS} masks, mean",
        )  # fmt: skip
        axes.set_ylabel("U_n")
        axes.set_title(f"distance {distance}", fontsize=style.SMALL, color=style.INK)
    panels[0].legend(loc="upper right", fontsize=style.SMALL, frameon=False)
    panels[-1].set_xlabel("samples N_s")
    return figure


def draw_absolute(tables: Tables) -> Any:
    """Returns the same for weights of either sign."""
    return draw_stability(tables, "absolute")


def draw_contents(tables: Tables) -> Any:
    """Figure 5: U_n by content."""
    return _by_content(tables["grid"], CONTENTS, "u_n", "U_n")


def draw_common(tables: Tables) -> Any:
    """Figure 6: what explanations share with those of content zero."""
    return _by_content(tables["grid"], CONTENTS[1:], "n_ce", "N_ce with zero")


@style.own_style()
def _by_content(rows: Rows, contents: Sequence[str], name: str, label: str) -> Any:
    figure = style.figure(3.6)
    panels = figure.subplots(1, len(SEGMENTATIONS), sharey=True)
    for axes, segmentation in zip(panels, SEGMENTATIONS, strict=True):
        values = [
            column(where(rows, segmentation=segmentation, content=content), name)
            for content in contents
        ]
        _violins(axes, values, list(map(named, contents)))
        axes.set_title(segmentation, fontsize=style.SMALL, color=style.INK)
    panels[0].set_ylabel(label)
    return figure


@style.own_style()
def draw_planted(tables: Tables) -> Any:
    """Figure 7: distribution of N_ce above, shares below."""
    rows = tables["planted"]
    contents = (*PLANTED_CONTENTS, MARGINAL)
    figure = style.figure(6.4)
    above, below = figure.subplots(2, 1)
    values = [column(where(rows, content=c, method=SAMPLED), "n_ce") for c in contents]
    _violins(above, values, list(map(named, contents)))
    above.set_ylabel("N_ce with the truth")
    shades = (style.FOR, "#f0a36b", "#f7d8bf", "#d9d9d9")
    left = np.zeros(len(contents))
    for shared, shade in zip((3, 2, 1, 0), shades, strict=True):
        shares = np.array([100 * np.mean(np.array(v) == shared) for v in values])
        below.barh(range(len(contents)), shares, left=left, color=shade, label=str(shared))
        for place, share in enumerate(shares):
            if share >= 6:
                below.text(
                    left[place] + share / 2, place, f"{share:.0f}", ha="center", va="center",
                    fontsize=style.SMALL, color=style.INK,
                )  # fmt: skip
        left += shares
    below.set_yticks(range(len(contents)), list(map(named, contents)))
    below.invert_yaxis()
    below.set_xlim(0, 100)
    below.set_xlabel("% of the excerpts")
    below.legend(
        title="N_ce",
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        fontsize=style.SMALL,
        frameon=False,
    )
    style.dress(below)
    return figure


def _violins(axes: Any, values: Sequence[Sequence[int]], names: Sequence[str]) -> None:
    """Distributions of whole numbers: a violin each, with its median."""
    from matplotlib.ticker import MaxNLocator

    places = range(len(values))
    drawn = axes.violinplot(values, positions=places, widths=0.85, showmedians=True, bw_method=0.35)
    for body in drawn["bodies"]:
        body.set_facecolor(style.FOR)
        body.set_alpha(0.6)
    for part in ("cmedians", "cbars", "cmins", "cmaxes"):
        drawn[part].set_color(style.INK)
        drawn[part].set_linewidth(2.5 if part == "cmedians" else 0.8)
    axes.set_xticks(places, names)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    style.dress(axes)


OF = {
    "num-samples": Told(
        "How many samples does SLIME need?",
        "section IV-A",
        "Under the published distance five explanations of an excerpt disagree, and come to agree "
        "only slowly with more samples; under LIME's own distance they mostly agree at 1 000, and "
        "from all 1024 masks there is nothing to disagree about.",
        stability_figures,
        [
            (
                "figure-3.png",
                draw_stability,
                "Figure 3: U_n, the number of different components in the top 3 of five "
                "explanations, positive weights as in the published code.",
            ),
            (
                "figure-3-absolute.png",
                draw_absolute,
                "The same for the largest weights of either sign, as the paper's text has it.",
            ),
        ],
    ),
    "contents": Told(
        "What stands for what is off?",
        "section IV-B",
        "What a segment is replaced by changes the explanation.",
        content_figures,
        [
            (
                "figure-5.png",
                draw_contents,
                "Figure 5: U_n at 70 000 samples under l2, by what stands for what is off.",
            ),
            (
                "figure-6.png",
                draw_common,
                "Figure 6: how many of the top 3 components are those of content zero.",
            ),
        ],
    ),
    "ground-truth": Told(
        "Are planted voices found?",
        "section V",
        "Where voices were planted in three segments of ten, a content can be chosen by how many "
        "of the three are among the top 3.",
        planted_figures,
        [
            (
                "figure-7.png",
                draw_planted,
                "Figure 7: how many of the three planted segments are among the top 3 (70 000 "
                "samples, l2); all four is the mean over the four contents.",
            )
        ],
    ),
}
