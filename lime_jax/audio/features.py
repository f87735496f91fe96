"""Spectrograms in jax.numpy: STFT, inverse and mel bands, to the conventions of librosa.

Everything maps over leading axes and runs under `jit`, once per mask inside an explanation: frames
are cut as slices of hop-sized blocks instead of a gather.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from lime_jax.audio.feature_arguments import (
    bank_settings,
    check_frames,
    checked_signal,
    checked_spectra,
    frame_sizes,
)
from lime_jax.audio.mel_bands import hz_to_mel as hz_to_mel
from lime_jax.audio.mel_bands import mel_filterbank
from lime_jax.audio.mel_bands import mel_to_hz as mel_to_hz
from lime_jax.audio.waveform import check_floating
from lime_jax.core.arguments import MOST, array, one_of, positive, real_number, truth, whole_number
from lime_jax.errors import unknown_name

Waveform = Float[Array | np.ndarray, "*batch num_samples"]
Spectrogram = Complex[Array | np.ndarray, "*batch num_bins num_frames"]
MelSpectrogram = Float[Array, "*batch num_mels num_frames"]

PAD_MODES = ("constant", "reflect", "none")

# The default product on GPU (tf32) and TPU (bf16) moves a log-mel value by up to a percent.
_EXACT = jax.lax.Precision.HIGHEST

_MEL_SETTINGS = (
    "sample_rate", "n_fft", "hop_length", "num_mels", "power", "pad_mode", "low", "high", "htk",
    "norm",
)  # fmt: skip


def stft(
    waveform: Waveform,
    *,
    n_fft: int,
    hop_length: int,
    pad_mode: str = "constant",
    symmetric: bool = False,
) -> Complex[Array, "*batch num_bins num_frames"]:
    """Computes the short-time Fourier transform with a Hann window and centred frames.

    Frame `t` is centred on sample `t * hop_length`, as in `librosa.stft`; it starts there if
    nothing is padded.

    Args:
      waveform: `(*batch, num_samples)`, of any length above zero.
      n_fft: window length in samples.
      hop_length: samples between frames, at most `n_fft`.
      pad_mode: what lies beyond the ends, "constant" (zeros) or "reflect"; or "none", and frames
        start at the first sample.
      symmetric: the window of `numpy.hanning`, which ends at zero; else the periodic one.

    Returns:
      complex64 `(*batch, n_fft // 2 + 1, num_frames)`; for even `n_fft` there are
      `num_samples // hop_length + 1` frames.

    Raises:
      ValueError: for a waveform without a frame, an impossible hop or an unknown `pad_mode`.
    """
    waveform = checked_signal(waveform)
    n_fft, hop_length = frame_sizes(n_fft, hop_length)
    pad_mode, symmetric = one_of("pad_mode", pad_mode, PAD_MODES), truth("symmetric", symmetric)
    return _stft(
        waveform, n_fft=n_fft, hop_length=hop_length, pad_mode=pad_mode, symmetric=symmetric
    )


@functools.partial(jax.jit, static_argnames=("n_fft", "hop_length", "pad_mode", "symmetric"))
def _stft(
    waveform: Waveform,
    *,
    n_fft: int,
    hop_length: int,
    pad_mode: str = "constant",
    symmetric: bool = False,
) -> Complex[Array, "*batch num_bins num_frames"]:
    window = np.hanning(n_fft).astype(np.float32) if symmetric else _hann(n_fft)
    spectra = _frame_spectra(waveform, window, hop_length, pad_mode)
    return jnp.swapaxes(spectra, -1, -2)


def istft(
    spectrogram: Spectrogram, *, n_fft: int, hop_length: int, num_samples: int
) -> Float[Array, "*batch num_samples"]:
    """Returns the waveform whose `stft` is closest to `spectrogram` in the least-squares sense.

    Undoes `stft` to about 1e-6 of full scale for `hop_length <= n_fft // 3`. Longer hops leave the
    last samples to the foot of one window, where rounding errors grow.

    Args:
      spectrogram: `(*batch, n_fft // 2 + 1, num_frames)`.
      n_fft: as given to `stft`.
      hop_length: as given to `stft`.
      num_samples: length of the result; what no frame covers is silent.

    References:
      Griffin and Lim, Signal Estimation from Modified Short-Time Fourier Transform, 1984.
    """
    n_fft, hop_length = frame_sizes(n_fft, hop_length)
    spectrogram = checked_spectra(spectrogram, n_fft)
    num_samples = whole_number("num_samples", num_samples, most=MOST)
    return _istft(spectrogram, n_fft=n_fft, hop_length=hop_length, num_samples=num_samples)


@functools.partial(jax.jit, static_argnames=("n_fft", "hop_length", "num_samples"))
def _istft(
    spectrogram: Spectrogram, *, n_fft: int, hop_length: int, num_samples: int
) -> Float[Array, "*batch num_samples"]:
    check_frames(n_fft, hop_length)
    spectra = jnp.swapaxes(jnp.asarray(spectrogram), -1, -2)
    if spectra.shape[-1] != n_fft // 2 + 1:
        raise ValueError(
            f"`spectrogram` must have {n_fft // 2 + 1} bins for `n_fft` = {n_fft}, got shape "
            f"{spectrogram.shape}. Its axes are (..., num_bins, num_frames)."
        )
    signal = _overlap_add(spectra, n_fft, hop_length)
    gain = _inverse_window_energy(_hann(n_fft), hop_length, spectra.shape[-2])
    signal = (signal * _last_axis(gain, signal.ndim))[..., n_fft // 2 :][..., :num_samples]
    return _pad_end(signal, num_samples - signal.shape[-1])


def overlap_add(
    spectrogram: Spectrogram, *, n_fft: int, hop_length: int
) -> Float[Array, "*batch num_samples"]:
    """Turns frames back into waveforms under a Hann window, added up where they overlap.

    For spectrograms that come block by block: blocks of a waveform are added up in turn. With a hop
    of a quarter window, inner samples come out 1.5 times as large as they went into `stft`.

    Args:
      spectrogram: `(*batch, n_fft // 2 + 1, num_frames)`, the first frame from the first sample on.
      n_fft: as given to `stft`.
      hop_length: as given to `stft`, a divisor of `n_fft`.

    Returns:
      float32 `(*batch, (num_frames - 1) * hop_length + n_fft)`.
    """
    n_fft, hop_length = frame_sizes(n_fft, hop_length)
    spectrogram = checked_spectra(spectrogram, n_fft)
    return _overlap_added(spectrogram, n_fft=n_fft, hop_length=hop_length)


@functools.partial(jax.jit, static_argnames=("n_fft", "hop_length"))
def _overlap_added(
    spectrogram: Spectrogram, *, n_fft: int, hop_length: int
) -> Float[Array, "*batch num_samples"]:
    return _overlap_add(jnp.swapaxes(jnp.asarray(spectrogram), -1, -2), n_fft, hop_length)


def mel_spectrogram(
    waveform: Waveform,
    *,
    sample_rate: int,
    n_fft: int,
    hop_length: int,
    num_mels: int,
    power: float = 2.0,
    pad_mode: str = "constant",
    low: float = 0.0,
    high: float | None = None,
    htk: bool = False,
    norm: str | None = "slaney",
) -> MelSpectrogram:
    """Sums energy (`power` 2) or magnitude (`power` 1) of the STFT over mel bands.

    Args:
      waveform: `(*batch, num_samples)`.
      sample_rate: in Hz.
      n_fft: see `stft`.
      hop_length: see `stft`.
      num_mels: how many bands.
      power: exponent of the magnitude.
      pad_mode: see `stft`.
      low: see `mel_filterbank`, as are `high`, `htk` and `norm`.
      high: upper edge of the last band in Hz.
      htk: HTK's mel scale instead of Slaney's.
      norm: "slaney" or None.

    Returns:
      float32 `(*batch, num_mels, num_frames)`.
    """
    waveform = checked_signal(waveform)
    bank = bank_settings(sample_rate, n_fft, num_mels, low, high, htk, norm)
    n_fft, hop_length = frame_sizes(n_fft, hop_length)
    pad_mode = one_of("pad_mode", pad_mode, PAD_MODES)
    power = float(real_number("power", power, "be positive", positive))
    return _mel_spectrogram(waveform, hop_length=hop_length, power=power, pad_mode=pad_mode, **bank)


@functools.partial(jax.jit, static_argnames=_MEL_SETTINGS)
def _mel_spectrogram(
    waveform: Waveform,
    *,
    sample_rate: int,
    n_fft: int,
    hop_length: int,
    num_mels: int,
    power: float = 2.0,
    pad_mode: str = "constant",
    low: float = 0.0,
    high: float | None = None,
    htk: bool = False,
    norm: str | None = "slaney",
) -> MelSpectrogram:
    bank = mel_filterbank(sample_rate, n_fft, num_mels, low=low, high=high, htk=htk, norm=norm)
    spectra = _frame_spectra(waveform, _hann(n_fft), hop_length, pad_mode)
    bands = jnp.matmul(_magnitude(spectra, power), bank.T, precision=_EXACT)
    return jnp.swapaxes(bands, -1, -2)


def log_mel(
    waveform: Waveform,
    *,
    sample_rate: int,
    n_fft: int,
    hop_length: int,
    num_mels: int,
    power: float = 2.0,
    pad_mode: str = "constant",
    low: float = 0.0,
    high: float | None = None,
    htk: bool = False,
    norm: str | None = "slaney",
    floor: float = 1e-10,
) -> MelSpectrogram:
    """Returns the natural logarithm of `mel_spectrogram`, not below `log(floor)`.

    For decibels use `decibels(mel_spectrogram(...))`. Arguments as there, and:

    Args:
      waveform: `(*batch, num_samples)`.
      sample_rate: in Hz.
      n_fft: see `stft`.
      hop_length: see `stft`.
      num_mels: how many bands.
      power: exponent of the magnitude.
      pad_mode: see `stft`.
      low: lower edge of the first band in Hz.
      high: upper edge of the last band in Hz.
      htk: HTK's mel scale instead of Slaney's.
      norm: "slaney" or None.
      floor: smaller values count as this much.
    """
    floor = float(real_number("floor", floor, "be positive", positive))
    mel = mel_spectrogram(
        waveform,
        sample_rate=sample_rate,
        n_fft=n_fft,
        hop_length=hop_length,
        num_mels=num_mels,
        power=power,
        pad_mode=pad_mode,
        low=low,
        high=high,
        htk=htk,
        norm=norm,
    )
    return _log(mel, floor=floor)


@functools.partial(jax.jit, static_argnames="floor")
def _log(mel: MelSpectrogram, *, floor: float) -> MelSpectrogram:
    return jnp.log(jnp.maximum(mel, floor))


def decibels(
    power: Float[Array, "*batch num_bins num_frames"],
    *,
    floor: float = 1e-10,
    dynamic_range: float | None = None,
) -> Float[Array, "*batch num_bins num_frames"]:
    """Returns energies in dB relative to 1, `10 log10(max(power, floor))`.

    Args:
      power: `(*batch, num_bins, num_frames)`, squared magnitudes.
      floor: smaller energies count as this much.
      dynamic_range: values more than so many dB below the loudest of their spectrogram are raised
        to that level; None keeps them.
    """
    power = array("power", power)
    if power.ndim < 2 or not jnp.issubdtype(power.dtype, jnp.floating) or 0 in power.shape:
        raise ValueError(
            "`power` must be floating-point numbers of shape (*batch, num_bins, num_frames), got "
            f"{power.dtype} of shape {power.shape}."
        )
    floor = float(real_number("floor", floor, "be positive", positive))
    if dynamic_range is not None:
        dynamic_range = float(real_number("dynamic_range", dynamic_range, "be positive", positive))
    return _decibels(power, floor=floor, dynamic_range=dynamic_range)


@functools.partial(jax.jit, static_argnames=("floor", "dynamic_range"))
def _decibels(
    power: Float[Array, "*batch num_bins num_frames"],
    *,
    floor: float = 1e-10,
    dynamic_range: float | None = None,
) -> Float[Array, "*batch num_bins num_frames"]:
    levels = 10.0 * jnp.log10(jnp.maximum(power, floor))
    if dynamic_range is None:
        return levels
    return jnp.maximum(levels, jnp.max(levels, axis=(-1, -2), keepdims=True) - dynamic_range)


def _frame_spectra(
    waveform: Waveform, window: np.ndarray, hop_length: int, pad_mode: str
) -> Complex[Array, "*batch num_frames num_bins"]:
    n_fft = len(window)
    check_frames(n_fft, hop_length)
    if pad_mode not in PAD_MODES:
        raise ValueError(unknown_name("`pad_mode`", pad_mode, PAD_MODES))
    check_floating(waveform, "waveform")
    signal = jnp.asarray(waveform, jnp.float32)
    if signal.shape[-1] == 0:
        raise ValueError(
            f"`waveform` must hold at least one sample, got shape {signal.shape}. Pass "
            "(..., num_samples)."
        )
    if pad_mode != "none":
        edge = n_fft // 2
        signal = jnp.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(edge, edge)], mode=pad_mode)
    elif signal.shape[-1] < n_fft:
        raise ValueError(
            f"`waveform` must hold at least {n_fft} samples without padding, got "
            f"{signal.shape[-1]}. Pass a longer one or another `pad_mode`."
        )
    frames = _frames(signal, n_fft, hop_length)
    return jnp.fft.rfft(frames * _last_axis(window, frames.ndim))


def _frames(signal: Array, n_fft: int, hop_length: int) -> Array:
    """`(..., num_frames, n_fft)`: neighbouring hop-sized blocks side by side."""
    num_frames = (signal.shape[-1] - n_fft) // hop_length + 1
    overlap = -(-n_fft // hop_length)
    num_blocks = num_frames - 1 + overlap
    signal = _pad_end(signal, num_blocks * hop_length - signal.shape[-1])
    blocks = signal[..., : num_blocks * hop_length].reshape(*signal.shape[:-1], -1, hop_length)
    shifted = [blocks[..., shift : shift + num_frames, :] for shift in range(overlap)]
    return jnp.concatenate(shifted, axis=-1)[..., :n_fft]


def _overlap_add(spectra: Array, n_fft: int, hop_length: int) -> Array:
    """Undoes `_frames` of windowed frames, adding where frames overlap."""
    frames = jnp.fft.irfft(spectra, n=n_fft) * _last_axis(_hann(n_fft), spectra.ndim)
    overlap = -(-frames.shape[-1] // hop_length)
    frames = _pad_end(frames, overlap * hop_length - frames.shape[-1])
    blocks = frames.reshape(*frames.shape[:-1], overlap, hop_length)
    leading = [(0, 0)] * (frames.ndim - 2)
    shifted = [
        jnp.pad(blocks[..., shift, :], [*leading, (shift, overlap - 1 - shift), (0, 0)])
        for shift in range(overlap)
    ]
    return sum(shifted[1:], start=shifted[0]).reshape(*frames.shape[:-2], -1)


def _inverse_window_energy(window: np.ndarray, hop_length: int, num_frames: int) -> np.ndarray:
    """One over the sum of all squared windows at each sample, zero where there is none."""
    overlap = -(-len(window) // hop_length)
    squares = np.square(np.pad(window, (0, overlap * hop_length - len(window))), dtype=np.float64)
    energy = np.zeros((num_frames - 1 + overlap, hop_length))
    for shift, block in enumerate(squares.reshape(overlap, hop_length)):
        energy[shift : shift + num_frames] += block
    reached = energy > np.finfo(np.float32).tiny
    inverse = np.divide(1.0, energy, out=np.zeros_like(energy), where=reached)
    return inverse.astype(np.float32).ravel()


def _magnitude(spectra: Array, power: float) -> Array:
    energy = jnp.square(spectra.real) + jnp.square(spectra.imag)
    if power == 2.0:
        return energy
    return jnp.sqrt(energy) if power == 1.0 else jnp.power(energy, power / 2)


def _hann(n_fft: int) -> np.ndarray:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)


def _last_axis(values: np.ndarray, ndim: int) -> np.ndarray:
    return values.reshape((1,) * (ndim - 1) + values.shape)


def _pad_end(signal: Array, count: int) -> Array:
    return jnp.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(0, max(count, 0))])
