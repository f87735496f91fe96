"""Models whose output for one input depends on the others are named, whatever runs them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lime_jax as lj
from lime_jax.core.batch_independence import Batch, look_at_batch
from lime_jax.core.explanation import Status
from lime_jax.core.predictor import as_predictor

D = 5
STEMS = lj.from_stems(np.eye(D, dtype=np.float32))
KERNEL = np.random.default_rng(0).normal(size=(D, 3)).astype(np.float32)


class Network(nnx.Module):
    def __init__(self, layer):
        self.layer = layer

    def __call__(self, x):
        return self.layer(x) @ KERNEL


def batch_norm():
    return Network(nnx.BatchNorm(D, rngs=nnx.Rngs(0)))


def dropout():
    return Network(nnx.Dropout(0.5, rngs=nnx.Rngs(1)))


def convolved(x):
    image = jnp.tanh(x.reshape(len(x), D, 1, 1) * KERNEL[None, :, None, :])
    kernel = jnp.ones((3, 1, 3, 2))
    numbers = ("NHWC", "HWIO", "NHWC")
    made = jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=numbers)
    return made.max(axis=1).reshape(len(x), -1)


MIXING = {
    "mean of the batch": lambda x: x - x.mean(),
    "softmax over the batch": lambda x: jax.nn.softmax(x, axis=0),
    "every input with every other": lambda x: (x @ x.T)[:, :1] * jnp.ones((1, 3)),
    "noise": lambda x: x + jax.random.normal(jax.random.key(0), x.shape),
    "noise after a jitted layer": lambda x: (
        jax.jit(jnp.tanh)(x) + jax.random.uniform(jax.random.key(0), (len(x), 1))
    ),
    "sorted along the batch": lambda x: jnp.sort(x, axis=0),
    "after a convolution": lambda x: convolved(x) / convolved(x).max(),
}
APART = {
    "softmax over outputs": lambda x: jax.nn.softmax(x @ KERNEL),
    "random features": lambda x: x @ jax.random.normal(jax.random.key(0), (D, 3)),
    "convolution": convolved,
    "vmapped": jax.vmap(lambda row: jnp.sort(row - row.mean())[:2]),
    "einsum": lambda x: jnp.einsum("ji,bj->bi", KERNEL, x),
    "layer norm": lambda x: (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True),
}
FRAMES = np.arange(3)[:, None] + np.arange(3)
FRONT_ENDS = {
    "frames": lambda x: x[:, FRAMES],
    "spectrum": lambda x: jnp.abs(jnp.fft.rfft(x)),
    "short-time spectrum": lambda x: jnp.log1p(jnp.abs(jnp.fft.rfft(x[:, FRAMES]))),
    "cut off": lambda x: x[:, 1:],
    "every other": lambda x: x[:, ::2],
    "joined": lambda x: jnp.concatenate([x, x * x], axis=1),
    "stacked": lambda x: jnp.stack([x, x * x], axis=1),
    "padded": lambda x: jnp.pad(x, ((0, 0), (1, 1))),
    "reversed": lambda x: x[:, ::-1],
    "split": lambda x: jnp.split(x[:, :4], 2, axis=1)[1],
    "largest of a window": lambda x: jax.lax.reduce_window(
        x, -jnp.inf, jax.lax.max, (1, 2), (1, 2), "VALID"
    ),
    "convolved": lambda x: convolved(x),
    "step by step": lambda x: (
        jax.lax.scan(lambda state, now: (jnp.tanh(state + now), state), jnp.zeros(len(x)), x.T)[1].T
    ),
    "taken in": lambda x: jnp.tanh(x.reshape(-1, 1) * KERNEL[:1]).reshape(len(x), D, 3),
    "windows as a batch": lambda x: (x[:, FRAMES].reshape(-1, 3) @ jnp.ones((3, 2))).reshape(
        len(x), -1
    ),
    "one of two": lambda x: jax.lax.cond(True, jnp.tanh, jnp.sin, x),
    "looked up": lambda x: jnp.asarray(KERNEL)[(x > 0.5).astype(jnp.int32)],
}
TRIED = {
    "the batch inside": lambda x: x.T.reshape(-1, 1).reshape(D, -1).T,
    "loop": lambda x: jax.lax.while_loop(
        lambda c: c[1] < 2, lambda c: (2 * c[0], c[1] + 1), (x, 0)
    )[0],
    "row by row": lambda x: jax.lax.map(jnp.tanh, x),
}
MIXED_TRIED = {
    "less the first": lambda x: x - x[:1],
    "the other way round": lambda x: x + 2 * x[::-1],
    "rolled": lambda x: x + jnp.roll(x, 1, axis=0),
    "counted": lambda x: x * jnp.arange(len(x), dtype=jnp.float32)[:, None],
    "along the batch": lambda x: jax.lax.scan(lambda a, b: (a + b, a + b), jnp.zeros(D), x)[1],
    "flattened and normalised": lambda x: normalised(x.reshape(-1, 1)).reshape(len(x), -1),
}
ONE = jax.ShapeDtypeStruct((1, D), jnp.float32)


@pytest.mark.parametrize("model", MIXING.values(), ids=MIXING)
def test_what_mixes_is_found(model):
    assert look_at_batch(as_predictor(model), ONE) == Batch.MIXED


@pytest.mark.parametrize("model", APART.values(), ids=APART)
def test_what_keeps_inputs_apart_is_not_suspected(model):
    assert look_at_batch(as_predictor(model), ONE) == Batch.APART


def normalised(x):
    return (x - x.mean(axis=0, keepdims=True)) / (x.std(axis=0, keepdims=True) + 0.1)


def summed_up(front_end, mix=lambda x: x):
    def model(x):
        flat = mix(front_end(x)).reshape(len(x), -1)
        return jnp.exp(0.3 * flat @ jnp.cos(jnp.arange(flat.shape[1], dtype=jnp.float32))[:, None])

    return model


@pytest.mark.parametrize("front_end", FRONT_ENDS.values(), ids=FRONT_ENDS)
def test_the_batch_is_followed_through_what_comes_first(front_end):
    apart, mixed = (as_predictor(summed_up(front_end, mix)) for mix in (jnp.tanh, normalised))
    assert look_at_batch(apart, ONE) == Batch.APART
    assert look_at_batch(mixed, ONE) == Batch.MIXED


@pytest.mark.parametrize("front_end", TRIED.values(), ids=TRIED)
def test_what_cannot_be_followed_is_tried(front_end):
    for mix, status in ((lambda x: x, Status.OK), (normalised, Status.NOT_A_FUNCTION)):
        model = summed_up(lambda x, mix=mix: mix(front_end(x).reshape(len(x), -1)))
        found = lj.explain(model, STEMS, lj.exhaustive())
        np.testing.assert_array_equal(found.status, status)


@pytest.mark.parametrize("model", MIXED_TRIED.values(), ids=MIXED_TRIED)
@pytest.mark.parametrize("batch_size", [None, 8])
def test_other_ways_to_depend_on_others_are_named(model, batch_size):
    found = lj.explain(summed_up(model), STEMS, lj.exhaustive(), batch_size=batch_size)
    np.testing.assert_array_equal(found.status, Status.NOT_A_FUNCTION)


def test_averages_over_fills_see_it_too():
    components = lj.from_labels(jnp.arange(1.0, D + 1), lj.equal_segments(D, D), D)
    model = summed_up(normalised)
    found = lj.explain_over_fills(model, components, [0.0, 1.0], lj.exhaustive())
    np.testing.assert_array_equal(found.explanation.status, Status.NOT_A_FUNCTION)
    found = lj.explain_over_fills(summed_up(jnp.tanh), components, [0.0, 1.0], lj.exhaustive())
    np.testing.assert_array_equal(found.explanation.status, Status.OK)


def test_weights_that_are_drawn_are_no_noise():
    def model(x):
        drawn = jax.random.normal(jax.random.key(0), (13, D))
        return jax.nn.relu(x @ drawn.T)

    np.testing.assert_array_equal(lj.explain(model, STEMS, lj.exhaustive()).status, Status.OK)


@pytest.mark.parametrize("make", [batch_norm, dropout])
def test_modules_in_training_mode_are_named(make):
    network = make()
    network.train()
    found = lj.explain(network, STEMS, lj.exhaustive())
    assert (np.asarray(found.status) == Status.NOT_A_FUNCTION).all()
    with pytest.raises(lj.errors.ExplanationError, match="evaluation mode"):
        found.checked()
    network.eval()
    assert not lj.explain(network, STEMS, lj.exhaustive()).status.any()


def test_it_is_said_inside_jit_and_for_given_declarations_too():
    @jax.jit
    def explain(signal):
        stems = lj.from_stems(jnp.eye(D) * signal)
        return lj.explain(lambda x: x - x.mean(), stems, lj.exhaustive()).status

    assert (np.asarray(explain(2.0)) == Status.NOT_A_FUNCTION).all()


HOSTS = {
    "noise": lambda: lambda x: np.random.default_rng().normal(size=(len(x), 2)),
    "statistics of the batch": lambda: lambda x: x - x.mean(),
    "a counter": lambda: iter_outputs(),
}


def iter_outputs():
    calls = []

    def count(x):
        calls.append(1)
        return x + len(calls)

    return count


@pytest.mark.parametrize("make", HOSTS.values(), ids=HOSTS)
@pytest.mark.parametrize("batch_size", [8, 64])
def test_host_models_are_asked_twice(make, batch_size):
    found = lj.explain(lj.host_model(make()), STEMS, lj.exhaustive(), batch_size=batch_size)
    assert (np.asarray(found.status) == Status.NOT_A_FUNCTION).all()


def test_a_host_model_is_asked_twice_once():
    calls = []

    def model(x):
        calls.append(len(x))
        return np.tanh(x @ KERNEL)

    host = lj.host_model(model)
    for expected in (5, 4):
        calls.clear()
        found = lj.explain(host, STEMS, lj.exhaustive(), batch_size=8)
        assert not found.status.any() and calls == [8] * expected


def test_host_models_may_be_switched_between_explanations():
    training = {"is": False}

    def network(x):
        return np.tanh(x - x.mean(axis=0) if training["is"] else x) @ KERNEL

    model = lj.host_model(network)

    def status():
        found = lj.explain(model, STEMS, lj.lime(2000), key=jax.random.key(0), batch_size=2)
        return set(np.asarray(found.status).tolist())

    assert status() == {Status.OK}
    training["is"] = True
    assert status() == {Status.NOT_A_FUNCTION}
    training["is"] = False
    assert status() == {Status.OK}
