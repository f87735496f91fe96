"""From model to explanation: exact answers, one answer, few compilations, honest errors."""

import traceback
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lime_jax as lj
from lime_jax.core.execution import memory
from lime_jax.core.masks.bernoulli import Bernoulli
from tests import programs

D, N, L = 6, 32, 3


def stems(seed=0, d=D):
    return jax.random.normal(jax.random.key(seed), (d, N))


def weights(seed=1):
    return jax.random.normal(jax.random.key(seed), (N, L)) / 4


def network(params, inputs):
    return jax.nn.sigmoid(jnp.matmul(inputs, params, precision="highest"))


PREDICT = jax.tree_util.Partial(network, weights())


def close(one, other, atol=1e-6):
    for field in ("coefficients", "intercept", "fidelity", "local_prediction", "prediction"):
        np.testing.assert_allclose(getattr(one, field), getattr(other, field), atol=atol)


@pytest.mark.slow
def test_a_linear_model_is_explained_by_its_pieces():
    def linear(inputs):
        return inputs @ weights()

    explanation = lj.explain(linear, lj.from_stems(stems()), lj.exhaustive(alpha=0.0))
    np.testing.assert_allclose(explanation.coefficients, (stems() @ weights()).T, atol=1e-4)
    np.testing.assert_allclose(explanation.fidelity, 1, atol=1e-5)
    np.testing.assert_allclose(explanation.local_prediction, explanation.prediction, atol=1e-5)


@pytest.mark.parametrize("method", [lj.shapley(), lj.kernel_shap(100)], ids=["shapley", "shap"])
def test_shapley_values_are_those_of_the_definition(method):
    components = lj.from_stems(stems())
    explanation = lj.explain(PREDICT, components, method)
    outputs = {
        tuple(mask): np.asarray(out, np.float64)
        for mask, out in zip(*map(np.asarray, all_outputs(components)), strict=True)
    }
    np.testing.assert_allclose(explanation.coefficients, shapley_referee(outputs).T, atol=2e-6)
    gap = outputs[(True,) * D] - outputs[(False,) * D]
    np.testing.assert_allclose(explanation.coefficients.sum(axis=1), gap, atol=2e-6)
    np.testing.assert_allclose(explanation.std_error, 0)


def all_outputs(components):
    return lj.predict_neighbourhood(
        PREDICT, components, lj.exhaustive().sampler(None, D).masks, batch_size=17
    )


def shapley_referee(outputs):
    """By the definition: marginal contributions, averaged over sizes and subsets."""
    import math

    values = np.zeros((D, L))
    for mask, out in outputs.items():
        for j in (j for j in range(D) if not mask[j]):
            joined = (*mask[:j], True, *mask[j + 1 :])
            size = sum(mask)
            share = math.factorial(size) * math.factorial(D - size - 1) / math.factorial(D)
            values[j] += share * (outputs[joined] - out)
    return values


def test_banzhaf_values_are_mean_effects():
    components = lj.from_stems(stems())
    masks, outputs = map(np.asarray, all_outputs(components))
    expected = [outputs[masks[:, j]].mean(0) - outputs[~masks[:, j]].mean(0) for j in range(D)]
    explanation = lj.explain(PREDICT, components, lj.banzhaf())
    np.testing.assert_allclose(explanation.coefficients, np.transpose(expected), atol=2e-6)


def test_sampled_shapley_values_come_close(getkey):
    components = lj.from_stems(stems(d=12))
    exact = lj.explain(PREDICT, components, lj.shapley())
    sampled = lj.explain(PREDICT, components, lj.kernel_shap(1024), key=getkey())
    error = np.abs(sampled.coefficients - exact.coefficients)
    assert error.max() < 0.02
    assert (error < 4 * np.asarray(sampled.std_error) + 1e-6).mean() > 0.95


METHODS = {
    "rows": lj.Method(Bernoulli(200, distinct=False), lj.lime().kernel, lj.lime().surrogate),
    "table": lj.lime(200),
    "forward": lj.lime(200, feature_selection="forward_selection", num_features=2),
    "exhaustive": lj.exhaustive(),
}


SLOW = ("forward", "exhaustive")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(m, marks=pytest.mark.slow if m in SLOW else ()) for m in METHODS]
)
def test_the_batch_size_changes_nothing(name, getkey):
    method = METHODS[name]
    key, components = getkey(), lj.from_stems(stems())
    whole = lj.explain(PREDICT, components, method, key=key, batch_size=1000)
    for batch_size in (3, 40):
        chunked = lj.explain(PREDICT, components, method, key=key, batch_size=batch_size)
        close(whole, chunked)
        np.testing.assert_allclose(whole.std_error, chunked.std_error, atol=1e-6)


def test_distinct_masks_give_the_same_answer_as_all_rows(getkey):
    """70 000 samples over 10 components, every row evaluated and every mask evaluated once."""
    key, components = getkey(), lj.from_stems(stems(d=10))
    distinct = lj.lime(70_000)
    rows = lj.Method(Bernoulli(70_000, distinct=False), distinct.kernel, distinct.surrogate)
    once = lj.explain(PREDICT, components, distinct, key=key)
    every = lj.explain(PREDICT, components, rows, key=key, batch_size=2048)
    assert (once.num_evaluations, every.num_evaluations) == (1024, 70_000)
    close(once, every)
    # Errors of both are of the same chance, told in other ways: by neighbourhoods, by blocks.
    np.testing.assert_allclose(once.std_error.mean(), every.std_error.mean(), rtol=0.25)


def test_the_two_halves_make_the_whole(getkey):
    key, components, method = getkey(), lj.from_stems(stems()), lj.lime(150)
    neighbourhood = method.sampler(key, D)
    masks, outputs = lj.predict_neighbourhood(PREDICT, components, neighbourhood.masks)
    fit = lj.fit_surrogate(masks, outputs, method, counts=neighbourhood.counts)
    whole = lj.explain(PREDICT, components, method, key=key)
    np.testing.assert_allclose(fit.coefficients, whole.coefficients, atol=1e-6)
    np.testing.assert_allclose(fit.fidelity, whole.fidelity, atol=1e-6)


def test_many_samples_approach_the_exhaustive_limit(getkey):
    components = lj.from_stems(stems())
    limit = lj.explain(PREDICT, components, lj.exhaustive(equivalent_num_samples=200_000))
    sampled = lj.explain(PREDICT, components, lj.lime(200_000), key=getkey())
    close(limit, sampled, atol=2e-3)
    error = np.abs(sampled.coefficients - limit.coefficients) / np.asarray(sampled.std_error)
    assert error.max() < 4.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_items", "method"),
    [
        (1, lj.exhaustive()),
        (5, lj.lime(200)),
        pytest.param(2, METHODS["rows"], marks=pytest.mark.slow),
    ],
)
def test_a_batch_equals_its_items(num_items, method, getkey):
    keys = jax.random.split(getkey(), num_items)
    components = jax.vmap(lj.from_stems)(jnp.stack([stems(i) for i in range(num_items)]))
    together = lj.explain_batch(PREDICT, components, method, key=keys, batch_size=128)
    for item in range(num_items):
        stem = lj.from_stems(stems(item))
        alone = lj.explain(PREDICT, stem, method, key=keys[item], batch_size=64)
        close(jax.tree.map(lambda x, item=item: x[item], together), alone)


class EquinoxModel(eqx.Module):
    """Holds a function beside its weights, which jit would refuse as a leaf."""

    kernel: jax.Array
    activation: Callable

    def __call__(self, inputs):
        return self.activation(inputs @ self.kernel)


class TestAnyModel:
    """The same network in every guise gives the same explanation."""

    def expect(self, predict, getkey, **options):
        key, components = getkey(), lj.from_stems(stems())
        explanation = lj.explain(predict, components, lj.lime(40), key=key, **options)
        close(explanation, lj.explain(PREDICT, components, lj.lime(40), key=key), atol=2e-6)
        assert explanation.num_evaluations == 40

    @pytest.mark.slow
    def test_function(self, getkey):
        self.expect(lambda inputs: network(weights(), inputs), getkey)

    @pytest.mark.slow
    def test_jitted_function(self, getkey):
        self.expect(jax.jit(lambda inputs: network(weights(), inputs)), getkey)

    def test_nnx_module(self, getkey):
        model = nnx.Sequential(nnx.Linear(N, L, rngs=nnx.Rngs(0), use_bias=False), nnx.sigmoid)
        model.layers[0].kernel[...] = weights()
        model.eval()
        self.expect(model, getkey)

    def test_equinox_module(self, getkey):
        self.expect(EquinoxModel(weights(), jax.nn.sigmoid), getkey)

    @pytest.mark.parametrize("batch_size", [3, 16])
    def test_host_function(self, getkey, batch_size):
        kernel = np.asarray(weights())
        model = lj.host_model(lambda inputs: 1 / (1 + np.exp(-inputs @ kernel)))
        self.expect(model, getkey, batch_size=batch_size)

    def test_with_progress(self, getkey):
        told = []
        self.expect(PREDICT, getkey, batch_size=16, progress=lambda *done: told.append(done))
        assert told == [(16, 40), (32, 40), (40, 40)]

    @pytest.mark.slow
    def test_half_precision_outputs(self, getkey):
        def half(inputs):
            return network(weights(), inputs).astype(jnp.bfloat16)

        explanation = lj.explain(half, lj.from_stems(stems()), lj.lime(100), key=getkey())
        assert explanation.coefficients.dtype == jnp.float32


@pytest.mark.slow
def test_host_batches_are_explained_like_traced_ones(getkey):
    key = getkey()
    kernel = np.asarray(weights())
    model = lj.host_model(lambda inputs: 1 / (1 + np.exp(-inputs @ kernel)))
    components = jax.vmap(lj.from_stems)(jnp.stack([stems(0), stems(1)]))
    one = lj.explain_batch(model, components, lj.lime(100), key=key)
    close(one, lj.explain_batch(PREDICT, components, lj.lime(100), key=key), atol=2e-6)


def test_host_model_mistakes_are_named(getkey):
    components = lj.from_stems(stems())
    flat = lj.host_model(lambda inputs: inputs.sum(axis=1))
    with pytest.raises(lj.errors.ModelError, match=r"got float32 \(\d+,\)"):
        lj.explain(flat, components, lj.exhaustive())
    with pytest.raises(lj.errors.ModelError, match="ZeroDivisionError"):
        lj.explain(lj.host_model(lambda inputs: 1 / 0), components, lj.exhaustive())


@pytest.mark.parametrize("batch_size", [None, 20])
def test_the_model_is_called_at_most_nine_frames_below_explain(batch_size):
    """An error of the model shows its user few frames that are not theirs."""
    distances = []

    def model(inputs):
        stack = traceback.extract_stack()
        ours = [frame.name for frame in stack if "/lime_jax/core/" in frame.filename]
        distances.append(len(ours) - ours.index("explain"))
        return inputs.sum(axis=1, keepdims=True)

    lj.explain(model, lj.from_stems(stems()), lj.exhaustive(), batch_size=batch_size)
    # The first call is where it raises; other sizes of batches are traced where they are met.
    assert distances[0] <= 9


class TestCompilations:
    @pytest.mark.parametrize("batch_size", [32, None])
    def test_inputs_widths_keys_and_weights_share_programs(self, getkey, batch_size):
        def explain(i):
            predict = jax.tree_util.Partial(network, weights(i))
            method = lj.lime(100, kernel_width=0.1 + i, alpha=i)
            components = lj.from_stems(stems(i))
            return lj.explain(predict, components, method, key=getkey(), batch_size=batch_size)

        explain(0)
        with programs.counted() as made:
            explain(1)
        assert not made

    def test_explains_inside_jit_and_vmap(self, getkey):
        many = jnp.stack([stems(i) for i in range(3)])

        def one(x, key):
            return lj.explain(PREDICT, lj.from_stems(x), lj.lime(50), key=key)

        keys = jax.random.split(getkey(), 3)
        together = jax.jit(jax.vmap(one))(many, keys)
        alone = lj.explain(PREDICT, lj.from_stems(many[1]), lj.lime(50), key=keys[1])
        close(jax.tree.map(lambda x: x[1], together), alone)


@pytest.mark.slow
def test_a_mask_that_was_not_drawn_spoils_nothing():
    """Key 5 draws all but the empty one of the 32 masks with weight; there the model is NaN."""

    def broken_when_silent(x):
        return jnp.where((x == 0).all(1, keepdims=True), jnp.nan, x[:, :1])

    components = lj.from_stems(jnp.ones((5, 4)))
    explanation = lj.explain(broken_when_silent, components, lj.lime(32), key=jax.random.key(5))
    assert lj.lime(32).sampler(jax.random.key(5), 5).counts[-1] == 0
    assert explanation.status.tolist() == [lj.Status.OK]
    assert jnp.isfinite(explanation.coefficients).all()


@pytest.mark.parametrize("method", [lj.shapley(), lj.banzhaf(), lj.exhaustive(alpha=0.0)])
def test_one_component_explains_everything(method):
    explanation = lj.explain(lambda x: x, lj.from_stems(jnp.array([[4.0]])), method).checked()
    np.testing.assert_allclose(explanation.coefficients, [[4.0]], rtol=1e-5)


@pytest.mark.slow
def test_two_samples_have_no_known_error(getkey):
    explanation = lj.explain(PREDICT, lj.from_stems(stems()), lj.lime(2), key=getkey())
    assert jnp.isnan(explanation.std_error).all()


class TestStatus:
    def explain(self, predict, method=None):
        return lj.explain(predict, lj.from_stems(stems()), method or lj.exhaustive())

    def test_a_constant_output_is_flagged_and_explained_by_nothing(self):
        explanation = self.explain(lambda x: jnp.stack([x.sum(axis=1), 0.3 + 0 * x[:, 0]], axis=1))
        assert explanation.status.tolist() == [lj.Status.OK, lj.Status.CONSTANT_OUTPUT]
        assert (explanation.coefficients[1] == 0).all()
        with pytest.raises(lj.errors.ExplanationError, match=r"output 1 .* same value"):
            explanation.checked()

    def test_nan_is_flagged_where_it_is(self):
        def broken(x):
            return jnp.stack([x.sum(axis=1), jnp.sqrt(x.sum(axis=1))], axis=1)

        explanation = self.explain(broken)
        assert explanation.status.tolist() == [lj.Status.OK, lj.Status.NONFINITE_OUTPUT]
        assert jnp.isfinite(explanation.coefficients[0]).all()

    def test_a_kernel_that_weighs_nothing_is_flagged(self):
        explanation = self.explain(
            lambda x: x[:, :1], lj.exhaustive(kernel_width=0.01, distance="l2")
        )
        assert explanation.status.tolist() == [lj.Status.NO_WEIGHT]

    def test_a_good_explanation_passes(self):
        explanation = self.explain(PREDICT)
        assert explanation.checked() is explanation


BAD = {
    "must map a batch": lambda: lj.explain(
        lambda x: x.sum(axis=1), lj.from_stems(stems()), lj.exhaustive()
    ),
    "`batch_size` must be at least 1": lambda: lj.explain(
        PREDICT, lj.from_stems(stems()), lj.exhaustive(), batch_size=-1
    ),
    "`key` is None": lambda: lj.explain(PREDICT, lj.from_stems(stems()), lj.lime(10)),
    "`batch_size` must be at least 1, got 0": lambda: lj.explain(
        PREDICT, lj.from_stems(stems()), lj.exhaustive(), batch_size=0
    ),
    "must return real numbers": lambda: lj.explain(
        lambda x: jax.lax.complex(x, x), lj.from_stems(stems()), lj.exhaustive()
    ),
    "leading axis over items. Use": lambda: lj.explain(
        PREDICT, jax.vmap(lj.from_stems)(stems()[None]), lj.exhaustive()
    ),
    "must have a leading axis over items": lambda: lj.explain_batch(
        PREDICT, lj.from_stems(stems()), lj.exhaustive()
    ),
    "`masks` must hold all on and all off": lambda: lj.fit_surrogate(
        jnp.ones((3, 2), bool), jnp.ones((3, 1)), lj.shapley()
    ),
    "`alpha` must be zero or positive": lambda: lj.lime(alpha=-1.0),
    "did you mean 'cosine'": lambda: lj.lime(distance="cosin"),
    "did you mean 'lasso_path'": lambda: lj.lime(feature_selection="lasso"),
    "`kernel_width` must be positive": lambda: lj.lime(kernel_width=0.0),
    "`num_features` must be at least 1": lambda: lj.lime(num_features=0),
}


@pytest.mark.parametrize(("message", "call"), BAD.items(), ids=BAD)
def test_mistakes_are_named(message, call):
    with pytest.raises(ValueError, match=message):
        call()


class TestMemory:
    def test_running_out_halves_the_batch_and_says_so_once(self):
        tried = []

        def run(batch_size):
            tried.append(batch_size)
            if batch_size > 10:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
            return jnp.ones(())

        with pytest.warns(UserWarning, match="went on with 8") as record:
            _, reached = memory.retry_with_smaller_batches(run, 64)
        assert tried == [64, 32, 16, 8] and reached == 8 and len(record) == 1

    def test_other_errors_are_not_swallowed(self):
        def run(batch_size):
            raise jax.errors.JaxRuntimeError("INTERNAL: broken")

        with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
            memory.retry_with_smaller_batches(run, 64)

    def test_one_input_too_many_is_named(self):
        def run(batch_size):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

        with pytest.raises(lj.errors.ModelError, match="single input"):
            memory.retry_with_smaller_batches(run, 2)

    def test_larger_intermediates_mean_smaller_batches(self):
        def widen(factor):
            return lambda x: jnp.tanh(jnp.repeat(x, factor, axis=1)).sum(axis=1)

        sizes = [
            memory.batch_size_for(jax.jit(widen(f)), jax.ShapeDtypeStruct((1, 4096), jnp.float32))
            for f in (1, 1000, 10_000)
        ]
        assert sizes[0] > sizes[1] > sizes[2] >= 1


def intervals_cover(seed):
    components = lj.from_stems(stems(d=12))
    limit = lj.explain(PREDICT, components, lj.exhaustive(equivalent_num_samples=600))
    keys = jax.random.split(jax.random.key(seed), 300)
    many = jax.tree.map(lambda x: jnp.broadcast_to(x[None], (300, *x.shape)), components)
    runs = lj.explain_batch(PREDICT, many, lj.lime(600), key=keys, batch_size=2048)
    error = np.abs(runs.coefficients - np.asarray(limit.coefficients)[None])
    return (error <= 2.131 * np.asarray(runs.std_error)).mean()


@pytest.mark.slow
def test_intervals_cover_what_they_promise():
    """Nominal 95 % with the t quantile of 15 degrees of freedom."""
    assert 0.93 < intervals_cover(3) < 0.97


@pytest.mark.slow
def test_a_thousand_components_are_sampled():
    components = lj.from_labels(jnp.ones(1024), jnp.arange(1024), 1024)

    def loud(x):
        return jnp.square(x).mean(axis=1, keepdims=True)

    explanation = lj.explain(loud, components, lj.lime(300), key=jax.random.key(0))
    assert jnp.isfinite(explanation.coefficients).all()
