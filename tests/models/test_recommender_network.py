"""Stages with and without margins against float64 NumPy, and what training does."""

import functools
import itertools

import jax
import numpy as np
import pytest
from flax import nnx

from lime_jax.models import recommender, recommender_network
from lime_jax.models.recommender import Recommender
from lime_jax.models.recommender_network import Network
from tests.models.recommender_referee import CHANNELS, stage_of_loops
from tests.networks import initialise


@functools.partial(jax.jit, static_argnums=1)
def stage(network, index, x):
    return network.stage(index, x)


@functools.partial(jax.jit, static_argnums=1)
def stage_of_windows(network, index, x):
    return network.stages[index](x, pad_time=0)


@jax.jit
def learn(network, frames, key):
    """Logits in training, and the statistics afterwards."""
    logits = network.logits(frames, key=key)
    return logits, nnx.state(network, nnx.BatchStat)


@pytest.fixture(scope="module")
def initial():
    return initialise(lambda: Network(rngs=nnx.Rngs(0)))


@pytest.fixture(scope="module")
def frames():
    return -40 + 10 * jax.random.normal(jax.random.key(1), (2, 33, 256))


class TestNetwork:
    def test_has_the_published_size(self):
        state = nnx.state(nnx.eval_shape(lambda: Network(rngs=nnx.Rngs(0))), nnx.Param)
        assert sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(state)) == 444_611

    def test_starts_as_published(self, initial):
        """Uniform within a gain of √2 times Xavier's limit; no offsets."""
        arrays = recommender.to_arrays(Recommender(initial))
        for index, (num_in, num_out) in enumerate(itertools.pairwise(CHANNELS)):
            limit = np.sqrt(2) * np.sqrt(6 / (9 * (num_in + num_out)))
            kernel = arrays[f"stages.{index}.conv.kernel"]
            assert kernel.shape == (3, 3, num_in, num_out)
            assert 0.98 * limit < np.abs(kernel).max() <= limit
            assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.05)
        ends = {"bias": 0, "mean": 0, "scale": 1, "var": 1}
        for name, array in arrays.items():
            if (end := name.rpartition(".")[2]) in ends:
                assert (array == ends[end]).all(), name

    @pytest.mark.parametrize("index", range(5))
    def test_stages_halve_and_round_down(self, model, index, getkey):
        x = jax.random.normal(getkey(), (2, 7, 6, CHANNELS[index]))
        found = stage(model.network, index, x)
        arrays = recommender.to_arrays(model)
        expected = [stage_of_loops(item, arrays, index) for item in np.asarray(x, float)]
        assert found.shape == (2, 3, 3, CHANNELS[index + 1])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("index", range(5))
    def test_windows_give_the_columns_of_the_whole(self, model, index, getkey):
        x = jax.random.normal(getkey(), (1, 12, 8, CHANNELS[index]))
        whole = np.asarray(stage(model.network, index, x))
        padded = np.pad(x, [(0, 0), (1, 1), (0, 0), (0, 0)])
        for first, number in ((0, 6), (2, 1), (1, 4)):
            columns = padded[:, 2 * first : 2 * (first + number) + 2]
            found = stage_of_windows(model.network, index, columns)
            assert found.shape[1] == number
            np.testing.assert_allclose(
                found, whole[:, first : first + number], rtol=1e-5, atol=1e-5
            )

    def test_the_head_takes_mean_and_maximum(self, model, getkey):
        mean, maximum = jax.random.normal(getkey(), (2, 3, 64))
        kernel, bias = (
            np.asarray(getattr(model.network.output, n)[...]) for n in ("kernel", "bias")
        )
        expected = np.concatenate([mean, maximum], axis=1) @ kernel + bias
        np.testing.assert_allclose(
            model.network.head(mean, maximum), expected, rtol=1e-4, atol=1e-5
        )


class TestTraining:
    def test_statistics_move_a_tenth_towards_the_batch(self, initial, frames):
        _, statistics = learn(initial, frames, jax.random.key(2))
        found = np.asarray(frames)
        np.testing.assert_allclose(statistics["norm"]["mean"][...], 0.1 * found.mean(), rtol=1e-4)
        np.testing.assert_allclose(
            statistics["norm"]["var"][...], 0.9 + 0.1 * found.var(), rtol=1e-4
        )

    def test_logits_are_those_of_use_with_the_statistics_of_the_batch(
        self, initial, frames, monkeypatch
    ):
        """Without dropout."""
        monkeypatch.setattr(recommender_network, "_DROPOUT", 0.0)
        learned, after = jax.jit(lambda *inputs: learn.__wrapped__(*inputs))(
            initial, frames, jax.random.key(2)
        )
        graph, params, before = nnx.split(initial, nnx.Param, nnx.BatchStat)
        batch = jax.tree.map(lambda old, new: (new - 0.9 * old) / 0.1, before, after)
        used = jax.jit(Network.logits)(nnx.merge(graph, params, batch), frames)
        np.testing.assert_allclose(used, learned, rtol=1e-3, atol=1e-3)

    def test_dropout_follows_its_key(self, initial, frames, getkey):
        key = getkey()
        first, again, other = (learn(initial, frames, k)[0] for k in (key, key, getkey()))
        np.testing.assert_array_equal(first, again)
        assert np.abs(first - other).max() > 0.01
