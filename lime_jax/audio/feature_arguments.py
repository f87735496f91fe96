"""What spectrograms can be asked for, checked where it comes in."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lime_jax.audio.waveform import check_floating, whole_rate
from lime_jax.core.arguments import MOST, array, real_number, truth, whole_number
from lime_jax.errors import unknown_name

LONGEST_WINDOW = 2**24
_MOST_MELS = 2**16


def checked_signal(waveform: Any) -> Array:
    """Returns samples as an array.

    Raises:
      ValueError: naming what came.
    """
    check_floating(waveform, "waveform")
    signal = array("waveform", waveform)
    if signal.ndim < 1:
        raise ValueError("`waveform` must have shape (*batch, num_samples), got a single number.")
    return signal


def frame_sizes(n_fft: Any, hop_length: Any) -> tuple[int, int]:
    """Returns a window and a hop that frames can have.

    Raises:
      ValueError: naming what came.
    """
    n_fft = whole_number("n_fft", n_fft, -MOST, most=LONGEST_WINDOW)
    hop_length = whole_number("hop_length", hop_length, -MOST)
    check_frames(n_fft, hop_length)
    return n_fft, hop_length


def checked_spectra(spectrogram: Any, n_fft: int) -> Array:
    """Returns frames of such a window as an array.

    Raises:
      ValueError: naming what came.
    """
    spectra = array("spectrogram", spectrogram)
    is_number = jnp.issubdtype(spectra.dtype, jnp.inexact)
    if spectra.ndim < 2 or not is_number or spectra.shape[-2] != n_fft // 2 + 1 or not spectra.size:
        raise ValueError(
            f"`spectrogram` must have {n_fft // 2 + 1} bins for `n_fft` = {n_fft}, got "
            f"{spectra.dtype} of shape {spectra.shape}. Its axes are (..., num_bins, num_frames)."
        )
    return spectra


def bank_settings(
    sample_rate: Any, n_fft: Any, num_mels: Any, low: Any, high: Any, htk: Any, norm: Any
) -> dict[str, Any]:
    """Returns what `mel_filterbank` takes, as numbers of Python.

    Raises:
      ValueError: naming what came.
    """
    sample_rate = whole_rate(sample_rate)
    n_fft = whole_number("n_fft", n_fft, 2, most=LONGEST_WINDOW)
    num_mels = whole_number("num_mels", num_mels, most=_MOST_MELS)
    if norm is not None and not (isinstance(norm, str) and norm == "slaney"):
        raise ValueError(unknown_name("`norm`", norm, ("slaney", "None")))
    low = float(real_number("low", low, "be in Hz", lambda _: True))
    high = sample_rate / 2 if high is None else high
    high = float(real_number("high", high, "be in Hz", lambda _: True))
    if not 0 <= low < high <= sample_rate / 2:
        raise ValueError(
            f"`low` and `high` must satisfy 0 <= low < high <= {sample_rate / 2:g} Hz, got {low:g} "
            f"and {high:g}. Lower `high` or raise the sample rate."
        )
    htk = truth("htk", htk)
    return {
        **{"sample_rate": sample_rate, "n_fft": n_fft, "num_mels": num_mels},
        **{"low": low, "high": high, "htk": htk, "norm": norm},
    }


def real_values(name: str, values: Any) -> np.ndarray:
    """Returns real numbers in float64.

    Raises:
      ValueError: naming what came.
    """
    try:
        made = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must be real numbers, got {values!r:.60}.") from error
    if made.dtype.kind not in "iuf":
        raise ValueError(f"`{name}` must be real numbers, got {made.dtype}.")
    return made.astype(np.float64)


def check_frames(n_fft: int, hop_length: int) -> None:
    """Refuses a window or a hop that frames cannot have.

    Raises:
      ValueError: naming what came.
    """
    if n_fft < 2 or not 1 <= hop_length <= n_fft:
        raise ValueError(
            f"`n_fft` must be at least 2 and `hop_length` between 1 and `n_fft`, got {n_fft} and "
            f"{hop_length}. A hop of a quarter window is usual."
        )
