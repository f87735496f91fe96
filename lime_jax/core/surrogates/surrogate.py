"""What every surrogate is: from statistics of a neighbourhood to a linear function per output."""

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lime_jax.core.surrogates.linear_fit import LinearFit, add_fidelity
from lime_jax.core.surrogates.statistics import EXACT, Statistics

Alpha = Float[Array, ""] | Float[np.ndarray, ""] | float | int | np.floating | np.integer


@runtime_checkable
class Surrogate(Protocol):
    """Solves for a linear function of the masks."""

    def __call__(self, statistics: Statistics) -> LinearFit:
        """One linear function per output, from the statistics of a neighbourhood."""
        ...


def penalty(alpha: Alpha, num_components: int) -> Float[Array, "d d"]:
    """Returns what a ridge adds to the matrix of the normal equations, in float32."""
    return jnp.asarray(alpha, jnp.float32) * jnp.eye(num_components, dtype=jnp.float32)


def normal_equations(
    statistics: Statistics, fit_intercept: bool
) -> tuple[Float[Array, "d d"], Float[Array, "d num_outputs"]]:
    """Returns matrix and right-hand sides: about the means with an intercept, else the origin."""
    if fit_intercept:
        return statistics.mask_scatter, statistics.cross_scatter
    mean = statistics.mask_mean
    return (
        statistics.mask_scatter + statistics.weight * jnp.outer(mean, mean),
        statistics.cross_scatter + statistics.weight * jnp.outer(mean, statistics.output_mean),
    )


def with_intercept(
    statistics: Statistics,
    coefficients: Float[Array, "num_outputs d"],
    fit_intercept: bool,
    is_determined: Bool[Array, "..."],
) -> LinearFit:
    """Returns the linear function with these coefficients through the means, or the origin."""
    at_mean = jnp.matmul(coefficients, statistics.mask_mean, precision=EXACT)
    if not fit_intercept:
        return add_fidelity(statistics, coefficients, jnp.zeros_like(at_mean), is_determined)
    intercept = statistics.output_base + (statistics.output_shift - at_mean)
    return add_fidelity(statistics, coefficients, intercept, is_determined, meets_means=True)
