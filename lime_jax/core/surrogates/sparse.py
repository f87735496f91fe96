"""Ridge regression on few components, chosen from the statistics alone."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lime_jax.core.pytree import pytree, static
from lime_jax.core.surrogates import feature_selection
from lime_jax.core.surrogates.linear_fit import LinearFit
from lime_jax.core.surrogates.ridge import Ridge
from lime_jax.core.surrogates.statistics import Statistics
from lime_jax.core.surrogates.surrogate import (
    Alpha,
    Surrogate,
    normal_equations,
    penalty,
    with_intercept,
)
from lime_jax.core.surrogates.symmetric_solve import solve


@pytree
class ForwardSelection:
    """Ridge on the components that a greedy search finds, one at a time by unpenalised R²."""

    num_features: int = static()
    alpha: Alpha = 1.0
    fit_intercept: bool = static(default=True)

    def __call__(self, statistics: Statistics) -> LinearFit:
        return self.given(statistics)(statistics)

    def given(self, statistics: Statistics) -> Surrogate:
        """Returns the surrogate on what is selected here, which selects nothing any more."""
        selected = feature_selection.forward(statistics, self.num_features)
        return _Selected(selected, self.alpha, self.fit_intercept)


@pytree
class HighestWeights:
    """Ridge on the components with the largest coefficients in a fit on all of them.

    Attributes:
      num_features: how many components are kept.
      alpha: penalty of the final fit.
      selection_alpha: penalty of the fit that ranks; LIME uses 0.01, audioLIME 0.
      fit_intercept: of the final fit; the ranking always has one.
    """

    num_features: int = static()
    alpha: Alpha = 1.0
    selection_alpha: Alpha = 0.01
    fit_intercept: bool = static(default=True)

    def __call__(self, statistics: Statistics) -> LinearFit:
        return self.given(statistics)(statistics)

    def given(self, statistics: Statistics) -> Surrogate:
        """Returns the surrogate on what is selected here, which selects nothing any more."""
        ranking = Ridge(self.selection_alpha)(statistics).coefficients
        selected = feature_selection.largest(jnp.abs(ranking), self.num_features)
        return _Selected(selected, self.alpha, self.fit_intercept)


@pytree
class LassoPath:
    """Ridge on the components of the least penalised knot of the lasso path that has few enough."""

    num_features: int = static()
    alpha: Alpha = 1.0
    fit_intercept: bool = static(default=True)

    def __call__(self, statistics: Statistics) -> LinearFit:
        return self.given(statistics)(statistics)

    def given(self, statistics: Statistics) -> Surrogate:
        """Returns the surrogate on what is selected here, which selects nothing any more."""
        selected = feature_selection.lasso(statistics, self.num_features)
        return _Selected(selected, self.alpha, self.fit_intercept)


@pytree
class _Selected:
    """Ridge on the selected components of every output; the coefficients of the others are zero."""

    selected: Bool[Array, "num_outputs d"]
    alpha: Alpha
    fit_intercept: bool = static()

    def __call__(self, statistics: Statistics) -> LinearFit:
        return _refit(statistics, self.selected, self.alpha, self.fit_intercept)


def _refit(
    statistics: Statistics,
    selected: Bool[Array, "num_outputs d"],
    alpha: Alpha,
    fit_intercept: bool,
) -> LinearFit:
    matrix, right = normal_equations(statistics, fit_intercept)
    matrix = matrix + penalty(alpha, len(matrix))

    def one(
        chosen: Bool[Array, " d"], column: Float[Array, " d"]
    ) -> tuple[Float[Array, " d"], Bool[Array, ""]]:
        both = jnp.outer(chosen, chosen)
        # A diagonal of the right size in the unused rows keeps the system well conditioned.
        unused = jnp.diag(jnp.where(chosen, 0, jnp.max(jnp.diagonal(matrix))))
        restricted = jnp.where(both, matrix, 0) + unused
        solution, is_determined = solve(restricted, jnp.where(chosen, column, 0)[:, None])
        return solution[:, 0], is_determined

    coefficients, are_determined = jax.vmap(one)(selected, right.T)
    return with_intercept(statistics, coefficients, fit_intercept, are_determined)
