"""Symmetric linear systems, and the fit of a linear function judged by the statistics."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lime_jax.core.pytree import pytree
from lime_jax.core.surrogates.statistics import EXACT, Statistics

Matrix = Float[Array, "num_components num_components"]
Columns = Float[Array, "num_components columns"]

# Far below the eigenvalues that carry information in float32, far above its rounding.
_JITTER = 1e-5
_REFINEMENTS = 4


@pytree
class LinearFit:
    """A linear function of masks, one per output.

    Attributes:
      coefficients: `(num_outputs, num_components)`.
      intercept: `(num_outputs,)`.
      fidelity: weighted R² on the neighbourhood, `(num_outputs,)`.
      local_prediction: its value with everything on, `(num_outputs,)`.
    """

    coefficients: Float[Array, "..."]
    intercept: Float[Array, "..."]
    fidelity: Float[Array, "..."]
    local_prediction: Float[Array, "..."]


def solve(matrix: Matrix, right: Columns) -> Columns:
    """Solves a positive semi-definite system; where it is singular, the shortest solution.

    A slightly shifted matrix is factorised once and the shift is removed by refinement, which
    converges to the shortest solution (iterated Tikhonov regularisation).
    """
    scale = jnp.max(jnp.diagonal(matrix))
    shift = jnp.where(scale > 0, _JITTER * scale, 1.0)
    factor = jax.scipy.linalg.cho_factor(matrix + shift * jnp.eye(matrix.shape[0]))
    solution = jnp.zeros_like(right)
    for _ in range(1 + _REFINEMENTS):
        residual = right - jnp.matmul(matrix, solution, precision=EXACT)
        solution = solution + jax.scipy.linalg.cho_solve(factor, residual)
    return solution


def add_fidelity(
    statistics: Statistics,
    coefficients: Float[Array, "num_outputs num_components"],
    intercept: Float[Array, " num_outputs"],
) -> LinearFit:
    """Adds fidelity and local prediction to a linear function.

    The fidelity is scikit-learn's weighted R², the number LIME calls score: 1 where a constant
    output is met exactly, 0 where it is not.
    """
    explained = jnp.matmul(statistics.mask_scatter, coefficients.T, precision=EXACT)
    about_mean = (
        statistics.output_scatter
        - 2 * (statistics.cross_scatter * coefficients.T).sum(axis=0)
        + (coefficients.T * explained).sum(axis=0)
    )
    at_mean = jnp.matmul(coefficients, statistics.mask_mean, precision=EXACT) + intercept
    offset = statistics.output_mean - at_mean
    unexplained = jnp.maximum(about_mean, 0) + statistics.weight * jnp.square(offset)
    varies = statistics.output_scatter > 0
    ratio = unexplained / jnp.where(varies, statistics.output_scatter, 1)
    constant = jnp.where(unexplained > 0, 0.0, 1.0)
    fidelity = jnp.where(varies, 1 - ratio, constant)
    undefined = jnp.isnan(statistics.output_scatter)
    return LinearFit(
        coefficients,
        intercept,
        jnp.where(undefined, jnp.nan, fidelity),
        intercept + coefficients.sum(axis=1),
    )
