"""The singing voice detector's front end in float64 NumPy, and a detector of random weights."""

import numpy as np
from flax import nnx

from lime_jax.models import singing_voice, weights
from lime_jax.models.singing_voice_network import SvdNet


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

    def mel(hz):
        return 1127 * np.log(1 + hz / 700)

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


def voice_of_random_weights():
    """A detector whose probabilities spread, with the statistics of noise."""
    rng = np.random.default_rng(0)
    arrays = {}
    for name, shape in weights.shapes_of(lambda: SvdNet(rngs=nnx.Rngs(0))).items():
        # As large as rectifiers need.
        deviation = np.sqrt(2 / np.prod(shape[:-1])) if name.endswith("kernel") else 0
        arrays[name] = deviation * rng.standard_normal(shape, np.float32)
    frames = log_mel_of_loops(noise(60_000))
    changed = {
        "output.kernel": 6 * arrays["output.kernel"],
        "mean": frames.mean(axis=0),
        "std": frames.std(axis=0),
    }
    return singing_voice.from_arrays({**arrays, **changed}, source="a test")
