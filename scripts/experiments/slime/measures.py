"""What is measured in reproduce.py, from what the network said to all masks of excerpts."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import lime_jax as lj
from lime_jax.core.methods import Method
from scripts.experiments.common.results import where
from scripts.experiments.slime import neighbourhoods
from scripts.experiments.slime.neighbourhoods import (
    CONTENTS,
    NUM_MASKS,
    NUM_SEGMENTS,
    SEGMENTATIONS,
)

n_ce, u_n = lj.metrics.n_ce, lj.metrics.u_n
NUM_SAMPLES = (1000, 5000, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000, 70_000)
MOST_SAMPLES = NUM_SAMPLES[-1]
NUM_REPEATS = 5
DISTANCES = ("l2", "cosine")
SIGNS = ("positive", "absolute")  # of the published code, and of the paper's words
PLANTED_CONTENTS = ("zero", "min_inp", "mean_inp", "noise")
MARGINAL = "all four"

Row = dict[str, Any]
Rows = list[Row]
Outputs = Mapping[tuple[str, str], np.ndarray]  # (excerpts, 1024) by segmentation and content


def lime(distance: str) -> Method:
    """Returns the published method, or LIME's own distance."""
    return lj.lime(MOST_SAMPLES, kernel_width=0.25, distance=distance, alpha=1.0)


def generator(seed: int, *parts: int) -> np.random.Generator:
    """Returns a stream of its own for every purpose and part of it."""
    # NumPy takes (1, 2) and (1, 2, 0) for the same seed.
    return np.random.default_rng((seed, *parts, 1))


def sampled_tops(
    outputs: np.ndarray,
    num_samples: int,
    method: Method,
    rng: np.random.Generator,
    sign: str,
    num_repeats: int = NUM_REPEATS,
) -> list[list[list[int]]]:
    """Returns the top lists of some explanations, for every excerpt with masks of its own."""
    counts = [neighbourhoods.drawn(rng, num_samples, num_repeats) for _ in outputs]
    pairs = zip(outputs, counts, strict=True)
    return [
        neighbourhoods.tops(neighbourhoods.explained(one[None], drawn, method)[0], sign=sign)
        for one, drawn in pairs
    ]


def exact_tops(outputs: np.ndarray, method: Method, sign: str) -> list[list[int]]:
    """Returns the top list of every excerpt, without chance, with the ridge of 70 000 samples."""
    exact = neighbourhoods.explained(outputs, neighbourhoods.evenly(MOST_SAMPLES), method)[0]
    return neighbourhoods.tops(exact, sign=sign)


def stability(which: Rows, outputs: np.ndarray, seed: int) -> Rows:
    """U_n of every excerpt, distance, number of samples and sign; signs share their masks."""
    rows = []
    for distance, num_samples, sign in itertools.product(DISTANCES, NUM_SAMPLES, SIGNS):
        rng = generator(seed, 0, DISTANCES.index(distance), num_samples)
        tops = sampled_tops(outputs, num_samples, lime(distance), rng, sign)
        asked = {"distance": distance, "num_samples": num_samples, "sign": sign}
        rows += [
            {**row, **asked, "u_n": u_n(repeats)} for row, repeats in zip(which, tops, strict=True)
        ]
    return rows


def exact_stability(which: Rows, outputs: np.ndarray, again: Sequence[np.ndarray]) -> Rows:
    """U_n of every excerpt when all masks are used, from as many evaluations of the network.

    Args:
      which: of the excerpts.
      outputs: of the network to all masks.
      again: the same, evaluated once more for every repeat.
    """
    rows = []
    for distance, sign in itertools.product(DISTANCES, SIGNS):
        every = [exact_tops(one, lime(distance), sign) for one in (outputs, *again)]
        asked = {"distance": distance, "sign": sign}
        for row, *lists in zip(which, *every, strict=True):
            rows.append({**row, **asked, "u_n": u_n(lists), "found": len(lists[0])})
    return rows


def grid_rows(which: Rows, outputs: Outputs, seed: int, sign: str) -> Rows:
    """U_n of every excerpt, segmentation and content, and what its explanation shares with zero's.

    With 70 000 samples under l2, as published; and without chance, under both distances.
    """
    rows, zero, exact_zero = [], [], {}
    for segmentation, content in itertools.product(SEGMENTATIONS, CONTENTS):
        rng = generator(seed, 1, SEGMENTATIONS.index(segmentation), CONTENTS.index(content))
        of_content = outputs[segmentation, content]
        sampled = sampled_tops(of_content, MOST_SAMPLES, lime("l2"), rng, sign)
        exact = {d: exact_tops(of_content, lime(d), sign) for d in DISTANCES}
        if content == "zero":
            zero, exact_zero = sampled, exact
        for number, row in enumerate(which):
            shared = {
                f"n_ce_{distance}": n_ce(exact[distance][number], exact_zero[distance][number])
                for distance in DISTANCES
            }
            rows.append(
                {
                    **row,
                    "segmentation": segmentation,
                    "content": content,
                    "u_n": u_n(sampled[number]),
                    "top": sampled[number][0],
                    "n_ce": n_ce(sampled[number][0], zero[number][0]),
                    **shared,
                }
            )
    return rows


def table_2(rows: Rows) -> Rows:
    """Returns a sung and an unsung excerpt of four songs: their top lists by content.

    The first two songs are explained by time, the others by frequency.
    """
    pairs: dict[str, dict[bool, Row]] = {}
    for row in rows:
        pairs.setdefault(row["song"], {}).setdefault(row["sung"], row)
    both = [pair for pair in pairs.values() if len(pair) == 2][:4]
    table = []
    for number, pair in enumerate(both):
        kind = SEGMENTATIONS[number // 2]
        for row in (pair[False], pair[True]):
            common = {name: row[name] for name in ("song", "index", "probability", "sung")}
            same = where(rows, **common, segmentation=kind)
            tops = {other["content"]: ", ".join(map(str, other["top"])) for other in same}
            table.append({**common, "segmentation": kind, **tops})
    return table


def planted_rows(which: Rows, outputs: Mapping[str, np.ndarray], seed: int, sign: str) -> Rows:
    """Returns N_ce between explanations and the planted segments: as published, and in other ways.

    Args:
      which: of the excerpts, with their planted "segments".
      outputs: `(excerpts, 1024)` by content.
      seed: of the masks.
      sign: of the components.
    """
    marginal = np.mean([outputs[content] for content in PLANTED_CONTENTS], axis=0)
    rows = []
    for content in (*PLANTED_CONTENTS, MARGINAL):
        here = marginal if content == MARGINAL else outputs[content]
        rng = generator(seed, 2, [*PLANTED_CONTENTS, MARGINAL].index(content))
        found = {
            "l2, 70 000 samples": [
                tops[0] for tops in sampled_tops(here, MOST_SAMPLES, lime("l2"), rng, sign, 1)
            ],
            "l2, all masks": exact_tops(here, lime("l2"), sign),
            "cosine, all masks": exact_tops(here, lime("cosine"), sign),
            "Shapley values": neighbourhoods.tops(_shapley(here), sign=sign),
        }
        for method, tops in found.items():
            for row, top in zip(which, tops, strict=True):
                shared = n_ce(top, row["segments"])
                rows.append({**row, "content": content, "method": method, "n_ce": shared})
    return rows


def _shapley(outputs: np.ndarray) -> np.ndarray:
    return neighbourhoods.explained(outputs, np.ones((1, NUM_MASKS), np.float32), lj.shapley())[0]


def analysis(outputs: np.ndarray, seed: int) -> dict[str, float]:
    """Why 70 000 samples under l2 scatter: numbers about excerpts explained with content zero.

    Args:
      outputs: `(excerpts, 1024)`.
      seed: of the masks.
    """
    occluded, rng = neighbourhoods.occlusion(outputs), generator(seed, 3)
    exact, fidelity = neighbourhoods.explained(
        outputs, neighbourhoods.evenly(MOST_SAMPLES), lime("l2")
    )
    cosine, cosine_fidelity = neighbourhoods.explained(
        outputs, neighbourhoods.evenly(MOST_SAMPLES), lime("cosine")
    )
    counts = neighbourhoods.drawn(rng, MOST_SAMPLES, 50)
    without = NUM_MASKS - 1 - 2 ** np.arange(NUM_SEGMENTS)
    times_without = counts[:, without]
    drawn = neighbourhoods.explained(outputs, counts, lime("l2"))[0]
    weight = np.exp(-8.0)
    told = times_without * weight / (1 + times_without * weight)
    predicted = told[None] * occluded[:, None]
    scatter = drawn - exact
    shapley = _shapley(outputs)[:, 0]
    return {
        "mean number of rows that miss only a given segment": float(times_without.mean()),
        "its standard deviation": float(times_without.std()),
        "weight of the rows with everything on": float(counts[:, -1].mean()),
        "weight of the rows that miss one segment": float(times_without.sum(1).mean() * weight),
        "weight of all other rows": _other_weight(counts),
        "coefficient as a share of occlusion": _slope(occluded, exact[:, 0]),
        "correlation with occlusion": _correlation(occluded, exact[:, 0]),
        "correlation with occlusion times its count": _correlation(predicted, drawn),
        "scatter explained by the counts": _correlation(
            predicted - predicted.mean(1)[:, None], scatter
        ),
        "relative scatter of a coefficient": _slope(np.abs(exact[:, 0]), scatter.std(axis=1)),
        "median fidelity under l2": float(np.median(fidelity)),
        "median fidelity under cosine": float(np.median(cosine_fidelity)),
        "correlation of l2 with Shapley values": _correlation(shapley, exact[:, 0]),
        "correlation of cosine with Shapley values": _correlation(shapley, cosine[:, 0]),
    }


def _other_weight(counts: np.ndarray) -> float:
    zeros = NUM_SEGMENTS - neighbourhoods.MASKS.sum(axis=1)
    return float((counts * np.where(zeros > 1, np.exp(-8.0 * zeros), 0)).sum(axis=1).mean())


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    """Of the line through zero."""
    return float((x * y).sum() / (x * x).sum())


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x.ravel(), y.ravel())[0, 1])
