"""The detector in use: standardised frames, the curve over a track, the tagger, weights by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.errors import ModelError
from lime_jax.models import singing_voice, singing_voice_front_end
from lime_jax.models.singing_voice_front_end import PATCH_NUM_SAMPLES
from tests.models.singing_voice_referee import log_mel_of_loops, noise

PATCH_STRIDE = 115 * 315


log_mel = jax.jit(singing_voice_front_end.log_mel)


@jax.jit
def predict(voice, waveforms):
    return singing_voice.as_tagger(voice)(waveforms)


@jax.jit
def probabilities(voice, patches):
    return voice.network(patches)


@jax.jit
def frames_of(voice, waveform, num_frames=None):
    return voice.frames_of(waveform, num_frames)


class TestStandardised:
    def test_silence_is_what_its_waveform_is(self, voice):
        expected = (np.log(1e-7) - np.asarray(voice.mean, float)) / np.asarray(voice.std, float)
        np.testing.assert_allclose(voice.silence, expected, rtol=1e-6)
        zeros = log_mel(np.zeros((1, 1024), np.float32))
        np.testing.assert_allclose(voice.standardise(zeros)[0, 0], voice.silence, rtol=1e-6)

    def test_tracks_lie_between_57_frames_of_silence(self, voice):
        waveform = noise(8000)
        frames = frames_of(voice, waveform)
        num_frames = (8000 - 1024) // 315 + 1
        assert frames.shape == (57 + num_frames + 57, 80)
        silence = np.broadcast_to(voice.silence, (57, 80))
        np.testing.assert_array_equal(frames[:57], silence)
        np.testing.assert_array_equal(frames[-57:], silence)
        expected = (log_mel_of_loops(waveform) - np.asarray(voice.mean)) / np.asarray(voice.std)
        np.testing.assert_allclose(frames[57:-57], expected, atol=1e-4)

    def test_frames_are_silent_from_the_given_one_on(self, voice):
        waveform = noise(8000)
        some, every = (np.asarray(frames_of(voice, waveform, n)) for n in (9, None))
        np.testing.assert_array_equal(some[: 57 + 9], every[: 57 + 9])
        silence = np.broadcast_to(voice.silence, some[57 + 9 :].shape)
        np.testing.assert_array_equal(some[57 + 9 :], silence)


class TestCurve:
    """Of every frame the probability of the patch around it."""

    @pytest.fixture(autouse=True)
    def short_chunks(self, monkeypatch):
        monkeypatch.setattr(singing_voice, "_CHUNK", 64)

    def expected(self, voice, waveform, frames):
        """Patches cut one by one, silent beyond the track."""
        log_mel = log_mel_of_loops(waveform)
        silence = np.full((57, 80), np.log(1e-7))
        padded = np.concatenate([silence, log_mel, silence])
        patches = np.stack([padded[frame : frame + 115] for frame in frames])
        standardised = (patches - np.asarray(voice.mean)) / np.asarray(voice.std)
        # One shape for all, so that one program does.
        patches = np.zeros((8, 115, 80), np.float32)
        patches[: len(frames)] = standardised
        return np.asarray(probabilities(voice, patches))[: len(frames), 0]

    @pytest.mark.parametrize("num_samples", [1024, 1338, 3000])
    def test_short_tracks(self, voice, num_samples):
        waveform = noise(num_samples)
        found = singing_voice.curve(voice, waveform)
        frames = range((num_samples - 1024) // 315 + 1)
        assert found.shape == (len(frames),) and found.dtype == np.float32
        np.testing.assert_allclose(found, self.expected(voice, waveform, frames), atol=2e-4)

    @pytest.mark.parametrize("num_frames", [127, 128, 129])
    @pytest.mark.parametrize("surplus", [0, 314])
    def test_lengths_around_that_of_a_program(self, voice, num_frames, surplus):
        waveform = noise((num_frames - 1) * 315 + 1024 + surplus)
        found = singing_voice.curve(voice, waveform)
        assert found.shape == (num_frames,) and np.ptp(found) > 0.1
        frames = [0, 1, 57, 64, 90, num_frames - 58, num_frames - 29, num_frames - 1]
        expected = self.expected(voice, waveform, frames)
        np.testing.assert_allclose(found[np.array(frames)], expected, atol=2e-4)

    def test_what_lies_beyond_the_patch_changes_nothing(self, voice):
        waveform = noise(60_000)
        longer = np.concatenate([waveform, noise(40_000, seed=1)])
        num_frames = (60_000 - 1024) // 315 + 1
        found, whole = (singing_voice.curve(voice, w) for w in (waveform, longer))
        np.testing.assert_allclose(found[: num_frames - 57], whole[: num_frames - 57], atol=1e-5)
        assert np.abs(found[num_frames - 57 :] - whole[num_frames - 57 : num_frames]).max() > 1e-3

    def test_tracks_without_a_frame_are_refused(self, voice):
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
        patches = jax.jit(lambda waveforms: voice.front_end(waveforms))(waveform[None])
        assert patches.shape == (1, num_patches, 115, 80)
        frames = log_mel_of_loops(waveform)[: 115 * num_patches]
        np.testing.assert_allclose(patches.reshape(-1, 80), frames, atol=1e-3)
        tagger = singing_voice.as_tagger(voice)
        assert tagger.receptive_field.num_windows(num_samples) == num_patches

    def test_returns_the_mean_probability_of_patches(self, voice):
        waveform = noise(PATCH_NUM_SAMPLES + PATCH_STRIDE)
        tagger = singing_voice.as_tagger(voice)
        assert (tagger.sample_rate, tagger.output_names) == (22_050, ("singing",))
        found = predict(voice, waveform[None])
        frames = singing_voice.curve(voice, waveform)[[57, 57 + 115]]
        np.testing.assert_allclose(found, [[frames.mean()]], atol=1e-4)

    def test_needs_one_patch(self, voice):
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
        bare = lj.explain(lambda waveforms: tagger(waveforms), components, lj.shapley())
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
    found = predict(tagger.network, np.zeros((1, PATCH_NUM_SAMPLES + PATCH_STRIDE), np.float32))
    assert found.shape == (1, 1) and found.dtype == np.float32 and (found < 0.5).all()
    frames = singing_voice.curve(tagger.network, np.zeros(22_050, np.float32))
    assert frames.shape == (67,) and (frames < 0.5).all()
