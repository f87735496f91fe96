"""Models that close over arrays are explained with those of the moment, and let them go."""

import dataclasses
import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lime_jax as lj
from lime_jax.core.execution.compiled import explain_one
from tests import programs

D = 5
STEMS = lj.from_stems(np.eye(D, dtype=np.float32))
TWO_ITEMS = jax.tree.map(lambda x: jnp.stack([x, x]), STEMS)
METHOD = lj.shapley()
FIRST, SECOND = (np.arange(D) * scale + 1.0 for scale in (1, 10))


class Network(nnx.Module):
    def __init__(self, weights):
        self.weights = nnx.Param(jnp.asarray(weights, jnp.float32))

    def logits(self, inputs):
        return inputs @ self.weights[...][:, None]

    def __call__(self, inputs):
        return self.logits(inputs)


class Trainer:
    def __init__(self, weights):
        self.weights = jnp.asarray(weights, jnp.float32)

    def predict(self, inputs):
        return inputs @ self.weights[:, None]

    __call__ = predict


def _put(holder, weights):
    holder.weights = jnp.asarray(weights, jnp.float32)


def of_network(use):
    network = Network(FIRST)

    def train(weights):
        network.weights[...] = jnp.asarray(weights, jnp.float32)

    return use(network), train


def of_trainer(use):
    trainer = Trainer(FIRST)
    return use(trainer), lambda weights: _put(trainer, weights)


def of_global(use):
    _put(Globals, FIRST)
    return use(lambda inputs: inputs @ Globals.weights[:, None]), lambda w: _put(Globals, w)


class Globals:
    weights = None


def in_numpy():
    weights = np.array(FIRST, np.float32)

    def train(new):
        weights[:] = new

    return lambda inputs: inputs @ weights[:, None], train


def in_windows(whole):
    """The same as a sum of windows of one element each."""
    return lj.receptive_fields.windowed(
        lambda inputs: whole(inputs),
        backbone=lambda window: whole(window * jnp.ones((1, D)) / D),
        head=lambda features: features.sum(axis=1),
        window=1,
        stride=1,
    )


def unchanged(x):
    return x


HOLDERS = {
    "nnx module": lambda: of_network(unchanged),
    "bound method of an nnx module": lambda: of_network(lambda n: n.logits),
    "lambda over an nnx module": lambda: of_network(lambda n: lambda x: n(x)),
    "Partial of a function over a module": lambda: of_network(
        lambda n: jax.tree_util.Partial(lambda scale, x: scale * n(x), 1.0)
    ),
    "declared module": lambda: of_network(
        lambda n: lj.receptive_fields.windowed(n, backbone=n, head="sum", window=D, stride=1)
    ),
    "bound method": lambda: of_trainer(lambda t: t.predict),
    "callable object": lambda: of_trainer(unchanged),
    "function of a global": lambda: of_global(unchanged),
    "array of NumPy changed in place": in_numpy,
}


@pytest.mark.parametrize("make", HOLDERS.values(), ids=HOLDERS)
class TestWeightsOfTheMoment:
    @pytest.mark.parametrize(
        "options",
        [{}, pytest.param({"progress": lambda *_: None}, marks=pytest.mark.slow)],
    )
    def test_new_weights_give_new_explanations_of_the_same_program(self, make, options):
        predict, train = make()
        first = lj.explain(predict, STEMS, METHOD, **options).coefficients[0]
        np.testing.assert_allclose(first, FIRST, rtol=1e-4)
        train(SECOND)
        with programs.counted() as made:
            second = lj.explain(predict, STEMS, METHOD, **options).coefficients[0]
        np.testing.assert_allclose(second, SECOND, rtol=1e-4)
        assert not made

    @pytest.mark.slow
    def test_of_many_items_and_of_given_masks_too(self, make):
        predict, train = make()
        masks = jnp.eye(D, dtype=bool)
        for weights in (FIRST, SECOND):
            train(weights)
            items = lj.explain_batch(predict, TWO_ITEMS, METHOD).coefficients[:, 0]
            np.testing.assert_allclose(items, [weights, weights], rtol=1e-4)
            outputs = lj.predict_neighbourhood(predict, STEMS, masks)[1][:, 0]
            np.testing.assert_allclose(outputs, weights, rtol=1e-4)


@pytest.mark.slow
def test_averages_over_fills_have_weights_of_the_moment():
    predict, train = of_trainer(lambda t: t.predict)
    for weights in (FIRST, SECOND):
        train(weights)
        average = lj.explain_over_fills(predict, STEMS, [0.0, 0.5], METHOD)
        np.testing.assert_allclose(average.fills.coefficients[0, 0], weights, rtol=1e-4)


def test_parts_of_a_declaration_have_weights_of_the_moment():
    weights = {"scale": jnp.float32(1)}
    columns = lj.from_labels(jnp.ones(24), lj.equal_segments(24, 8), 8)

    def whole(x):
        columns = jnp.tanh(x).reshape(len(x), 8, 3).sum(axis=2)
        return weights["scale"] * columns.max(axis=1)[:, None]

    model = lj.receptive_fields.windowed(
        whole,
        backbone=lambda x: weights["scale"] * jnp.tanh(x).sum(axis=1),
        head=lambda x: x.max(axis=1)[:, None],
        window=3,
        stride=3,
    )
    method = lj.lime(100)
    for scale in (1.0, 5.0):
        weights["scale"] = jnp.float32(scale)
        explanation = lj.explain(model, columns, method, key=jax.random.key(0))
        assert explanation.num_evaluations == 16
        np.testing.assert_allclose(explanation.prediction, scale * 3 * np.tanh(1), rtol=1e-5)
    lj.receptive_fields.check_receptive_field(model, jnp.ones((1, 24)))


@pytest.mark.parametrize("wrap", [unchanged, jax.jit], ids=["plain", "jitted"])
@pytest.mark.parametrize("options", [{}, {"progress": lambda *_: None}], ids=["at once", "steps"])
def test_a_function_and_its_arrays_are_let_go(wrap, options):
    weights = jnp.ones((D, 1000))
    predict = wrap(lambda inputs: jax.nn.relu(inputs @ weights)[:, :2])
    lj.explain(predict, STEMS, METHOD, **options)
    gone = weakref.ref(weights), weakref.ref(predict)
    del weights, predict
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


def test_functions_that_compute_the_same_share_programs():
    def explain(scale):
        return lj.explain(lambda x: jax.nn.relu(x @ (scale * jnp.eye(D))), STEMS, METHOD)

    explain(1.0)
    with programs.counted() as made:
        explain(1.0)
    assert not made


def test_what_computes_something_else_is_told_apart():
    """By numbers in the text of a program, and by what only another batch size would meet."""
    for scale in (2, 3):
        found = lj.explain(lambda x, scale=scale: x * scale, STEMS, METHOD)
        np.testing.assert_allclose(found.prediction, scale)

    def one(x):
        return x * 2 if len(x) == 1 else x * 3

    def other(x):
        return x * 2 if len(x) == 1 else x * 4

    for model, factor in ((one, 3), (other, 4)):
        found = lj.explain(model, STEMS, METHOD)
        np.testing.assert_allclose(found.prediction, factor)


def test_callbacks_are_told_apart():
    def model_of(scale):
        def call(x):
            return jax.pure_callback(
                lambda y: np.float32(scale) * y, jax.ShapeDtypeStruct(x.shape, x.dtype), x
            )

        return call

    for scale in (2.0, 3.0):
        masks = jnp.ones((1, D), bool)
        outputs = lj.predict_neighbourhood(model_of(scale), STEMS, masks)[1]
        np.testing.assert_allclose(outputs, scale)


def test_derivatives_go_to_closed_over_arrays():
    def strongest(weights):
        def predict(x):
            return jnp.square(x @ weights)[:, None]

        return lj.explain(predict, STEMS, METHOD).coefficients.sum()

    weights = jnp.asarray(FIRST, jnp.float32)
    expected = jax.grad(lambda w: jnp.square(w.sum()))(weights)
    np.testing.assert_allclose(jax.grad(strongest)(weights), expected, rtol=1e-4)
    np.testing.assert_allclose(jax.jit(jax.grad(strongest))(2 * weights), 2 * expected, rtol=1e-4)


def test_a_rule_of_derivatives_is_not_mistaken_for_another():
    def with_slope(slope):
        @jax.custom_jvp
        def same(x):
            return x

        same.defjvp(lambda x, tangents: (x[0], slope * tangents[0]))
        return lambda x: same(x)

    def strongest(signal, slope):
        components = lj.from_stems(jnp.eye(D) * signal)
        return lj.explain(with_slope(slope), components, METHOD).coefficients[0, 0]

    for slope in (1.0, 7.0):
        gradient = jax.grad(strongest)(jnp.float32(2.0), slope)
        np.testing.assert_allclose(gradient, slope, rtol=1e-5)


def test_models_of_a_fixed_batch_are_traced_with_it():
    def fixed(x):
        return x.reshape(8, D).sum(axis=1, keepdims=True)

    found = lj.explain(fixed, STEMS, METHOD, batch_size=8)
    np.testing.assert_allclose(found.coefficients, 1, rtol=1e-5)


def test_clean_models_are_not_traced_again():
    network = Network(FIRST)
    lj.explain(network, STEMS, METHOD, batch_size=32)
    size = explain_one._cache_size()
    lj.explain(network, STEMS, METHOD, batch_size=32)
    assert explain_one._cache_size() == size


class TestMoreHolders:
    """Found by trying: what is held by modules, and what is met for some batch sizes only."""

    def explained(self, model):
        return np.asarray(lj.explain(model, STEMS, METHOD).coefficients)

    def test_modules_read_globals_too(self):
        scale = np.ones((1, 1), np.float32)

        @jax.tree_util.register_dataclass
        @dataclasses.dataclass
        class Scaled:
            weights: jax.Array

            def __call__(self, x):
                return (x @ self.weights[:, None]) * scale

        model = Scaled(jnp.asarray(FIRST, jnp.float32))
        once = self.explained(model)
        scale *= 10
        np.testing.assert_allclose(self.explained(model), 10 * once, rtol=1e-4)

    def test_some_batch_sizes_have_more_arrays(self):
        held = {"weights": np.asarray(FIRST, np.float32)}

        def padded(x):
            missing = -len(x) % 8
            if missing:
                x = jnp.concatenate([x, np.zeros((missing, D), np.float32)])
            return (x @ held["weights"][:, None])[: x.shape[0] - missing]

        once = self.explained(padded)
        held["weights"] = 3 * held["weights"]
        np.testing.assert_allclose(self.explained(padded), 3 * once, rtol=1e-4)

    def test_arrays_made_for_a_batch_size_are_not_those_of_another_model(self):
        held = {"weights": np.asarray(FIRST, np.float32)}

        def repeated(x):
            return (x * np.tile(held["weights"], (len(x), 1))).sum(axis=1, keepdims=True)

        once = self.explained(repeated)
        held["weights"] = 3 * held["weights"]
        np.testing.assert_allclose(self.explained(repeated), 3 * once, rtol=1e-4)

    def test_equal_arrays_are_told_apart(self):
        held = [np.ones((1, 1), np.float32), np.ones((1, 1), np.float32)]

        def model(x):
            order = held if len(x) == 1 else held[::-1]
            added = x.sum(axis=1, keepdims=True) * (2 * held[0] + held[1])
            return added + 0 * (order[0] + order[1])

        once = self.explained(model)
        held[1] = 3 * held[1]
        np.testing.assert_allclose(self.explained(model), once * 5 / 3, rtol=1e-4)
