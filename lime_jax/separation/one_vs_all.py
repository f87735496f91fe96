"""Small separation networks: one per instrument, each masks its own instrument against all others.

Mono waveforms at 16 kHz in, a stem per instrument out. Every network sees the magnitudes of the
mixture's spectrogram and says which share of each element is its own; shares are estimated apart,
so stems need not sum to the mixture. `scripts/training/separator.py` makes the weights.

References:
  Manilow, Wichern, Seetharaman, Le Roux, Cutting Music Source Separation Some Slakh, 2019: the
    one-vs-all mask inference networks of the audioLIME experiments (theirs are recurrent).
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from lime_jax.audio import features
from lime_jax.audio.resampling import resample_frames
from lime_jax.core.execution.precision import products
from lime_jax.core.pytree import pytree, static
from lime_jax.errors import ModelError
from lime_jax.models import cache, weights
from lime_jax.separation.base import Channels, Stems, Waveform, as_waveform

NAME = "one-vs-all"

# Tracks are filled up to a multiple of so many samples, so that few lengths are compiled.
_GRID = 2**17
_FLOOR = 1e-3


@dataclasses.dataclass(frozen=True)
class OneVsAllConfig:
    """The shape of the networks.

    Attributes:
      instruments: names of the stems.
      sample_rate: of the waveforms, in Hz.
      n_fft: window length of the spectrogram in samples.
      hop_length: samples between frames.
      num_channels: of the convolutions over time.
      dilations: of the convolutions, in frames; together they see half a second.
    """

    instruments: tuple[str, ...] = ("piano", "guitar", "bass", "drums", "strings")
    sample_rate: int = 16_000
    n_fft: int = 1024
    hop_length: int = 256
    num_channels: int = 128
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1)

    @property
    def num_bins(self) -> int:
        """Of the spectrogram."""
        return self.n_fft // 2 + 1


class MaskNetwork(nnx.Module):
    """Dilated convolutions over time; the bins are channels."""

    def __init__(self, config: OneVsAllConfig, *, rngs: nnx.Rngs):
        size, bins = config.num_channels, config.num_bins
        self.first = nnx.Conv(bins, size, (3,), rngs=rngs)
        self.convs = nnx.List(
            nnx.Conv(size, size, (3,), kernel_dilation=(dilation,), rngs=rngs)
            for dilation in config.dilations
        )
        self.norms = nnx.List(nnx.LayerNorm(size, rngs=rngs) for _ in config.dilations)
        self.last = nnx.Linear(size, bins, rngs=rngs)

    def __call__(
        self, levels: Float[Array, "batch num_frames num_bins"]
    ) -> Float[Array, "batch num_frames num_bins"]:
        """The share of every element, from 0 to 1."""
        x = nnx.relu(self.first(levels))
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = x + nnx.relu(conv(norm(x)))
        return jax.nn.sigmoid(self.last(x))


class OneVsAllNetwork(nnx.Module):
    """One network per instrument."""

    def __init__(self, config: OneVsAllConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.networks = nnx.List(MaskNetwork(config, rngs=rngs) for _ in config.instruments)

    def __call__(
        self, magnitudes: Float[Array, "batch num_frames num_bins"]
    ) -> Float[Array, "num_stems batch num_frames num_bins"]:
        """Returns the mask of every instrument."""
        levels = jnp.log(magnitudes + _FLOOR)
        return jnp.stack([network(levels) for network in self.networks])


def spectrogram(
    waveforms: Float[Array, "*batch num_samples"], config: OneVsAllConfig
) -> Float[Array, "*batch num_frames num_bins"] | Any:
    """Returns the complex frames that masks are multiplied with."""
    spectra = features.stft(waveforms, n_fft=config.n_fft, hop_length=config.hop_length)
    return jnp.swapaxes(spectra, -1, -2)


@jax.jit
def stems_of(
    network: Any, waveforms: Float[Array, "batch num_samples"]
) -> Float[Array, "batch num_stems num_samples"]:
    """Estimates the stems of mixtures at the sample rate of the network, all in one pass.

    Args:
      network: a `OneVsAllNetwork`.
      waveforms: mono.
    """
    config = network.config
    with products():
        frames = spectrogram(waveforms, config)
        masks = network(jnp.abs(frames))
        back = functools.partial(
            features.istft,
            n_fft=config.n_fft,
            hop_length=config.hop_length,
            num_samples=waveforms.shape[1],
        )
        stems = jax.lax.map(
            lambda mask: back(jnp.swapaxes(mask.astype(frames.dtype) * frames, 1, 2)), masks
        )
    return jnp.swapaxes(stems, 0, 1)


@pytree
class OneVsAll:
    """A separator, see `lime_jax.separation.Separator`.

    Attributes:
      network: a `OneVsAllNetwork`.
      version: of the weights; the cache of stems asks for it.
    """

    network: Any
    version: str = static()

    @property
    def name(self) -> str:
        """What `lime_jax.separation.load` takes."""
        return NAME

    def __call__(self, waveform: Waveform, sample_rate: int) -> Stems:
        """Returns the stems of a track, every channel on its own.

        Args:
          waveform: `(num_samples,)` or `(num_channels, num_samples)`.
          sample_rate: in Hz; other rates than 16 kHz are resampled, and back.

        Raises:
          ValueError: for another shape.
        """
        waveform = as_waveform(waveform)
        config = self.network.config
        channels = _at_rate(np.atleast_2d(waveform), sample_rate, config.sample_rate)
        size, length = channels.shape[1], waveform.shape[-1]
        # A sample or two may be none at a lower rate.
        padded = np.pad(channels, ((0, 0), (0, -size % _GRID if size else _GRID)))
        estimates = np.asarray(stems_of(self.network, jnp.asarray(padded)))[..., :size]
        num_rows = len(channels) * len(config.instruments)
        rows = _at_rate(estimates.reshape(num_rows, size), config.sample_rate, sample_rate)
        # Resamplers end a sample early or late.
        rows = np.pad(rows[:, :length], ((0, 0), (0, max(0, length - rows.shape[1]))))
        stems = rows.reshape(len(channels), len(config.instruments), length).swapaxes(0, 1)
        shape = (len(config.instruments), *waveform.shape)
        return Stems(stems.reshape(shape), tuple(config.instruments), sample_rate)


def load(folder: Path | None = None) -> OneVsAll:
    """Loads the separator with the weights that `scripts/training/separator.py` wrote.

    Args:
      folder: with the weights; None means the one in the cache, where the script puts them.

    Raises:
      ModelError: if they are not there, or damaged.
    """
    folder = folder or default_folder()
    arrays = cache.read(folder, NAME)
    if arrays is None:
        raise ModelError(
            f"`{folder}` holds no weights of the separator {NAME}. Make them with "
            "scripts/training/separator.py."
        )
    config = OneVsAllConfig()
    network = weights.network_of(
        lambda: OneVsAllNetwork(config, rngs=nnx.Rngs(0)), arrays, source=str(folder)
    )
    return as_separator(network)


def is_trained() -> bool:
    """Returns whether `load()` finds weights."""
    return cache.is_complete(default_folder())


def as_separator(network: OneVsAllNetwork) -> OneVsAll:
    """Returns the separator with the weights of a network."""
    return OneVsAll(network, f"1 {weights.digest(nnx.state(network))}")


def default_folder() -> Path:
    """Returns the folder of the cache that the weights are in."""
    return cache.cache_folder() / NAME


def _at_rate(channels: Channels, rate: int, sample_rate: int) -> Channels:
    blocks = resample_frames(iter([channels.T]), rate, sample_rate, len(channels))
    return np.ascontiguousarray(np.concatenate(list(blocks)).T)
