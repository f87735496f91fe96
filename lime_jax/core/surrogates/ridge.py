"""Surrogates: from the statistics of a neighbourhood to a linear function per output."""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lime_jax.core.pytree import pytree, static
from lime_jax.core.surrogates import feature_selection
from lime_jax.core.surrogates.linear_fit import LinearFit, judged, solve
from lime_jax.core.surrogates.statistics import EXACT, Statistics

Alpha = Float[Array, ""] | float | int


@runtime_checkable
class Surrogate(Protocol):
    """Solves for a linear function of the masks."""

    def __call__(self, statistics: Statistics) -> LinearFit:
        """One linear function per output, from the statistics of a neighbourhood."""
        ...


@pytree
class Ridge:
    """Weighted ridge regression on all components, the surrogate of LIME.

    Attributes:
      alpha: penalty on the squared coefficients; weights are not normalised, so its strength
        depends on their sum.
      fit_intercept: the intercept is never penalised; without it, it is zero.
    """

    alpha: Alpha = 1.0
    fit_intercept: bool = static(default=True)

    def __call__(self, statistics: Statistics) -> LinearFit:
        matrix, right = _normal_equations(statistics, self.fit_intercept)
        coefficients = solve(matrix + self.alpha * jnp.eye(len(matrix)), right).T
        return _with_intercept(statistics, coefficients, self.fit_intercept)


@pytree
class ForwardSelection:
    """Ridge on the components that a greedy search finds, one at a time by unpenalised R²."""

    num_features: int = static()
    alpha: Alpha = 1.0
    fit_intercept: bool = static(default=True)

    def __call__(self, statistics: Statistics) -> LinearFit:
        selected = feature_selection.forward(statistics, self.num_features)
        return _refit(statistics, selected, self.alpha, self.fit_intercept)


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
        ranking = Ridge(self.selection_alpha)(statistics).coefficients
        selected = feature_selection.largest(jnp.abs(ranking), self.num_features)
        return _refit(statistics, selected, self.alpha, self.fit_intercept)


@pytree
class LassoPath:
    """Ridge on the components of the least penalised knot of the lasso path that has few enough."""

    num_features: int = static()
    alpha: Alpha = 1.0
    fit_intercept: bool = static(default=True)

    def __call__(self, statistics: Statistics) -> LinearFit:
        selected = feature_selection.lasso(statistics, self.num_features)
        return _refit(statistics, selected, self.alpha, self.fit_intercept)


@pytree
class Shapley:
    """Least squares that meets the outputs at all on and all off exactly.

    Over all masks with the Shapley kernel, the coefficients are the Shapley values.

    References:
      Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, 2017.
    """

    def __call__(self, statistics: Statistics) -> LinearFit:
        mean = statistics.mask_mean
        matrix = statistics.mask_scatter + statistics.weight * jnp.outer(mean, mean)
        centred = statistics.output_mean - statistics.empty
        right = statistics.cross_scatter + statistics.weight * jnp.outer(mean, centred)
        solved = solve(matrix, jnp.column_stack([right, jnp.ones(len(matrix))]))
        free, ones = solved[:, :-1], solved[:, -1]
        excess = free.sum(axis=0) - (statistics.full - statistics.empty)
        coefficients = (free - jnp.outer(ones / ones.sum(), excess)).T
        return judged(statistics, coefficients, statistics.empty)


@pytree
class Banzhaf:
    """The slope of each component alone; over all masks with flat weights, the Banzhaf value.

    References:
      Hammer and Holzman, Approximations of pseudo-Boolean functions, 1992.
    """

    def __call__(self, statistics: Statistics) -> LinearFit:
        variance = jnp.diagonal(statistics.mask_scatter)
        slopes = statistics.cross_scatter / jnp.where(variance > 0, variance, 1)[:, None]
        return _with_intercept(statistics, slopes.T, True)


def _normal_equations(
    statistics: Statistics, fit_intercept: bool
) -> tuple[Float[Array, "d d"], Float[Array, "d num_outputs"]]:
    """About the means with an intercept, about the origin without."""
    if fit_intercept:
        return statistics.mask_scatter, statistics.cross_scatter
    mean = statistics.mask_mean
    return (
        statistics.mask_scatter + statistics.weight * jnp.outer(mean, mean),
        statistics.cross_scatter + statistics.weight * jnp.outer(mean, statistics.output_mean),
    )


def _with_intercept(
    statistics: Statistics, coefficients: Float[Array, "num_outputs d"], fit_intercept: bool
) -> LinearFit:
    at_mean = jnp.matmul(coefficients, statistics.mask_mean, precision=EXACT)
    intercept = statistics.output_mean - at_mean if fit_intercept else jnp.zeros_like(at_mean)
    return judged(statistics, coefficients, intercept)


def _refit(
    statistics: Statistics,
    selected: Bool[Array, "num_outputs d"],
    alpha: Alpha,
    fit_intercept: bool,
) -> LinearFit:
    """Ridge on the selected components only; the coefficients of the others are zero."""
    matrix, right = _normal_equations(statistics, fit_intercept)
    matrix = matrix + alpha * jnp.eye(len(matrix))

    def one(chosen: Bool[Array, " d"], column: Float[Array, " d"]) -> Float[Array, " d"]:
        both = jnp.outer(chosen, chosen)
        # A diagonal of the right size in the unused rows keeps the system well conditioned.
        unused = jnp.diag(jnp.where(chosen, 0, jnp.max(jnp.diagonal(matrix))))
        restricted = jnp.where(both, matrix, 0) + unused
        return solve(restricted, jnp.where(chosen, column, 0)[:, None])[:, 0]

    coefficients = jax.vmap(one)(selected, right.T)
    return _with_intercept(statistics, coefficients, fit_intercept)
