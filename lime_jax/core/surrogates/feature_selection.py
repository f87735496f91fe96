"""Which components a sparse surrogate may use, decided from the statistics alone."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lime_jax.core.pytree import pytree, varying_like
from lime_jax.core.surrogates.statistics import EXACT, Statistics
from lime_jax.core.surrogates.symmetric_solve import solve

Selected = Bool[Array, "num_outputs num_components"]
Matrix = Float[Array, "num_components num_components"]
Vector = Float[Array, " num_components"]

# Relative size below which float32 cannot tell a residual from zero.
_NEGLIGIBLE = 1e-6
# Components whose correlations fall this much alike cannot be told apart.
_COPY = 1e-3


def largest(scores: Float[Array, "num_outputs num_components"], num_features: int) -> Selected:
    """Returns the `num_features` largest scores of every row; ties go to the lower index."""
    order = jnp.argsort(-scores, axis=1, stable=True)
    return jnp.argsort(order, axis=1) < num_features


def forward(statistics: Statistics, num_features: int) -> Selected:
    """Returns greedy selection by the R² of the unpenalised weighted fit."""
    order = forward_order(statistics, num_features)
    num_components = statistics.mask_mean.shape[0]
    return (order[:, :, None] == jnp.arange(num_components)[None, None, :]).any(axis=1)


def forward_order(statistics: Statistics, num_features: int) -> Int[Array, "num_outputs rounds"]:
    """Returns the components in the order in which greedy selection finds them.

    Chosen components are projected out of all others, so that a round needs no new fit: the gain
    in R² of a component is its squared residual correlation with the residual output.
    """
    num_components = statistics.mask_mean.shape[0]
    rounds = min(num_features, num_components)
    floor = _NEGLIGIBLE * jnp.diagonal(statistics.mask_scatter)

    def search(cross: Vector) -> Int[Array, " rounds"]:
        def step(state: tuple[Matrix, Vector, Bool[Array, " d"]], _: None):
            matrix, cross, free = state
            variance = jnp.diagonal(matrix)
            useful = free & (variance > floor)
            gain = jnp.where(useful, cross**2 / jnp.where(useful, variance, 1), -1.0)
            best = jnp.argmax(jnp.where(free, gain, -2.0))
            column = jnp.where(useful[best], matrix[best] / variance[best], 0)
            matrix = matrix - jnp.outer(column, matrix[best])
            return (matrix, cross - column * cross[best], free.at[best].set(False)), best

        free = varying_like(jnp.ones(num_components, bool), statistics)
        start = (*varying_like((statistics.mask_scatter, cross), statistics), free)
        return jax.lax.scan(step, start, None, length=rounds)[1]

    return jax.vmap(search)(statistics.cross_scatter.T)


def lasso(statistics: Statistics, num_features: int) -> Selected:
    """The support of the least penalised knot of the lasso path with at most `num_features`."""

    def path(cross):
        return _lasso_support(statistics.mask_scatter, cross, num_features)

    return jax.vmap(path)(statistics.cross_scatter.T)


@pytree
class _Knot:
    """Where a lasso path stands: coefficients, who may move, and the support so far."""

    coefficients: Vector
    active: Bool[Array, " num_components"]
    barred: Bool[Array, " num_components"]
    penalty: Float[Array, ""]
    support_so_far: Bool[Array, " num_components"]
    step: Int[Array, ""]


def _lasso_support(
    matrix: Matrix, cross: Vector, num_features: int
) -> Bool[Array, " num_components"]:
    """Follows the path from the fully penalised end (least angle regression, lasso variant).

    References:
      Efron et al., Least Angle Regression, 2004, section 3.1.
    """
    largest_penalty = jnp.abs(cross).max()
    none = jnp.zeros(len(cross), bool)
    start = _Knot(
        coefficients=jnp.zeros_like(cross),
        active=jnp.arange(len(cross)) == jnp.argmax(jnp.abs(cross)),
        barred=none,
        penalty=largest_penalty,
        support_so_far=none,
        step=jnp.zeros((), jnp.int32),
    )

    def may_go_on(knot: _Knot) -> Bool[Array, ""]:
        return (knot.penalty > _NEGLIGIBLE * largest_penalty) & (knot.step < 8 * len(cross))

    def move(knot):
        return _next_knot(matrix, cross, num_features, knot)

    start = varying_like(start, matrix, cross)
    return jax.lax.while_loop(may_go_on, move, start).support_so_far


def _next_knot(matrix: Matrix, cross: Vector, num_features: int, knot: _Knot) -> _Knot:
    correlation = cross - jnp.matmul(matrix, knot.coefficients, precision=EXACT)
    direction = _equiangular(matrix, knot.active, jnp.sign(correlation))
    fall = jnp.matmul(matrix, direction, precision=EXACT)

    free = ~(knot.active | knot.barred)
    joins = _first_positive(
        jnp.stack(
            [
                (knot.penalty - correlation) / (1 - fall),
                (knot.penalty + correlation) / (1 + fall),
            ]
        ),
        free[None],
        _NEGLIGIBLE * knot.penalty,
    ).min(axis=0)
    # Who is tied with the active ones joins at once, unless it is a copy that falls as fast.
    at_penalty = jnp.abs(correlation) >= (1 - 10 * _NEGLIGIBLE) * knot.penalty
    is_copy = jnp.sign(correlation) * fall > 1 - _COPY
    joins = jnp.where(free & at_penalty & ~is_copy, 0.0, joins)
    leaves = _first_positive(-knot.coefficients / direction, knot.active, 0.0)
    join_at, leave_at = joins.min(), leaves.min()
    length = jnp.minimum(jnp.minimum(join_at, leave_at), knot.penalty)

    dropped = knot.active & (leaves == leave_at) & (leave_at < join_at) & (leave_at < knot.penalty)
    first = jnp.arange(len(cross)) == jnp.argmin(joins)
    joined = first & (join_at <= leave_at) & (join_at < knot.penalty)
    coefficients = jnp.where(dropped, 0, knot.coefficients + length * direction)
    support = knot.active & ~dropped
    fits = (support.sum() <= num_features) | (knot.step == 0)
    return _Knot(
        coefficients=coefficients,
        active=support | joined,
        barred=dropped,
        penalty=knot.penalty - length,
        support_so_far=jnp.where(fits, support, knot.support_so_far),
        step=knot.step + 1,
    )


def _equiangular(matrix: Matrix, active: Bool[Array, " d"], signs: Vector) -> Vector:
    """The direction in which all active correlations fall at the same rate."""
    unused = jnp.diag(jnp.where(active, 0, jnp.max(jnp.diagonal(matrix))))
    restricted = jnp.where(jnp.outer(active, active), matrix, 0) + unused
    return solve(restricted, jnp.where(active, signs, 0)[:, None])[0][:, 0]


def _first_positive(lengths: Array, allowed: Array, floor: Array | float) -> Array:
    """Step lengths where they are allowed and positive, elsewhere infinity."""
    return jnp.where(allowed & jnp.isfinite(lengths) & (lengths > floor), lengths, jnp.inf)
