"""The front end and the whole model against float64 NumPy, and weights on disk."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from lime_jax.errors import ModelError
from lime_jax.models import recommender
from lime_jax.models.recommender import MIN_SAMPLES
from tests.models.recommender_referee import bank, frames_of_loops, logit_of_loops, noise

log_mel = jax.jit(recommender.log_mel)


@jax.jit
def predict(model, waveforms):
    return model(waveforms)


@pytest.fixture(scope="module")
def waveforms():
    """Loud and quiet noise."""
    return np.stack([noise(9000), noise(9000, seed=1, level=0.01)])


class TestFrontEnd:
    @pytest.mark.parametrize("num_samples", [257, 8000, 8191, 8192])
    def test_is_that_of_loops(self, num_samples):
        waveform = noise(num_samples)
        found = log_mel(waveform[None])
        assert found.shape == (1, num_samples // 256 + 1, 256) and found.dtype == jnp.float32
        np.testing.assert_allclose(found[0], frames_of_loops(waveform), atol=2e-3)

    def test_27_bands_are_always_silent(self):
        found = np.asarray(log_mel(noise(8192, level=1.0)[None]))[0]
        is_silent = (found == -100).all(axis=0)
        assert is_silent.sum() == 27 == (bank().sum(axis=1) == 0).sum()
        assert (found[:, ~is_silent] > -40).any(axis=0).all() and not is_silent[80:].any()

    def test_silence_is_the_floor(self):
        assert (log_mel(np.zeros((1, 8000), np.float32)) == recommender.SILENCE).all()

    def test_windows_are_single_frames(self):
        waveform = noise(8192)
        windows = sliding_window_view(waveform, 512)[::256]
        found = jax.jit(recommender.frames_of_windows)(np.ascontiguousarray(windows))
        whole = log_mel(waveform[None])[0, 1:-1]
        np.testing.assert_allclose(found, whole, atol=1e-4)


class TestUse:
    def test_describes_itself(self, model):
        assert (model.sample_rate, model.output_names) == (16_000, ("relevant",))
        assert model.patch_num_samples == MIN_SAMPLES == 31 * 256

    def test_logits_are_those_of_the_published_order(self, model, waveforms):
        arrays = recommender.to_arrays(model)
        expected = [logit_of_loops(frames_of_loops(waveform), arrays) for waveform in waveforms]
        assert abs(expected[0] - expected[1]) > 0.01
        logits = jax.jit(lambda frames: model.network.logits(frames))(log_mel(waveforms))
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
        probabilities = 1 / (1 + np.exp(-np.array(expected)))
        np.testing.assert_allclose(predict(model, waveforms), probabilities, atol=1e-4)

    def test_the_shortest_silence_has_a_probability(self, model):
        found = np.asarray(predict(model, np.zeros((2, MIN_SAMPLES), np.float32)))
        assert found.shape == (2, 1) and found.dtype == jnp.float32
        assert ((found > 0) & (found < 1)).all()

    @pytest.mark.parametrize("shape", [(1, MIN_SAMPLES - 1), (9000,)])
    def test_others_are_refused(self, model, shape):
        with pytest.raises((ValueError, TypeError)):
            model(jnp.zeros(shape))
        with pytest.raises(ValueError, match=r"at least 7936 \(0\.50 s\)"):
            model(jnp.zeros((1, MIN_SAMPLES - 1)))

    def test_tracks_of_a_batch_do_not_meet(self, model, waveforms):
        mixed = predict(model, waveforms)
        for index in (0, 1):
            same = predict(model, waveforms[[index, index]])
            np.testing.assert_allclose(mixed[index], same[index], atol=1e-6)


class TestWeights:
    def test_come_back(self, model, tmp_path):
        recommender.save(tmp_path / "ada.npz", model)
        again = recommender.to_arrays(recommender.load(tmp_path / "ada.npz"))
        arrays = recommender.to_arrays(model)
        assert arrays.keys() == again.keys() and len(arrays) == 36
        for name, array in arrays.items():
            np.testing.assert_array_equal(again[name], array)
        assert [path.name for path in tmp_path.iterdir()] == ["ada.npz"]

    def test_half_precision_is_for_storing_only(self, model, waveforms, tmp_path):
        recommender.save(tmp_path / "ada.npz", model, half=True)
        assert (tmp_path / "ada.npz").stat().st_size < 1e6
        again = recommender.load(tmp_path / "ada.npz")
        assert {leaf.dtype for leaf in jax.tree.leaves(again)} == {np.dtype(np.float32)}
        np.testing.assert_allclose(predict(again, waveforms), predict(model, waveforms), atol=5e-3)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"norm.mean": None}, r"missing `norm\.mean` \(1,\)"),
            ({"stages.1.conv.kernel": np.ones((3, 3, 64, 1))}, r"instead of \(3, 3, 64, 128\)"),
            ({"gain": np.ones(2)}, r"unexpected `gain` \(2,\)"),
        ],
    )
    def test_others_are_refused(self, model, changes, message):
        arrays = {**recommender.to_arrays(model), **changes}
        arrays = {name: array for name, array in arrays.items() if array is not None}
        with pytest.raises(ModelError, match=rf"`a test` do not fit the network.*{message}"):
            recommender.from_arrays(arrays, source="a test")

    def test_other_files_are_refused(self, tmp_path):
        (tmp_path / "text.npz").write_text("no weights", encoding="utf-8")
        np.savez(tmp_path / "objects.npz", gain=np.array([{}], object), allow_pickle=True)
        np.save(tmp_path / "array.npy", np.ones(2))
        np.savez(tmp_path / "whole.npz", gain=np.ones(2000))
        (tmp_path / "half.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:8000])
        for name in ("text.npz", "objects.npz", "nowhere.npz", "array.npy", "half.npz"):
            with pytest.raises(ModelError, match=rf"{name}` cannot be read"):
                recommender.load(tmp_path / name)
