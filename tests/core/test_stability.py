"""Repeats taken together: the right error of their mean, and how far they agree."""

import dataclasses
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import lime_jax as lj
from lime_jax import metrics
from lime_jax.core import pooling
from lime_jax.core.surrogates import uncertainty

D, NUM_SAMPLES, REPEATS = 13, 300, 4
DEGREES = 14  # of 16 blocks of 300 masks, which tell 14 numbers beside
WEIGHTS = jax.random.normal(jax.random.key(0), (D, 2)) / 2
STEMS = lj.from_stems(jnp.eye(D))


def network(inputs):
    return jax.nn.sigmoid(inputs @ WEIGHTS + inputs[:, :2] * inputs[:, 2:4])


def repeated(num, seed=1, num_samples=NUM_SAMPLES):
    """Explanations with a leading axis over keys, in one program."""
    keys = jax.random.split(jax.random.key(seed), num)
    many = jax.vmap(lj.from_stems)(jnp.broadcast_to(jnp.eye(D), (num, D, D)))
    return lj.explain_batch(network, many, lj.lime(num_samples), key=keys)


@pytest.fixture(scope="module")
def repeats():
    return repeated(REPEATS)


def alike(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def single(repeats, index):
    return jax.tree.map(lambda x: x[index], repeats)


@pytest.mark.slow
def test_the_pooled_explanation_is_the_mean_with_its_error(repeats):
    pooled = lj.metrics.stability(repeats).pooled
    for field in ("coefficients", "intercept", "fidelity", "local_prediction", "prediction"):
        expected = np.asarray(getattr(repeats, field), np.float64).mean(axis=0)
        np.testing.assert_allclose(getattr(pooled, field), expected, rtol=1e-5, atol=1e-6)
    variance = np.square(np.asarray(repeats.std_error, np.float64)).sum(axis=0)
    np.testing.assert_allclose(pooled.std_error, np.sqrt(variance) / REPEATS, rtol=1e-4)
    assert pooled.deviations.shape == (REPEATS * 16, 2, D)
    assert pooled.degrees_of_freedom == REPEATS * DEGREES
    assert pooled.num_evaluations == REPEATS * NUM_SAMPLES
    assert pooled.num_samples == REPEATS * NUM_SAMPLES
    assert (pooled.num_lime_samples == REPEATS * NUM_SAMPLES).all()


def test_a_difference_in_the_pooled_explanation_has_the_error_of_the_mean(repeats):
    pooled = lj.metrics.stability(repeats).pooled
    each = np.square(lj.coefficient_difference(repeats, 3, 5).std_error).sum(axis=0)
    found = lj.coefficient_difference(pooled, 3, 5)
    np.testing.assert_allclose(found.std_error, np.sqrt(each) / REPEATS, rtol=1e-4)


@pytest.mark.slow
def test_pooled_errors_hold_the_truth_as_often_as_they_say():
    """600 pooled explanations of 4 repeats each, against all 8192 masks solved in float64."""
    groups = 600
    repeats = repeated(groups * REPEATS)
    grouped = jax.tree.map(lambda x: x.reshape(groups, REPEATS, *x.shape[1:]), repeats)
    pooled = jax.vmap(pooling.pool)(grouped)
    off = np.abs(np.asarray(pooled.coefficients, np.float64) - limit())
    for level in (0.5, 0.9, 0.95):
        quantile = stats.t.ppf((1 + level) / 2, REPEATS * DEGREES)
        covered = (off <= quantile * np.asarray(pooled.std_error, np.float64)).mean()
        assert abs(covered - level) < 0.02, (level, covered)


def limit():
    """The centre that LIME's answers scatter around: all masks, normal equations in float64."""
    masks = (np.arange(2**D)[:, None] >> np.arange(D)) & 1
    outputs = np.asarray(network(jnp.asarray(masks, jnp.float32)), np.float64)
    similarity = np.sqrt(masks.sum(axis=1) / D)
    weights = np.exp(-np.square(1 - similarity) / 0.25**2 / 2) * NUM_SAMPLES / 2**D
    x = masks - np.average(masks, axis=0, weights=weights)
    y = outputs - np.average(outputs, axis=0, weights=weights)
    return np.linalg.solve(x.T @ (weights[:, None] * x) + np.eye(D), x.T @ (weights[:, None] * y)).T


@pytest.mark.parametrize("sign", ["positive", "negative", "absolute"])
@pytest.mark.parametrize("k", [1, 3, 20])
def test_u_n_and_agreement_are_those_of_the_top_lists(repeats, sign, k):
    found = lj.metrics.stability(repeats, k, sign=sign)
    for output in range(2):
        tops = [lj.top_k(single(repeats, i), output, k, sign)[0].tolist() for i in range(REPEATS)]
        best = lj.top_k(found.pooled, output, k, sign)[0].tolist()
        assert found.u_n[output] == metrics.u_n(tops)
        share = sum(set(top) == set(best) for top in tops) / REPEATS
        assert found.agreement[output] == np.float32(share)
    expected = uncertainty.top_k_confidence(found.pooled, k, sign=sign)
    np.testing.assert_array_equal(found.confidence, expected)


def test_a_list_is_as_good_as_an_axis(repeats):
    one = lj.metrics.stability(repeats, 2)
    other = lj.metrics.stability([single(repeats, i) for i in range(REPEATS)], 2)
    alike(one, other)


def test_a_single_repeat_agrees_with_itself(repeats):
    one = single(repeats, 0)
    found = lj.metrics.stability([one])
    alike(found.pooled, one)
    assert (found.u_n == 3).all() and (found.agreement == 1).all()


@pytest.mark.parametrize("method", [lj.exhaustive(), lj.shapley()], ids=["exhaustive", "shapley"])
def test_exact_explanations_are_stable(method):
    stems = lj.from_stems(jnp.eye(6))

    def positive(inputs):
        return inputs @ jnp.arange(1.0, 7.0)[:, None]

    found = lj.metrics.stability([lj.explain(positive, stems, method) for _ in range(3)], 4)
    assert (found.u_n == 4).all() and (found.agreement == 1).all() and (found.confidence == 1).all()
    assert (found.pooled.std_error == 0).all() and found.pooled.degrees_of_freedom == 0
    assert jnp.isinf(found.pooled.num_lime_samples).all()


@pytest.mark.slow
def test_many_outputs_take_no_program_each(repeats):
    """Top lists of 100 outputs once took seconds of small calls of jax."""
    wide = jax.tree.map(lambda x: x, repeats)
    shapes = {"coefficients": -2, "intercept": -1, "fidelity": -1, "local_prediction": -1,
              "prediction": -1, "std_error": -2, "deviations": -2, "status": -1,
              "num_lime_samples": -1}  # fmt: skip
    wide = dataclasses.replace(
        wide,
        **{name: jnp.repeat(getattr(wide, name), 50, axis=a) for name, a in shapes.items()},
    )
    with mock.patch.object(lj.core.ranking, "top_k", side_effect=AssertionError):
        found = lj.metrics.stability(wide, 3)
    expected = lj.metrics.stability(repeats, 3)
    np.testing.assert_array_equal(found.u_n, np.repeat(expected.u_n, 50))
    np.testing.assert_array_equal(found.agreement, np.repeat(expected.agreement, 50))


@pytest.mark.slow
def test_noise_is_unstable():
    noisy = jax.vmap(
        lambda key: lj.explain(
            lambda x: jnp.sin(50 * x.sum(axis=1, keepdims=True)), STEMS, lj.lime(60), key=key
        )
    )(jax.random.split(jax.random.key(2), 6))
    found = lj.metrics.stability(noisy)
    assert found.u_n > 4 and found.agreement < 1 and found.confidence < 0.5


def test_the_worst_status_of_the_repeats_is_reported(repeats):
    status = repeats.status.at[2, 1].set(lj.Status.NONFINITE_OUTPUT)
    found = lj.metrics.stability(dataclasses.replace(repeats, status=status))
    assert found.pooled.status.tolist() == [lj.Status.OK, lj.Status.NONFINITE_OUTPUT]


def test_mistakes_are_named(repeats):
    one = single(repeats, 0)
    with pytest.raises(ValueError, match="`explanations` is empty"):
        lj.metrics.stability([])
    with pytest.raises(ValueError, match="must have a leading axis over repeats"):
        lj.metrics.stability(one)
    with pytest.raises(ValueError, match=r"of the same input and method.*300 samples.*400 samples"):
        other = lj.explain(network, STEMS, lj.lime(400), key=jax.random.key(0))
        lj.metrics.stability([one, other])
    with pytest.raises(ValueError, match="`k` must be at least 1"):
        lj.metrics.stability(repeats, 0)
    with pytest.raises(ValueError, match="did you mean 'positive'"):
        lj.metrics.stability(repeats, sign="positiv")
