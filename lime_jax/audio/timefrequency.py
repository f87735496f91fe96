"""A waveform seen through its STFT, and bands of equal mel width over the bins."""

import dataclasses
import itertools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from lime_jax.audio import features
from lime_jax.audio.feature_arguments import LONGEST_WINDOW
from lime_jax.core.arguments import MOST, whole_number

# Windows of about 64 ms tell the partials of most instruments apart and still follow a beat.
_WINDOW_SECONDS = 0.064
_IMAGE_RANGE_DB = 80.0


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """A waveform and its STFT with a hop of a quarter window."""

    waveform: Float[Array, " num_samples"]
    sample_rate: int
    n_fft: int
    spectrogram: Complex[Array, "num_bins num_frames"]

    @property
    def num_frames(self) -> int:
        """How many frames the STFT has."""
        return self.spectrogram.shape[1]

    @property
    def seconds(self) -> float:
        """How long the waveform is."""
        return len(self.waveform) / self.sample_rate


def analyse(waveform: Float[Array, " num_samples"], sample_rate: int, n_fft: int | None) -> View:
    """Transforms a waveform; without `n_fft` in windows of about 64 ms."""
    window = 2 ** round(math.log2(_WINDOW_SECONDS * sample_rate)) if n_fft is None else n_fft
    window = whole_number("n_fft", window, most=LONGEST_WINDOW)
    if window < 8 or window % 4:
        raise ValueError(
            f"`n_fft` must be a multiple of 4, at least 8, got {window}. The hop is a quarter of "
            "it; 1024 is usual at 16 kHz."
        )
    spectrogram = features.stft(waveform, n_fft=window, hop_length=window // 4)
    return View(waveform, sample_rate, window, spectrogram)


def frame_extent(view: View, first: int, end: int) -> tuple[float, float]:
    """Returns seconds from half a hop before the centre of `first` to half one behind the last."""
    hop_seconds = view.n_fft // 4 / view.sample_rate
    start, stop = np.clip((np.array([first, end]) - 0.5) * hop_seconds, 0.0, view.seconds).tolist()
    return start, view.seconds if end == view.num_frames else stop


def band_edges(sample_rate: int, num_bands: int) -> list[tuple[float, float]]:
    """Returns both edges, in Hz, of bands of equal mel width from 0 to half the sample rate."""
    num_bands = int(num_bands)
    highest = features.hz_to_mel(sample_rate / 2)
    edges = features.mel_to_hz(np.linspace(0.0, highest, num_bands + 1)).tolist()
    edges[-1] = sample_rate / 2
    return list(itertools.pairwise(edges))


def bands(view: View, num_bands: int) -> Int[np.ndarray, " num_bins"]:
    """Returns the band of every STFT bin; each band has one at least.

    Raises:
      ValueError: for more bands than that.
    """
    num_bands = whole_number("num_segments", num_bands, -MOST)
    most = most_bands(view, num_bands)
    if not 1 <= num_bands <= most:
        raise ValueError(
            f"`num_segments` must be between 1 and {most} in frequency, so that each mel band "
            f"holds a bin of the STFT with its window of {view.n_fft} samples, got {num_bands}. "
            "Use fewer bands."
        )
    return _band_of_bins(view, num_bands)


def most_bands(view: View, limit: int) -> int:
    """Returns the most bands up to `limit` that all have a bin."""
    for num_bands in range(min(limit, view.n_fft // 2 + 1), 1, -1):
        if len(np.unique(_band_of_bins(view, num_bands))) == num_bands:
            return num_bands
    return 1


def image(
    view: View, band_of_bins: Int[np.ndarray, " num_bins"]
) -> Float[np.ndarray, "num_bands num_frames"]:
    """Returns the mean energy in every band; the loudest is 1, and 0 is 80 dB or more below it."""
    energy = np.square(np.abs(np.asarray(view.spectrogram)))
    starts = np.searchsorted(band_of_bins, np.arange(band_of_bins[-1] + 1))
    means = np.add.reduceat(energy, starts, axis=0) / np.bincount(band_of_bins)[:, None]
    levels = np.asarray(features.decibels(jnp.asarray(means, jnp.float32), floor=1e-20))
    return np.clip((levels - levels.max()) / _IMAGE_RANGE_DB + 1.0, 0.0, 1.0)


def _band_of_bins(view: View, num_bands: int) -> Int[np.ndarray, " num_bins"]:
    lower = [low for low, _ in band_edges(view.sample_rate, num_bands)]
    bins = np.fft.rfftfreq(view.n_fft, 1 / view.sample_rate)
    return np.searchsorted(lower, bins, side="right").astype(np.int32) - 1
