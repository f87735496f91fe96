"""Errors of coefficients: of differences, of rankings, and how often they hold."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import lime_jax as lj
from lime_jax.core.surrogates import uncertainty

D = 13
WEIGHTS = jax.random.normal(jax.random.key(0), (D, 2)) / 2
STEMS = lj.from_stems(jnp.eye(D))


def network(inputs):
    return jax.nn.sigmoid(inputs @ WEIGHTS + inputs[:, :2] * inputs[:, 2:4])


def explained(coefficients, deviations):
    """A made-up explanation of one output."""
    coefficients = jnp.asarray([coefficients], jnp.float32)
    deviations = jnp.asarray(deviations, jnp.float32)[:, None]
    base = lj.explain(network, STEMS, lj.lime(100), key=jax.random.key(0))
    return dataclasses.replace(
        base,
        intercept=base.intercept[:1],
        prediction=base.prediction[:1],
        coefficients=coefficients,
        deviations=deviations,
        std_error=uncertainty.std_error(deviations),
        degrees_of_freedom=jnp.int32(len(deviations) - 1),
    )


def test_the_jackknife_is_the_textbook_formula(getkey):
    estimates = np.asarray(jax.random.normal(getkey(), (6, 2, 3)))
    used = jnp.arange(8) < 6
    padded = jnp.asarray(np.concatenate([estimates, np.full((2, 2, 3), 7.0, np.float32)]))
    found = uncertainty.std_error(uncertainty.jackknife(padded, used))
    expected = np.sqrt(5 / 6 * ((estimates - estimates.mean(axis=0)) ** 2).sum(axis=0))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("used", [1, 2])
def test_two_blocks_tell_no_error(used):
    deviations = uncertainty.jackknife(jnp.ones((4, 1, 2)), jnp.arange(4) < used)
    assert jnp.isnan(uncertainty.std_error(deviations)).all()


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_intervals_are_students(level):
    explanation = lj.explain(network, STEMS, lj.lime(500), key=jax.random.key(0))
    low, high = lj.confidence_interval(explanation, level=level)
    width = 2 * stats.t.ppf((1 + level) / 2, 15) * np.asarray(explanation.std_error)
    np.testing.assert_allclose(high - low, width, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_exact_answers_have_no_width():
    explanation = lj.explain(network, STEMS, lj.exhaustive())
    low, high = lj.confidence_interval(explanation)
    np.testing.assert_array_equal(low, high)
    assert explanation.degrees_of_freedom == 0
    assert (lj.top_k_confidence(explanation, 3) == 1).all()
    assert (lj.coefficient_difference(explanation, 0, 1).std_error == 0).all()


def test_a_difference_knows_that_errors_go_together():
    together = explained([1.0, 0.5], [[0.1, 0.1], [-0.1, -0.1], [0.0, 0.0]])
    apart = explained([1.0, 0.5], [[0.1, -0.1], [-0.1, 0.1], [0.0, 0.0]])
    for explanation, expected in ((together, 0.0), (apart, 2 * np.sqrt(0.02))):
        found = lj.coefficient_difference(explanation, 0, 1)
        np.testing.assert_allclose(found.estimate, [0.5])
        np.testing.assert_allclose(found.std_error, [expected], atol=1e-6)
        margin = stats.t.ppf(0.975, 2) * expected
        np.testing.assert_allclose(found.high - found.estimate, [margin], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sign", ["positive", "negative", "absolute"])
def test_confidence_in_the_top_one_of_two_is_a_t_test(sign):
    direction = {"positive": [1, 1], "negative": [-1, -1], "absolute": [1, -1]}[sign]
    rows = np.array([[0.1, -0.1], [-0.2, 0.1], [0.1, 0.0]])
    explanation = explained(np.multiply([1.0, 0.5], direction), rows * direction)
    error = np.sqrt(np.square(rows[:, 0] - rows[:, 1]).sum())
    expected = 1 - stats.t.sf(0.5 / error, 2)
    if sign == "absolute":
        both = np.sqrt(np.square(rows[:, 0] + rows[:, 1]).sum())
        expected -= stats.t.sf(1.5 / both, 2)
    np.testing.assert_allclose(
        lj.top_k_confidence(explanation, 1, sign=sign), [expected], rtol=1e-4
    )


def test_two_blocks_have_one_degree_of_freedom():
    rows = np.array([[0.3, -0.3], [-0.3, 0.3]])
    explanation = explained([1.0, 0.5], rows)
    error = np.sqrt(np.square(rows[:, 0] - rows[:, 1]).sum())
    found = lj.top_k_confidence(explanation, 1)
    np.testing.assert_allclose(found, [1 - stats.t.sf(0.5 / error, 1)], rtol=1e-4)


def test_a_weak_component_may_be_strong_with_its_other_sign():
    """0.5 for sure against 0.01 ± 1, with two degrees of freedom."""
    rows = np.array([[0.0, np.sqrt(0.5)], [0.0, -np.sqrt(0.5)], [0.0, 0.0]])
    found = lj.top_k_confidence(explained([0.5, 0.01], rows), 1, sign="absolute")
    expected = 1 - stats.t.sf(0.49, 2) - stats.t.sf(0.51, 2)
    np.testing.assert_allclose(found, [expected], rtol=1e-3)


@pytest.mark.slow
def test_ties_and_whole_sets():
    tied = explained([1.0, 1.0, 0.0], np.zeros((3, 3)))
    assert float(lj.top_k_confidence(tied, 1)[0]) == 0.5
    assert float(lj.top_k_confidence(tied, 2)[0]) == 1.0
    assert float(lj.top_k_confidence(tied, 5)[0]) == 1.0


@pytest.mark.slow
def test_many_items_keep_their_axis():
    many = jax.vmap(lj.from_stems)(jnp.stack([jnp.eye(D), jnp.eye(D) / 2]))
    batch = lj.explain_batch(network, many, lj.lime(400), key=jax.random.key(0))
    one = jax.tree.map(lambda x: x[1], batch)
    for function in (
        lambda e: lj.confidence_interval(e)[0],
        lambda e: lj.coefficient_difference(e, 0, 3).high,
        lambda e: lj.top_k_confidence(e, 2),
    ):
        np.testing.assert_allclose(function(batch)[1], function(one), rtol=1e-5, atol=1e-6)


def test_mistakes_are_named():
    explanation = lj.explain(network, STEMS, lj.lime(100), key=jax.random.key(0))
    with pytest.raises(ValueError, match="`level` must lie between 0 and 1, got 95"):
        lj.confidence_interval(explanation, level=95.0)
    with pytest.raises(ValueError, match="`second` must be an index below 13, got 13"):
        lj.coefficient_difference(explanation, 0, 13)
    with pytest.raises(ValueError, match="`k` must be at least 1"):
        lj.top_k_confidence(explanation, 0)


def coverage(method, exact, num_runs, level=0.95):
    keys = jax.random.split(jax.random.key(3), num_runs)
    many = jax.vmap(lj.from_stems)(jnp.broadcast_to(jnp.eye(D), (num_runs, D, D)))
    low, high = lj.confidence_interval(
        lj.explain_batch(network, many, method, key=keys), level=level
    )
    exact = np.asarray(exact.coefficients)[None]
    return float(((low <= exact) & (exact <= high)).mean())


@pytest.mark.slow
def test_intervals_hold_the_limit_as_often_as_they_say():
    """130 runs × 26 coefficients; `benchmarks/coverage.py` has more runs, models and samplers."""
    exact = lj.explain(network, STEMS, lj.exhaustive(equivalent_num_samples=600))
    assert 0.93 < coverage(lj.lime(600), exact, 130) < 0.97
    assert 0.46 < coverage(lj.lime(600), exact, 130, level=0.5) < 0.54


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "exact", "num_components"),
    [
        (lj.slime(2000), lj.exhaustive(distance="l2", equivalent_num_samples=2000), 8),
        (lj.kernel_shap(128), lj.shapley(), 12),
        (lj.lime(40), lj.exhaustive(equivalent_num_samples=40), 8),
    ],
    ids=["all masks", "few pairs", "few coins"],
)
def test_few_masks_know_their_errors_too(method, exact, num_components):
    """The worst component, 400 runs; `benchmarks/few_masks.py` has more."""
    from benchmarks.few_masks import MODELS, measure

    model = MODELS["with products"](num_components)
    held = measure(model, num_components, method, exact, 400)["held"]["95%"]
    assert 0.91 < held[0] < 0.99


def test_degrees_of_freedom_are_fewer_where_masks_are():
    def degrees(method, num_components):
        stems = lj.from_stems(jnp.eye(num_components))
        explanation = lj.explain(lambda x: x[:, :1], stems, method, key=jax.random.key(0))
        return int(explanation.degrees_of_freedom)

    assert degrees(lj.lime(2000), 13) == 15
    assert degrees(lj.lime(40), 8) == 12  # 15 (1 − 9 / 40), rounded
    assert degrees(lj.lime(40), 5) == 15  # all masks are known
    assert degrees(lj.kernel_shap(64), 12) == 9  # 15 (1 − 13 / 32), of pairs
    assert degrees(lj.lime(10), 13) == 1
    assert degrees(lj.exhaustive(), 5) == 0
