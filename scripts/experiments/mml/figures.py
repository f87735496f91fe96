"""The numbers and pictures of the experiment, the paper's beside ours."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lime_jax.report import style
from scripts.experiments.common import results
from scripts.experiments.common.results import where
from scripts.experiments.mml.questions import AUDIOLIME, KINDS, KS, RANDOM, SETTINGS, SLIME, Row

# Read off the paper's figure, to about 0.01: FCN, then SampleCNN.
PAPER = {
    ("song", AUDIOLIME): (0.46, 0.55, 0.61, 0.72, 0.79),
    ("song", SLIME): (0.37, 0.43, 0.46, 0.52, 0.54),
    ("song", RANDOM): (0.24, 0.22, 0.22, 0.22, 0.22),
    ("snippet", AUDIOLIME): (0.34, 0.40, 0.49, 0.60, 0.68),
    ("snippet", SLIME): (0.12, 0.20, 0.22, 0.23, 0.25),
    ("snippet", RANDOM): (0.18, 0.17, 0.16, 0.14, 0.10),
}


DIFFERENCES = (
    "Songs with known stems instead of 100 clips of the Million Song Dataset, whose audio cannot "
    "be had; so the stems are not Spleeter's estimates.",
    "One tagger in two settings instead of FCN and SampleCNN: its mean over ten snippets of 3 s, "
    "and one snippet of 3 s.",
    "One excerpt and one snippet of every song; the paper took 3 (FCN) and 16 (SampleCNN) of every "
    "clip.",
    "Explanations of a song are exact: what 16 384 samples scatter around. Those of a snippet have "
    "as many samples as `num_samples` says.",
    "Bands are cut in time as waveforms instead of by frames of the spectrogram; both differ at "
    "the edges of segments only.",
    "Random components come from audioLIME's explanations; silent components count as neither "
    "positive nor negative.",
)


PAPER_TAGGERS = {"song": "FCN", "snippet": "SampleCNN"}


# Colour, marker and a shift to the side, so that equal curves do not hide each other.
LOOKS = {
    AUDIOLIME: (style.FOR, "o", -0.12),
    SLIME: (style.AGAINST, "s", 0.12),
    RANDOM: (style.INK, "^", 0.0),
}


def curves_of(rows: Sequence[Row]) -> list[Row]:
    """Returns the shares of clips whose top tag stays, beside the paper's."""
    curves = []
    for (setting, kind), paper in PAPER.items():
        for k, share in zip(KS, paper, strict=True):
            place = {"setting": setting, "kind": kind, "k": k}
            cell = where(rows, **place)
            lead = lead_of(where(rows, **{**place, "kind": AUDIOLIME}), cell)
            curves.append({**place, **summed_up(cell), "lead": lead, "paper_share": share})
    return curves


def summed_up(cell: Sequence[Row]) -> Row:
    """Returns the mean over clips with its standard error; None without a clip."""
    values = np.array([row["unchanged"] for row in cell if not row["skipped"]])
    count = len(values)
    return {
        "share": float(values.mean()) if count else None,
        "standard_error": float(values.std() / math.sqrt(count)) if count else None,
        "num_clips": count,
        "num_skipped": len(cell) - count,
    }


def lead_of(first: Sequence[Row], second: Sequence[Row]) -> float | None:
    """Returns how far the first lies above the second on the clips that neither skips."""
    shares = [
        {r["clip"]: r["unchanged"] for r in some if not r["skipped"]} for some in (first, second)
    ]
    both = shares[0].keys() & shares[1].keys()
    return math.fsum(shares[0][c] - shares[1][c] for c in both) / len(both) if both else None


def column(curves: Sequence[Row], setting: str, kind: str, name: str) -> list[Any]:
    """Returns a number of a curve at every k."""
    return [curve[name] for curve in where(curves, setting=setting, kind=kind)]


def figures_of(curves: Sequence[Row]) -> list[results.Figure]:
    """Returns a figure per curve; SLIME's and chance's say whether audioLIME lies above them."""
    return [figure_of(curves, setting, kind) for setting in SETTINGS for kind in KINDS]


def figure_of(curves: Sequence[Row], setting: str, kind: str) -> results.Figure:
    shares = column(curves, setting, kind, "share")
    skipped = listed(column(curves, setting, kind, "num_skipped"))
    leads = column(curves, setting, kind, "lead")
    is_asked = kind != AUDIOLIME
    told = f"; audioLIME's lead on the same clips: {printed(leads)}" if is_asked else ""
    tagger = f"{setting} (paper: {PAPER_TAGGERS[setting]})"
    return results.Figure(
        what=f"{tagger}, {kind}: share unchanged at k = {listed(KS)}",
        paper=printed(column(curves, setting, kind, "paper_share")),
        ours=f"{printed(shares)} (clips skipped: {skipped}){told}",
        condition=f"audioLIME above {kind} at every k" if is_asked else None,
        passed=is_ahead(leads) if is_asked else None,
    )


def is_ahead(leads: Sequence[float | None]) -> bool | None:
    """Returns whether it leads at every k; None if no clip shows it."""
    known = [lead for lead in leads if lead is not None]
    return all(lead > 0 for lead in known) if known else None


def listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def printed(shares: Sequence[float | None]) -> str:
    return " ".join("none" if share is None else f"{share:.2f}" for share in shares)


@style.own_style()
def picture(curves: Sequence[Row]) -> Any:
    """Our curves with standard errors, and the paper's dashed."""
    figure = style.figure(4.4)
    panels = figure.subplots(1, len(SETTINGS), sharey=True)
    for axes, setting in zip(panels, SETTINGS, strict=True):
        for kind in KINDS:
            draw_curve(axes, curves, setting, kind)
        count = max(column(curves, setting, AUDIOLIME, "num_clips"))
        title = f"{setting}, up to {count} clips (paper: {PAPER_TAGGERS[setting]})"
        axes.set_title(title, fontsize=style.TEXT, color=style.INK)
        axes.set_xticks(KS)
        axes.set_xlabel("components kept (k)")
        axes.set_ylim(-0.03, 1.05)
        style.dress(axes)
    panels[0].set_ylabel("share with unchanged top tag")
    draw_legend(figure, panels[0])
    return figure


def draw_curve(axes: Any, curves: Sequence[Row], setting: str, kind: str) -> None:
    colour, marker, shift = LOOKS[kind]

    def numbers(name):
        return np.array(column(curves, setting, kind, name), float)

    places = np.array(KS) + shift
    line = {"color": colour, "marker": marker, "markersize": 6}
    spread = {"yerr": numbers("standard_error"), "elinewidth": 1.0, "capsize": 2.5}
    axes.errorbar(places, numbers("share"), **spread, **line, linewidth=2, label=kind)
    paper = {"linestyle": "--", "linewidth": 1, "markerfacecolor": "white"}
    axes.plot(places, numbers("paper_share"), **line, **paper, label=f"{kind}, paper")


def draw_legend(figure: Any, axes: Any) -> None:
    """A column per kind, below the panels."""
    handles, names = axes.get_legend_handles_labels()
    handle_of = dict(zip(names, handles, strict=True))
    names = [name for kind in KINDS for name in (kind, f"{kind}, paper")]
    options = {"loc": "outside lower center", "ncols": len(KINDS), "frameon": False}
    figure.legend([handle_of[name] for name in names], names, fontsize=style.SMALL, **options)
