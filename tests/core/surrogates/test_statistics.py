"""The statistics against float64, and merging."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lime_jax.core.surrogates import statistics

summarise = jax.jit(statistics.summarise)
add = jax.jit(statistics.Statistics.__add__)


def rows(getkey, num_rows, d=5, num_outputs=3, mean=0.0):
    masks = jax.random.bernoulli(getkey(), 0.5, (num_rows, d))
    outputs = mean + jax.random.normal(getkey(), (num_rows, num_outputs))
    return masks, outputs, jax.random.uniform(getkey(), (num_rows,))


def referee(masks, outputs, weights):
    z, y, w = (np.asarray(x, np.float64) for x in (masks, outputs, weights))
    z_mean, y_mean = (w @ z) / w.sum(), (w @ y) / w.sum()
    zc, yc = z - z_mean, y - y_mean
    wz = zc * w[:, None]
    return w.sum(), z_mean, y_mean, wz.T @ zc, wz.T @ yc, w @ yc**2


def first_six(sums):
    squares = np.square(sums.output_spread)
    means = sums.mask_mean, sums.output_mean
    return sums.weight, *means, sums.mask_scatter, sums.cross_scatter, squares


@pytest.mark.parametrize("mean", [0.0, 1e3])
def test_equals_the_float64_referee(mean, getkey):
    data = rows(getkey, 200, mean=mean)
    for ours, theirs in zip(first_six(summarise(*data)), referee(*data), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-4 if mean else 2e-5)


def test_adding_merges_two_neighbourhoods(getkey):
    data = rows(getkey, 90, mean=50.0)
    parts = [summarise(*(x[a:b] for x in data)) for a, b in [(0, 20), (20, 21), (21, 90)]]
    empty = statistics.empty(5, 3)
    merged = functools.reduce(add, [empty, parts[0], parts[1], empty, parts[2]])
    for ours, whole in zip(first_six(merged), first_six(summarise(*data)), strict=True):
        np.testing.assert_allclose(ours, whole, rtol=1e-4, atol=1e-4)
    for field in ("low", "high", "full", "empty"):
        np.testing.assert_array_equal(getattr(merged, field), getattr(summarise(*data), field))


@pytest.mark.slow
def test_leaving_one_block_out(getkey):
    data = [x.reshape(6, 15, *x.shape[1:]) for x in rows(getkey, 90)]
    blocks = jax.jit(jax.vmap(statistics.summarise))(*data)
    keep = ~jnp.eye(6, dtype=bool)
    left = jax.vmap(statistics.combine, (None, 0))(blocks, keep)
    for block in range(6):
        others = [np.delete(np.asarray(x), block, axis=0) for x in data]
        expected = referee(*(x.reshape(75, *x.shape[2:]) for x in others))
        for ours, theirs in zip(first_six(left), expected, strict=True):
            np.testing.assert_allclose(ours[block], theirs, rtol=1e-4, atol=1e-4)


def test_a_constant_output_has_no_scatter(getkey):
    masks, _, weights = rows(getkey, 50)
    sums = summarise(masks, jnp.full((50, 1), 0.1), weights)
    sums = add(sums, summarise(masks[:7], jnp.full((7, 1), 0.1), weights[:7]))
    assert sums.output_spread == 0 and (sums.cross_scatter == 0).all()


def test_remembers_everything_on_and_everything_off(getkey):
    masks = jnp.array([[True, True], [False, True], [False, False]])
    outputs = jnp.array([[3.0], [7.0], [-2.0]])
    sums = summarise(masks, outputs, jnp.zeros(3))
    assert (sums.full, sums.empty, sums.low, sums.high) == (3, -2, -2, 7)


def test_weightless_rows_do_not_count(getkey):
    data = rows(getkey, 20)
    none = summarise(*data[:2], jnp.zeros(20))
    for ours, whole in zip(
        first_six(add(none, summarise(*data))),
        first_six(summarise(*data)),
        strict=True,
    ):
        np.testing.assert_allclose(ours, whole, rtol=1e-5, atol=1e-6)
