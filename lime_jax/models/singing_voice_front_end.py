"""The front end of the singing voice detector: log-mel frames as the published code makes them.

References:
  https://github.com/f0k/ismir2015, whose bands and window these are.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lime_jax.audio import features

SAMPLE_RATE, N_FFT, HOP_LENGTH = 22_050, 1024, 315
NUM_FRAMES, NUM_MELS = 115, 80
"""Of a patch."""

LOWEST_HZ, HIGHEST_HZ = 27.5, 8000.0
FLOOR = 1e-7
PATCH_NUM_SAMPLES = (NUM_FRAMES - 1) * HOP_LENGTH + N_FFT

Waveforms = Float[Array | np.ndarray, "*batch num_samples"]
Frames = Float[Array, "*batch num_frames 80"]


def _peaks() -> Float[np.ndarray, "82"]:
    """Where bands begin, peak and end, in Hz: every band peaks where its neighbours end."""
    low, high = (1127 * np.log1p(hz / 700) for hz in (LOWEST_HZ, HIGHEST_HZ))
    mels = np.linspace(low, high, NUM_MELS + 2)
    return 700 * np.expm1(mels / 1127)


CENTRES = _peaks()[1:-1]
"""Of the bands, in Hz."""


def mel_filterbank() -> Float[np.ndarray, "80 513"]:
    """Returns the triangular bands, equally spaced on the mel scale, each of sum one.

    Edges snap to bins, and each side rises by the number of bins it has, as in the published code.

    Example:
      >>> lowest = mel_filterbank()[0]
      >>> lowest.nonzero()[0].tolist(), f"{lowest[2]:.5f}", f"{lowest[3]:.5f}"
      ([2, 3], '0.63705', '0.36295')
    """
    peaks = _peaks()
    bins = np.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    edges = np.searchsorted(bins, peaks)
    bank = np.zeros((NUM_MELS, len(bins)))
    for band, (left, top, right) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        bank[band, left:top] = (bins[left:top] - peaks[band]) / max(top - left, 1)
        bank[band, top:right] = (peaks[band + 2] - bins[top:right]) / max(right - top, 1)
    return (bank / bank.sum(axis=1, keepdims=True)).astype(np.float32)


def magnitudes(waveforms: Waveforms) -> Float[Array, "*batch num_frames 513"]:
    """Returns the magnitude spectra of all `(num_samples - 1024) // 315 + 1` whole frames."""
    spectra = features.stft(
        waveforms, n_fft=N_FFT, hop_length=HOP_LENGTH, pad_mode="none", symmetric=True
    )
    return jnp.swapaxes(jnp.abs(spectra), -1, -2)


def bands(magnitudes: Float[Array | np.ndarray, "*batch num_frames 513"]) -> Frames:
    """Sums magnitude spectra up in bands."""
    return jnp.matmul(jnp.asarray(magnitudes), mel_filterbank().T, precision="highest")


def logarithm(bands: Frames) -> Frames:
    """Returns the natural logarithm, not below that of 1e-7."""
    return jnp.log(jnp.maximum(bands, FLOOR))


def log_mel(waveforms: Waveforms) -> Frames:
    """Returns the frames of waveforms; the network sees them standardised."""
    return logarithm(bands(magnitudes(waveforms)))
