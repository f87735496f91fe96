"""Symmetric linear systems, and the fit of a linear function judged by the statistics."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lime_jax.core.pytree import pytree
from lime_jax.core.surrogates.statistics import EXACT, Statistics

Matrix = Float[Array, "num_components num_components"]
Columns = Float[Array, "num_components columns"]

# Far below the eigenvalues that carry information in float32, far above its rounding.
_JITTER = 1e-5
_REFINEMENTS = 4
# Directions of so many shifts or less are solved no better than to a few per cent.
_SINGULAR = 6.0
_ITERATIONS = 4


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


def solve(matrix: Matrix, right: Columns) -> tuple[Columns, Bool[Array, ""]]:
    """Solves a positive semi-definite system; where it is singular, the shortest solution.

    A slightly shifted matrix is factorised once and the shift is removed by refinement, which
    converges to the shortest solution (iterated Tikhonov regularisation).

    Returns:
      The solution, and whether it is the only one as far as float32 can tell.
    """
    scale = jnp.max(jnp.diagonal(matrix))
    shift = jnp.where(scale > 0, _JITTER * scale, 1.0)
    factor = jax.scipy.linalg.cho_factor(
        matrix + shift * jnp.eye(matrix.shape[0], dtype=shift.dtype)
    )
    solution = jnp.zeros_like(right)
    for _ in range(1 + _REFINEMENTS):
        residual = right - jnp.matmul(matrix, solution, precision=EXACT)
        solution = solution + jax.scipy.linalg.cho_solve(factor, residual)
    return solution, (scale > 0) & (_least_eigenvalue(factor) > _SINGULAR * shift)


def _least_eigenvalue(factor: tuple[Matrix, bool]) -> Float[Array, ""]:
    """Estimates the least eigenvalue of a factorised matrix, by inverse iteration."""
    matrix = factor[0]
    # Some vector that no null space is likely to be orthogonal to.
    vector = jnp.cos(jnp.square(jnp.arange(1, len(matrix) + 1, dtype=matrix.dtype)))
    length = jnp.ones((), matrix.dtype)
    for _ in range(_ITERATIONS):
        vector = jax.scipy.linalg.cho_solve(factor, vector / length)
        length = jnp.sqrt(jnp.square(vector).sum())
    return 1 / length


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
