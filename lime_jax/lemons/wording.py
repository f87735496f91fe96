"""The words for fidelity and relevance."""

import math

from lime_jax.core.explanation import Status

_BOUNDS = (0.2, 0.4, 0.6, 0.8)
_GRADES = (
    "says something else than the recommender: do not believe this explanation",
    "follows the recommender only a little: take this explanation as a hint",
    "follows the recommender in part: read this explanation with care",
    "follows the recommender well",
    "says nearly the same as the recommender",
)


def grade(fidelity: float | None) -> int | None:
    """Returns the class of a fidelity: 0 for the lowest fifth to 4; None if undefined.

    Example:
      >>> grade(0.85), grade(-3.0), grade(None)
      (4, 0, None)
    """
    if fidelity is None or math.isnan(fidelity):
        return None
    return sum(fidelity >= bound for bound in _BOUNDS)


def fidelity(value: float | None, status: str = "ok") -> str:
    """Returns a sentence about a fidelity, or about why there is none.

    Args:
      value: of the explanation.
      status: of its record.

    Example:
      >>> fidelity(0.931)
      '0.93 – the simple model that explains says nearly the same as the recommender.'
    """
    if status not in ("ok", Status.CONSTANT_OUTPUT.advice):
        return f"undefined – nothing could be explained: {status}"
    number = grade(value)
    if number is None or value is None:
        return (
            "undefined – the recommender says the same whatever is left out, so there is nothing "
            "to explain."
        )
    if value < 0:
        return (
            f"{_two_decimals(value)} – the simple model that explains does worse than a constant: "
            "do not believe this explanation."
        )
    return f"{_two_decimals(value)} – the simple model that explains {_GRADES[number]}."


def without(relevance: float, left: float) -> str:
    """Returns a sentence about the counter-test.

    Example:
      >>> without(0.91, 0.34)
      'Without it the relevance falls from 0.91 to 0.34.'
      >>> without(0.912, 0.909)
      'Without it the relevance falls from 0.912 to 0.909.'
    """
    digits = 2 if f"{relevance:.2f}" != f"{left:.2f}" else 3
    before, after = f"{relevance:.{digits}f}", f"{left:.{digits}f}"
    if before == after:
        return f"Without it the relevance stays at {before}."
    verb = "falls" if left < relevance else "rises"
    return f"Without it the relevance {verb} from {before} to {after}."


def _two_decimals(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")
