"""From the statistics of blocks of masks to explanations."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lime_jax.core.explanation import Explanation, Status
from lime_jax.core.item_axis import each
from lime_jax.core.masks.neighbourhood import Distribution, Neighbourhood
from lime_jax.core.methods import Method
from lime_jax.core.surrogates import lime_equivalent, statistics, uncertainty
from lime_jax.core.surrogates.kernels import Exponential, Flat
from lime_jax.core.surrogates.linear_fit import LinearFit
from lime_jax.core.surrogates.ridge import Ridge
from lime_jax.core.surrogates.statistics import Statistics
from lime_jax.core.surrogates.surrogate import Surrogate

# Outputs that vary by less than this share of their size vary by rounding alone.
_ROUNDING = 1e-6
# The least share of all weight that perturbed inputs must have, and of what masks have on average.
_UNSEEN = 2.0**-23
_MISSED = 0.01


def finalize(method: Method, neighbourhoods: Neighbourhood, blocks: Statistics) -> Explanation:
    """Solves the surrogates of all items from the statistics of the blocks."""
    if neighbourhoods.is_exact:
        return finalize_exactly(
            method, blocks, neighbourhoods.num_samples, neighbourhoods.num_masks
        )
    num_items, num_blocks = blocks.weight.shape
    num_compared = num_blocks - 1 if neighbourhoods.is_replicated else num_blocks
    return explain_blocks(
        method,
        blocks,
        num_counted=float(neighbourhoods.num_counted or neighbourhoods.num_samples),
        num_used=jnp.full(num_items, num_compared, jnp.int32),
        num_evaluations=jnp.full(num_items, neighbourhoods.num_masks, jnp.int32),
        num_samples=neighbourhoods.num_samples,
        distribution=neighbourhoods.distribution,
        is_replicated=neighbourhoods.is_replicated,
    )


def finalize_exactly(
    method: Method, blocks: Statistics, num_samples: int, num_evaluations: int = 0
) -> Explanation:
    """Solves the surrogates of all items from the statistics of all masks, in one block."""
    num_items = blocks.weight.shape[0]
    total = jax.tree.map(lambda x: x[:, 0], blocks)
    fit = each(num_items, method.surrogate, total)
    zeros = jnp.zeros_like(fit.coefficients)
    return _record(
        method,
        total,
        fit,
        zeros[:, None],
        degrees_of_freedom=jnp.zeros(num_items, jnp.int32),
        num_evaluations=jnp.full(num_items, num_evaluations, jnp.int32),
        num_lime_samples=jnp.full_like(fit.fidelity, jnp.inf),
        num_samples=num_samples,
        has_weight=jnp.ones(num_items, bool),
    )


def explain_blocks(
    method: Method,
    blocks: Statistics,
    *,
    num_counted: float | Float[Array, ""],
    num_used: Int[Array, " items"],
    num_evaluations: Int[Array, " items"],
    num_samples: int,
    distribution: Distribution,
    is_replicated: bool = False,
) -> Explanation:
    """Solves the surrogates of all items from blocks of sampled masks.

    Args:
      method: its kernel and surrogate are used.
      blocks: of every item.
      num_counted: the sum of the counts of one item.
      num_used: how many blocks of each item hold masks, the first ones; or replicates.
      num_evaluations: of the model, of each item.
      num_samples: the size asked for.
      distribution: of the masks.
      is_replicated: whether the blocks behind the first are whole neighbourhoods drawn again.
    """
    num_components = blocks.mask_mean.shape[-1]
    num_draws = num_evaluations.astype(jnp.float32) / (2 if distribution == "pairs" else 1)

    def solve(
        blocks: Statistics, num_used: Int[Array, ""], num_draws: Float[Array, ""]
    ) -> tuple[Any, ...]:
        if is_replicated:
            total, fit, deviations = _solve_replicates(method.surrogate, blocks)
        else:
            used = jnp.arange(len(blocks.weight)) < num_used
            total, fit, deviations = solve_blocks(method.surrogate, blocks, used)
        if distribution == "pairs":
            deviations = uncertainty.widen(deviations, num_draws, num_components)
        if distribution != "uniform" or not _is_compared(method):
            cost = num_samples if distribution == "lime" else jnp.nan
            return total, fit, deviations, jnp.full_like(fit.fidelity, cost), jnp.bool_(True)
        error = uncertainty.std_error(deviations)
        cost = lime_equivalent.num_lime_samples(
            method.kernel, method.surrogate, total, fit, error, num_counted
        )
        # Masks that are few and far may miss all that a narrow kernel sees.
        expected = lime_equivalent.mean_weight(method.kernel, num_components)
        seen = total.weight > _MISSED * num_counted * expected
        return total, fit, deviations, cost, seen

    num_items = len(num_used)
    total, fit, deviations, cost, has_weight = each(num_items, solve, blocks, num_used, num_draws)
    left = uncertainty.degrees_left(num_used, num_draws, num_components)
    return _record(
        method,
        total,
        fit,
        deviations,
        degrees_of_freedom=num_used - 1 if is_replicated else left,
        num_evaluations=num_evaluations,
        num_lime_samples=cost,
        num_samples=num_samples,
        has_weight=has_weight,
    )


def _is_compared(method: Method) -> bool:
    """Whether LIME's own masks with the same kernel and ridge estimate the same coefficients."""
    return isinstance(method.kernel, (Exponential, Flat)) and isinstance(method.surrogate, Ridge)


def _record(
    method: Method,
    total: Statistics,
    fit: LinearFit,
    deviations: Float[Array, "items num_blocks num_outputs num_components"],
    *,
    degrees_of_freedom: Int[Array, " items"],
    num_evaluations: Int[Array, " items"],
    num_lime_samples: Float[Array, "items num_outputs"],
    num_samples: int,
    has_weight: Bool[Array, " items"],
) -> Explanation:
    constrained = getattr(method.surrogate, "meets_ends", False)
    status = jax.vmap(functools.partial(_status_of, constrained=constrained))(total, fit)
    return Explanation(
        coefficients=fit.coefficients,
        intercept=fit.intercept,
        fidelity=fit.fidelity,
        local_prediction=fit.local_prediction,
        prediction=total.full,
        std_error=uncertainty.std_error(deviations),
        deviations=deviations,
        degrees_of_freedom=degrees_of_freedom,
        status=jnp.where(has_weight[:, None] | (status > 0), status, Status.NO_WEIGHT),
        num_evaluations=num_evaluations,
        num_lime_samples=num_lime_samples,
        num_samples=num_samples,
    )


def solve_blocks(
    surrogate: Surrogate, blocks: Statistics, used: Bool[Array, " num_blocks"]
) -> tuple[Statistics, LinearFit, Float[Array, "num_blocks num_outputs num_components"]]:
    """Fits all blocks of one item, and returns the jackknife deviations of the fit as well."""
    num_blocks = blocks.weight.shape[0]
    everything = jnp.ones((1, num_blocks), bool)
    keep = jnp.concatenate([everything, ~jnp.eye(num_blocks, dtype=bool)])
    sums = jax.vmap(statistics.combine, in_axes=(None, 0))(blocks, keep)
    total = jax.tree.map(lambda x: x[0], sums)
    # Errors are those of the coefficients given what was selected: selection is made once.
    given = getattr(surrogate, "given", None)
    fits = jax.vmap(surrogate if given is None else given(total))(sums)
    fit = jax.tree.map(lambda x: x[0], fits)
    return total, fit, uncertainty.jackknife(fits.coefficients[1:], used)


def _solve_replicates(
    surrogate: Surrogate, neighbourhoods: Statistics
) -> tuple[Statistics, LinearFit, Float[Array, "replicates num_outputs num_components"]]:
    """Fits the first neighbourhood of one item, and returns how fits of the others scatter."""
    total = jax.tree.map(lambda x: x[0], neighbourhoods)
    given = getattr(surrogate, "given", None)
    fits = jax.vmap(surrogate if given is None else given(total))(neighbourhoods)
    fit = jax.tree.map(lambda x: x[0], fits)
    return total, fit, uncertainty.scatter(fits.coefficients[1:])


def _status_of(
    statistics: Statistics, fit: LinearFit, *, constrained: bool
) -> Int[Array, " num_outputs"]:
    """Returns a `Status` for every output; `constrained` to be met at all on and all off."""
    low, high = statistics.low, statistics.high
    finite = jnp.isfinite(low) & jnp.isfinite(high)
    if constrained:
        ends = jnp.stack([statistics.full, statistics.empty])
        finite &= jnp.isfinite(ends).all(axis=0)
        low, high = jnp.minimum(low, ends.min(axis=0)), jnp.maximum(high, ends.max(axis=0))
    size = jnp.maximum(jnp.abs(low), jnp.abs(high))
    constant = high - low <= _ROUNDING * size
    # Whatever is smaller is the rounding of the weight of the unperturbed input.
    seen = jnp.diagonal(statistics.mask_scatter).max() > _UNSEEN * statistics.weight
    solved = jnp.isfinite(fit.coefficients).all(axis=1) & jnp.isfinite(fit.intercept)
    status = jnp.where(fit.is_determined, Status.OK, Status.NOT_DETERMINED)
    status = jnp.where(solved, status, Status.NOT_SOLVED)
    status = jnp.where(seen, status, Status.NO_WEIGHT)
    # One mask alone has the same output as all that were drawn.
    varied = jnp.diagonal(statistics.mask_scatter).max() > 0
    status = jnp.where(constant & varied, Status.CONSTANT_OUTPUT, status)
    return jnp.where(finite, status, Status.NONFINITE_OUTPUT).astype(jnp.int32)
