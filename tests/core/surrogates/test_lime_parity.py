"""The surrogates against LIME's own code on the same masks, and the golden numbers."""

import jax.numpy as jnp
import numpy as np
import pytest
from lime.lime_base import LimeBase
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.metrics import pairwise_distances

import lime_jax as lj
from lime_jax.core.masks.exhaustive import Exhaustive
from lime_jax.core.surrogates import feature_selection, statistics
from lime_jax.core.surrogates.sparse import HighestWeights


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cube(d):
    return np.asarray(Exhaustive()(None, d).masks)


def sampled(d, num_samples, seed):
    """LIME's own masks, as its image explainer draws them."""
    rng = np.random.RandomState(seed)
    masks = rng.randint(0, 2, num_samples * d).reshape(num_samples, d)
    masks[0] = 1
    return masks.astype(bool)


def outputs_of(masks, seed, num_outputs=3):
    rng = np.random.RandomState(seed)
    d = masks.shape[1]
    linear, pairs = rng.randn(d, num_outputs), rng.randn(d, d, num_outputs) / d
    z = masks.astype(float)
    return sigmoid(z @ linear + np.einsum("ni,nj,ijl->nl", z, z, pairs))


def lime_explains(masks, outputs, label, *, selection="none", num_features=10**5, regressor=None):
    """LIME's own answer: intercept, {component: weight}, score, local prediction."""
    z = masks.astype(float)
    distances = pairwise_distances(z, z[:1], metric="cosine").ravel()
    base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)), random_state=0)
    intercept, weights, score, local = base.explain_instance_with_data(
        z, outputs, distances, label, num_features, selection, regressor
    )
    return intercept, dict(weights), score, local.item()


NEIGHBOURHOODS = {
    "5 components": sampled(5, 200, 0),
    "12 components": sampled(12, 400, 1),
    "40 components": sampled(40, 1000, 2),
}
RIDGES = [(alpha, fit) for alpha in (0.0, 0.01, 1.0) for fit in (True, False)]


@pytest.mark.parametrize(
    "masks",
    [
        pytest.param(masks, id=name, marks=pytest.mark.slow if name.startswith("12") else ())
        for name, masks in NEIGHBOURHOODS.items()
    ],
)
class TestParityWithLime:
    @pytest.mark.parametrize(("alpha", "fit_intercept"), RIDGES)
    def test_ridge(self, masks, alpha, fit_intercept):
        outputs = outputs_of(masks, 3)
        method = lj.lime(alpha=alpha, fit_intercept=fit_intercept)
        fit = lj.fit_surrogate(jnp.asarray(masks), jnp.asarray(outputs), method)
        for label in range(outputs.shape[1]):
            regressor = SklearnRidge(alpha=alpha, fit_intercept=fit_intercept)
            intercept, weights, score, local = lime_explains(
                masks, outputs, label, regressor=regressor
            )
            theirs = [weights[j] for j in range(masks.shape[1])]
            np.testing.assert_allclose(fit.coefficients[label], theirs, atol=1e-5)
            np.testing.assert_allclose(fit.intercept[label], intercept, atol=1e-5)
            np.testing.assert_allclose(fit.fidelity[label], score, atol=1e-5)
            np.testing.assert_allclose(fit.local_prediction[label], local, atol=1e-5)

    @pytest.mark.parametrize("num_features", [1, 3, 7])
    @pytest.mark.parametrize(
        "mode", ["none", "forward_selection", "highest_weights", "lasso_path", "auto"]
    )
    def test_feature_selection(self, masks, mode, num_features):
        if num_features != 3 and masks.shape[1] != 12:
            pytest.skip("one size shows the numbers of features; each compiles anew")
        outputs = outputs_of(masks, 4)
        method = lj.lime(feature_selection=mode, num_features=num_features)
        fit = lj.fit_surrogate(jnp.asarray(masks), jnp.asarray(outputs), method)
        for label in range(outputs.shape[1]):
            _, weights, score, _ = lime_explains(
                masks, outputs, label, selection=mode, num_features=num_features
            )
            ours = np.asarray(fit.coefficients[label])
            assert set(np.flatnonzero(ours)) == set(weights), (label, ours, weights)
            np.testing.assert_allclose(ours[list(weights)], list(weights.values()), atol=1e-5)
            np.testing.assert_allclose(fit.fidelity[label], score, atol=1e-5)


def g1(z):
    return (
        1.5 * z[:, 0]
        - 0.7 * z[:, 1]
        + 0.2 * z[:, 2]
        + 0.9 * z[:, 3]
        - 0.4
        + 0.5 * z[:, 0] * z[:, 1]
    )


def golden(d, logits, method):
    masks = cube(d)
    outputs = sigmoid(logits(masks.astype(float)))[:, None]
    return lj.fit_surrogate(jnp.asarray(masks), jnp.asarray(outputs), method)


class TestGoldenNumbers:
    """Made with scikit-learn in float64 from the published definitions."""

    @pytest.mark.parametrize(
        ("alpha", "fit_intercept", "coefficients", "fidelity"),
        [
            (1.0, True, [0.231846, -0.061111, 0.009043, 0.090711], 0.833257),
            (0.0, True, [0.367834, -0.070985, 0.034099, 0.156429], 0.961069),
            (1.0, False, [0.406094, 0.113137, 0.183291, 0.264959], 0.493221),
        ],
    )
    def test_four_components(self, alpha, fit_intercept, coefficients, fidelity):
        fit = golden(4, g1, lj.lime(alpha=alpha, fit_intercept=fit_intercept))
        np.testing.assert_allclose(fit.coefficients[0], coefficients, atol=2e-6)
        np.testing.assert_allclose(fit.fidelity[0], fidelity, atol=2e-6)

    def test_four_components_intercept_and_prediction(self):
        fit = golden(4, g1, lj.lime())
        np.testing.assert_allclose(fit.intercept[0], 0.530021, atol=2e-6)
        np.testing.assert_allclose(fit.local_prediction[0], 0.800509, atol=2e-6)

    def g2(self, method):
        return golden(5, lambda z: g1(z) - 1.1 * z[:, 4], method)

    def test_five_components(self):
        fit = self.g2(lj.lime())
        expected = [0.30295, -0.062973, 0.026662, 0.135414, -0.172988]
        np.testing.assert_allclose(fit.coefficients[0], expected, atol=2e-6)
        np.testing.assert_allclose(fit.intercept[0], 0.416892, atol=2e-6)
        np.testing.assert_allclose(fit.fidelity[0], 0.941238, atol=2e-6)
        np.testing.assert_allclose(fit.local_prediction[0], 0.645957, atol=2e-6)
        unpenalised = self.g2(lj.lime(alpha=0.0)).coefficients[0]
        expected = [0.384083, -0.072921, 0.039025, 0.174845, -0.21032]
        np.testing.assert_allclose(unpenalised, expected, atol=2e-6)

    def test_forward_selection(self):
        fit = self.g2(lj.lime(feature_selection="forward_selection", num_features=3))
        expected = [0.305266, 0, 0, 0.137729, -0.170672]
        np.testing.assert_allclose(fit.coefficients[0], expected, atol=2e-6)
        np.testing.assert_allclose(fit.intercept[0], 0.389692, atol=2e-6)
        np.testing.assert_allclose(fit.fidelity[0], 0.912154, atol=2e-6)

    @pytest.mark.slow
    def test_forward_order(self):
        masks = cube(5)
        z = masks.astype(float)
        outputs = sigmoid(g1(z) - 1.1 * z[:, 4])[:, None]
        weights = lj.lime().kernel(jnp.asarray(masks))
        sums = statistics.summarise(jnp.asarray(masks), jnp.asarray(outputs, jnp.float32), weights)
        assert feature_selection.forward_order(sums, 3)[0].tolist() == [0, 4, 3]

    @pytest.mark.parametrize(("k", "expected"), [(1, {0}), (2, {0, 4}), (3, {0, 3, 4})])
    def test_lasso_path(self, k, expected):
        fit = self.g2(lj.lime(feature_selection="lasso_path", num_features=k))
        assert set(np.flatnonzero(fit.coefficients[0])) == expected

    @pytest.mark.parametrize("selection_alpha", [0.0, 0.01])
    def test_highest_weights(self, selection_alpha):
        method = lj.Method(
            lj.lime().sampler, lj.lime().kernel, HighestWeights(3, 1.0, selection_alpha)
        )
        assert set(np.flatnonzero(self.g2(method).coefficients[0])) == {0, 3, 4}


AUDIOLIME = {
    "exhaustive": (
        lj.lime(),
        [0.07193135, -0.12767796, 0.08225256, 0.03516561, -0.30901409],
        0.50107492,
        0.94407267,
    ),
    "three features": (
        lj.lime(feature_selection="auto", num_features=3),
        [0, -0.13450803, 0.07542249, 0, -0.31584416],
        0.58129932,
        0.90566493,
    ),
    "no intercept": (
        lj.lime(fit_intercept=False),
        [0.21477903, 0.01516972, 0.22510024, 0.1780133, -0.16616641],
        0.0,
        0.44746342,
    ),
}


def audiolime_model(waveforms):
    """The test function that audioLIME's golden numbers were made with; outputs (1 - p, p)."""
    segments = waveforms[:, : 5 * 2001].reshape(-1, 5, 2001)
    e = jnp.square(segments).mean(axis=2)
    a = jnp.array([[0.9, -0.5, 0.2, 0.05, -0.3]])
    logit = (e * a).sum(axis=1) - 0.2 * e[:, 0] * e[:, 1] + 0.1
    p = 1 / (1 + jnp.exp(-logit))
    return jnp.stack([1 - p, p], axis=1)


def audiolime_components():
    t = np.arange(10_007) / 1000
    x = (np.sin(2 * np.pi * 5 * t) * (1 + 0.3 * np.floor(t))).astype(np.float32)
    # audioLIME v0.0.3 drops the remainder of the last segment; its masked input is zero there.
    x[5 * 2001 :] = 0
    return lj.from_labels(x, lj.equal_segments(x.size, 5), 5)


@pytest.mark.parametrize(
    ("method", "coefficients", "intercept", "fidelity"), AUDIOLIME.values(), ids=AUDIOLIME
)
def test_audiolime_golden_numbers(method, coefficients, intercept, fidelity):
    masks, outputs = lj.predict_neighbourhood(
        audiolime_model, audiolime_components(), jnp.asarray(cube(5))
    )
    fit = lj.fit_surrogate(masks, outputs, method)
    np.testing.assert_allclose(fit.coefficients[1], coefficients, atol=5e-6)
    np.testing.assert_allclose(fit.intercept[1], intercept, atol=5e-6)
    np.testing.assert_allclose(fit.fidelity[1], fidelity, atol=5e-6)


def test_audiolime_golden_numbers_at_200_samples():
    rng = np.random.RandomState(42)
    rng.randint(0, 1000)
    masks = rng.randint(0, 2, 200 * 5).reshape(200, 5).astype(bool)
    masks[0] = True
    assert masks[1:4].astype(int).tolist() == [[0, 0, 0, 1, 0], [0, 0, 0, 1, 0], [1, 1, 1, 0, 1]]
    masks, outputs = lj.predict_neighbourhood(
        audiolime_model, audiolime_components(), jnp.asarray(masks)
    )
    fit = lj.fit_surrogate(masks, outputs, lj.lime())
    expected = [0.08050212, -0.16544513, 0.09265553, 0.03252076, -0.37802935]
    np.testing.assert_allclose(outputs[0, 1], 0.19880456, atol=2e-6)
    np.testing.assert_allclose(fit.coefficients[1], expected, atol=5e-6)
    np.testing.assert_allclose(fit.intercept[1], 0.55935659, atol=5e-6)
    np.testing.assert_allclose(fit.fidelity[1], 0.98581561, atol=5e-6)
    np.testing.assert_allclose(fit.local_prediction[1], 0.22156052, atol=5e-6)


@pytest.mark.parametrize(
    ("signs", "k", "support"),
    [([1, 1, 0, 0], 3, {0, 1}), ([1, -1, 0, 0], 2, {0, 1}), ([1, 1, -0.5, 0], 2, {0, 1})],
)
def test_the_lasso_keeps_components_that_tie(signs, k, support):
    masks = cube(4)
    outputs = masks @ np.array(signs, np.float32)[:, None]
    method = lj.lime(feature_selection="lasso_path", num_features=k)
    fit = lj.fit_surrogate(jnp.asarray(masks), jnp.asarray(outputs), method)
    assert set(np.flatnonzero(fit.coefficients[0])) == support


def test_duplicated_columns_share_their_weight():
    masks = sampled(4, 200, 8)
    masks[:, 3] = masks[:, 0]
    outputs = masks[:, :1] * 2.0 + masks[:, 1:2]
    fit = lj.fit_surrogate(jnp.asarray(masks), jnp.asarray(outputs), lj.lime(alpha=0.0))
    np.testing.assert_allclose(fit.coefficients[0], [1, 1, 0, 1], atol=0.02)
    np.testing.assert_allclose(fit.fidelity[0], 1, atol=1e-4)


def test_an_exact_constant_has_fidelity_one():
    masks = sampled(4, 50, 8)
    fit = lj.fit_surrogate(jnp.asarray(masks), jnp.full((50, 1), 0.3), lj.lime())
    assert fit.fidelity[0] == 1 and (fit.coefficients == 0).all()
