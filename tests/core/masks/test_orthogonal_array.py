"""Orthogonal arrays: balanced in every five components, and better than fair coins."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.core.masks.orthogonal_array import OrthogonalArray, array_size


@pytest.mark.parametrize("num_components", [6, 8, 13, 20, 33])
def test_any_five_components_take_all_combinations_equally_often(num_components, getkey):
    size = array_size(num_components)
    neighbourhood = OrthogonalArray(2 * size)(getkey(), num_components)
    counted = np.asarray(neighbourhood.masks)[np.asarray(neighbourhood.counts) > 0]
    chosen = list(itertools.combinations(range(num_components), 5))
    for array in (counted[0::2], counted[1::2]):
        assert len(array) == size
        for five in np.random.default_rng(0).permutation(chosen)[:12]:
            _, times = np.unique(array[:, five] @ (1 << np.arange(5)), return_counts=True)
            assert times.tolist() == [size // 32] * 32


@pytest.mark.slow
@pytest.mark.parametrize("num_components", [1, 2, 5, 16])
def test_the_unperturbed_input_is_evaluated_and_does_not_count(num_components, getkey):
    neighbourhood = OrthogonalArray(3000)(getkey(), num_components)
    counts = np.asarray(neighbourhood.counts)
    assert neighbourhood.masks[-1].all() and counts[-1] == 0
    assert counts.sum() == neighbourhood.num_samples == neighbourhood.num_masks - 1


def test_arrays_of_one_neighbourhood_differ(getkey):
    masks = np.asarray(OrthogonalArray(1024)(getkey(), 12).masks)
    assert {tuple(row) for row in masks[0:-1:2]} != {tuple(row) for row in masks[1:-1:2]}


WEIGHTS = jax.random.normal(jax.random.key(7), (12, 2)) / 2
STEMS = lj.from_stems(jnp.eye(12))


def network(inputs):
    return jax.nn.sigmoid(inputs @ WEIGHTS) + 0.1 * inputs[:, :2] * inputs[:, 2:4]


def method(sampler):
    lime = lj.lime(kernel_width=0.5, alpha=0.0)
    return lj.Method(sampler, lime.kernel, lime.surrogate)


def explain(sampler, **options):
    return lj.explain(network, STEMS, method(sampler), **options)


@pytest.mark.slow
def test_the_batch_size_changes_nothing(getkey):
    key = getkey()
    whole, split = (
        explain(OrthogonalArray(2048), key=key, batch_size=size) for size in (4096, 100)
    )
    np.testing.assert_allclose(whole.coefficients, split.coefficients, atol=1e-6)
    np.testing.assert_allclose(whole.std_error, split.std_error, atol=1e-6)
    np.testing.assert_allclose(whole.prediction, network(jnp.ones((1, 12)))[0], atol=1e-6)


@pytest.mark.slow
def test_the_two_halves_make_the_whole(getkey):
    neighbourhood = OrthogonalArray(1024)(key := getkey(), 12)
    masks, outputs = lj.predict_neighbourhood(network, STEMS, neighbourhood.masks)
    fit = lj.fit_surrogate(
        masks, outputs, method(OrthogonalArray(1024)), counts=neighbourhood.counts
    )
    whole = explain(OrthogonalArray(1024), key=key)
    np.testing.assert_allclose(fit.coefficients, whole.coefficients, atol=1e-6)


@pytest.mark.slow
def test_errors_are_a_fraction_of_those_of_fair_coins():
    exact = lj.explain(network, STEMS, lj.exhaustive(kernel_width=0.5, alpha=0.0)).coefficients
    keys = jax.random.split(jax.random.key(0), 40)
    many = jax.vmap(lj.from_stems)(jnp.broadcast_to(jnp.eye(12)[None], (40, 12, 12)))

    def mean_square(sampler):
        found = lj.explain_batch(network, many, method(sampler), key=keys)
        return float(np.square(found.coefficients - np.asarray(exact)[None]).mean())

    coins = lj.lime(513).sampler
    assert mean_square(OrthogonalArray(512)) < mean_square(coins) / 10


@pytest.mark.slow
def test_standard_errors_need_three_arrays(getkey):
    key = getkey()
    assert np.isnan(explain(OrthogonalArray(512), key=key).std_error).all()
    assert np.isnan(explain(OrthogonalArray(1024), key=key).std_error).all()
    error = explain(OrthogonalArray(4096), key=key).std_error
    assert np.isfinite(error).all() and (error > 0).all()


def test_mistakes_are_named(getkey):
    with pytest.raises(ValueError, match="`num_samples` must be at least 512 for an orthogonal"):
        OrthogonalArray(511)(getkey(), 12)
    with pytest.raises(ValueError, match="`num_components` = 1025 is too many"):
        OrthogonalArray(10**7)(getkey(), 1025)
    with pytest.raises(ValueError, match="`key` is None"):
        OrthogonalArray(512)(None, 12)
