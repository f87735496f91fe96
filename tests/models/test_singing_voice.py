"""The front end against float64 loops, and every short cut of SVDNet against the network itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import signal

import lime_jax as lj
from lime_jax.audio import features
from lime_jax.errors import ModelError
from lime_jax.models import singing_voice, weights
from lime_jax.models.singing_voice import PATCH_NUM_SAMPLES, SvdNet

PATCH_STRIDE = 115 * 315


@pytest.fixture(scope="module")
def initial():
    """The weights of a network by name."""
    return weights.arrays_of(SvdNet(rngs=nnx.Rngs(0)))


@pytest.fixture(scope="module")
def voice(initial):
    """Random weights whose probabilities spread, and the statistics of noise."""
    frames = log_mel_of_loops(noise(60_000))
    changed = {
        "output.kernel": 6 * initial["output.kernel"],
        "mean": frames.mean(axis=0),
        "std": frames.std(axis=0),
    }
    return singing_voice.from_arrays({**initial, **changed}, source="a test")


def noise(num_samples, seed=0):
    """That comes and goes, and is louder now at low, now at high frequencies."""
    white = np.random.default_rng(seed).uniform(-0.3, 0.3, num_samples + 1)
    time = np.arange(num_samples) / 22_050
    tilted = white[1:] + np.sin(2 * np.pi * 1.7 * time) * white[:-1]
    return (tilted * np.sin(2 * np.pi * 0.9 * time) ** 2).astype(np.float32)


def sine(num_samples):
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(num_samples) / 22_050)).astype(np.float32)


def bank_of_loops():
    """As the published code puts it, one bin at a time."""
    mel = lambda hz: 1127 * np.log(1 + hz / 700)
    low, high = mel(27.5), mel(8000)
    peaks = [700 * (np.exp((low + (high - low) * i / 81) / 1127) - 1) for i in range(82)]
    hertz = [bin * 22_050 / 1024 for bin in range(513)]
    edges = [next(bin for bin in range(513) if hertz[bin] >= peak) for peak in peaks]
    bank = np.zeros((80, 513))
    for band in range(80):
        left, top, right = edges[band : band + 3]
        for bin in range(left, top):
            bank[band, bin] = (hertz[bin] - peaks[band]) / (top - left)
        for bin in range(top, right):
            bank[band, bin] = (peaks[band + 2] - hertz[bin]) / (right - top)
        bank[band] /= bank[band].sum()
    return bank


def log_mel_of_loops(waveform):
    samples = waveform.astype(np.float64)
    window, starts = np.hanning(1024), range(0, len(samples) - 1023, 315)
    spectra = [np.abs(np.fft.rfft(samples[start : start + 1024] * window)) for start in starts]
    return np.log(np.maximum(np.array(spectra) @ bank_of_loops().T, 1e-7))


class TestFrontEnd:
    def test_bands_are_the_published_ones(self):
        bank = singing_voice.mel_filterbank()
        assert bank[0].nonzero()[0].tolist() == [2, 3]
        np.testing.assert_allclose(bank[0, 2:4], [0.63705, 0.36295], atol=5e-6)
        assert bank.any(axis=0).nonzero()[0][-1] + 1 == 372 == 513 * 2 * 8000 // 22_050
        np.testing.assert_allclose(bank.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_allclose(bank, bank_of_loops(), rtol=1e-6, atol=1e-9)

    def test_every_band_peaks_near_its_centre(self):
        bank = singing_voice.mel_filterbank()
        peaks = bank.argmax(axis=1) * 22_050 / 1024
        assert np.abs(peaks - singing_voice.CENTRES).max() <= 22_050 / 1024

    @pytest.mark.parametrize("hop_length", [315, 256])
    def test_the_transform_has_the_window_of_numpy(self, hop_length):
        waveform, window = noise(8000), np.hanning(1024)
        found = features.stft(
            waveform, n_fft=1024, hop_length=hop_length, pad_mode="none", symmetric=True
        )
        options = {"window": window, "nperseg": 1024, "noverlap": 1024 - hop_length}
        _, _, expected = signal.stft(waveform.astype(float), **options, boundary=None, padded=False)
        np.testing.assert_allclose(found, expected * window.sum(), atol=2e-5)

    @pytest.mark.parametrize(
        ("num_samples", "num_frames"),
        [(1024, 1), (1338, 1), (1339, 2), (22_050, 67), (36_933, 114), (36_934, 115)],
    )
    def test_frames_are_whole(self, num_samples, num_frames):
        waveforms = jax.ShapeDtypeStruct((2, num_samples), jnp.float32)
        found = jax.eval_shape(singing_voice.log_mel, waveforms)
        assert found.shape == (2, num_frames, 80)
        assert num_frames == (num_samples - 1024) // 315 + 1

    @pytest.mark.parametrize("num_samples", [0, 1, 1023])
    def test_waveforms_without_a_frame_are_refused(self, num_samples):
        with pytest.raises(ValueError, match="must hold at least"):
            singing_voice.log_mel(np.zeros(num_samples, np.float32))

    def test_noise_is_as_in_float64(self):
        waveform = noise(20_000)
        found = singing_voice.log_mel(waveform)
        np.testing.assert_allclose(found, log_mel_of_loops(waveform), atol=1e-4)

    def test_a_sine_is_as_in_float64(self):
        waveform = sine(10_000)
        found, expected = singing_voice.log_mel(waveform), log_mel_of_loops(waveform)
        assert expected.max() - expected.min() > 10
        np.testing.assert_allclose(np.exp(found), np.exp(expected), rtol=1e-4, atol=1e-4)

    def test_silence_is_the_floor(self):
        frames = singing_voice.log_mel(np.zeros((1, 5000), np.float32))
        np.testing.assert_allclose(frames, np.log(1e-7), rtol=1e-6)

    def test_batches_are_judged_one_by_one(self):
        waveforms = np.stack([noise(3000), noise(3000, seed=1)])
        each = [singing_voice.log_mel(waveform) for waveform in waveforms]
        np.testing.assert_allclose(singing_voice.log_mel(waveforms), each, atol=1e-5)


class TestStandardised:
    def test_silence_is_what_its_waveform_is(self, voice):
        expected = (np.log(1e-7) - np.asarray(voice.mean, float)) / np.asarray(voice.std, float)
        np.testing.assert_allclose(voice.silence, expected, rtol=1e-6)
        zeros = singing_voice.log_mel(np.zeros((1, 1024), np.float32))
        np.testing.assert_allclose(voice.standardised(zeros)[0, 0], voice.silence, rtol=1e-6)

    def test_songs_lie_between_57_frames_of_silence(self, voice):
        waveform = noise(8000)
        frames = voice.frames_of(jnp.asarray(waveform))
        num_frames = (8000 - 1024) // 315 + 1
        assert frames.shape == (57 + num_frames + 57, 80)
        silence = np.broadcast_to(voice.silence, (57, 80))
        np.testing.assert_array_equal(frames[:57], silence)
        np.testing.assert_array_equal(frames[-57:], silence)
        log_mel = jnp.asarray(log_mel_of_loops(waveform).astype(np.float32))
        expected = voice.standardised(log_mel)
        np.testing.assert_allclose(frames[57:-57], expected, atol=1e-4)

    def test_nothing_is_heard_from_the_given_frame_on(self, voice):
        waveform = jnp.asarray(noise(8000))
        heard, all_frames = voice.frames_of(waveform, 9), voice.frames_of(waveform)
        np.testing.assert_array_equal(heard[: 57 + 9], all_frames[: 57 + 9])
        silence = np.broadcast_to(voice.silence, heard[57 + 9 :].shape)
        np.testing.assert_array_equal(heard[57 + 9 :], silence)


class TestNetwork:
    @pytest.mark.parametrize("num_frames", [25, 26, 27, 60])
    def test_cells_that_start_everywhere_are_those_of_excerpts(self, voice, getkey, num_frames):
        frames = jax.random.normal(getkey(), (num_frames, 80))
        starts = range(num_frames - 24)
        excerpts = jnp.stack([frames[start : start + 25] for start in starts])
        expected = voice.network.features(excerpts)[:, :, 0]
        found = voice.network.features_of_all(frames[None])[0].swapaxes(0, 1)
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_cells_of_longer_sequences_are_those_of_excerpts(self, voice, getkey):
        frames = jax.random.normal(getkey(), (1, 140, 80))
        cells = voice.network.features(frames)
        assert cells.shape == (1, 7, 13, 64)
        for number in range(3):
            excerpt = frames[:, 9 * number : 9 * number + 115]
            found = cells[:, :, number : number + 11]
            np.testing.assert_allclose(found, voice.network.features(excerpt), atol=1e-5)

    def test_initial_kernels_are_orthogonal_and_biases_nought(self, initial):
        """And twice as much comes out as goes in, of which rectifiers keep half."""
        for name, array in initial.items():
            matrix = array.reshape(-1, array.shape[-1]).astype(float)
            matrix = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
            expected = 2 * np.eye(len(matrix)) if name.endswith("kernel") else 0
            np.testing.assert_allclose(matrix @ matrix.T, expected, atol=1e-5)

    @pytest.mark.slow
    def test_without_a_key_nothing_is_dropped(self, voice, getkey):
        excerpts = jax.random.normal(getkey(), (2, 115, 80))
        cells = voice.network.features(excerpts)
        logits = voice.network.logits(cells)
        np.testing.assert_allclose(voice.network(excerpts), jax.nn.sigmoid(logits), rtol=1e-6)
        assert (voice.network.logits(cells, key=getkey()) != logits).all()

    def test_dropout_keeps_the_mean(self, voice, initial, getkey):
        """Where all is positive, nothing is rectified, and the mean of logits is the logit."""
        positive = {name: np.abs(array) for name, array in initial.items()}
        statistics = {"mean": voice.mean, "std": voice.std}
        changed = singing_voice.from_arrays({**positive, **statistics}, source="a test")
        cells = jnp.broadcast_to(jax.random.uniform(getkey(), (1, 7, 11, 64)), (400, 7, 11, 64))
        expected = changed.network.logits(cells[:1])[0, 0]
        found = np.asarray(changed.network.logits(cells, key=getkey())[:, 0] / expected)
        assert len(np.unique(found)) == 400
        assert abs(found.mean() - 1) < 4 * found.std() / 20 < 0.05

    def test_each_of_three_layers_loses_half(self, initial, getkey):
        """One number goes through all of them; what arrives is eight times as large, or nothing."""
        alone = {name: np.zeros_like(array) for name, array in initial.items()}
        for name in ("dense.0.kernel", "dense.1.kernel", "output.kernel"):
            alone[name][0, 0] = 1
        statistics = {"mean": np.zeros(80, np.float32), "std": np.ones(80, np.float32)}
        through = singing_voice.from_arrays({**alone, **statistics}, source="a test").network
        cells = jnp.zeros((600, 7, 11, 64)).at[:, 0, 0, 0].set(1.0)
        found = np.asarray(through.logits(cells, key=getkey()))
        assert set(found.ravel().tolist()) == {0.0, 8.0}
        assert abs((found > 0).mean() - 1 / 8) < 0.05


LOCALITIES = {"time": (0, "receptive_field"), "bands": (1, "band_receptive_field")}


@pytest.mark.parametrize(("axis", "name"), list(LOCALITIES.values()), ids=LOCALITIES)
class TestLocality:
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
        bare = lj.explain(lambda x: voice.network(x), components, lj.exhaustive())
        assert np.ptp(np.asarray(bare.coefficients)) > 0.01
        np.testing.assert_allclose(few.coefficients, bare.coefficients, atol=1e-5)
        np.testing.assert_allclose(few.intercept, bare.intercept, atol=1e-5)
        starts = range(0, size - 24, 9)
        overlap = [len(np.unique(labels[start : start + 25])) for start in starts]
        assert (few.num_evaluations, bare.num_evaluations) == (sum(2**n for n in overlap), 32)


class TestCurve:
    """Of every frame the probability of the excerpt around it."""

    def expected(self, voice, waveform, frames):
        """Excerpts cut one by one, silent where there is no song."""
        log_mel = log_mel_of_loops(waveform)
        silence = np.full((57, 80), np.log(1e-7))
        padded = np.concatenate([silence, log_mel, silence])
        excerpts = np.stack([padded[frame : frame + 115] for frame in frames])
        standardised = (excerpts - np.asarray(voice.mean)) / np.asarray(voice.std)
        return voice.network(jnp.asarray(standardised.astype(np.float32)))[:, 0]

    @pytest.mark.parametrize("num_samples", [1024, 1338, 8000])
    def test_short_songs(self, voice, num_samples):
        waveform = noise(num_samples)
        found = singing_voice.curve(voice, waveform)
        frames = range((num_samples - 1024) // 315 + 1)
        assert found.shape == (len(frames),) and found.dtype == np.float32
        np.testing.assert_allclose(found, self.expected(voice, waveform, frames), atol=2e-4)

    @pytest.mark.parametrize("num_frames", [511, 512, 513])
    @pytest.mark.parametrize("surplus", [0, 314])
    def test_lengths_around_that_of_a_program(self, voice, num_frames, surplus):
        waveform = noise((num_frames - 1) * 315 + 1024 + surplus)
        found = singing_voice.curve(voice, waveform)
        assert found.shape == (num_frames,) and np.ptp(found) > 0.1
        frames = [0, 1, 8, 56, 57, 58, 200, 333, *range(num_frames - 58, num_frames, 9)]
        frames += [num_frames - 1]
        expected = self.expected(voice, waveform, frames)
        np.testing.assert_allclose(found[np.array(frames)], expected, atol=2e-4)

    def test_what_lies_beyond_the_excerpt_is_not_heard(self, voice):
        waveform = noise(60_000)
        longer = np.concatenate([waveform, noise(40_000, seed=1)])
        num_frames = (60_000 - 1024) // 315 + 1
        found, whole = (singing_voice.curve(voice, w) for w in (waveform, longer))
        np.testing.assert_allclose(found[: num_frames - 57], whole[: num_frames - 57], atol=1e-5)
        assert np.abs(found[num_frames - 57 :] - whole[num_frames - 57 : num_frames]).max() > 1e-3

    def test_songs_without_a_frame_are_refused(self, voice):
        with pytest.raises(ValueError, match="must hold at least 1024 samples, got 1023"):
            singing_voice.curve(voice, np.zeros(1023, np.float32))


class TestTagger:
    @pytest.mark.parametrize(
        ("num_samples", "num_patches"),
        [
            (PATCH_NUM_SAMPLES, 1),
            (PATCH_NUM_SAMPLES + PATCH_STRIDE - 1, 1),
            (PATCH_NUM_SAMPLES + PATCH_STRIDE, 2),
        ],
    )
    def test_patches_lie_side_by_side(self, voice, num_samples, num_patches):
        waveform = noise(num_samples)
        patches = voice.front_end(jnp.asarray(waveform[None]))
        assert patches.shape == (1, num_patches, 115, 80)
        frames = log_mel_of_loops(waveform)[: 115 * num_patches]
        np.testing.assert_allclose(patches.reshape(-1, 80), frames, atol=1e-3)
        tagger = singing_voice.as_tagger(voice)
        assert tagger.receptive_field.num_windows(num_samples) == num_patches

    @pytest.mark.slow
    def test_tells_the_mean_probability_of_excerpts(self, voice):
        waveform = noise(PATCH_NUM_SAMPLES + PATCH_STRIDE)
        tagger = singing_voice.as_tagger(voice)
        assert (tagger.sample_rate, tagger.output_names) == (22_050, ("singing",))
        found = tagger(jnp.asarray(waveform[None]))
        frames = singing_voice.curve(voice, waveform)[[57, 57 + 115]]
        np.testing.assert_allclose(found, [[frames.mean()]], atol=1e-4)

    def test_needs_one_excerpt(self, voice):
        with pytest.raises(ValueError, match=r"36934 \(1\.68 s\)"):
            singing_voice.as_tagger(voice)(jnp.zeros((1, PATCH_NUM_SAMPLES - 1)))

    def test_declares_its_patches(self, voice):
        lj.receptive_fields.check_receptive_field(singing_voice.as_tagger(voice))

    @pytest.mark.slow
    def test_explanations_are_those_of_the_bare_tagger(self, voice):
        tagger = singing_voice.as_tagger(voice)
        waveform = jnp.asarray(noise(PATCH_NUM_SAMPLES + PATCH_STRIDE))
        labels = lj.equal_segments(len(waveform), 5)
        components = lj.from_labels(waveform, labels, 5)
        few = lj.explain(tagger, components, lj.shapley())
        bare = lj.explain(lambda x: tagger(x), components, lj.shapley())
        np.testing.assert_allclose(few.coefficients, bare.coefficients, atol=1e-5)
        assert few.num_evaluations < bare.num_evaluations == 32

    @pytest.mark.slow
    def test_twenty_segments_of_five_patches_have_exact_shapley_values(self, voice):
        tagger = singing_voice.as_tagger(voice)
        waveform = jnp.asarray(noise(PATCH_NUM_SAMPLES + 4 * PATCH_STRIDE))
        components = lj.from_labels(waveform, lj.equal_segments(len(waveform), 20), 20)
        explanation = lj.explain(tagger, components, lj.shapley())
        assert explanation.num_evaluations <= 5 * 2**6
        assert not explanation.std_error.any()
        both = tagger(jnp.stack([waveform, jnp.zeros_like(waveform)]))[:, 0]
        np.testing.assert_allclose(explanation.coefficients.sum(), both[0] - both[1], atol=1e-5)
        np.testing.assert_allclose(explanation.intercept[0], both[1], atol=1e-5)


class TestWeights:
    def test_come_back(self, voice):
        arrays = singing_voice.to_arrays(voice)
        again = singing_voice.to_arrays(singing_voice.from_arrays(arrays, source="a test"))
        assert arrays.keys() == again.keys() and len(arrays) == 16
        for name, array in arrays.items():
            np.testing.assert_array_equal(again[name], array)

    def test_half_precision_is_for_storing_only(self, voice):
        arrays = singing_voice.to_arrays(voice)
        halves = {name: array.astype(np.float16) for name, array in arrays.items()}
        again = singing_voice.from_arrays(halves, source="a test")
        assert {leaf.dtype for leaf in jax.tree.leaves(again)} == {np.dtype(np.float32)}

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"mean": None}, r"missing `mean` \(80,\)"),
            ({"std": np.ones(1)}, r"`std` has shape \(1,\) instead of \(80,\)"),
            ({"convs.3.kernel": None}, r"missing `convs\.3\.kernel` \(3, 3, 128, 64\)"),
            ({"dense.0.bias": np.ones(255)}, r"`dense\.0\.bias` has shape \(255,\)"),
            ({"gain": np.ones(2)}, r"unexpected `gain` \(2,\)"),
        ],
    )
    def test_others_are_refused(self, voice, changes, message):
        arrays = {**singing_voice.to_arrays(voice), **changes}
        arrays = {name: array for name, array in arrays.items() if array is not None}
        with pytest.raises(ModelError, match=rf"`a test` do not fit the network.*{message}"):
            singing_voice.from_arrays(arrays, source="a test")


def test_the_shipped_detector_hears_no_singing_in_silence():
    tagger = singing_voice.load_singing_voice()
    assert (tagger.sample_rate, tagger.output_names) == (22_050, ("singing",))
    told = tagger(jnp.zeros((2, 50_000)))
    assert told.shape == (2, 1) and told.dtype == jnp.float32 and (told < 0.5).all()
    frames = singing_voice.curve(tagger.network, np.zeros(22_050, np.float32))
    assert frames.shape == (67,) and (frames < 0.5).all()
