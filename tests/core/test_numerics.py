"""Numbers under stress: what float32 can tell is right, and what it cannot says so."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.core.explanation import Status
from lime_jax.core.masks.bernoulli import Bernoulli
from lime_jax.core.surrogates import statistics
from lime_jax.core.surrogates.ridge import Ridge

D = 14
WEIGHTS = np.random.default_rng(0).normal(size=(D, 2)).astype(np.float32)
STEMS = lj.from_stems(np.eye(D, dtype=np.float32))
KEY = jax.random.key(0)


def network(inputs):
    return jnp.tanh(inputs @ WEIGHTS)


def components_of(d):
    return lj.from_stems(np.eye(d, dtype=np.float32))


def referee(method, d, outputs_of, alpha=1.0):
    """Weighted ridge in float64 on the masks of a method, and its outputs as float32."""
    drawn = method.sampler(KEY, d)
    masks, counts = np.asarray(drawn.masks, np.float64), np.asarray(drawn.counts, np.float64)
    outputs = np.asarray(outputs_of(jnp.asarray(masks, jnp.float32)), np.float64)
    distance = 1 - np.sqrt(masks.mean(axis=1))
    weights = counts * np.exp(-(distance**2) / 2 / 0.25**2)
    mean = weights @ masks / weights.sum()
    centred, residual = masks - mean, outputs - weights @ outputs / weights.sum()
    matrix = (centred * weights[:, None]).T @ centred + alpha * np.eye(d)
    coefficients = np.linalg.solve(matrix, (centred * weights[:, None]).T @ residual).T
    left = residual - centred @ coefficients.T
    return coefficients, 1 - weights @ left**2 / (weights @ residual**2)


def slow(*values):
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


@pytest.mark.parametrize("scale", [1e-20, 1e20, *slow(1e-30, 1e-3, 1e3, 1e30)])
def test_outputs_of_any_size_are_explained_alike(scale):
    """Twice: unlikely classes have small outputs, and squares of small numbers are zero."""
    method = lj.lime(500)
    usual = lj.explain(network, STEMS, method, key=KEY)
    found = lj.explain(lambda x: scale * network(x), STEMS, method, key=KEY)
    for field in ("coefficients", "std_error", "intercept"):
        np.testing.assert_allclose(
            getattr(found, field) / scale, getattr(usual, field), rtol=1e-4, atol=1e-6
        )
    np.testing.assert_allclose(found.fidelity, usual.fidelity, atol=1e-5)
    np.testing.assert_allclose(found.num_lime_samples, usual.num_lime_samples, rtol=1e-3)
    confidences = [lj.top_k_confidence(e) for e in (found, usual)]
    np.testing.assert_allclose(*confidences, atol=1e-3)
    assert not found.status.any()


@pytest.mark.parametrize("offset", [1e6, *slow(0.0, 1e2, 1e4)])
@pytest.mark.parametrize("batch_size", [None, 64])
def test_a_large_offset_costs_no_digits(offset, batch_size):
    def shifted(x):
        return offset + network(x)

    method = lj.lime(1000)
    found = lj.explain(shifted, STEMS, method, key=KEY, batch_size=batch_size)
    coefficients, fidelity = referee(method, D, jax.jit(shifted))
    largest = np.abs(coefficients).max()
    np.testing.assert_allclose(found.coefficients, coefficients, atol=3e-6 * largest)
    np.testing.assert_allclose(found.fidelity, fidelity, atol=1e-4)


@pytest.mark.parametrize("d", [1, 2, pytest.param(1000, marks=pytest.mark.slow)])
def test_numbers_of_components_at_the_ends(d):
    weights = np.random.default_rng(1).normal(size=(d, 1)).astype(np.float32) / np.sqrt(d)
    method = dataclasses.replace(lj.lime(3000), sampler=Bernoulli(3000, distinct=False))
    found = lj.explain(lambda x: jnp.tanh(x @ weights), components_of(d), method, key=KEY)
    expected, fidelity = referee(method, d, lambda x: jnp.tanh(x @ weights))
    np.testing.assert_allclose(found.coefficients, expected, atol=2e-5 * np.abs(expected).max())
    np.testing.assert_allclose(found.fidelity, fidelity, atol=1e-4)


@pytest.mark.slow
def test_a_thousand_outputs_are_one_answer_each():
    weights = np.random.default_rng(1).normal(size=(D, 1000)).astype(np.float32)
    found = lj.explain(lambda x: jnp.tanh(x @ weights), STEMS, lj.lime(500), key=KEY)
    alone = lj.explain(lambda x: jnp.tanh(x @ weights[:, 700:701]), STEMS, lj.lime(500), key=KEY)
    np.testing.assert_allclose(found.coefficients[700], alone.coefficients[0], atol=1e-5)


@pytest.mark.parametrize("name", ["shapley", "kernel_shap", "banzhaf", "exhaustive"])
def test_games_that_move_at_the_ends_alone(name):
    """The games "all of" and "any of": most masks give the same output."""
    method = {"kernel_shap": lj.kernel_shap(2048)}.get(name) or getattr(lj, name)()
    for game in (lambda x: x.prod(axis=1), lambda x: x.max(axis=1)):
        found = lj.explain(lambda x, game=game: game(x)[:, None], components_of(4), method)
        assert found.checked() and -1 < float(found.fidelity[0]) <= 1
        if name in ("shapley", "kernel_shap"):
            np.testing.assert_allclose(found.coefficients, 0.25, atol=1e-5)


METHODS = {
    "shapley": lj.shapley(),
    "banzhaf": lj.banzhaf(),
    "exhaustive": lj.exhaustive(),
    "lime auto": lj.lime("auto"),
    "slime auto": lj.slime("auto"),
    "kernel_shap": lj.kernel_shap(2048),
}


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(
            method, id=name, marks=() if name in ("shapley", "lime auto") else pytest.mark.slow
        )
        for name, method in METHODS.items()
    ],
)
def test_equal_components_are_a_tie(method):
    def games(x):
        return jnp.stack([jnp.tanh(0.3 * x.sum(axis=1)), x.sum(axis=1) ** 2, x.max(axis=1)], 1)

    for d, k in ((8, 3), (3, 1)):
        found = lj.explain(games, components_of(d), method, key=KEY)
        assert (np.asarray(lj.top_k_confidence(found, k)) <= 0.5).all()


class TestStatuses:
    @pytest.mark.parametrize("d", [30, *slow(20, 40)])
    def test_a_kernel_that_sees_nothing_has_no_weight(self, d):
        found = lj.explain(network_of(d), components_of(d), lj.slime(5000), key=KEY)
        assert int(found.status[0]) == Status.NO_WEIGHT

    def test_a_width_of_zero_is_no_answer(self):
        with pytest.raises(ValueError, match="`kernel_width` must be positive, got 0"):
            lj.lime(100, kernel_width=jnp.float32(0))

        @jax.jit
        def status(width):
            return lj.explain(network, STEMS, lj.lime(100, kernel_width=width), key=KEY).status

        assert (np.asarray(status(0.0)) >= Status.NO_WEIGHT).all()

    def test_masks_that_miss_what_a_narrow_kernel_sees_say_so(self):
        """Inside jit the width has no number yet, so designed masks are drawn."""
        method = lj.slime("auto")
        stems = components_of(20)

        @jax.jit
        def explain(method, key):
            return lj.explain(network_of(20), stems, method, key=key)

        assert int(explain(method, KEY).status[0]) == Status.NO_WEIGHT
        outside = lj.explain(network_of(20), stems, method, key=KEY)
        assert int(outside.status[0]) == Status.OK and int(outside.num_evaluations) == 211

    def test_too_few_masks_do_not_determine_coefficients(self):
        few = lj.explain(network, STEMS, lj.lime(8, alpha=0.0), key=KEY)
        assert (np.asarray(few.status) == Status.NOT_DETERMINED).all()
        with pytest.raises(lj.errors.ExplanationError, match="do not tell the components apart"):
            few.checked()
        enough = lj.explain(network, STEMS, lj.lime(800, alpha=0.0), key=KEY)
        assert not enough.status.any()
        assert not lj.explain(network, STEMS, lj.lime(8), key=KEY).status.any(), "ridge decides"

    @pytest.mark.parametrize("extra", [1, 2, 4])
    def test_what_is_not_flagged_is_right(self, extra):
        """Few masks without a penalty, in sets of which some are singular or nearly so."""
        rng = np.random.default_rng(0)
        d, num_sets = 12, 300
        masks = rng.random((num_sets, d + extra, d)) < 0.5
        masks[:, 0] = True
        outputs = np.tanh(masks @ rng.normal(size=(d, 1)) + rng.normal(size=masks[..., :1].shape))
        fits = _fit_sets(jnp.asarray(masks), jnp.asarray(outputs, jnp.float32))
        determined = np.asarray(fits.is_determined)[:, 0]
        assert determined.mean() > 0.5
        assert extra > 1 or not determined.all()
        for index in np.flatnonzero(determined):
            centred, residual = (x[index] - x[index].mean(axis=0) for x in (masks, outputs))
            expected = np.linalg.lstsq(centred.astype(float), residual[:, 0], rcond=None)[0]
            error = np.abs(np.asarray(fits.coefficients)[index, 0] - expected).max()
            assert error < 0.01 * np.abs(expected).max()

    def test_two_equal_stems_are_no_constant(self):
        for method in (lj.shapley(), lj.kernel_shap(2048)):
            found = lj.explain(lambda x: x.sum(axis=1, keepdims=True), components_of(2), method)
            assert found.checked()
            np.testing.assert_allclose(found.coefficients, 1, atol=1e-6)

    def test_it_is_said_once_in_python(self):
        with pytest.warns(
            lj.errors.ExplanationWarning, match="2 of 2 outputs .* same value"
        ) as said:
            lj.explain(lambda x: 0 * network(x) + 1, STEMS, lj.lime(100), key=KEY)
        assert len(said) == 1 and said[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            lj.explain(network, STEMS, lj.lime(100), key=KEY)
            jax.jit(lambda key: lj.explain(lambda x: 0 * x, STEMS, lj.lime(100), key=key))(KEY)

    def test_every_status_has_advice(self):
        assert all(status.advice.endswith(".") for status in Status)


@jax.jit
@jax.vmap
def _fit_sets(masks, outputs):
    weights = jnp.ones(len(masks))
    return Ridge(0.0)(statistics.summarise(masks, outputs.astype(jnp.float32), weights))


def network_of(d):
    return lambda x: jnp.tanh(x.sum(axis=1, keepdims=True) / d)


@pytest.mark.parametrize("impl", ["rbg", *slow("unsafe_rbg")])
@pytest.mark.parametrize(
    "method", [lj.lime(100), lj.kernel_shap(64), lj.lime(lj.auto(std_error=0.01))],
    ids=["lime", "kernel_shap", "auto"],
)  # fmt: skip
class TestKeysOfOtherKinds:
    def test_rows_depend_on_key_and_place_alone(self, impl, method):
        drawn = method.sampler(jax.random.key(0, impl=impl), 12)
        whole = np.asarray(drawn.masks)
        parts = [np.asarray(drawn.rows(jnp.arange(i, i + 8))) for i in range(0, 64, 8)]
        np.testing.assert_array_equal(np.concatenate(parts), whole[:64])
        assert len(np.unique(whole[:64], axis=0)) > 40

    def test_items_are_explained_as_alone(self, impl, method):
        keys = jax.random.split(jax.random.key(1, impl=impl), 2)
        items = jax.tree.map(lambda x: jnp.stack([x, x]), STEMS)
        together = lj.explain_batch(network, items, method, key=keys)
        for item in range(2):
            alone = lj.explain(network, STEMS, method, key=keys[item])
            np.testing.assert_allclose(together.coefficients[item], alone.coefficients, atol=1e-5)
