"""Explanations of one input with different keys, taken together."""

from collections.abc import Sequence

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from lime_jax.core.arguments import listed
from lime_jax.core.explanation import Explanation, check_explanation
from lime_jax.core.surrogates import uncertainty


def stack(explanations: Explanation | Sequence[Explanation]) -> Explanation:
    """Returns the explanations with a leading axis over repeats.

    Raises:
      ValueError: if there are none, or they are not of the same input, outputs and method.
    """
    if isinstance(explanations, Explanation):
        if explanations.degrees_of_freedom.ndim == 0:
            raise ValueError(
                "`explanations` must have a leading axis over repeats, got a single one. Pass "
                "several in a list, each with its own key."
            )
        _check_keys(explanations)
        return explanations
    explanations = listed("explanations", explanations, "explanations")
    for one in explanations:
        check_explanation(one, "explanations")
    if not explanations:
        raise ValueError("`explanations` is empty. Pass at least one.")
    kinds = {(e.deviations.shape, e.num_samples) for e in explanations}
    if len(kinds) > 1:
        shapes = ", ".join(f"{shape[1:]} from {number} samples" for shape, number in sorted(kinds))
        raise ValueError(
            "`explanations` must be of the same input and method, got (num_outputs, "
            f"num_components) = {shapes}. Only keys may differ."
        )
    stacked = _stack(*explanations)
    _check_keys(stacked)
    return stacked


def _check_keys(explanations: Explanation) -> None:
    """Refuses repeats with the same key, which tell nothing new: errors would seem smaller."""
    deviations = explanations.deviations
    if isinstance(deviations, jax.core.Tracer) or not np.any(explanations.degrees_of_freedom):
        return
    rows = np.asarray(deviations).reshape(len(deviations), -1)
    coefficients = np.asarray(explanations.coefficients).reshape(len(rows), -1)
    moved = np.hstack([rows, coefficients])[np.nan_to_num(rows).any(axis=1)]
    if len(np.unique(moved, axis=0)) < len(moved):
        raise ValueError(
            "`explanations` hold repeats that are the same to the last bit. Pass a key of its own "
            "to each, for example from `jax.random.split`."
        )


@jax.jit
def _stack(*explanations: Explanation) -> Explanation:
    return jax.tree.map(lambda *x: jnp.stack(x), *explanations)


@jax.jit
def pool(explanations: Explanation) -> Explanation:
    """Returns the mean of explanations of one input that had different keys.

    Deviations of all repeats are kept side by side, so that the standard error is that of the
    mean. Fidelity is the mean of the repeats', the status their worst; numbers of samples and
    evaluations add up.

    Args:
      explanations: with a leading axis over repeats; further leading axes stay.
    """
    num_repeats = len(explanations.coefficients)

    def mean(x):
        return x.mean(axis=0)

    deviations = jnp.concatenate(list(explanations.deviations), axis=-3) / num_repeats
    return Explanation(
        coefficients=mean(explanations.coefficients),
        intercept=mean(explanations.intercept),
        fidelity=mean(explanations.fidelity),
        local_prediction=mean(explanations.local_prediction),
        prediction=explanations.prediction[0],
        std_error=uncertainty.std_error(deviations),
        deviations=deviations,
        degrees_of_freedom=explanations.degrees_of_freedom.sum(axis=0),
        status=explanations.status.max(axis=0),
        num_evaluations=explanations.num_evaluations.sum(axis=0),
        num_lime_samples=explanations.num_lime_samples.sum(axis=0),
        num_samples=num_repeats * explanations.num_samples,
    )
