"""A small network that says which instrument families play.

Mono waveforms at 16 kHz in; out come the probabilities of piano, guitar, bass, drums and strings,
each independent of the others and close to zero in silence. It was trained from scratch on songs
rendered from a General MIDI soundfont, on every subset of their stems: it knows how such
instruments sound alone, together, and cut out of a mix. The weights are released under CC0-1.0;
`scripts/training/instrument_tagger.py` makes them, `data/instrument_tagger.json` has their scores.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from lime_jax.audio import features
from lime_jax.models import weights
from lime_jax.models.base import Tagger

WEIGHTS = "instrument_tagger.npz"


@dataclasses.dataclass(frozen=True)
class Config:
    """The shape of the network.

    Attributes:
      sample_rate: of the waveforms, in Hz.
      n_fft: window length of the spectrogram in samples.
      hop_length: samples between frames.
      num_mels: bands of the spectrogram.
      num_frames: of a patch; 80 frames are 2.5 seconds.
      channels: of the convolutions; each halves both axes of the patch.
      num_hidden: units between convolutions and outputs.
      output_names: the families.
    """

    sample_rate: int = 16_000
    n_fft: int = 1024
    hop_length: int = 512
    num_mels: int = 64
    num_frames: int = 80
    channels: tuple[int, ...] = (24, 48, 96, 128)
    num_hidden: int = 64
    output_names: tuple[str, ...] = ("piano", "guitar", "bass", "drums", "strings")

    @property
    def patch_num_samples(self) -> int:
        """Samples that give the frames of one patch."""
        return (self.num_frames - 1) * self.hop_length


class Block(nnx.Module):
    """Convolution that halves both axes, batch normalisation, rectifier."""

    def __init__(self, num_in: int, num_out: int, width: int, *, rngs: nnx.Rngs):
        shape, strides = (width, width), (2, 2)
        self.conv = nnx.Conv(num_in, num_out, shape, strides, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(num_out, rngs=rngs)

    def __call__(self, x: Float[Array, "batch frames mels in"]) -> Float[Array, "batch t f out"]:
        return nnx.relu(self.norm(self.conv(x)))


class InstrumentTagger(nnx.Module):
    """Convolutions over log-mel patches; time is pooled by mean and maximum, frequency is not."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        self.config = config
        sizes = (1, *config.channels)
        widths = (5, *(3 for _ in config.channels[1:]))
        self.blocks = nnx.List(
            Block(num_in, num_out, width, rngs=rngs)
            for num_in, num_out, width in zip(sizes, config.channels, widths, strict=False)
        )
        num_bands = -(-config.num_mels // 2 ** len(config.channels))
        num_features = 2 * num_bands * config.channels[-1]
        self.hidden = nnx.Linear(num_features, config.num_hidden, rngs=rngs)
        self.output = nnx.Linear(config.num_hidden, len(config.output_names), rngs=rngs)

    def front_end(
        self, waveforms: Float[Array, "batch num_samples"]
    ) -> Float[Array, "batch num_patches frames mels"]:
        """Returns log-mel patches, zero in silence, spread evenly over all samples."""
        config = self.config
        levels = _log_mel_above_floor(waveforms, config)
        last = levels.shape[1] - config.num_frames
        num_patches = -(-levels.shape[1] // config.num_frames)
        starts = np.linspace(0, last, num_patches).round().astype(int)
        return jnp.stack([levels[:, s : s + config.num_frames] for s in starts], axis=1)

    def __call__(
        self, patches: Float[Array, "batch frames mels"]
    ) -> Float[Array, "batch num_outputs"]:
        """Logits of every family."""
        x = patches[..., None]
        for block in self.blocks:
            x = block(x)
        x = x.reshape(*x.shape[:2], -1)
        x = jnp.concatenate([x.mean(axis=1), x.max(axis=1)], axis=-1)
        return self.output(nnx.relu(self.hidden(x)))


def load_instrument_tagger() -> Tagger:
    """Loads the network with its weights, which are part of lime_jax.

    Example:
      >>> import jax.numpy as jnp
      >>> tagger = load_instrument_tagger()
      >>> silence = jnp.zeros((1, 10 * tagger.sample_rate))
      >>> [name for name, p in zip(tagger.output_names, tagger(silence)[0]) if p > 0.5]
      []
    """
    return as_tagger(from_arrays(Config(), weights.read_packaged(WEIGHTS), source=WEIGHTS))


def from_arrays(config: Config, arrays: weights.Arrays, *, source: str) -> InstrumentTagger:
    """Builds the network with these weights, for example of `weights.arrays_of`.

    Args:
      config: the shape of the network.
      arrays: by name, such as "blocks.0.conv.kernel".
      source: where they come from, for the message.

    Raises:
      ModelError: if they do not fit `config`; it lists all that differ.
    """
    return weights.network_of(
        lambda: InstrumentTagger(config, rngs=nnx.Rngs(0)), arrays, source=source
    )


def as_tagger(network: InstrumentTagger) -> Tagger:
    """Returns the network in use: its normalisations take the statistics of the training."""
    config = network.config
    network.eval()
    return Tagger(network, config.sample_rate, config.patch_num_samples, config.output_names)


def _log_mel_above_floor(
    waveforms: Float[Array, "batch num_samples"], config: Config
) -> Float[Array, "batch frames mels"]:
    """Natural logarithm of mel energies over a floor, divided by eight: from 0 to about 1.5."""
    floor = 1e-4
    levels = features.log_mel(
        waveforms,
        sample_rate=config.sample_rate,
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        num_mels=config.num_mels,
        floor=floor,
    )
    return jnp.swapaxes((levels - np.log(floor).astype(np.float32)) / 8.0, 1, 2)
