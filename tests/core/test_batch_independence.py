"""Models whose output for one input depends on the others are named, whatever runs them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lime_jax as lj
from lime_jax.core.batch_independence import is_independent
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
    "flattened and back": lambda x: jnp.tanh(x.reshape(-1, 1) * KERNEL[:1]).reshape(len(x), -1),
}
ONE = jax.ShapeDtypeStruct((1, D), jnp.float32)


@pytest.mark.parametrize("model", MIXING.values(), ids=MIXING)
def test_what_mixes_is_found(model):
    assert not is_independent(as_predictor(model), ONE)


@pytest.mark.parametrize("model", APART.values(), ids=APART)
def test_what_keeps_inputs_apart_is_not_suspected(model):
    assert is_independent(as_predictor(model), ONE)


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
