"""The distributions that samplers promise; the laws of all of them are in tests/laws.py."""

import math

import jax
import numpy as np
import pytest

from lime_jax.core.masks import shapley_sizes
from lime_jax.core.masks.bernoulli import Bernoulli
from lime_jax.core.masks.exhaustive import Exhaustive
from lime_jax.core.masks.shapley_pairs import KernelShap
from lime_jax.core.surrogates import kernels

D = 6


def test_two_samples_are_enough_to_be_drawn():
    assert Bernoulli(2)(jax.random.key(0), 3).num_samples == 2


def test_exhaustive_is_lexicographic_with_ones_first():
    masks = np.asarray(Exhaustive()(None, 3).masks).astype(int)
    assert masks.tolist() == [
        [1, 1, 1], [1, 1, 0], [1, 0, 1], [1, 0, 0], [0, 1, 1], [0, 1, 0], [0, 0, 1], [0, 0, 0],
    ]  # fmt: skip


def test_equivalent_num_samples_is_the_total_count():
    neighbourhood = Exhaustive(70_000)(None, 10)
    np.testing.assert_allclose(neighbourhood.counts, 70_000 / 1024, rtol=1e-6)
    assert neighbourhood.num_samples == 70_000


def test_counts_are_the_multiplicities_of_the_rows(getkey):
    key = getkey()
    rows = np.asarray(Bernoulli(20_000, distinct=False)(key, D).masks)
    table = Bernoulli(20_000)(key, D)
    order = {tuple(mask): i for i, mask in enumerate(np.asarray(table.masks))}
    counts = np.bincount([order[tuple(row)] for row in rows], minlength=64)
    np.testing.assert_array_equal(table.counts, counts)


def test_neighbourhoods_drawn_again_are_of_the_same_kind(getkey):
    drawn = Bernoulli(1000)(getkey(), 3)
    table = np.asarray(drawn.table)
    assert drawn.is_replicated
    assert table.shape == (8, 17)
    np.testing.assert_array_equal(table.sum(axis=0), 1000)
    assert len(np.unique(table, axis=1).T) == 17
    # Everything is on in the first row; chance draws the others, 999 / 8 of each mask.
    surprise = np.square(table - 999 / 8) / (999 / 8)
    assert 0.5 < surprise[:, 1:].mean() < 1.5


def test_everything_is_on_in_the_first_row_of_all(getkey):
    smallest = [np.asarray(Bernoulli(8)(getkey(), 3).table)[0].min() for _ in range(20)]
    assert min(smallest) == 1


@pytest.mark.parametrize("d", [5, 33, 70])
def test_bits_are_fair_and_independent(d, getkey):
    rows = np.asarray(Bernoulli(4000, distinct=False)(getkey(), d).masks)[1:] * 2.0 - 1
    error = 5 / math.sqrt(len(rows))
    assert np.abs(rows.mean(axis=0)).max() < error
    correlation = rows.T @ rows / len(rows) - np.eye(d)
    assert np.abs(correlation).max() < error


def test_kernel_shap_sizes_follow_the_kernel(getkey):
    d = 9
    masks = np.asarray(KernelShap(400)(getkey(), d).masks)
    drawn = np.delete(masks, [0, 16], axis=0)
    assert masks[0].all() and not masks[16].any()
    sizes = drawn.sum(axis=1)
    assert sizes.min() >= 1 and sizes.max() <= d - 1
    expected = shapley_sizes.shapley_sizes(d)
    shares = np.bincount(sizes, minlength=d + 1) / len(sizes)
    assert np.abs(shares - expected).max() < 5 * math.sqrt(0.25 / len(sizes))


def test_kernel_shap_pairs_are_complements_in_one_block(getkey):
    masks = np.asarray(KernelShap(128)(getkey(), 9).masks)
    for start in range(0, 128, 32):
        np.testing.assert_array_equal(masks[start : start + 16], ~masks[start + 16 : start + 32])


def test_shapley_kernel_is_the_published_one():
    d = 6
    masks = Exhaustive()(None, d).masks
    sizes = np.asarray(masks).sum(axis=1)
    inner = (sizes > 0) & (sizes < d)
    expected = np.zeros(len(sizes))
    expected[inner] = [(d - 1) / (math.comb(d, s) * s * (d - s)) for s in sizes[inner]]
    weights = jax.jit(kernels.Shapley())(masks)
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=1e-5)


def staircase(d):
    """Masks of `d` components with 0, 1, … `d` zeros."""
    return jax.device_put(np.arange(d) >= np.arange(d + 1)[:, None])


COSINE_WEIGHTS = {
    4: [1, 0.86624, 0.50344, 0.135335, 0.000335],
    5: [1, 0.914695, 0.666008, 0.339354, 0.086762, 0.000335],
    10: [1, 0.979153, 0.914695, 0.807801, 0.666008, 0.50344, 0.339354, 0.194672, 0.086762,
         0.023746, 0.000335],
}  # fmt: skip


@pytest.mark.parametrize(("d", "weights"), COSINE_WEIGHTS.items())
def test_cosine_weights_are_those_of_the_original(d, weights):
    kernel = kernels.Exponential(0.25, kernels.cosine)
    np.testing.assert_allclose(jax.jit(kernel)(staircase(d)), weights, atol=6e-7)


def test_l2_weights_fall_by_eight_per_zero():
    weights = np.asarray(jax.jit(kernels.Exponential(0.25, kernels.l2))(staircase(20)))
    np.testing.assert_allclose(weights[:6], np.exp(-8.0 * np.arange(6)), rtol=1e-5)
    assert np.isfinite(weights).all()


def test_hamming_is_the_share_of_zeros():
    np.testing.assert_allclose(kernels.hamming(staircase(5)), np.arange(6) / 5, atol=1e-7)


def test_a_cube_that_is_too_large_is_refused():
    with pytest.raises(ValueError, match=r"33,554,432 masks.*lime\(num_samples"):
        Exhaustive()(None, 25)


def test_a_missing_key_is_named():
    with pytest.raises(ValueError, match="`key` is None"):
        Bernoulli(100)(None, 3)


def test_too_few_samples_are_refused(getkey):
    with pytest.raises(ValueError, match="`num_samples` must be at least 2"):
        Bernoulli(1)(getkey(), 3)
