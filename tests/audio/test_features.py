import inspect
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lime_jax.audio import features
from tests.audio import librosa_in_numpy

RATE = 16_000

# Compiled whole: faster than one operation after the other, and how explanations run them.
stft = jax.jit(features.stft, static_argnames=("n_fft", "hop_length", "pad_mode"))
istft = jax.jit(features.istft, static_argnames=("n_fft", "hop_length", "num_samples"))
mel_spectrogram = jax.jit(
    features.mel_spectrogram,
    static_argnames=tuple(inspect.signature(features.mel_spectrogram).parameters)[1:],
)


def chirp(num_samples, rate=RATE):
    time = np.arange(num_samples) / rate
    noise = np.random.default_rng(0).standard_normal(num_samples)
    tone = np.sin(2 * np.pi * (100 * time + 1500 * time**2))
    return (0.5 * tone + 0.1 * noise).astype(np.float32)


def largest_error(actual, expected):
    """As a share of full scale."""
    assert actual.shape == expected.shape
    return np.abs(np.asarray(actual) - expected).max() / np.abs(expected).max()


FRAMINGS = [
    (512, 256, "constant", 16_000),
    (512, 128, "reflect", 7919),
    (2048, 512, "constant", 7919),
    (1024, 315, "reflect", 16_000),
    (1024, 1024, "constant", 7919),
    (401, 160, "reflect", 7919),
    (300, 299, "constant", 16_000),
]


@pytest.mark.parametrize(("n_fft", "hop_length", "pad_mode", "num_samples"), FRAMINGS)
def test_stft_is_librosas(n_fft, hop_length, pad_mode, num_samples):
    waveform = chirp(num_samples)
    framing = dict(n_fft=n_fft, hop_length=hop_length, pad_mode=pad_mode)
    expected = librosa_in_numpy.stft(waveform, **framing)
    actual = stft(waveform, **framing)
    assert actual.dtype == jnp.complex64
    assert largest_error(actual, expected) < 1e-6


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
@pytest.mark.parametrize("num_samples", [2, 37])
def test_stft_of_less_than_a_window_is_librosas(num_samples, pad_mode):
    waveform = chirp(num_samples)
    expected = librosa_in_numpy.stft(waveform, n_fft=256, hop_length=64, pad_mode=pad_mode)
    actual = stft(waveform, n_fft=256, hop_length=64, pad_mode=pad_mode)
    assert largest_error(actual, expected) < 1e-5


@pytest.mark.parametrize("num_samples", [512, 700, 7919])
def test_without_padding_frames_start_at_the_first_sample(num_samples):
    waveform = chirp(num_samples)
    expected = librosa_in_numpy.stft(waveform, n_fft=512, hop_length=128, center=False)
    actual = stft(waveform, n_fft=512, hop_length=128, pad_mode="none")
    assert largest_error(actual, expected) < 1e-5
    with pytest.raises(ValueError, match="at least 512 samples without padding, got 511"):
        stft(waveform[:511], n_fft=512, hop_length=128, pad_mode="none")


@pytest.mark.parametrize(
    ("n_fft", "hop_length", "num_samples"),
    [
        (512, 128, 1),
        (512, 128, 2),
        (512, 128, 512),
        (512, 128, 7919),
        (401, 97, 1),
        (401, 97, 7919),
    ],
)
def test_istft_undoes_stft(n_fft, hop_length, num_samples):
    waveform = chirp(num_samples)
    spectrogram = stft(waveform, n_fft=n_fft, hop_length=hop_length)
    back = istft(spectrogram, n_fft=n_fft, hop_length=hop_length, num_samples=num_samples)
    np.testing.assert_allclose(back, waveform, atol=1e-6)


@pytest.mark.parametrize(("n_fft", "hop_length"), [(512, 128), (1024, 315), (512, 256)])
def test_istft_of_a_masked_spectrogram_is_librosas(n_fft, hop_length):
    waveform = chirp(7919)
    spectrogram = librosa_in_numpy.stft(waveform, n_fft=n_fft, hop_length=hop_length)
    spectrogram[40:, 3:9] = 0
    spectrogram = spectrogram.astype(np.complex64)
    expected = librosa_in_numpy.istft(spectrogram, n_fft=n_fft, hop_length=hop_length, length=7919)
    actual = istft(spectrogram, n_fft=n_fft, hop_length=hop_length, num_samples=7919)
    inside = slice(0, 7919 - n_fft // 2)
    np.testing.assert_allclose(actual[inside], expected[inside], atol=2e-6)


def test_istft_is_silent_where_no_frame_reaches():
    spectrogram = stft(chirp(1000), n_fft=512, hop_length=128)
    long = istft(spectrogram, n_fft=512, hop_length=128, num_samples=4000)
    assert long.shape == (4000,)
    assert not long[2000:].any()


BANKS = [
    dict(num_mels=96),
    dict(num_mels=80, low=27.5, high=8000.0, htk=True),
    dict(num_mels=40, norm=None),
    dict(num_mels=128, low=30.0, high=7600.0, htk=True, norm=None),
]
POWERS = (2.0, 1.0, 2.0, 1.5)


def librosas(options):
    """The options of a bank by librosa's names."""
    names = {"num_mels": "n_mels", "low": "fmin", "high": "fmax"}
    return {names.get(name, name): value for name, value in options.items()}


@pytest.mark.parametrize("options", BANKS)
@pytest.mark.parametrize(("rate", "n_fft"), [(16_000, 512), (22_050, 1024), (44_100, 2048)])
def test_mel_filterbank_is_librosas(rate, n_fft, options):
    expected = librosa_in_numpy.mel(sr=rate, n_fft=n_fft, **librosas(options))
    actual = features.mel_filterbank(rate, n_fft, **options)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, atol=1e-6 * expected.max(), rtol=0)


@pytest.mark.parametrize(("options", "power"), list(zip(BANKS, POWERS, strict=True)))
def test_mel_spectrogram_is_librosas(options, power):
    waveform = chirp(16_001)
    framing = dict(n_fft=512, hop_length=160, power=power, pad_mode="reflect")
    expected = librosa_in_numpy.melspectrogram(y=waveform, sr=RATE, **framing, **librosas(options))
    actual = mel_spectrogram(waveform, sample_rate=RATE, **framing, **options)
    assert largest_error(actual, expected) < 1e-5


def test_decibels_are_librosas():
    power = np.square(np.abs(librosa_in_numpy.stft(chirp(8000), n_fft=512, hop_length=128)))
    power[:, :3] = 0
    power = power.astype(np.float32)
    everything = librosa_in_numpy.power_to_db(power, top_db=None)
    np.testing.assert_allclose(features.decibels(jnp.asarray(power)), everything, atol=1e-4)
    clipped = features.decibels(jnp.asarray(power), dynamic_range=60.0)
    np.testing.assert_allclose(clipped, librosa_in_numpy.power_to_db(power, top_db=60.0), atol=1e-4)


def test_log_mel_is_a_natural_logarithm_with_a_floor():
    options = dict(sample_rate=RATE, n_fft=512, hop_length=256, num_mels=40)
    waveform = np.concatenate([chirp(4000), np.zeros(4000, np.float32)])
    mel = np.asarray(features.mel_spectrogram(waveform, **options), np.float64)
    actual = features.log_mel(waveform, floor=1e-7, **options)
    np.testing.assert_allclose(actual, np.log(np.maximum(mel, 1e-7)), atol=1e-5)
    assert actual[0, -1] == pytest.approx(np.log(1e-7))


FUNCTIONS = {
    "stft": lambda x: features.stft(x, n_fft=256, hop_length=64),
    "stft and back": lambda x: features.istft(
        features.stft(x, n_fft=256, hop_length=100),
        n_fft=256,
        hop_length=100,
        num_samples=x.shape[-1],
    ),
    "log_mel": lambda x: features.log_mel(
        x, sample_rate=RATE, n_fft=256, hop_length=128, num_mels=20, floor=1e-3
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_maps_over_leading_axes_and_under_jit(name):
    function = jax.jit(FUNCTIONS[name])
    waveforms = chirp(6 * 1001).reshape(2, 3, 1001)
    together = function(waveforms)
    assert together.shape[:2] == (2, 3)
    for index in np.ndindex(2, 3):
        alone = np.asarray(function(waveforms[index]))
        np.testing.assert_allclose(together[index], alone, atol=2e-5)


@pytest.mark.parametrize("htk", [False, True])
def test_mel_scale_inverts(htk):
    hz = np.linspace(0.0, 12_000.0, 1001)
    np.testing.assert_allclose(
        features.mel_to_hz(features.hz_to_mel(hz, htk=htk), htk=htk), hz, atol=1e-8
    )
    np.testing.assert_allclose(
        features.hz_to_mel(hz, htk=htk), librosa_in_numpy.hz_to_mel(hz, htk=htk), atol=1e-9
    )


MISTAKES = [
    (lambda: features.stft(np.zeros(0, np.float32), n_fft=8, hop_length=2), "at least one sample"),
    (lambda: features.stft(chirp(9), n_fft=8, hop_length=9), "`hop_length` between 1"),
    (lambda: features.stft(chirp(9), n_fft=8, hop_length=2, pad_mode="reflekt"), "'reflect'"),
    (
        lambda: features.istft(
            jnp.zeros((9, 5), jnp.complex64), n_fft=8, hop_length=2, num_samples=4
        ),
        "must have 5 bins",
    ),
    (lambda: features.mel_filterbank(RATE, 512, 40, high=9000.0), "low < high <= 8000 Hz"),
    (lambda: features.mel_filterbank(RATE, 512, 40, norm="slany"), "'slaney'"),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES)
def test_mistakes_are_explained(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake()


@pytest.mark.slow
def test_features_need_only_jax_and_numpy():
    heavy = ("librosa", "soundfile", "soxr", "scipy.signal", "skimage")
    code = f"import sys, lime_jax.audio.features; sys.exit(any(h in sys.modules for h in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:n_fft")
def test_the_functions_compared_with_are_librosas():
    import librosa

    for n_fft, hop_length, pad_mode, num_samples in (*FRAMINGS, (256, 64, "reflect", 2)):
        framing = dict(n_fft=n_fft, hop_length=hop_length, pad_mode=pad_mode)
        waveform = chirp(num_samples).astype(np.float64)
        expected = librosa.stft(waveform, **framing)
        np.testing.assert_allclose(librosa_in_numpy.stft(waveform, **framing), expected, atol=1e-9)
    framing = dict(n_fft=512, hop_length=128)
    spectrogram = librosa.stft(chirp(7919).astype(np.float64), center=False, **framing)
    ours = librosa_in_numpy.stft(chirp(7919), center=False, **framing)
    np.testing.assert_allclose(ours, spectrogram, atol=1e-9)
    spectrogram[40:, 3:9] = 0
    expected = librosa.istft(spectrogram, length=7000, **framing)
    ours = librosa_in_numpy.istft(spectrogram, length=7000, **framing)
    np.testing.assert_allclose(ours, expected, atol=1e-9)
    for options in map(librosas, BANKS):
        expected = librosa.filters.mel(sr=22_050, n_fft=1024, dtype=np.float64, **options)
        ours = librosa_in_numpy.mel(sr=22_050, n_fft=1024, **options)
        np.testing.assert_allclose(ours, expected, atol=1e-9)
        given = dict(y=chirp(8000).astype(np.float64), sr=RATE, power=1.5, pad_mode="reflect")
        expected = librosa.feature.melspectrogram(**given, **framing, **options)
        ours = librosa_in_numpy.melspectrogram(**given, **framing, **options)
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)
    for top_db in (None, 60.0):
        power = np.square(np.abs(spectrogram))
        expected = librosa.power_to_db(power, top_db=top_db)
        np.testing.assert_allclose(librosa_in_numpy.power_to_db(power, top_db=top_db), expected)
    for htk in (False, True):
        hz = np.linspace(0.0, 12_000.0, 1001)
        expected = librosa.hz_to_mel(hz, htk=htk)
        np.testing.assert_allclose(librosa_in_numpy.hz_to_mel(hz, htk=htk), expected, atol=1e-9)
