"""Every short cut of SVDNet against the network itself, and what dropout does."""

import jax
import numpy as np
import pytest
from flax import nnx
from numpy.lib.stride_tricks import sliding_window_view

import lime_jax as lj
from lime_jax.models import singing_voice, weights
from lime_jax.models.singing_voice_network import SvdNet
from tests.networks import initialise


@jax.jit
def features(network, frames):
    return network.features(frames)


@jax.jit
def features_of_all(network, frames):
    return network.features_of_all(frames)


@jax.jit
def logits(network, cells, key=None):
    return network.logits(cells, key=key)


class TestNetwork:
    @pytest.mark.parametrize("num_frames", [25, 26, 27, 60])
    def test_cells_that_start_everywhere_are_those_of_windows(self, voice, getkey, num_frames):
        frames = np.asarray(jax.random.normal(getkey(), (num_frames, 80)))
        windows = np.zeros((36, 25, 80), np.float32)  # one shape for all, as many as 60 frames have
        num_cells = num_frames - 24
        windows[:num_cells] = sliding_window_view(frames, 25, axis=0).swapaxes(1, 2)
        expected = features(voice.network, windows)[:num_cells, :, 0]
        cells = features_of_all(voice.network, frames[None])[0].swapaxes(0, 1)
        np.testing.assert_allclose(cells, expected, atol=1e-5)

    def test_cells_of_longer_sequences_are_those_of_patches(self, voice, getkey):
        frames = np.asarray(jax.random.normal(getkey(), (1, 140, 80)))
        cells = np.asarray(features(voice.network, frames))
        assert cells.shape == (1, 7, 13, 64)
        patches = np.concatenate([frames[:, 9 * n : 9 * n + 115] for n in range(3)])
        expected = np.concatenate([cells[:, :, n : n + 11] for n in range(3)])
        np.testing.assert_allclose(features(voice.network, patches), expected, atol=1e-5)

    def test_initial_kernels_are_orthogonal_and_biases_nought(self):
        """And twice as much comes out as goes in, of which rectifiers keep half."""
        for name, array in weights.arrays_of(initialise(lambda: SvdNet(rngs=nnx.Rngs(0)))).items():
            matrix = array.reshape(-1, array.shape[-1]).astype(float)
            matrix = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
            expected = 2 * np.eye(len(matrix)) if name.endswith("kernel") else 0
            np.testing.assert_allclose(matrix @ matrix.T, expected, atol=1e-5)

    def test_nothing_is_dropped_without_a_key(self, voice, getkey):
        patches = np.asarray(jax.random.normal(getkey(), (3, 115, 80)))
        cells = features(voice.network, patches)
        expected = np.asarray(logits(voice.network, cells))
        found = jax.jit(SvdNet.__call__)(voice.network, patches)
        np.testing.assert_allclose(found, 1 / (1 + np.exp(-expected)), rtol=1e-5)
        assert (np.asarray(logits(voice.network, cells, getkey())) != expected).all()

    def test_dropout_keeps_the_mean(self, voice, getkey):
        """Where all is positive, nothing is rectified, and the mean of logits is the logit."""
        arrays = singing_voice.to_arrays(voice)
        positive = {name: np.abs(array) for name, array in arrays.items()}
        changed = singing_voice.from_arrays(positive, source="a test")
        cells = np.asarray(jax.random.uniform(getkey(), (1, 7, 11, 64)))
        expected = np.asarray(logits(changed.network, cells))[0, 0]
        many = np.broadcast_to(cells, (400, *cells.shape[1:]))
        found = np.asarray(logits(changed.network, many, getkey()))[:, 0] / expected
        assert len(np.unique(found)) == 400
        assert abs(found.mean() - 1) < 4 * found.std() / 20 < 0.05

    def test_each_of_three_layers_loses_half(self, voice, getkey):
        """One number goes through all of them; what arrives is eight times as large, or nothing."""
        arrays = singing_voice.to_arrays(voice)
        alone = {name: np.zeros_like(array) for name, array in arrays.items()}
        for name in ("dense.0.kernel", "dense.1.kernel", "output.kernel"):
            alone[name][0, 0] = 1
        changed = singing_voice.from_arrays(alone, source="a test").network
        cells = np.zeros((400, 7, 11, 64), np.float32)
        cells[:, 0, 0, 0] = 1
        found = np.asarray(logits(changed, cells, getkey()))
        assert set(found.ravel().tolist()) == {0.0, 8.0}
        assert abs((found > 0).mean() - 1 / 8) < 0.06


RECEPTIVE_FIELDS = {"time": (0, "receptive_field"), "bands": (1, "band_receptive_field")}


@pytest.mark.parametrize(("axis", "name"), list(RECEPTIVE_FIELDS.values()), ids=RECEPTIVE_FIELDS)
class TestReceptiveField:
    def test_is_that_of_the_network(self, voice, getkey, axis, name):
        lj.receptive_fields.check_receptive_field(
            getattr(voice.network, name), jax.random.normal(getkey(), (3, 115, 80))
        )

    @pytest.mark.slow
    def test_explanations_are_those_of_the_bare_network(self, voice, getkey, axis, name):
        excerpt = jax.random.normal(getkey(), (115, 80))
        size, num_segments = excerpt.shape[axis], 5
        labels = lj.equal_segments(size, num_segments)
        shaped = labels[:, None] if axis == 0 else labels[None]
        components = lj.from_labels(excerpt, shaped, num_segments)
        few = lj.explain(getattr(voice.network, name), components, lj.exhaustive())
        bare = lj.explain(lambda patches: voice.network(patches), components, lj.exhaustive())
        assert np.ptp(np.asarray(bare.coefficients)) > 0.01
        np.testing.assert_allclose(few.coefficients, bare.coefficients, atol=1e-5)
        np.testing.assert_allclose(few.intercept, bare.intercept, atol=1e-5)
        starts = range(0, size - 24, 9)
        overlap = [len(np.unique(labels[start : start + 25])) for start in starts]
        assert (few.num_evaluations, bare.num_evaluations) == (sum(2**n for n in overlap), 32)
