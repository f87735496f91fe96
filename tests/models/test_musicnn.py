"""musicnn and VGG against NumPy referees, librosa, and the outputs of the original."""

import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from flax import nnx

from lime_jax import models
from lime_jax.models import musicnn, musicnn_weights
from lime_jax.models.musicnn import MUSICNN_BIG, Musicnn, MusicnnConfig
from lime_jax.models.vgg import Vgg, VggConfig
from lime_jax.models.weights import arrays_of, network_of, shapes_of

MODELS = {
    "mtt-musicnn": "MTT_musicnn",
    "msd-musicnn": "MSD_musicnn",
    "mtt-vgg": "MTT_vgg",
    "msd-vgg": "MSD_vgg",
}


def make_small_musicnn():
    return Musicnn(MusicnnConfig(num_filters=8, num_units=10, num_outputs=5), rngs=nnx.Rngs(0))


def make_small_vgg():
    return Vgg(VggConfig(num_filters=6, num_outputs=5), rngs=nnx.Rngs(0))


def randomised(make):
    """A network with statistics and scales unlike the initial zeros and ones, and its arrays."""
    rng = np.random.default_rng(3)
    arrays = {name: drawn(rng, name, shape) for name, shape in shapes_of(make).items()}
    return network_of(make, arrays, source="test"), arrays


def drawn(rng, name, shape):
    leaf = name.rpartition(".")[-1]
    if leaf == "kernel":
        values = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))
    elif leaf == "var":
        values = rng.uniform(0.5, 2.0, shape)
    else:
        values = rng.uniform(-1.0, 1.0, shape)
    return values.astype(np.float32)


class Referee:
    """Layers in float64, straight from their definitions, channels last."""

    def __init__(self, arrays):
        self.arrays = {name: array.astype(np.float64) for name, array in arrays.items()}

    def norm(self, x, name):
        scale, bias, mean, var = (
            self.arrays[f"{name}.{k}"] for k in ("scale", "bias", "mean", "var")
        )
        return (x - mean) / np.sqrt(var + 1e-3) * scale + bias

    def linear(self, x, name):
        return x @ self.arrays[f"{name}.kernel"] + self.arrays[f"{name}.bias"]

    def block(self, x, name, pad):
        """ReLU and normalisation of a convolution of x (time, frequency, channels)."""
        kernel = self.arrays[f"{name}.conv.kernel"]
        if kernel.ndim == 3:
            kernel = kernel[:, None]
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(x, (*pad, (0, 0))), kernel.shape[:2], axis=(0, 1)
        )
        y = np.tensordot(windows.transpose(0, 1, 3, 4, 2), kernel, 3)
        return self.norm(np.maximum(y + self.arrays[f"{name}.conv.bias"], 0), f"{name}.norm")

    def musicnn(self, patch):
        x = self.norm(patch[..., None], "input_norm")
        none, three = (0, 0), (3, 3)
        pads = {"timbral.0": three, "timbral.1": three}
        # As TensorFlow's SAME: an even window reaches one step further to the right.
        pads |= {"temporal.0": (63, 64), "temporal.1": (31, 32), "temporal.2": (15, 16)}
        front = np.concatenate(
            [self.block(x, name, (pad, none)).max(1) for name, pad in pads.items()], -1
        )
        middle = functools.partial(self.block, pad=(three, none))
        first = middle(front[:, None], "middle.0")
        second = middle(first, "middle.1") + first
        third = middle(second, "middle.2") + second
        frames = np.concatenate([front[:, None], first, second, third], -1)[:, 0]
        pooled = np.ravel([frames.max(0), frames.mean(0)], order="F")
        hidden = self.linear(self.norm(pooled, "pooled_norm"), "hidden")
        return self.linear(self.norm(np.maximum(hidden, 0), "hidden_norm"), "output")

    def vgg(self, patch):
        x = self.norm(patch[..., None], "input_norm")
        for i, (height, width, step) in enumerate([(4, 1, 2), *3 * [(2, 2, 2)], (4, 4, 4)]):
            x = self.block(x, f"blocks.{i}", ((1, 1), (1, 1)))
            pool = np.lib.stride_tricks.sliding_window_view(x, (height, width), axis=(0, 1))
            x = pool[::step, ::step].max((-2, -1))
        assert x.shape[:2] == (2, 1)
        return self.linear(x.ravel(), "output")


@pytest.mark.parametrize(
    ("make", "referee"),
    [(make_small_musicnn, Referee.musicnn), (make_small_vgg, Referee.vgg)],
    ids=["musicnn", "vgg"],
)
class TestNetworks:
    def test_logits_are_those_of_the_referee(self, make, referee):
        network, arrays = randomised(make)
        patches = 3 * np.random.default_rng(0).random((2, 187, 96), np.float32)
        expected = np.stack([referee(Referee(arrays), patch) for patch in patches])
        found = jax.jit(lambda network, x: network(x))(network, patches)
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())

    def test_weights_are_leaves_and_nothing_else_is(self, make, referee):
        network, arrays = randomised(make)
        leaves = jax.tree.leaves(network)
        assert len(leaves) == len(arrays)
        assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}

    def test_arrays_survive_the_network(self, make, referee):
        network, arrays = randomised(make)
        assert arrays_of(network).keys() == arrays.keys()
        for name, array in arrays_of(network).items():
            np.testing.assert_array_equal(array, arrays[name])


@pytest.mark.parametrize(
    ("make", "num_arrays", "num_numbers"),
    [
        (lambda: Musicnn(rngs=nnx.Rngs(0)), 64, 792_079),
        (lambda: Musicnn(MUSICNN_BIG, rngs=nnx.Rngs(0)), 64, 7_993_819),
        (lambda: Vgg(rngs=nnx.Rngs(0)), 36, 607_030),
    ],
    ids=["musicnn", "musicnn-big", "vgg"],
)
def test_sizes_are_the_published_ones(make, num_arrays, num_numbers):
    shapes = shapes_of(make)  # weights, scales, and the stored means and variances
    assert (len(shapes), sum(map(np.prod, shapes.values()))) == (num_arrays, num_numbers)


class TestFrontEnd:
    @pytest.mark.slow
    def test_is_librosas_mel_spectrogram_through_float16(self):
        rng = np.random.default_rng(0)
        waveform = (rng.standard_normal(100_000) * np.linspace(0, 0.5, 100_000)).astype(np.float32)
        mel = librosa.feature.melspectrogram(
            y=waveform, sr=16_000, n_fft=512, hop_length=256, n_mels=96, pad_mode="reflect"
        )
        expected = np.log10(10_000 * mel.T.astype(np.float16).astype(np.float64) + 1)
        found = musicnn.front_end(jnp.asarray(waveform[None]))
        assert found.shape == (1, 2, 187, 96)
        # A sum that lands on the other side of a float16 step moves by one part in 1024.
        np.testing.assert_allclose(found[0].reshape(374, 96), expected[:374], atol=6e-4)
        assert np.abs(found[0].reshape(374, 96) - expected[:374]).mean() < 1e-5

    @pytest.mark.parametrize("as_run", [lambda f: f, jax.jit], ids=["eager", "jit"])
    def test_rounding_is_that_of_float16(self, as_run):
        steps = np.float32(2.0**-24) * np.array(
            [0.5, 1, 1.5, 2.5, 1023.5, 1024, 1024.5], np.float32
        )
        spread = 10 ** np.random.default_rng(0).uniform(-10, 4.8, 20_000)
        energies = np.concatenate([[0, 65504], steps, spread]).astype(np.float32)
        found = as_run(musicnn.round_to_float16)(jnp.asarray(energies))
        np.testing.assert_array_equal(found, energies.astype(np.float16).astype(np.float32))

    def test_loud_audio_stays_finite(self):
        waveform = 1000 * np.sin(np.arange(musicnn.PATCH_NUM_SAMPLES, dtype=np.float32))
        assert np.isfinite(musicnn.front_end(jnp.asarray(waveform[None]))).all()

    @pytest.mark.parametrize(
        ("num_samples", "num_patches"),
        [(47_615, 0), (47_616, 1), (95_487, 1), (95_488, 2), (174_089, 3)],
    )
    def test_incomplete_patches_are_dropped(self, num_samples, num_patches):
        waveforms = jax.ShapeDtypeStruct((2, num_samples), jnp.float32)
        assert jax.eval_shape(musicnn.front_end, waveforms).shape == (2, num_patches, 187, 96)


def kaiser_best(waveform, old, new):
    """The resampling of the original's day (resampy 0.2, "kaiser_best"), as far as it is heard.

    A sinc with 64 zero crossings under a Kaiser window. It was read from a table with 512 entries
    per crossing, in whole steps: the filter comes out a little wider than it was designed.
    """
    num_zeros, num_entries, roll_off, beta = 64, 512, 0.9475937167399596, 14.769656459379492
    step = int(new / old * num_entries)
    table = roll_off * np.sinc(roll_off * np.arange(num_zeros * num_entries + 1) / num_entries)
    table *= np.kaiser(2 * len(table) - 1, beta)[len(table) - 1 :] * new / old
    table = np.append(table, np.zeros(step + 2))
    num_taps = num_zeros * num_entries // step + 1
    padded = np.pad(waveform.astype(np.float64), num_taps)
    time = np.arange(len(waveform) * new // old) * old / new
    nearest = time.astype(int)
    out = np.zeros(len(time))
    for direction, gap in ((-1, time - nearest), (1, 1 - (time - nearest))):
        first = nearest + num_taps + (direction == 1)
        for tap in range(num_taps):
            position = np.minimum(gap * new / old * num_entries + tap * step, len(table) - 2)
            entry = position.astype(int)
            weight = table[entry] + (position - entry) * (table[entry + 1] - table[entry])
            out += weight * padded[first + direction * tap]
    return np.append(out, np.zeros(-(-len(waveform) * new // old) - len(out))).astype(np.float32)


@pytest.fixture(scope="module")
def outputs(reference):
    with np.load(reference / "musicnn" / "musicnn_reference.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def clip(reference):
    """The reference clip at 16 kHz as the original decoded and resampled it."""
    import soundfile

    stereo, sample_rate = soundfile.read(reference / "audio" / "audio_example.mp3", dtype="float32")
    return kaiser_best(stereo.mean(axis=1), sample_rate, 16_000)


@pytest.mark.slow
def test_front_end_is_the_originals(outputs, clip):
    error = np.abs(
        musicnn.front_end(jnp.asarray(clip[None]))[0] - outputs["example_logmel_patches"]
    )
    assert error.max() < 2e-3  # float16 steps
    assert error.mean() < 1e-4


@pytest.fixture(params=MODELS)
def original(request, musicnn_cache, monkeypatch):
    """One of the published models, and what its outputs are called."""
    monkeypatch.setenv("LIME_JAX_CACHE", str(musicnn_cache))
    return models.load(request.param), MODELS[request.param]


@pytest.mark.network
class TestOriginals:
    @pytest.mark.parametrize("which", ["example", "random"])
    def test_network_is_the_originals(self, original, outputs, which):
        tagger, name = original
        random = (np.random.RandomState(7).rand(4, 187, 96) * 5).astype(np.float32)
        patches = outputs["example_logmel_patches"] if which == "example" else random
        logits = tagger.network(jnp.asarray(patches))
        np.testing.assert_allclose(logits, outputs[f"{name}_{which}_logits"], atol=3e-5)
        found = jax.nn.sigmoid(logits)
        np.testing.assert_allclose(found, outputs[f"{name}_{which}_taggram"], atol=4e-6)

    def test_mean_tags_are_the_originals(self, original, outputs, clip):
        tagger, name = original
        expected = outputs[f"{name}_example_taggram"].mean(axis=0)
        np.testing.assert_allclose(tagger(jnp.asarray(clip[None]))[0], expected, atol=1e-4)

    def test_the_file_itself_gives_the_tags_of_the_original(self, original, outputs, reference):
        """The networks hear the edge of the resampling filter, above 7.3 kHz."""
        from lime_jax.audio import io

        tagger, name = original
        file = reference / "audio" / "audio_example.mp3"
        waveform = io.load(file, tagger.sample_rate, resampler=tagger.resampler)
        expected = outputs[f"{name}_example_taggram"].mean(axis=0)
        found = np.asarray(tagger(jnp.asarray(waveform[None]))[0])
        np.testing.assert_allclose(found, expected, atol=2e-3)
        assert list(found.argsort()[-3:]) == list(expected.argsort()[-3:])


@pytest.mark.network
def test_fetching_again_touches_nothing(musicnn_cache, monkeypatch):
    monkeypatch.setattr(musicnn_weights.subprocess, "run", pytest.fail)
    before = {path: path.stat().st_mtime_ns for path in musicnn_cache.rglob("*")}
    musicnn_weights.fetch(cache_folder=musicnn_cache)
    assert {path: path.stat().st_mtime_ns for path in musicnn_cache.rglob("*")} == before
