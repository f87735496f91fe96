"""The numbers and pictures of reproduce_slime.py, the paper's beside ours."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lime_jax.report import style
from scripts.experiments.common.results import Figure, percent, where
from scripts.experiments.slime.measures import (
    DISTANCES,
    MARGINAL,
    MOST_SAMPLES,
    NUM_REPEATS,
    NUM_SAMPLES,
    PLANTED_CONTENTS,
    SIGNS,
    Rows,
)
from scripts.experiments.slime.neighbourhoods import CONTENTS, NUM_MASKS, SEGMENTATIONS

Tables = Mapping[str, Rows]
STEPS = (1000, 10_000, 30_000, MOST_SAMPLES)  # where one more is more than noise
SAMPLED = "l2, 70 000 samples"
# Figure 7 of the paper: how many of 656 excerpts share 3, 2, 1 and 0 components with the truth.
FIGURE_7 = {
    "zero": (157, 373, 123, 3),
    "min_inp": (47, 364, 233, 12),
    "mean_inp": (219, 330, 102, 5),
    "noise": (121, 404, 121, 10),
}
_NAMES = {"noise": "N_g^norm"}
# How the names of figures begin that belong together.
U_N = "median, mode, mean of U_n, "
AGREE = f"five explanations from all {NUM_MASKS} masks agree, "
WHY = "analysis: "
COMMON = "mean N_ce with zero, "
FOUND = "full match, at least 2, mean N_ce: "


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


def column(rows: Rows, name: str) -> list[Any]:
    return [row[name] for row in rows]


def named(content: str) -> str:
    return _NAMES.get(content, content)


def evaluations(ours: int, theirs: int, seconds: float) -> Figure:
    """What the work was, and what it would have been."""
    told = f"{ours:,} masks from windows, {seconds / 60:.1f} min; one by one {theirs:,} evaluations"
    return Figure(
        "what the answers took, and what they take one sample at a time",
        None,
        f"{told}, {theirs / ours:,.0f} × as many",
    )


def stability_figures(tables: Tables, seconds: float) -> list[Figure]:
    """Figure 3, and why it looks as it does."""
    exact = tables["exhaustive"]
    num = len(where(exact, distance="l2", sign="positive"))
    return [
        *(figure for sign in SIGNS for figure in _sampled_figures(tables["u_n"], sign)),
        *(_exact_figure(exact, distance, sign) for distance in DISTANCES for sign in SIGNS),
        evaluations(num * NUM_REPEATS * NUM_MASKS, num * NUM_REPEATS * sum(NUM_SAMPLES), seconds),
        *analysis_figures(tables["analysis"][0]),
    ]


def _sampled_figures(rows: Rows, sign: str) -> list[Figure]:
    of = lambda distance, number: column(
        where(rows, distance=distance, num_samples=number, sign=sign), "u_n"
    )
    few, many = NUM_SAMPLES[0], MOST_SAMPLES
    means = {number: float(np.mean(of("l2", number))) for number in NUM_SAMPLES}
    falls = all(means[b] < means[a] for a, b in itertools.pairwise(STEPS))
    name = lambda distance, number: f"{U_N}{sign} weights, {distance}, {number} samples"
    is_published = sign == "positive"
    return [
        Figure(name("l2", "1 000"), None, _u_n(of("l2", few))),
        Figure(
            name("l2", "70 000"),
            "4, 3" if is_published else None,
            _u_n(of("l2", many)),
            "median at most 4",
            bool(np.median(of("l2", many)) <= 4),
        ),
        Figure(
            f"mean of U_n over N_s, {sign} weights, l2",
            "falls" if is_published else None,
            ", ".join(f"{mean:.2f}" for mean in means.values()),
            f"falls from {', '.join(f'{n:,}' for n in STEPS[:-1])} to {STEPS[-1]:,}",
            falls,
        ),
        Figure(
            name("cosine", "1 000"),
            None,
            _u_n(of("cosine", few)),
            "median 3",
            bool(np.median(of("cosine", few)) == 3),
        ),
        Figure(name("cosine", "70 000"), None, _u_n(of("cosine", many))),
    ]


def _u_n(values: Sequence[int]) -> str:
    mode = int(np.bincount(values).argmax())
    return f"{np.median(values):g}, {mode}, {np.mean(values):.2f}"


def _exact_figure(rows: Rows, distance: str, sign: str) -> Figure:
    """Five explanations from five evaluations of all masks."""
    here = where(rows, distance=distance, sign=sign)
    same = sum(row["u_n"] == row["found"] for row in here)
    three = sum(row["u_n"] == 3 for row in here)
    fewer = "" if three == len(here) else "; in others fewer than three weights are positive"
    return Figure(
        f"{AGREE}{sign} weights, {distance}",
        None,
        f"{percent(same, len(here))}; U_n = 3 in {three}{fewer}",
        "always",
        same == len(here),
    )


def analysis_figures(numbers: Mapping[str, float]) -> list[Figure]:
    """Why: numbers, three of them beside what theory says."""
    theory = {
        "mean number of rows that miss only a given segment": (MOST_SAMPLES / NUM_MASKS, 1.0),
        "its standard deviation": (math.sqrt(MOST_SAMPLES / NUM_MASKS), 1.0),
        "coefficient as a share of occlusion": (0.0224, 0.001),
    }
    figures = []
    for name, value in numbers.items():
        asked, passed = None, None
        if name in theory:
            expected, margin = theory[name]
            asked, passed = f"{expected:.3g} ± {margin:g}", abs(value - expected) <= margin
        figures.append(Figure(f"{WHY}{name}", None, f"{value:.3g}", asked, passed))
    return figures


def content_figures(tables: Tables, seconds: float) -> list[Figure]:
    """Table II, Figures 5 and 6."""
    rows = tables["grid"]
    num = len(rows)
    return [
        *(_stable_figure(rows, s, c) for s in SEGMENTATIONS for c in CONTENTS),
        *(figure for s in SEGMENTATIONS for figure in _common_figures(rows, s)),
        *map(_table_2_figure, tables["table-2"]),
        evaluations(num * NUM_MASKS, num * NUM_REPEATS * MOST_SAMPLES, seconds),
    ]


def _stable_figure(rows: Rows, segmentation: str, content: str) -> Figure:
    here = column(where(rows, segmentation=segmentation, content=content), "u_n")
    paper = "unstable, but for RWC spectral" if content == "min_data" else "as for zero"
    name = f"median, mode, mean of U_n at 70 000, {segmentation}, {named(content)}"
    return Figure(name, None if content == "zero" else paper, _u_n(here))


def _common_figures(rows: Rows, segmentation: str) -> list[Figure]:
    """How much of the top 3 remains when the content is not zero."""
    means, exact = {}, {}
    for content in CONTENTS[1:]:
        here = where(rows, segmentation=segmentation, content=content)
        means[content] = float(np.mean(column(here, "n_ce")))
        exact[content] = float(np.mean(column(here, "n_ce_cosine")))
    figures = [
        Figure(
            f"{COMMON}{segmentation}, {named(content)}",
            {"mean_inp": "closest to zero", "noise": "often none"}.get(content),
            f"{mean:.2f}; {exact[content]:.2f} under cosine, all masks",
        )
        for content, mean in means.items()
    ]
    closest = max(means, key=means.__getitem__)
    told = f"{named(closest)}; without chance at most {max(exact.values()):.2f} of 3 in common"
    return [
        *figures,
        Figure(
            f"content closest to zero, {segmentation}",
            "mean_inp",
            told,
            "mean_inp, and less than 2.9 in common without chance",
            closest == "mean_inp" and max(exact.values()) < 2.9,
        ),
    ]


def _table_2_figure(row: Mapping[str, Any]) -> Figure:
    tops = "; ".join(f"{named(content)} {row[content] or 'none'}" for content in CONTENTS)
    voice = "sung" if row["sung"] else "not sung"
    where_ = f"{row['song']}, {row['index']}, {voice}, p = {row['probability']:.3f}"
    return Figure(f"Table II: {where_}, {row['segmentation']}", None, tops)


def planted_figures(tables: Tables, seconds: float) -> list[Figure]:
    """Figure 7."""
    rows, kept = tables["planted"], tables["kept"][0]
    counts = {content: counts_of(rows, content, SAMPLED) for content in PLANTED_CONTENTS}
    add_up = all(sum(found) == kept["kept"] for found in counts.values())
    figures = [
        Figure(
            "planted excerpts that the network hears a voice in",
            "656 of 2 000",
            f"{kept['kept']} of {kept['made']} that were made",
            "at least 200, and counts that add up",
            kept["kept"] >= 200 and add_up,
        )
    ]
    for content in PLANTED_CONTENTS:
        told = (", ".join(map(str, some)) for some in (FIGURE_7[content], counts[content]))
        figures.append(Figure(f"excerpts with N_ce = 3, 2, 1, 0, {named(content)}", *told))
    methods = list(dict.fromkeys(column(rows, "method")))
    for method in methods:
        for content in (*PLANTED_CONTENTS, MARGINAL):
            is_papers = method == SAMPLED and content in FIGURE_7
            paper = _shares(FIGURE_7[content]) if is_papers else None
            told = _shares(counts_of(rows, content, method))
            figures.append(Figure(f"{FOUND}{method}, {named(content)}", paper, told))
    num = kept["kept"] * len(PLANTED_CONTENTS)
    return [*figures, evaluations(num * NUM_MASKS, num * MOST_SAMPLES, seconds)]


def counts_of(rows: Rows, content: str, method: str) -> list[int]:
    """How many excerpts share 3, 2, 1 and 0 components with the truth."""
    values = column(where(rows, content=content, method=method), "n_ce")
    return np.bincount(values, minlength=4)[::-1].tolist()


def _shares(counts: Sequence[int]) -> str:
    three, two, one, _ = counts
    number = sum(counts)
    mean = (3 * three + 2 * two + one) / number
    return f"{100 * three / number:.1f} %, {100 * (three + two) / number:.1f} %, {mean:.2f}"


def draw_stability(tables: Tables, sign: str = "positive") -> Any:
    """Figure 3: U_n over numbers of samples."""
    figure = style.figure(6.4)
    panels = figure.subplots(len(DISTANCES), 1, sharex=True, sharey=True)
    for axes, distance in zip(panels, DISTANCES, strict=True):
        of = lambda number, distance=distance: where(
            tables["u_n"], distance=distance, num_samples=number, sign=sign
        )
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
    """The same for weights of either sign."""
    return draw_stability(tables, "absolute")


def draw_contents(tables: Tables) -> Any:
    """Figure 5: U_n by content."""
    return _by_content(tables["grid"], CONTENTS, "u_n", "U_n")


def draw_common(tables: Tables) -> Any:
    """Figure 6: what explanations share with those of content zero."""
    return _by_content(tables["grid"], CONTENTS[1:], "n_ce", "N_ce with zero")


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
