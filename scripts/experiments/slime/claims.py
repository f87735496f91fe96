"""The numbers of the experiments in words, the paper's beside ours."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

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


def column(rows: Rows, name: str) -> list[Any]:
    return [row[name] for row in rows]


def named(content: str) -> str:
    return _NAMES.get(content, content)


def evaluations(ours: int, theirs: int, seconds: float) -> Figure:
    """Returns what the work was, and what it would have been."""
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
    def of(distance, number):
        return column(where(rows, distance=distance, num_samples=number, sign=sign), "u_n")

    few, many = NUM_SAMPLES[0], MOST_SAMPLES
    means = {number: float(np.mean(of("l2", number))) for number in NUM_SAMPLES}
    falls = all(means[b] < means[a] for a, b in itertools.pairwise(STEPS))

    def name(distance, number):
        return f"{U_N}{sign} weights, {distance}, {number} samples"

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
    """Returns how many excerpts share 3, 2, 1 and 0 components with the truth."""
    values = column(where(rows, content=content, method=method), "n_ce")
    return np.bincount(values, minlength=4)[::-1].tolist()


def _shares(counts: Sequence[int]) -> str:
    three, two, one, _ = counts
    number = sum(counts)
    mean = (3 * three + 2 * two + one) / number
    return f"{100 * three / number:.1f} %, {100 * (three + two) / number:.1f} %, {mean:.2f}"
