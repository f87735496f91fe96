"""The surrogate whose coefficients are Shapley values."""

import jax.numpy as jnp

from lime_jax.core.pytree import pytree
from lime_jax.core.surrogates.linear_fit import LinearFit, add_fidelity
from lime_jax.core.surrogates.statistics import Statistics
from lime_jax.core.surrogates.symmetric_solve import solve


@pytree
class Shapley:
    """Least squares that meets the outputs at all on and all off exactly.

    Over all masks with the Shapley kernel, the coefficients are the Shapley values.

    References:
      Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, 2017.
    """

    @property
    def meets_ends(self) -> bool:
        """Whether the outputs at all on and all off count as well."""
        return True

    def __call__(self, statistics: Statistics) -> LinearFit:
        mean = statistics.mask_mean
        matrix = statistics.mask_scatter + statistics.weight * jnp.outer(mean, mean)
        centred = statistics.output_mean_from(statistics.empty)
        right = statistics.cross_scatter + statistics.weight * jnp.outer(mean, centred)
        ones = jnp.ones(len(matrix), right.dtype)
        solved, is_determined = solve(matrix, jnp.column_stack([right, ones]))
        free, ones = solved[:, :-1], solved[:, -1]
        excess = free.sum(axis=0) - (statistics.full - statistics.empty)
        coefficients = (free - jnp.outer(ones / ones.sum(), excess)).T
        return add_fidelity(statistics, coefficients, statistics.empty, is_determined)
