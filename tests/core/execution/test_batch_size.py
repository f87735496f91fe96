"""Batch sizes: what fits, what leaves nothing over, what runs fastest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.core.execution import accumulate, compiled, memory
from lime_jax.core.execution import batch_size as batch_sizes
from lime_jax.core.problem import Problem


@pytest.mark.parametrize("round_size", [1, 16])
@pytest.mark.parametrize("num_masks", [1, 7, 16, 17, 300, 1000, 1024, 70_000])
@pytest.mark.parametrize("batch_size", [1, 5, 16, 37, 144, 256, 2048])
class TestPlan:
    def test_every_row_has_its_step_and_little_is_padded(self, num_masks, batch_size, round_size):
        split = accumulate.steps_of(num_masks, round_size, batch_size)
        stops = [start + rows for start, rows in split.steps]
        starts = [start for start, _ in split.steps]
        assert starts == [0, *stops[:-1]]
        assert num_masks <= stops[-1] <= 1.02 * num_masks
        assert all(start % round_size == 0 for start in starts)

    def test_an_even_batch_is_no_larger_and_leaves_little_over(
        self, num_masks, batch_size, round_size
    ):
        size = accumulate.even_batch_size(num_masks, round_size, batch_size)
        assert batch_size / 2 < size <= batch_size or size == num_masks <= batch_size


def test_items_share_a_batch():
    assert accumulate.steps_of(32, 1, 256, num_items=8) == accumulate.Steps(0, 32, 32, 256)


def test_what_is_in_use_on_an_accelerator_is_left_alone():
    class Device:
        platform = "gpu"

        def memory_stats(self):
            return {"bytes_limit": 10_000, "bytes_in_use": 5_000}

    assert 0 < memory.budget(Device()) < 5_000


def test_a_group_is_filled_with_its_last_item():
    tree = {"x": jnp.arange(6.0).reshape(3, 2), "key": jax.random.split(jax.random.key(0), 3)}
    filled = compiled.pad_items(tree, 2)
    np.testing.assert_array_equal(filled["x"], np.arange(6.0).reshape(3, 2)[[0, 1, 2, 2, 2]])
    assert filled["key"].shape == (5,)


def test_the_largest_of_two_branches_counts():
    def function(is_large, x):
        return jax.lax.cond(is_large, lambda x: jnp.outer(x, x).sum(), lambda x: x.sum(), x)

    flag, x = jax.ShapeDtypeStruct((), bool), jax.ShapeDtypeStruct((1000,), jnp.float32)
    for branches in (function, lambda flag, x: function(~flag, x)):
        assert memory.num_bytes(branches, flag, x) >= 4_000_000


class TestFastest:
    def test_finds_the_fastest_size_of_long_work(self):
        seconds = {256: 1.0, 192: 0.9, 128: 0.8, 96: 0.2, 64: 0.16}
        assert batch_sizes.fastest(seconds.__getitem__, list(seconds), 10**6) == 96

    def test_tries_one_size_where_work_is_short(self):
        sizes = []
        batch_sizes.fastest(lambda size: sizes.append(size) or 1e-3, [256, 128, 64], 1000)
        assert sizes == [256]


def test_candidates_are_powers_of_two_and_their_middles():
    assert batch_sizes.candidates(100) == [96, 64, 48, 32, 24, 16, 8]
    assert batch_sizes.candidates(100, round_size=16) == [96, 64, 48, 32, 16]


def test_the_fastest_size_is_remembered(monkeypatch):
    sizes = []

    def network(inputs):
        sizes.append(inputs.shape[0])
        return inputs.sum(axis=1, keepdims=True)

    components = lj.from_stems(jnp.ones((12, 3)))
    monkeypatch.setattr(batch_sizes, "_WORTH_BATCHES", 1)
    monkeypatch.setattr(batch_sizes, "fastest", lambda trial, sizes, num_inputs: 48)
    for _ in range(3):
        lj.explain(network, components, lj.exhaustive(), batch_size=None)
    problem = Problem.of_item(network, components, lj.exhaustive())
    assert batch_sizes.choose_batch_size(problem) == 48
    # Traced with one input, and with thirteen to see that inputs do not meet.
    assert set(sizes) == {1, 23, 48}


def test_what_was_done_is_counted_once_and_planning_is_not(monkeypatch):
    counts = []
    components = lj.from_stems(jnp.ones((9, 3)))
    put = batch_sizes._num_inputs.put
    monkeypatch.setattr(
        batch_sizes._num_inputs, "put", lambda shapes, n: counts.append(n) or put(shapes, n)
    )

    def network(inputs):
        return jnp.tanh(inputs)

    for _ in range(3):
        lj.plan(network, components, lj.exhaustive())
        lj.explain(network, components, lj.exhaustive())
    assert counts == [512, 1024, 1536]


def test_the_trial_runs_the_model():
    components = lj.from_stems(jax.random.normal(jax.random.key(0), (4, 9)))
    seconds = batch_sizes.time_batches(Problem.of_item(jnp.tanh, components, lj.exhaustive()))
    assert 0 < seconds(16) < 5


def test_nothing_is_tried_or_remembered_inside_jit(monkeypatch):
    """A trial inside someone's jit times tracing, and its calls end up in their program."""
    monkeypatch.setattr(batch_sizes, "fastest", lambda *_: pytest.fail("tried"))
    components = lj.from_stems(jnp.ones((12, 3)))

    def sample(key):
        return lj.explain(jnp.tanh, components, lj.lime(50_000), key=key).intercept

    def exact(x):
        return x + lj.explain(jnp.tanh, components, lj.exhaustive()).intercept

    assert jax.eval_shape(sample, jax.random.key(0)).shape == (3,)
    assert jax.eval_shape(exact, 0.0).shape == (3,)


@pytest.mark.slow
@pytest.mark.parametrize("num_masks", [300, pytest.param(33, marks=pytest.mark.slow)])
def test_a_last_step_of_its_own_changes_nothing(num_masks):
    components = lj.from_stems(jax.random.normal(jax.random.key(0), (12, 5)))
    key = jax.random.key(1)
    whole, split = (
        lj.explain(jnp.tanh, components, lj.lime(num_masks), key=key, batch_size=size)
        for size in (512, 32)
    )
    np.testing.assert_allclose(split.coefficients, whole.coefficients, atol=1e-6)
    np.testing.assert_allclose(split.std_error, whole.std_error, atol=1e-6)
