"""The mel scale, Slaney's and HTK's, and triangular bands on it."""

import numpy as np
from jaxtyping import Float

from lime_jax.audio.feature_arguments import bank_settings, real_values
from lime_jax.core.arguments import truth

# Slaney's scale: linear up to 1 kHz (mel 15), then 27 mels per factor 6.4.
_SLANEY_HZ_PER_MEL = 200.0 / 3.0
_SLANEY_KNEE_HZ = 1000.0
_SLANEY_KNEE_MEL = _SLANEY_KNEE_HZ / _SLANEY_HZ_PER_MEL
_SLANEY_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(frequency: float | np.ndarray, *, htk: bool = False) -> np.ndarray:
    """Returns frequencies in Hz on Slaney's mel scale, or on HTK's."""
    hz, htk = real_values("frequency", frequency), truth("htk", htk)
    if htk:
        return np.asarray(2595.0 * np.log10(1.0 + hz / 700.0))
    above = _SLANEY_KNEE_MEL + np.log(np.maximum(hz, 1e-9) / _SLANEY_KNEE_HZ) / _SLANEY_LOG_STEP
    return np.where(hz < _SLANEY_KNEE_HZ, hz / _SLANEY_HZ_PER_MEL, above)


def mel_to_hz(mel: float | np.ndarray, *, htk: bool = False) -> np.ndarray:
    """Returns values of Slaney's mel scale, or of HTK's, as frequencies in Hz."""
    mel, htk = real_values("mel", mel), truth("htk", htk)
    if htk:
        return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))
    above = _SLANEY_KNEE_HZ * np.exp(_SLANEY_LOG_STEP * (mel - _SLANEY_KNEE_MEL))
    return np.where(mel < _SLANEY_KNEE_MEL, mel * _SLANEY_HZ_PER_MEL, above)


def mel_filterbank(
    sample_rate: int,
    n_fft: int,
    num_mels: int,
    *,
    low: float = 0.0,
    high: float | None = None,
    htk: bool = False,
    norm: str | None = "slaney",
) -> Float[np.ndarray, "num_mels num_bins"]:
    """Returns triangular bands, equally wide on the mel scale, as weights of STFT bins.

    Args:
      sample_rate: in Hz.
      n_fft: window length of the STFT.
      num_mels: how many bands.
      low: lower edge of the first band in Hz.
      high: upper edge of the last band in Hz; half the sample rate if None.
      htk: HTK's mel scale instead of Slaney's.
      norm: "slaney" gives every triangle unit area over Hz, None a peak of 1.

    Returns:
      float32 `(num_mels, n_fft // 2 + 1)`, computed in float64.

    Raises:
      ValueError: for an unknown `norm`, or edges that are not `0 <= low < high <= sample_rate / 2`.
    """
    bank = bank_settings(sample_rate, n_fft, num_mels, low, high, htk, norm)
    sample_rate, n_fft, num_mels, low, top, htk, norm = bank.values()
    bins = np.fft.rfftfreq(n_fft, 1.0 / sample_rate)[None, :]
    mels = np.linspace(hz_to_mel(low, htk=htk), hz_to_mel(top, htk=htk), num_mels + 2)
    edges = mel_to_hz(mels, htk=htk)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(rising, falling))
    if norm == "slaney":
        weights *= 2.0 / (edges[2:] - edges[:-2])
    return weights.astype(np.float32)
