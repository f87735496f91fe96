"""How far sampling may have moved coefficients, and whether their ranking is right."""

import functools
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lime_jax.core.arguments import index_below, real_number, share, whole_number
from lime_jax.core.explanation import Explanation, check_explanation
from lime_jax.core.modes import in_usual_modes
from lime_jax.core.pytree import pytree
from lime_jax.core.ranking import check_sign, strength_of
from lime_jax.core.surrogates.statistics import root_of_squares

_MOST_DEGREES = 64
# Equal components come out this much apart, in units of the largest.
_ROUNDING = 1e-5


@pytree
class CoefficientDifference:
    """How much more one component weighs than another, per output.

    Attributes:
      estimate: the difference of their coefficients, `(num_outputs,)`.
      std_error: of the difference; smaller or larger than independent errors would make it.
      low, high: the ends of its confidence interval.
    """

    estimate: Float[Array, "..."]
    std_error: Float[Array, "..."]
    low: Float[Array, "..."]
    high: Float[Array, "..."]


def jackknife(
    estimates: Float[Array, "num_blocks num_outputs num_components"],
    used: Bool[Array, " num_blocks"],
) -> Float[Array, "num_blocks num_outputs num_components"]:
    """What every block did to the coefficients, scaled: squares summed over blocks are variances.

    Args:
      estimates: each without one block.
      used: blocks that hold masks; the others count for nothing.

    References:
      Shao and Wu, A General Theory for Jackknife Variance Estimation, 1989.
    """
    number = used.sum().astype(jnp.float32)
    estimates_used = jnp.where(used[:, None, None], estimates, 0)
    centred = jnp.where(
        used[:, None, None], estimates - estimates_used.sum(axis=0)[None] / number, 0
    )
    # Two blocks can differ by nothing at all, for example if each holds a single row.
    return jnp.where(number > 2, centred * jnp.sqrt((number - 1) / number), jnp.nan)


def scatter(
    estimates: Float[Array, "replicates num_outputs num_components"],
) -> Float[Array, "replicates num_outputs num_components"]:
    """How estimates from neighbourhoods drawn again differ; their squares add up to a variance.

    References:
      Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 6.5 (parametric).
    """
    return (estimates - estimates.mean(axis=0)[None]) / (len(estimates) - 1) ** 0.5


def degrees_left(
    num_used: Int[Array, " items"], num_draws: Float[Array, " items"], num_components: int
) -> Int[Array, " items"]:
    """Returns the degrees of freedom that the coefficients leave to the blocks.

    Of `num_draws` masks as many go into the fit as it has coefficients, and tell no errors.
    """
    left = jnp.clip(1 - (num_components + 1) / num_draws, 0, 1)
    rounded = jnp.round((num_used - 1).astype(jnp.float32) * left).astype(jnp.int32)
    # A single block knows no errors; two or more know some.
    return jnp.where(num_used > 1, jnp.maximum(rounded, 1), 0)


def widen(
    deviations: Float[Array, "..."], num_pairs: Float[Array, ""], num_components: int
) -> Float[Array, "..."]:
    """Returns deviations of few pairs, of which some decide more than others.

    A pair of the Shapley kernel often holds a single component, and is drawn more than once: the
    usual factor for the residuals of a fit, though the jackknife is right on average without it.

    References:
      MacKinnon and White, Some Heteroskedasticity-Consistent Covariance Matrix Estimators with
      Improved Finite Sample Properties, 1985 (HC1).
    """
    left = jnp.maximum(num_pairs - num_components, 1.0)
    return deviations * jnp.sqrt(num_pairs / left)


def std_error(deviations: Float[Array, "..."]) -> Float[Array, "..."]:
    """Standard errors from jackknife deviations, blocks on the third axis from the last."""
    return root_of_squares(jnp.moveaxis(deviations, -3, 0))


def is_exact(explanation: Explanation) -> bool:
    """Returns whether other masks would change nothing. Call it outside jit."""
    # A single array has no degrees of freedom either, but errors that nobody knows.
    is_sampled = np.asarray(explanation.degrees_of_freedom).any()
    return not is_sampled and not np.isnan(np.asarray(explanation.std_error)).any()


@in_usual_modes
def confidence_interval(
    explanation: Explanation, *, level: float = 0.95
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The interval that holds each coefficient, sampling alone considered, in `level` of all runs.

    Args:
      explanation: of one or many items.
      level: between 0 and 1.

    Returns:
      Its ends, both `(num_outputs, num_components)`; the coefficients themselves if they are exact.

    Example:
      >>> import jax, jax.numpy as jnp, lime_jax as lj
      >>> stems = lj.from_stems(jnp.eye(12))
      >>> squares = lambda x: jnp.square(x.sum(axis=1, keepdims=True))
      >>> explanation = lj.explain(squares, stems, lj.lime(300), key=jax.random.key(0))
      >>> low, high = lj.confidence_interval(explanation)
      >>> bool((low < explanation.coefficients).all() and (explanation.coefficients < high).all())
      True
    """
    check_explanation(explanation)
    return _ends(explanation, _t_quantiles(level))


@in_usual_modes
def coefficient_difference(
    explanation: Explanation, first: SupportsIndex, second: SupportsIndex, *, level: float = 0.95
) -> CoefficientDifference:
    """Compares two components: is the first really stronger?

    Args:
      explanation: of one or many items.
      first: index of a component.
      second: index of the one it is compared with.
      level: of the interval.

    Example:
      >>> import jax, jax.numpy as jnp, lime_jax as lj
      >>> stems = lj.from_stems(jnp.diag(jnp.arange(12.0)))
      >>> squares = lambda x: jnp.square(x.sum(axis=1, keepdims=True))
      >>> explanation = lj.explain(squares, stems, lj.lime(300), key=jax.random.key(0))
      >>> bool(lj.coefficient_difference(explanation, 11, 2).low[0] > 0)
      True
    """
    check_explanation(explanation)
    num_components = explanation.coefficients.shape[-1]
    first = index_below("first", first, num_components)
    second = index_below("second", second, num_components)
    return _difference(explanation, first, second, _t_quantiles(level))


@in_usual_modes
def top_k_confidence(
    explanation: Explanation, k: SupportsIndex = 3, *, sign: str = "positive"
) -> Float[Array, "..."]:
    """At least how probable it is that the k strongest components are the right ones.

    One minus the sum of the probabilities that any component outside has its place inside
    (Bonferroni): never too confident for want of independence, and close where few are close. All
    components are ranked, also those that `top_k` leaves out because of their sign.

    Args:
      explanation: of one or many items.
      k: how many components; all of them are right for sure.
      sign: positive, negative or absolute, as in `top_k`.

    Returns:
      `(num_outputs,)`; one for exact answers without ties.

    Example:
      >>> import jax, jax.numpy as jnp, lime_jax as lj
      >>> stems = lj.from_stems(jnp.diag(jnp.arange(12.0)))
      >>> squares = lambda x: jnp.square(x.sum(axis=1, keepdims=True))
      >>> explanation = lj.explain(squares, stems, lj.lime(3000), key=jax.random.key(0))
      >>> bool(lj.top_k_confidence(explanation, 3)[0] > 0.99)
      True
    """
    check_explanation(explanation)
    check_sign(sign)
    k = whole_number("k", k)
    return _top_k_confidence(explanation, min(k, explanation.coefficients.shape[-1]), sign)


@functools.partial(jax.jit, static_argnames=("k", "sign"))
def _top_k_confidence(explanation: Explanation, k: int, sign: str) -> Float[Array, "..."]:
    strength = strength_of(explanation.coefficients, sign)
    # How strength moves with the coefficient; sign(0) would say that it cannot.
    slope = jnp.where(explanation.coefficients < 0, -1.0, 1.0)
    slope = {"positive": jnp.ones_like(slope), "negative": -jnp.ones_like(slope)}.get(sign, slope)
    deviations = explanation.deviations * jnp.expand_dims(slope, -3)
    order = jnp.argsort(-strength, axis=-1, stable=True)

    def take(x, index):
        return jnp.take_along_axis(x, index, axis=-1)

    sorted_deviations = take(deviations, jnp.expand_dims(order, -3))
    inside, outside = jnp.split(take(strength, order), [k], axis=-1)
    gap = inside[..., :, None] - outside[..., None, :]
    within, beyond = jnp.split(sorted_deviations, [k], axis=-1)
    freedom = explanation.degrees_of_freedom[..., None, None, None]
    rounding = _rounding_of(explanation)[..., None, None]
    wrong = _below_zero(gap, std_error_of_pairs(within, beyond), freedom, rounding)
    if sign == "absolute":
        # What looks weak may also be strong with its other sign.
        total = inside[..., :, None] + outside[..., None, :]
        wrong += _below_zero(total, std_error_of_pairs(within, -beyond), freedom, rounding)
    return jnp.clip(1 - wrong.sum(axis=(-2, -1)), 0, 1)


def std_error_of_pairs(
    within: Float[Array, "... inside"], beyond: Float[Array, "... outside"]
) -> Float[Array, "... inside outside"]:
    """Standard errors of all differences, without a tensor of them for every block."""
    largest = jnp.maximum(*(jnp.abs(x).max(axis=(-3, -1), initial=0) for x in (within, beyond)))
    unit = jnp.where(largest > 0, largest, 1)[..., None]
    within, beyond = (x / jnp.expand_dims(unit, -3) for x in (within, beyond))

    def square(x):
        return jnp.square(x).sum(axis=-3)

    both = jnp.einsum("...boi,...boj->...oij", within, beyond, precision="highest")
    variance = square(within)[..., :, None] + square(beyond)[..., None, :] - 2 * both
    return unit[..., None] * jnp.sqrt(jnp.maximum(variance, 0))


def t_quantile(degrees_of_freedom: Int[Array, "..."], level: float) -> Float[Array, "..."]:
    """Returns how many standard errors either side hold `level` of Student's distribution."""
    return _quantile(degrees_of_freedom, _t_quantiles(level))


def _t_quantiles(level: float) -> Float[np.ndarray, " freedom"]:
    """Returns the quantile for 1, 2, … degrees of freedom."""
    from scipy import stats

    level = float(real_number("level", level, "lie between 0 and 1", share, "Usual is 0.95."))
    return stats.t.ppf((1 + level) / 2, np.arange(1, _MOST_DEGREES + 1)).astype(np.float32)


def _quantile(degrees_of_freedom: Array, quantiles: Any) -> Float[Array, "..."]:
    return jnp.asarray(quantiles)[jnp.clip(degrees_of_freedom, 1, _MOST_DEGREES) - 1]


@jax.jit
def _ends(explanation: Explanation, quantiles: Any) -> tuple[Array, Array]:
    quantile = _quantile(explanation.degrees_of_freedom, quantiles)[..., None, None]
    # Paired masks may be exact but for rounding, which no scatter tells.
    is_sampled = (explanation.degrees_of_freedom > 0)[..., None, None]
    rounding = jnp.where(is_sampled, _rounding_of(explanation)[..., None], 0.0)
    margin = quantile * explanation.std_error + rounding
    return explanation.coefficients - margin, explanation.coefficients + margin


@jax.jit
def _difference(
    explanation: Explanation, first: Any, second: Any, quantiles: Any
) -> CoefficientDifference:
    def take(x):
        return x[..., first] - x[..., second]

    estimate = take(explanation.coefficients)
    error = root_of_squares(jnp.moveaxis(take(explanation.deviations), -2, 0))
    quantile = _quantile(explanation.degrees_of_freedom, quantiles)[..., None]
    margin = quantile * error
    return CoefficientDifference(estimate, error, estimate - margin, estimate + margin)


def _rounding_of(explanation: Explanation) -> Float[Array, "..."]:
    """How far rounding in float32 moves coefficients: of themselves, and of the outputs."""
    coefficients = jnp.abs(explanation.coefficients).max(axis=-1)
    outputs = jnp.maximum(jnp.abs(explanation.prediction), jnp.abs(explanation.intercept))
    return _ROUNDING * (coefficients + 0.1 * jnp.where(jnp.isfinite(outputs), outputs, 0))


def _below_zero(gap: Array, error: Array, degrees_of_freedom: Any, rounding: Any) -> Array:
    """The probability that a positive gap with this standard error is none; a tie may be either."""
    freedom = jnp.maximum(degrees_of_freedom, 1).astype(jnp.float32)
    square = jnp.square(gap / jnp.where(error > 0, error, 1))
    tail = jax.scipy.special.betainc(freedom / 2, 0.5, freedom / (freedom + square)) / 2
    probability = jnp.where(error > 0, tail, 0.0)
    probability = jnp.where(gap > rounding, probability, 0.5)
    return jnp.where(jnp.isnan(error), jnp.nan, probability)
