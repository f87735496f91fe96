"""How well a detector tells frames with an event from frames without."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

Truth = Bool[np.ndarray, " num_frames"]
Told = Float[np.ndarray, " num_frames"]


@dataclasses.dataclass(frozen=True)
class Scores:
    """The measures of Table I of Mishra et al., Reliable Local Explanations, 2020.

    Attributes:
      error: share of wrong frames.
      precision: of the frames told, how many are right.
      recall: of the frames with the event, how many are told.
      specificity: of the frames without, how many are not told.
      f_measure: harmonic mean of precision and recall.
    """

    error: float
    precision: float
    recall: float
    specificity: float
    f_measure: float


def scores(truth: Truth, told: Told, threshold: float) -> Scores:
    """Compares probabilities above a threshold with the truth; NaN where nothing can be counted.

    Example:
      >>> scores(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.6, 0.1]), 0.5).error
      0.5
    """
    said = told > threshold
    hits, alarms = int((said & truth).sum()), int((said & ~truth).sum())
    misses, rests = int((~said & truth).sum()), int((~said & ~truth).sum())
    return Scores(
        _share(alarms + misses, len(truth)),
        _share(hits, hits + alarms),
        _share(hits, hits + misses),
        _share(rests, rests + alarms),
        _share(2 * hits, 2 * hits + alarms + misses),
    )


def best_threshold(truth: Truth, told: Told) -> float:
    """Returns what makes the fewest errors from 0.01 to 0.99; of equals the one nearest to 0.5."""
    limits = sorted(np.arange(1, 100) / 100, key=lambda limit: abs(limit - 0.5))
    return float(min(limits, key=lambda limit: scores(truth, told, limit).error))


def _share(count: int, number: int) -> float:
    return count / number if number else float("nan")
