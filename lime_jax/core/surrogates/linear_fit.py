"""The fit of a linear function, judged by the statistics."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lime_jax.core.pytree import pytree
from lime_jax.core.surrogates.statistics import EXACT, Statistics


@pytree
class LinearFit:
    """A linear function of masks, one per output.

    Attributes:
      coefficients: `(num_outputs, num_components)`.
      intercept: `(num_outputs,)`.
      fidelity: weighted R² on the neighbourhood, `(num_outputs,)`.
      local_prediction: its value with everything on, `(num_outputs,)`.
      is_determined: whether the masks tell the components apart, `(num_outputs,)`; where they do
        not, the coefficients are those of the shortest solution, and others fit as well.
    """

    coefficients: Float[Array, "..."]
    intercept: Float[Array, "..."]
    fidelity: Float[Array, "..."]
    local_prediction: Float[Array, "..."]
    is_determined: Bool[Array, "..."]


def add_fidelity(
    statistics: Statistics,
    coefficients: Float[Array, "num_outputs num_components"],
    intercept: Float[Array, " num_outputs"],
    is_determined: Bool[Array, "..."],
    *,
    meets_means: bool = False,
) -> LinearFit:
    """Adds fidelity and local prediction to a linear function.

    Args:
      statistics: of the neighbourhood.
      coefficients: of the function.
      intercept: of the function.
      is_determined: see `LinearFit`; of all outputs or of each.
      meets_means: whether it goes through the means, whatever rounding makes of its intercept.

    The fidelity is scikit-learn's weighted R², the number LIME calls score: 1 where a constant
    output is met exactly, 0 where it is not.
    """
    spread = statistics.output_spread
    varies = spread > 0
    # In units of the spread: squares of small or large outputs are no float32 numbers.
    unit = jnp.where(varies, spread, 1)
    slopes, cross = coefficients.T / unit[None], statistics.cross_scatter / unit[None]
    explained = jnp.matmul(statistics.mask_scatter, slopes, precision=EXACT)
    about_mean = jnp.square(spread / unit) - 2 * (cross * slopes).sum(axis=0)
    about_mean += (slopes * explained).sum(axis=0)
    if meets_means:
        offset = jnp.zeros_like(spread)
    else:
        at_mean = jnp.matmul(slopes.T, statistics.mask_mean, precision=EXACT)
        offset = statistics.output_mean_from(intercept) / unit - at_mean
    unexplained = jnp.maximum(about_mean, 0) + statistics.weight * jnp.square(offset)
    constant = jnp.where(unexplained > 0, 0.0, 1.0)
    fidelity = jnp.where(varies, 1 - unexplained, constant)
    return LinearFit(
        coefficients,
        intercept,
        jnp.where(jnp.isnan(spread), jnp.nan, fidelity),
        intercept + coefficients.sum(axis=1),
        jnp.broadcast_to(is_determined, intercept.shape),
    )
