"""Systems are solved alike, however many there are at once."""

import concurrent.futures

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lime_jax.core.surrogates import symmetric_solve
from lime_jax.core.surrogates.symmetric_solve import solve


def systems(number, size, columns, seed=0):
    random = np.random.default_rng(seed)
    half = random.normal(size=(number, size, size + 5))
    matrices = half @ half.swapaxes(1, 2) / size + np.eye(size)
    return matrices, random.normal(size=(number, size, columns))


@pytest.mark.parametrize("number", [1, 5, 40])
def test_many_systems_are_solved_as_each_is(number, monkeypatch):
    # Of 40 systems of 8 × 8 only some go at once then.
    monkeypatch.setattr(symmetric_solve, "_DEALT_OUT", 8 * 8 * 8 * 7 + 1)
    matrices, rights = systems(number, 8, 3)
    found, are_determined = jax.jit(jax.vmap(solve))(_f32(matrices), _f32(rights))
    np.testing.assert_allclose(found, np.linalg.solve(matrices, rights), rtol=2e-4, atol=1e-5)
    assert are_determined.all()
    assert are_determined.shape == (number,)


def test_maps_within_maps_and_shared_matrices_are_solved():
    matrices, rights = systems(6, 4, 2)
    inner = jax.vmap(solve, in_axes=(None, 0))
    found, _ = jax.vmap(inner)(_f32(matrices), _f32(np.stack([rights] * 3, axis=1)))
    expected = np.linalg.solve(matrices, rights)
    for k in range(3):
        np.testing.assert_allclose(found[:, k], expected, rtol=2e-4, atol=1e-5)


def test_a_singular_system_has_its_shortest_solution_and_says_so():
    matrix = np.diag([2.0, 1.0, 0.0])
    found, is_determined = solve(_f32(matrix), _f32([[2.0], [3.0], [0.0]]))
    np.testing.assert_allclose(found[:, 0], [1, 3, 0], atol=1e-5)
    assert not is_determined


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_derivatives_are_those_of_the_inverse(mode):
    matrices, rights = systems(3, 4, 1)

    def total(right, matrix):
        return solve(matrix, right)[0].sum()

    slopes = jax.vmap(mode(total, argnums=(0, 1)))(_f32(rights), _f32(matrices))
    inverse = np.linalg.inv(matrices)
    ones = inverse.sum(axis=1)
    np.testing.assert_allclose(slopes[0][..., 0], ones, rtol=1e-3, atol=1e-5)
    solved = (inverse @ rights)[..., 0]
    np.testing.assert_allclose(
        slopes[1], -ones[:, :, None] * solved[:, None, :], rtol=1e-3, atol=1e-4
    )


@pytest.mark.slow
def test_two_threads_solve_large_systems_at_once():
    """Jaxlib's own batches wait for each other then, for ever, on a machine of two cores."""
    matrices, rights = systems(17, 400, 1)

    @jax.jit
    def both(matrices, rights):
        return jax.vmap(solve)(matrices, rights)[0], jax.vmap(solve)(2 * matrices, rights)[0]

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(both, _f32(matrices), _f32(rights)) for _ in range(6)]
        for job in jobs:
            once, half = job.result(timeout=120)
            np.testing.assert_allclose(once, 2 * half, rtol=1e-3, atol=1e-5)


def _f32(values):
    return jnp.asarray(values, jnp.float32)
