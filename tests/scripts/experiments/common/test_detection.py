"""Measures are those of scikit-learn; the threshold is the best there is."""

import dataclasses
import math

import numpy as np
import pytest
from sklearn import metrics

from scripts.experiments.common import detection


def table(seed, size=300):
    rng = np.random.default_rng(seed)
    truth = rng.random(size) < rng.uniform(0.2, 0.8)
    told = np.clip(0.3 * truth + rng.uniform(0, 0.7, size), 0, 1)
    return truth, told.astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [0.25, 0.5, 0.66])
def test_scores_are_those_of_scikit_learn(seed, threshold):
    truth, told = table(seed)
    said = told > threshold
    found = detection.scores(truth, told, threshold)
    expected = {
        "error": 1 - metrics.accuracy_score(truth, said),
        "precision": metrics.precision_score(truth, said),
        "recall": metrics.recall_score(truth, said),
        "specificity": metrics.recall_score(truth, said, pos_label=False),
        "f_measure": metrics.f1_score(truth, said),
    }
    assert dataclasses.asdict(found) == pytest.approx(expected)


NAN = float("nan")
EDGES = {
    "all right": ([True, False], [0.9, 0.1], (0, 1, 1, 1, 1)),
    "all wrong": ([True, False], [0.1, 0.9], (1, 0, 0, 0, 0)),
    "the threshold itself is not told": ([True, True], [0.5, 0.51], (0.5, 1, 0.5, NAN, 2 / 3)),
    "nothing told": ([True, False], [0.1, 0.1], (0.5, NAN, 0, 1, 0)),
    "no event": ([False, False], [0.9, 0.1], (0.5, 0, NAN, 0.5, 0)),
    "no event and nothing told": ([False], [0.1], (0, NAN, NAN, 1, NAN)),
    "no frames": ([], [], (NAN,) * 5),
}


@pytest.mark.parametrize(("truth", "told", "expected"), list(EDGES.values()), ids=EDGES)
def test_what_cannot_be_counted_is_nan(truth, told, expected):
    found = detection.scores(np.array(truth, bool), np.array(told, np.float32), 0.5)
    assert dataclasses.astuple(found) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("seed", range(4))
def test_no_threshold_errs_less_and_none_as_good_is_nearer_to_a_half(seed):
    truth, told = table(seed, size=60)
    found = detection.best_threshold(truth, told)
    errors = {i / 100: int(((told > np.float32(i / 100)) != truth).sum()) for i in range(1, 100)}
    least = min(errors.values())
    assert errors[found] == least
    nearest = min(abs(limit - 0.5) for limit, number in errors.items() if number == least)
    assert math.isclose(abs(found - 0.5), nearest)


def test_the_best_threshold_lies_between_what_can_be_told_apart():
    truth = np.array([True, False] * 3)
    assert detection.best_threshold(truth, np.where(truth, 0.7, 0.3)) == 0.5
    assert detection.best_threshold(truth, np.where(truth, 0.9, 0.75)) == 0.75
    assert detection.best_threshold(truth, np.where(truth, 0.2, 0.1)) == pytest.approx(0.19)
