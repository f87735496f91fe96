"""Derivatives of explanations: right, in both modes, and in memory that does not grow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj

SIZE, D = 40, 10
WEIGHTS = np.random.default_rng(0).normal(size=(SIZE, 2)).astype(np.float32) / 6
SIGNAL = np.random.default_rng(1).normal(size=SIZE).astype(np.float32)
METHODS = {
    "lime": lj.lime(300),
    "shapley": lj.shapley(),
    "forward selection": lj.lime(300, num_features=3),
    "lasso": lj.lime(300, num_features=3, feature_selection="lasso_path"),
}


def strongest(signal, method, batch_size=32):
    components = lj.from_labels(signal, lj.equal_segments(SIZE, D), D)

    def model(x):
        return jnp.tanh(x @ WEIGHTS)

    found = lj.explain(model, components, method, key=jax.random.key(0), batch_size=batch_size)
    return found.coefficients[0].sum() + found.fidelity[1]


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("batch_size", [32, pytest.param(4096, marks=pytest.mark.slow)])
def test_both_modes_agree_with_finite_differences(method, batch_size):
    function = jax.jit(lambda signal: strongest(signal, method, batch_size))
    direction = np.random.default_rng(2).normal(size=SIZE).astype(np.float32)
    signal = jnp.asarray(SIGNAL)
    step = 1e-2
    finite = (function(signal + step * direction) - function(signal - step * direction)) / 2 / step
    backward = jax.grad(function)(signal) @ direction
    forward = jax.jvp(function, (signal,), (jnp.asarray(direction),))[1]
    np.testing.assert_allclose(forward, finite, rtol=2e-2, atol=2e-3)
    np.testing.assert_allclose(backward, forward, rtol=1e-4, atol=1e-5)


def bytes_backward(num_samples):
    size = 2000
    weights = jnp.ones((size, 2)) / size

    def one(signal):
        components = lj.from_labels(signal, lj.equal_segments(size, 20), 20)
        found = lj.explain(
            lambda x: jnp.tanh(x @ weights),
            components,
            lj.lime(num_samples),
            key=jax.random.key(0),
            batch_size=64,
        )
        return found.coefficients[0, 0]

    compiled = jax.jit(jax.grad(one)).lower(jnp.ones(size)).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_memory_backwards_does_not_grow_with_the_samples():
    few, many = bytes_backward(500), bytes_backward(4000)
    assert many < 1.5 * few and many < 4 * 64 * 2000 * 4


TARGETS = {"top_k": lj.auto(top_k=2), "std_error": lj.auto(std_error=0.05)}


def of_weights(weights, method):
    """The model closes over what is differentiated, which nothing that is passed shows."""
    components = lj.from_stems(jnp.eye(13))
    found = lj.explain(
        lambda x: jnp.tanh(x @ weights)[:, None], components, method, key=jax.random.key(0)
    )
    return found.coefficients[0, :3].sum()


@pytest.mark.parametrize("sampler", [300, *TARGETS.values()], ids=["plain", *TARGETS])
@pytest.mark.parametrize("is_jitted", [False, True])
def test_closed_over_weights_have_all_forward_derivatives(sampler, is_jitted):
    weights = jnp.asarray(np.random.default_rng(3).normal(size=13), jnp.float32) / 3

    def function(weights):
        return of_weights(weights, lj.lime(sampler))

    function = jax.jit(function) if is_jitted else function
    slopes = jax.jacfwd(function)(weights)
    step = jnp.zeros(13).at[1].set(1e-2)
    finite = (function(weights + step) - function(weights - step)) / 2e-2
    np.testing.assert_allclose(slopes[1], finite, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("sampler", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("transform", [jax.grad, lambda f: jax.jit(jax.grad(f))])
def test_what_has_no_reverse_derivative_says_what_has(sampler, transform):
    with pytest.raises(ValueError, match=r"no reverse derivative. Take a plain number of samples"):
        transform(lambda weights: of_weights(weights, lj.lime(sampler)))(jnp.ones(13))
