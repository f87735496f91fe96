"""The tables and numbers of reproduce.py, the paper's beside ours."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from scripts.experiments.common import results
from scripts.experiments.common.results import Figure, where
from scripts.experiments.confounder.classifier import OUTPUT_NAMES
from scripts.experiments.confounder.excerpts import DRUMS, TEST_SETS, VARIANTS

ORACLE, RESIDUAL = "oracle", "+residual"
WHICH = ("misclassified", "all")

PAPER_TABLE_2 = {
    "gpdb": {"t_dr-gtr": "99.87 ± 0.28", "t_dr-pno": "12.58 ± 2.98"},
    "gpdbs": {"t_dr-gtr": "99.24 ± 0.69", "t_dr-pno": "4.58 ± 2.71"},
}
PAPER_TABLE_3 = {
    (ORACLE, "gpdb"): "99.90 ± 0.29",
    (ORACLE, "gpdbs"): "99.41 ± 0.90",
    ("one-vs-all", "gpdb"): "100.00 ± 0.00",
    ("one-vs-all", "gpdbs"): "99.89 ± 0.31",
    ("one-vs-all" + RESIDUAL, "gpdb"): "99.61 ± 0.65",
    ("one-vs-all" + RESIDUAL, "gpdbs"): "99.60 ± 0.50",
}


def accuracies(rows: Sequence[dict]) -> dict[str, float]:
    """Returns the share of right predictions in percent, by test set."""
    sets = {name: where(rows, separator=ORACLE, test_set=name) for name in TEST_SETS}
    return {
        name: share(row["label"] == row["predicted"] for row in some)
        for name, some in sets.items()
        if some
    }


def share(flags: Any) -> float:
    """In percent; NaN of nothing."""
    flags = list(flags)
    return round(100 * sum(flags) / len(flags), 2) if flags else float("nan")


def table_2(rows: Sequence[dict]) -> list[dict[str, Any]]:
    """Accuracy of every network, in percent."""
    return [
        {"variant": variant, "seed": seed, "test_set": test_set, "accuracy": accuracy}
        for variant in VARIANTS
        for seed in seeds_of(rows, variant)
        for test_set, accuracy in accuracies(where(rows, variant=variant, seed=seed)).items()
    ]


def table_3(rows: Sequence[dict]) -> list[dict[str, Any]]:
    """Returns how often drums are on top when guitar is predicted on t_dr-pno, in percent.

    Of misclassified mixtures, all of which have drums, and of all, some of which have none.
    """
    said = where(rows, test_set="t_dr-pno", predicted="guitar")
    found = []
    for separator, variant in itertools.product(separators_in(rows), VARIANTS):
        for seed, which in itertools.product(seeds_of(rows, variant), WHICH):
            here = where(said, separator=separator, variant=variant, seed=seed)
            some = here if which == "all" else where(here, label="piano")
            if some:
                place = {"separator": separator, "variant": variant, "seed": seed, "which": which}
                drums = share(row["top"] == DRUMS for row in some)
                found.append({**place, "drums_on_top": drums, "num_explanations": len(some)})
    return found


def separators_in(rows: Sequence[dict]) -> list[str]:
    return list(dict.fromkeys(row["separator"] for row in rows))


def seeds_of(rows: Sequence[dict], variant: str) -> list[int]:
    return sorted({row["seed"] for row in rows if row["variant"] == variant})


def cells_of(rows: Sequence[dict]) -> list[dict[str, Any]]:
    """Returns how often every component is on top, for every label and prediction."""
    keys = ("trained", "separator", "variant", "test_set", "label", "predicted")
    groups: dict[tuple, list] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row["top"])
    return [
        {
            **dict(zip(keys, group, strict=True)),
            "component": component,
            "num_explanations": tops.count(component),
            "share": tops.count(component) / len(tops),
        }
        for group, tops in groups.items()
        for component in dict.fromkeys(tops)
    ]


def largest_share(rows: Sequence[dict]) -> tuple[str, float]:
    """Returns the component that is on top most often, and how often in percent."""
    tops = [row["top"] or "no stem" for row in rows]
    name = max(sorted(set(tops)), key=tops.count)
    return name, share(top == name for top in tops)


def figures_of(rows: Sequence[dict], untrained: Sequence[dict], is_same: bool) -> list[Figure]:
    """Returns the paper's numbers and ours."""
    return [
        *figures_of_table_2(rows),
        *figures_of_table_3(rows),
        *figures_of_cells(rows),
        *figures_of_untrained(rows, untrained),
        Figure("the same explanations again", None, "bit for bit" if is_same else "differ",
               "identical weights", is_same),
    ]  # fmt: skip


def figures_of_table_2(rows: Sequence[dict]) -> Iterator[Figure]:
    accuracy = table_2(rows)
    for variant in dict.fromkeys(row["variant"] for row in rows):
        sets = {name: where(accuracy, variant=variant, test_set=name) for name in TEST_SETS}
        values = {name: [row["accuracy"] for row in some] for name, some in sets.items()}
        good = sum(
            same >= 97 and swapped <= 25 for same, swapped in zip(*values.values(), strict=True)
        )
        number = len(seeds_of(rows, variant))
        condition = (
            f"≥ 97 on t_dr-gtr and ≤ 25 on t_dr-pno in ≥ 80 % of the seeds: {good} of {number}"
        )
        for name in TEST_SETS:
            is_last = name == "t_dr-pno"
            yield Figure(
                f"Table 2, accuracy in %, {variant}, {name}",
                PAPER_TABLE_2[variant][name],
                results.mean_and_deviation(values[name]),
                condition if is_last else None,
                good >= 0.8 * number if is_last else None,
            )


def figures_of_table_3(rows: Sequence[dict]) -> Iterator[Figure]:
    """Drums on top, and how much a residual changes that."""
    found = table_3(rows)
    for which, separator, variant in itertools.product(WHICH, separators_in(rows), VARIANTS):
        place = {"which": which, "variant": variant}

        def told(name, place=place):
            return [row["drums_on_top"] for row in where(found, separator=name, **place)]

        if not (values := told(separator)):
            continue
        mean, without = (np.mean(told(n)) for n in (separator, separator.removesuffix(RESIDUAL)))
        is_residual = separator.endswith(RESIDUAL)
        yield Figure(
            f"Table 3, drums on top in % of guitar on t_dr-pno ({which}), {variant}, {separator}",
            PAPER_TABLE_3.get((separator, variant)),
            results.mean_and_deviation(values),
            "within 2 points of the same without residual" if is_residual else "≥ 98",
            bool(abs(mean - without) < 2 if is_residual else mean >= 98),
        )


def figures_of_cells(rows: Sequence[dict]) -> Iterator[Figure]:
    """Figure 2, cell by cell: whether drums decide what is right, and what is wrong."""
    for separator, variant in itertools.product(separators_in(rows), VARIANTS):
        some = where(rows, separator=separator, variant=variant)
        for predicted in OUTPUT_NAMES:
            if some:
                yield figure_of_cells(some, predicted, variant, separator)


def figure_of_cells(rows: Sequence[dict], predicted: str, variant: str, separator: str) -> Figure:
    """Right on the first test set, wrong on the second: the cells where drums can play a part."""
    rows = where(rows, predicted=predicted)
    right = where(rows, test_set="t_dr-gtr", label=predicted)
    wrong = [row for row in where(rows, test_set="t_dr-pno") if row["label"] != predicted]
    shares = [share(row["top"] == DRUMS for row in cell) for cell in (right, wrong)]
    drums_play = predicted == "guitar"
    return Figure(
        f"Figure 2, drums on top in % of {predicted}, right on t_dr-gtr | wrong on t_dr-pno, "
        f"{variant}, {separator}",
        "by far the most important",
        f"{shares[0]:.1f} of {len(right)} | {shares[1]:.1f} of {len(wrong)}",
        "≥ 90 in both" if drums_play else None,
        min(shares) >= 90 if drums_play and right and wrong else None,
    )


def figures_of_untrained(rows: Sequence[dict], untrained: Sequence[dict]) -> Iterator[Figure]:
    for separator in separators_in(untrained):
        some = where(untrained, separator=separator)
        variant = some[0]["variant"]
        others = where(rows, separator=separator, test_set="t_dr-pno", variant=variant)
        name, most = largest_share(some)
        p = chi_squared(some, others)
        yield Figure(
            f"Figure 3, most frequent top of untrained networks, {separator}",
            "no source dominates",
            f"{name}, {most:.1f} % of {len(some)}; p = {p:.1g} that trained ones are alike, median "
            "over networks",
            "≤ 60 % and p < 0.01",
            most <= 60 and p < 0.01,
        )


def chi_squared(rows: Sequence[dict], others: Sequence[dict]) -> float:
    """The probability that both have their tops from one distribution, median over networks.

    Networks explain the same excerpts, so that only those of one are independent of each other.
    """
    seeds = sorted({row["seed"] for row in rows} & {row["seed"] for row in others})
    values = [p_value(where(rows, seed=seed), where(others, seed=seed)) for seed in seeds]
    return float(np.median(values)) if values else float("nan")


def p_value(rows: Sequence[dict], others: Sequence[dict]) -> float:
    from scipy.stats import chi2_contingency

    tops = [[str(row["top"]) for row in some] for some in (rows, others)]
    names = sorted({*tops[0], *tops[1]})
    counts = [[some.count(name) for name in names] for some in tops]
    return float(chi2_contingency(counts).pvalue) if len(names) > 1 else 1.0
