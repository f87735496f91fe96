"""Explaining inputs as they come."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from tests import programs

STEMS = jax.random.normal(jax.random.key(0), (7, 4, 6))


def network(inputs):
    return jnp.tanh(inputs[:, :2])


def clips():
    return (lj.from_stems(stems) for stems in STEMS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [network, pytest.param(lj.host_model(lambda x: np.tanh(x[:, :2])), marks=pytest.mark.slow)],
)
def test_a_stream_equals_its_items(model):
    key = jax.random.key(2)
    stream = lj.explain_stream(model, clips(), lj.lime(100), key=key, num_items=3)
    for index, explanation in enumerate(stream):
        alone = lj.explain(
            model, lj.from_stems(STEMS[index]), lj.lime(100), key=jax.random.fold_in(key, index)
        )
        np.testing.assert_allclose(explanation.coefficients, alone.coefficients, atol=1e-6)
    assert index == 6


def test_a_stream_compiles_one_program():
    stream = lj.explain_stream(network, clips(), lj.shapley(), num_items=3, batch_size=48)
    next(stream)
    with programs.counted() as made:
        assert len(list(stream)) == 6
    assert not made


@pytest.mark.slow
def test_the_next_items_are_read_while_some_are_explained():
    reading = threading.Event()

    def slow_model(inputs):
        assert reading.wait(30)
        return inputs

    def source():
        for index, stems in enumerate(STEMS):
            if index == 2:
                reading.set()
            yield lj.from_stems(stems)

    model = lj.host_model(slow_model)
    assert len(list(lj.explain_stream(model, source(), lj.banzhaf(), num_items=2))) == 7


def test_an_error_in_the_source_or_the_model_arrives():
    def broken():
        yield lj.from_stems(STEMS[0])
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        list(lj.explain_stream(network, broken(), lj.banzhaf(), num_items=1))
    with pytest.raises(lj.errors.ModelError):
        list(lj.explain_stream(lj.host_model(lambda x: 1 / 0), clips(), lj.banzhaf()))


def test_nothing_comes_of_nothing():
    assert list(lj.explain_stream(network, [], lj.banzhaf())) == []


def test_mistakes_are_named_at_once():
    with pytest.raises(ValueError, match="`num_items` must be at least 1"):
        lj.explain_stream(network, [], lj.banzhaf(), num_items=0)
    with pytest.raises(ValueError, match="`key` must be a single key"):
        lj.explain_stream(network, [], lj.lime(), key=jax.random.split(jax.random.key(0), 3))


def test_a_host_model_is_asked_for_no_more_than_needed():
    asked = []
    model = lj.host_model(lambda x: asked.append(len(x)) or x)
    list(lj.explain_stream(model, [lj.from_stems(STEMS[0])], lj.banzhaf()))
    # And once more, to see that it is a function.
    assert asked == [16, 16]


def test_settings_of_the_caller_hold():
    seen = []

    def model(inputs):
        seen.append(jax.config.jax_default_matmul_precision)
        return network(inputs)

    with jax.default_matmul_precision("bfloat16"):
        list(lj.explain_stream(model, clips(), lj.banzhaf(), num_items=7))
    assert set(seen) == {"bfloat16"}
