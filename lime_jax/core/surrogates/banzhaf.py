"""The surrogate whose coefficients are Banzhaf values."""

import jax.numpy as jnp

from lime_jax.core.pytree import pytree
from lime_jax.core.surrogates.linear_fit import LinearFit
from lime_jax.core.surrogates.statistics import Statistics
from lime_jax.core.surrogates.surrogate import with_intercept


@pytree
class Banzhaf:
    """The slope of each component alone; over all masks with flat weights, the Banzhaf value.

    References:
      Hammer and Holzman, Approximations of pseudo-Boolean functions, 1992.
    """

    def __call__(self, statistics: Statistics) -> LinearFit:
        variance = jnp.diagonal(statistics.mask_scatter)
        slopes = statistics.cross_scatter / jnp.where(variance > 0, variance, 1)[:, None]
        return with_intercept(statistics, slopes.T, True, (variance > 0).all())
