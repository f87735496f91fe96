"""Log-mel frames against float64 loops as the published code has them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from lime_jax.audio import features
from lime_jax.models import singing_voice_front_end
from tests.models.singing_voice_referee import bank_of_loops, log_mel_of_loops, noise, sine

log_mel = jax.jit(singing_voice_front_end.log_mel)


def test_bands_are_the_published_ones():
    bank = singing_voice_front_end.mel_filterbank()
    assert bank[0].nonzero()[0].tolist() == [2, 3]
    np.testing.assert_allclose(bank[0, 2:4], [0.63705, 0.36295], atol=5e-6)
    assert bank.any(axis=0).nonzero()[0][-1] + 1 == 372 == 513 * 2 * 8000 // 22_050
    np.testing.assert_allclose(bank.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(bank, bank_of_loops(), rtol=1e-6, atol=1e-9)


def test_every_band_peaks_near_its_centre():
    bank = singing_voice_front_end.mel_filterbank()
    peaks = bank.argmax(axis=1) * 22_050 / 1024
    assert np.abs(peaks - singing_voice_front_end.CENTRES).max() <= 22_050 / 1024


@pytest.mark.parametrize("hop_length", [315, 256])
def test_the_transform_has_the_window_of_numpy(hop_length):
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
def test_frames_are_whole(num_samples, num_frames):
    waveforms = jax.ShapeDtypeStruct((2, num_samples), jnp.float32)
    found = jax.eval_shape(singing_voice_front_end.log_mel, waveforms)
    assert found.shape == (2, num_frames, 80)
    assert num_frames == (num_samples - 1024) // 315 + 1


@pytest.mark.parametrize("num_samples", [0, 1, 1023])
def test_waveforms_without_a_frame_are_refused(num_samples):
    with pytest.raises(ValueError, match="must hold at least"):
        log_mel(np.zeros(num_samples, np.float32))


def test_noise_is_as_in_float64():
    waveform = noise(20_000)
    found = log_mel(waveform)
    np.testing.assert_allclose(found, log_mel_of_loops(waveform), atol=1e-4)


def test_a_sine_is_as_in_float64():
    waveform = sine(10_000)
    found, expected = log_mel(waveform), log_mel_of_loops(waveform)
    assert expected.max() - expected.min() > 10
    np.testing.assert_allclose(np.exp(found), np.exp(expected), rtol=1e-4, atol=1e-4)


def test_silence_is_the_floor():
    frames = log_mel(np.zeros((1, 5000), np.float32))
    np.testing.assert_allclose(frames, np.log(1e-7), rtol=1e-6)


def test_batches_are_judged_one_by_one():
    waveforms = np.stack([noise(3000), noise(3000, seed=1)])
    each = [log_mel(waveform) for waveform in waveforms]
    np.testing.assert_allclose(log_mel(waveforms), each, atol=1e-5)
