"""Symmetric linear systems, many at once, that never wait for a thread of their own.

On a CPU JAX deals out a large batch of systems to the threads that run the program, and waits on
one of them: two such batches at a time leave a machine of two cores with nobody to do the work, and
the program stands still. Here no call is as large as that.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lime_jax.core.pytree import varying_like
from lime_jax.core.surrogates.statistics import EXACT

Matrix = Float[Array, "num_components num_components"]
Columns = Float[Array, "num_components columns"]

# Far below the eigenvalues that carry information in float32, far above its rounding.
_JITTER = 1e-5
_REFINEMENTS = 4
# Directions of so many shifts or less are solved no better than to a few per cent.
_SINGULAR = 6.0
# Batches of fewer operations stay on the thread they are called on (jaxlib, lapack_kernels.cc).
_DEALT_OUT = 200_000


@jax.custom_jvp
def solve(matrix: Matrix, right: Columns) -> tuple[Columns, Bool[Array, ""]]:
    """Solves a positive semi-definite system; where it is singular, the shortest solution.

    A slightly shifted matrix is factorised once and the shift is removed by refinement, which
    converges to the shortest solution (iterated Tikhonov regularisation).

    Returns:
      The solution, and whether it is the only one as far as float32 can tell.
    """
    return _solve_one(matrix, right)


@solve.defjvp
def _derivative(primals: tuple[Matrix, Columns], tangents: tuple[Matrix, Columns]) -> Any:
    """Of the inverse, whichever way the solution was found."""
    (matrix, right), (of_matrix, of_right) = primals, tangents
    solution, is_determined = solve(matrix, right)

    def times(matrix: Matrix, columns: Columns) -> Columns:
        return jnp.matmul(matrix, columns, precision=EXACT)

    of_solution = jax.lax.custom_linear_solve(
        functools.partial(times, matrix),
        of_right - times(of_matrix, solution),
        lambda _, right: _solve_one(matrix, right)[0],
        symmetric=True,
    )
    nothing = np.zeros(is_determined.shape, jax.dtypes.float0)
    return (solution, is_determined), (of_solution, nothing)


def _solve_one(matrix: Matrix, right: Columns) -> tuple[Columns, Bool[Array, ""]]:
    solutions, are_determined = _solve_many(matrix[None], right[None])
    return solutions[0], are_determined[0]


@jax.custom_batching.custom_vmap
def _solve_many(matrices: Array, rights: Array) -> tuple[Array, Array]:
    number, size, columns = rights.shape
    # One column more, for the least eigenvalue.
    at_once = max((_DEALT_OUT - 1) // (size * size * max(size, columns + 1)), 1)
    if number <= at_once:
        return jax.vmap(_refined)(matrices, rights)

    def in_turn(*systems: Array) -> tuple[Array, Array]:
        steps = -(-number // at_once)
        size = -(-number // steps)  # as even as can be, filled up: one program for all steps
        filled = [jnp.concatenate([x, x[: steps * size - number]]) for x in systems]
        chunks = [x.reshape(steps, size, *x.shape[1:]) for x in filled]
        found = jax.lax.map(lambda chunk: jax.vmap(_refined)(*chunk), chunks)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:number], found)

    return jax.lax.platform_dependent(matrices, rights, cpu=in_turn, default=jax.vmap(_refined))


@_solve_many.def_vmap
def _solve_more(
    axis_size: int, in_batched: Sequence[bool], *arguments: Array
) -> tuple[tuple[Array, Array], tuple[bool, bool]]:
    """More of many are many."""
    flat = [
        (x if batched else jnp.broadcast_to(x[None], (axis_size, *x.shape))).reshape(
            -1, *x.shape[-2:]
        )
        for x, batched in zip(arguments, in_batched, strict=True)
    ]
    found = _solve_many(*flat)
    return tuple(x.reshape(axis_size, -1, *x.shape[1:]) for x in found), (True, True)


@jax.jit
def _refined(matrix: Matrix, right: Columns) -> tuple[Columns, Bool[Array, ""]]:
    scale = jnp.max(jnp.diagonal(matrix))
    shift = jnp.where(scale > 0, _JITTER * scale, 1.0)
    factor = jax.scipy.linalg.cho_factor(
        matrix + shift * jnp.eye(matrix.shape[0], dtype=shift.dtype)
    )
    # Some vector that no null space is likely to be orthogonal to: inverse iteration.
    vector = jnp.cos(jnp.square(jnp.arange(1, len(matrix) + 1, dtype=matrix.dtype)))

    def refine(_: int, found: tuple[Array, Array]) -> tuple[Array, Array]:
        solution, vector = found
        residual = right - jnp.matmul(matrix, solution, precision=EXACT)
        vector = vector / jnp.sqrt(jnp.square(vector).sum())
        step = jax.scipy.linalg.cho_solve(factor, jnp.column_stack([residual, vector]))
        return solution + step[:, :-1], step[:, -1]

    nothing = varying_like((jnp.zeros_like(right), vector), matrix, right)
    solution, vector = jax.lax.fori_loop(0, 1 + _REFINEMENTS, refine, nothing)
    least_eigenvalue = 1 / jnp.sqrt(jnp.square(vector).sum())
    return solution, (scale > 0) & (least_eigenvalue > _SINGULAR * shift)
