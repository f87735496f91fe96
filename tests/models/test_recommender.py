"""The front end and whole network against float64 NumPy, and stages with and without margins."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.lib.stride_tricks import sliding_window_view

from lime_jax.errors import ModelError
from lime_jax.models import recommender
from lime_jax.models.recommender import MIN_SAMPLES, Network, Recommender

CHANNELS = (1, 64, 128, 128, 128, 64)


def noise(num_samples, seed=0, level=0.1):
    return (level * np.random.default_rng(seed).normal(size=num_samples)).astype(np.float32)


def bank():
    """HTK's triangles of peak one over the bins of 512 samples at 16 kHz."""
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 258)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = np.linspace(0, 8000, 257)
    bank = np.zeros((256, 257))
    for band, (left, peak, right) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        bank[band] = np.interp(bins, [left, peak, right], [0, 1, 0])
    return bank


def frames_of_loops(waveform):
    padded = np.pad(waveform.astype(np.float64), 256, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    starts = range(0, len(padded) - 511, 256)
    power = [np.abs(np.fft.rfft(padded[s : s + 512] * window)) ** 2 for s in starts]
    return 10 * np.log10(np.maximum(np.array(power) @ bank().T, 1e-10))


def normalised(x, arrays, name):
    weights = {
        key: arrays[f"{name}.{key}"].astype(np.float64) for key in "scale bias mean var".split()
    }
    deviation = np.sqrt(weights["var"] + 1e-5)
    return (x - weights["mean"]) / deviation * weights["scale"] + weights["bias"]


def stage_of_loops(x, arrays, index):
    """Published order: convolution and bias, normalisation, rectifier, maximum."""
    name = f"stages.{index}"
    kernel = arrays[f"{name}.conv.kernel"].astype(np.float64)
    padded = np.pad(x, [(1, 1), (1, 1), (0, 0)])
    windows = sliding_window_view(padded, (3, 3), axis=(0, 1))
    x = np.einsum("tfcij,ijco->tfo", windows, kernel, optimize=True)
    x = np.maximum(normalised(x + arrays[f"{name}.conv.bias"], arrays, f"{name}.norm"), 0)
    time, bands = (size // 2 for size in x.shape[:2])
    return x[: 2 * time, : 2 * bands].reshape(time, 2, bands, 2, -1).max(axis=(1, 3))


def logit_of_loops(frames, arrays):
    x = normalised(frames[..., None], arrays, "norm")
    for index in range(5):
        x = stage_of_loops(x, arrays, index)
    pooled = np.concatenate([x.mean(axis=(0, 1)), x.max(axis=(0, 1))])
    return pooled @ arrays["output.kernel"].astype(np.float64) + arrays["output.bias"]


@pytest.fixture(scope="module")
def judge():
    """With weights, gains and statistics that all matter; some gains are negative."""
    rng = np.random.default_rng(1)
    arrays = recommender.to_arrays(Recommender(Network(rngs=nnx.Rngs(0))))
    for name, array in arrays.items():
        if name.endswith("bias"):
            arrays[name] = rng.normal(0, 0.1, array.shape)
        elif name.endswith(("mean", "scale")):
            arrays[name] = rng.normal(0.2, 0.7, array.shape)
        elif name.endswith("var"):
            arrays[name] = rng.uniform(0.5, 2, array.shape)
    arrays |= {"norm.mean": np.array([-40.0]), "norm.var": np.array([400.0])}
    arrays["norm.scale"] = np.array([1.1])
    return recommender.from_arrays(arrays, source="a test")


class TestNetwork:
    def test_has_the_published_size(self):
        state = nnx.state(nnx.eval_shape(lambda: Network(rngs=nnx.Rngs(0))), nnx.Param)
        assert sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(state)) == 444_611

    def test_starts_as_published(self):
        """Uniform within a gain of √2 times Xavier's limit; no offsets."""
        arrays = recommender.to_arrays(Recommender(Network(rngs=nnx.Rngs(0))))
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

    def test_logits_are_those_of_the_published_order(self, judge):
        waveforms = np.stack([noise(9000), noise(9000, seed=1, level=0.01)])
        logits = judge.network.logits(recommender.log_mel(waveforms))
        arrays = recommender.to_arrays(judge)
        expected = [logit_of_loops(frames_of_loops(waveform), arrays) for waveform in waveforms]
        assert abs(expected[0] - expected[1]) > 0.01
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
        told = judge(jnp.asarray(waveforms))
        np.testing.assert_allclose(told, 1 / (1 + np.exp(-np.array(expected))), atol=1e-4)

    @pytest.mark.parametrize("index", range(5))
    def test_stages_halve_and_round_down(self, judge, index, getkey):
        x = jax.random.normal(getkey(), (2, 7, 6, CHANNELS[index]))
        found = judge.network.stage(index, x)
        arrays = recommender.to_arrays(judge)
        expected = [stage_of_loops(np.asarray(one, float), arrays, index) for one in x]
        assert found.shape == (2, 3, 3, CHANNELS[index + 1])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("index", range(5))
    def test_windows_give_what_the_whole_gives(self, judge, index, getkey):
        x = jax.random.normal(getkey(), (1, 12, 8, CHANNELS[index]))
        whole = judge.network.stage(index, x)
        for first, number in ((1, 3), (2, 1), (1, 4)):
            columns = x[:, 2 * first - 1 : 2 * (first + number) + 1]
            found = judge.network.stage_of_windows(index, columns)
            assert found.shape[1] == number
            np.testing.assert_allclose(found, whole[:, first : first + number], atol=1e-5)
        margin = jnp.pad(x, [(0, 0), (1, 1), (0, 0), (0, 0)])
        np.testing.assert_allclose(
            judge.network.stage_of_windows(index, margin), whole, rtol=1e-5, atol=1e-5
        )

    def test_the_head_takes_mean_and_maximum(self, judge, getkey):
        mean, maximum = jax.random.normal(getkey(), (2, 3, 64))
        kernel, bias = (
            np.asarray(getattr(judge.network.output, n)[...]) for n in ("kernel", "bias")
        )
        expected = np.concatenate([mean, maximum], axis=1) @ kernel + bias
        np.testing.assert_allclose(
            judge.network.head(mean, maximum), expected, rtol=1e-4, atol=1e-5
        )


class TestTraining:
    @pytest.mark.slow
    def test_statistics_move_a_tenth_towards_the_batch(self, getkey):
        network = Network(rngs=nnx.Rngs(0))
        frames = -40 + 10 * jax.random.normal(getkey(), (2, 32, 256))
        network.logits(frames, key=getkey())
        np.testing.assert_allclose(network.norm.mean[...], 0.1 * frames.mean(), rtol=1e-4)
        np.testing.assert_allclose(network.norm.var[...], 0.9 + 0.1 * frames.var(), rtol=1e-4)

    def test_is_what_use_becomes(self, getkey, monkeypatch):
        """With the statistics of this batch for good, and without dropout."""
        monkeypatch.setattr(recommender, "_DROPOUT", 0.0)
        network = Network(rngs=nnx.Rngs(0))
        frames = -40 + 10 * jax.random.normal(getkey(), (2, 33, 256))
        graph, params, before = nnx.split(network, nnx.Param, nnx.BatchStat)
        before = jax.tree.map(jnp.copy, before)
        learned = network.logits(frames, key=getkey())
        after = nnx.state(network, nnx.BatchStat)
        batch = jax.tree.map(lambda old, new: (new - 0.9 * old) / 0.1, before, after)
        found = nnx.merge(graph, params, batch).logits(frames)
        np.testing.assert_allclose(found, learned, rtol=1e-3, atol=1e-3)

    def test_dropout_follows_its_key(self, getkey):
        network, key = Network(rngs=nnx.Rngs(0)), getkey()
        frames = -40 + 10 * jax.random.normal(getkey(), (2, 32, 256))
        found = [network.logits(frames, key=one) for one in (key, key, getkey())]
        np.testing.assert_array_equal(found[0], found[1])
        assert np.abs(found[0] - found[2]).max() > 0.01


class TestFrontEnd:
    @pytest.mark.parametrize("num_samples", [257, 8000, 8191, 8192])
    def test_is_that_of_loops(self, num_samples):
        waveform = noise(num_samples)
        found = recommender.log_mel(waveform[None])
        assert found.shape == (1, num_samples // 256 + 1, 256) and found.dtype == jnp.float32
        np.testing.assert_allclose(found[0], frames_of_loops(waveform), atol=2e-3)

    def test_27_bands_hear_nothing(self):
        found = np.asarray(recommender.log_mel(noise(16_000, level=1.0)[None]))[0]
        is_deaf = (found == -100).all(axis=0)
        assert is_deaf.sum() == 27 == (bank().sum(axis=1) == 0).sum()
        assert (found[:, ~is_deaf] > -40).any(axis=0).all() and not is_deaf[80:].any()

    def test_silence_is_the_floor(self):
        assert (recommender.log_mel(np.zeros((1, 9000), np.float32)) == recommender.SILENCE).all()

    def test_windows_are_single_frames(self):
        waveform = noise(4096)
        windows = sliding_window_view(waveform, 512)[::256]
        found = recommender.frames_of_windows(np.ascontiguousarray(windows))
        whole = recommender.log_mel(waveform[None])[0, 1:-1]
        np.testing.assert_allclose(found, whole, atol=1e-4)


class TestUse:
    def test_describes_itself(self, judge):
        assert (judge.sample_rate, judge.output_names) == (16_000, ("relevant",))
        assert judge.patch_num_samples == MIN_SAMPLES == 31 * 256

    def test_judges_silence_and_the_shortest(self, judge):
        told = judge(jnp.zeros((2, MIN_SAMPLES)))
        assert told.shape == (2, 1) and told.dtype == jnp.float32
        assert np.isfinite(told).all() and (told > 0).all() and (told < 1).all()

    @pytest.mark.parametrize("shape", [(1, MIN_SAMPLES - 1), (9000,)])
    def test_others_are_refused(self, judge, shape):
        with pytest.raises((ValueError, TypeError)):
            judge(jnp.zeros(shape))
        with pytest.raises(ValueError, match=r"at least 7936 \(0\.50 s\)"):
            judge(jnp.zeros((1, MIN_SAMPLES - 1)))

    @pytest.mark.slow
    def test_tracks_of_a_batch_do_not_meet(self, judge):
        waveforms = jnp.asarray(np.stack([noise(9000), noise(9000, seed=2, level=0.01)]))
        alone = [judge(waveforms[i : i + 1])[0] for i in (0, 1)]
        np.testing.assert_allclose(judge(waveforms), alone, atol=1e-6)


class TestWeights:
    def test_come_back(self, judge, tmp_path):
        recommender.save(tmp_path / "ada.npz", judge)
        again = recommender.to_arrays(recommender.load(tmp_path / "ada.npz"))
        arrays = recommender.to_arrays(judge)
        assert arrays.keys() == again.keys() and len(arrays) == 36
        for name, array in arrays.items():
            np.testing.assert_array_equal(again[name], array)
        assert [path.name for path in tmp_path.iterdir()] == ["ada.npz"]

    def test_half_precision_is_for_storing_only(self, judge, tmp_path):
        recommender.save(tmp_path / "ada.npz", judge, half=True)
        assert (tmp_path / "ada.npz").stat().st_size < 1e6
        again = recommender.load(tmp_path / "ada.npz")
        assert {leaf.dtype for leaf in jax.tree.leaves(again)} == {np.dtype(np.float32)}
        waveforms = jnp.asarray(noise(9000)[None])
        np.testing.assert_allclose(again(waveforms), judge(waveforms), atol=5e-3)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"norm.mean": None}, r"missing `norm\.mean` \(1,\)"),
            ({"stages.1.conv.kernel": np.ones((3, 3, 64, 1))}, r"instead of \(3, 3, 64, 128\)"),
            ({"gain": np.ones(2)}, r"unexpected `gain` \(2,\)"),
        ],
    )
    def test_others_are_refused(self, judge, changes, message):
        arrays = {**recommender.to_arrays(judge), **changes}
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
