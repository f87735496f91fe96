"""musicnn: a music tagger whose first filters are shaped like timbres and rhythms.

Patches of 187 log-mel frames (3 s at 16 kHz) in, logits of 50 tags out. The weights of Jordi Pons
and Xavier Serra (ISC licence) are fetched by `lime_jax.models.fetch`. Dropout, which only training
needs, is left out.

References:
  Pons and Serra, musicnn: Pre-trained convolutional neural networks for music audio tagging, 2019.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lime_jax.audio import features
from lime_jax.models.base import PatchWindow

SAMPLE_RATE = 16_000
NUM_FRAMES = 187
NUM_MELS = 96
N_FFT = 512
HOP_LENGTH = 256
# Frames are centred: the first and last stick out.
PATCH_NUM_SAMPLES = (NUM_FRAMES - 1) * HOP_LENGTH

# The original divides by the root of the variance plus this; TensorFlow's default, not flax's.
BATCH_NORM_EPSILON = 1e-3

_FLOAT16_MAX = 65504.0
_FLOAT16_STEP = 2.0**-24  # between subnormal numbers
_FLOAT16_NORMAL = 2.0**-14


@dataclasses.dataclass(frozen=True)
class MusicnnConfig:
    """The size of a musicnn.

    Attributes:
      num_filters: of each layer of the middle part.
      num_units: of the hidden layer.
      num_outputs: the number of tags.
    """

    num_filters: int = 64
    num_units: int = 200
    num_outputs: int = 50


MUSICNN = MusicnnConfig()
MUSICNN_BIG = MusicnnConfig(num_filters=512, num_units=500)


def batch_norm(num_features: int, rngs: nnx.Rngs) -> nnx.BatchNorm:
    """Returns a batch normalisation with the stored statistics."""
    return nnx.BatchNorm(
        num_features, use_running_average=True, epsilon=BATCH_NORM_EPSILON, rngs=rngs
    )


class ConvBlock(nnx.Module):
    """Convolution, ReLU, batch normalisation."""

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        kernel_size: Sequence[int],
        *,
        padding: Any,
        rngs: nnx.Rngs,
    ):
        self.conv = nnx.Conv(num_inputs, num_outputs, kernel_size, padding=padding, rngs=rngs)
        self.norm = batch_norm(num_outputs, rngs)

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.norm(nnx.relu(self.conv(x)))


class Musicnn(nnx.Module):
    """The network: wide and tall filters, three residual layers, pooling over time, two layers."""

    def __init__(self, config: MusicnnConfig = MUSICNN, *, rngs: nnx.Rngs):
        block = functools.partial(ConvBlock, rngs=rngs)
        linear = functools.partial(nnx.Linear, rngs=rngs)
        around = (3, 3)
        self.input_norm = batch_norm(1, rngs)
        self.timbral = nnx.List(
            [block(1, 204, (7, height), padding=(around, (0, 0))) for height in (38, 67)]
        )
        self.temporal = nnx.List(
            [block(1, 51, (width, 1), padding="SAME") for width in (128, 64, 32)]
        )
        num_front = 2 * 204 + 3 * 51
        num_filters = config.num_filters
        self.middle = nnx.List(
            [
                block(n, num_filters, (7,), padding=(around,))
                for n in (num_front, *2 * (num_filters,))
            ]
        )
        num_pooled = 2 * (num_front + 3 * num_filters)
        self.pooled_norm = batch_norm(num_pooled, rngs)
        self.hidden = linear(num_pooled, config.num_units)
        self.hidden_norm = batch_norm(config.num_units, rngs)
        self.output = linear(config.num_units, config.num_outputs)

    def front_end(
        self, waveforms: Float[Array, "batch num_samples"]
    ) -> Float[Array, "batch num_patches 187 96"]:
        return front_end(waveforms)

    @property
    def window(self) -> PatchWindow:
        """The samples that one patch sees."""
        return WINDOW

    def __call__(self, patches: Float[Array, "batch 187 96"]) -> Float[Array, "batch num_outputs"]:
        spectrogram = self.input_norm(patches[..., None])
        front = jnp.concatenate(
            [block(spectrogram).max(axis=2) for block in (*self.timbral, *self.temporal)], axis=-1
        )
        first = self.middle[0](front)
        second = self.middle[1](first) + first
        third = self.middle[2](second) + second
        frames = jnp.concatenate([front, first, second, third], axis=-1)
        # Maximum and mean of every feature lie side by side, not one half after the other.
        pooled = jnp.stack([frames.max(axis=1), frames.mean(axis=1)], axis=-1)
        pooled = self.pooled_norm(pooled.reshape(len(patches), -1))
        return self.output(self.hidden_norm(nnx.relu(self.hidden(pooled))))


def front_end(
    waveforms: Float[Array, "batch num_samples"],
) -> Float[Array, "batch num_patches 187 96"]:
    """Returns log-mel patches of waveforms at 16 kHz, end to end; what is left over is dropped.

    The mel energies are rounded to float16, as the networks saw them in training.
    """
    frames = log_mel_frames(waveforms, pad_mode="reflect")
    num_patches = frames.shape[1] // NUM_FRAMES
    whole = frames[:, : num_patches * NUM_FRAMES]
    return whole.reshape(len(waveforms), num_patches, NUM_FRAMES, NUM_MELS)


def log_mel_frames(
    waveforms: Float[Array, "batch num_samples"], *, pad_mode: str = "none"
) -> Float[Array, "batch frames 96"]:
    """Returns frames of whole waveforms, or without padding those of one patch cut from them."""
    mel = features.mel_spectrogram(
        waveforms,
        sample_rate=SAMPLE_RATE,
        n_fft=N_FFT,
        hop_length=HOP_LENGTH,
        num_mels=NUM_MELS,
        pad_mode=pad_mode,
    )
    return jnp.log10(10_000.0 * round_to_float16(mel).swapaxes(1, 2) + 1.0)


# A patch sees a little beyond its ends, where its first and last frames stick out.
WINDOW = PatchWindow(
    log_mel_frames,
    num_samples=PATCH_NUM_SAMPLES + N_FFT,
    stride=NUM_FRAMES * HOP_LENGTH,
    pad=N_FFT // 2,
)


def round_to_float16(energies: Float[Array, "..."]) -> Float[Array, "..."]:
    """Rounds non-negative numbers to float16, stored as float32; too large ones become 65504.

    Not a pair of casts, which compilers remove, and `lax.reduce_precision` knows no subnormal
    numbers, where the high bands of quiet music lie.
    """
    energies = jnp.minimum(energies, _FLOAT16_MAX)
    subnormal = jnp.round(energies / _FLOAT16_STEP) * _FLOAT16_STEP
    normal = jax.lax.reduce_precision(energies, exponent_bits=5, mantissa_bits=10)
    return jnp.where(energies < _FLOAT16_NORMAL, subnormal, normal)
