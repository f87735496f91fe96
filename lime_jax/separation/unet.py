"""The networks of Spleeter: a U-Net per instrument estimates its share of a magnitude spectrogram.

Spectrograms are cut into 512 frames of 1024 bins (11 kHz at 44.1 kHz) and two channels. The weights
of Romain Hennequin et al. (MIT licence) are fetched by `lime_jax.separation.fetch`. Dropout, which
only training needs, is left out, and so is the normalisation behind the sixth convolution, whose
result the original never uses.

References:
  Hennequin, Khlif, Voituret, Moussallam, Spleeter: a fast and efficient music source separation
    tool with pre-trained models, JOSS 2020.
  Jansson et al., Singing voice separation with deep U-Net convolutional networks, ISMIR 2017.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

NUM_FRAMES = 512
NUM_CHANNELS = 2

# TensorFlow's default, not flax's.
BATCH_NORM_EPSILON = 1e-3

_KERNEL = 5
_MASK_KERNEL, _MASK_DILATION = 4, 2
# What TensorFlow pads an even length with, for a stride of two.
_PADDING = (1, 2)

Activation = Callable[[Array], Array]
Magnitudes = Float[Array, "batch num_frames num_bins num_channels"]


@dataclasses.dataclass(frozen=True)
class SpleeterConfig:
    """One of the published networks.

    Attributes:
      instruments: in the order of their U-Nets.
      encoder: activation on the way down, "leaky_relu" (slope 0.2) or "elu".
      decoder: activation on the way up, "relu" or "elu".
      is_softmax: whether the instruments share every element by a softmax, or each has a sigmoid.
      num_filters: of the convolutions on the way down.
    """

    instruments: tuple[str, ...]
    encoder: str = "elu"
    decoder: str = "elu"
    is_softmax: bool = False
    num_filters: tuple[int, ...] = (16, 32, 64, 128, 256, 512)


CONFIGS = {
    "2stems": SpleeterConfig(("vocals", "accompaniment"), encoder="leaky_relu", decoder="relu"),
    "4stems": SpleeterConfig(("vocals", "drums", "bass", "other")),
    "5stems": SpleeterConfig(("vocals", "piano", "drums", "bass", "other"), is_softmax=True),
}

_ACTIVATIONS: dict[str, Activation] = {
    "leaky_relu": lambda x: nnx.leaky_relu(x, 0.2),
    "relu": nnx.relu,
    "elu": nnx.elu,
}


class SpleeterNetwork(nnx.Module):
    """Magnitudes of a mixture to estimated magnitudes of every instrument."""

    def __init__(self, config: SpleeterConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.unets = nnx.List([UNet(config, rngs=rngs) for _ in config.instruments])

    def __call__(
        self, magnitudes: Magnitudes
    ) -> Float[Array, "num_instruments batch num_frames num_bins num_channels"]:
        logits = jnp.stack([unet(magnitudes) for unet in self.unets])
        shares = nnx.softmax(logits, axis=0) if self.config.is_softmax else nnx.sigmoid(logits)
        return shares * magnitudes[None]


class UNet(nnx.Module):
    """Six convolutions that halve both axes, six that double them, each with what was on its level.

    Both axes must be multiples of 64.
    """

    def __init__(self, config: SpleeterConfig, *, rngs: nnx.Rngs):
        filters = config.num_filters
        self.encoder, self.decoder = config.encoder, config.decoder
        down = zip((NUM_CHANNELS, *filters), filters, strict=False)
        self.down = nnx.List([_halving(i, o, rngs) for i, o in down])
        self.down_norm = nnx.List([_batch_norm(n, rngs) for n in filters[:-1]])
        ups = (*filters[-2::-1], 1)
        # Behind the first, every input is twice as wide: what came up, and what was on its level.
        inputs = (filters[-1], *(2 * n for n in ups[:-1]))
        self.up = nnx.List([Doubling(i, o, rngs=rngs) for i, o in zip(inputs, ups, strict=True)])
        self.up_norm = nnx.List([_batch_norm(n, rngs) for n in ups])
        self.mask = nnx.Conv(
            1, NUM_CHANNELS, (_MASK_KERNEL,) * 2, kernel_dilation=_MASK_DILATION, rngs=rngs
        )

    def __call__(self, magnitudes: Magnitudes) -> Magnitudes:
        """Logits of the share of the instrument in every element."""
        down, up = _ACTIVATIONS[self.encoder], _ACTIVATIONS[self.decoder]
        levels, x = [], magnitudes
        for conv, norm in zip(self.down, [*self.down_norm, None], strict=True):
            levels.append(conv(x))
            x = levels[-1] if norm is None else down(norm(levels[-1]))
        levels.pop()
        for conv, norm in zip(self.up, self.up_norm, strict=True):
            x = norm(up(conv(x)))
            # What the level held before normalisation, in front of what came up.
            x = jnp.concatenate([levels.pop(), x], axis=-1) if levels else x
        return self.mask(x)


class Doubling(nnx.Module):
    """A transposed convolution of stride two that doubles both axes, as TensorFlow pads it.

    Compilers for CPUs run it some ten times slower than what it comes to: four convolutions, one
    for each combination of even and odd rows and columns of the output.
    """

    def __init__(self, num_inputs: int, num_outputs: int, *, rngs: nnx.Rngs):
        initial = nnx.initializers.lecun_normal(in_axis=-1, out_axis=-2)
        shape = (_KERNEL, _KERNEL, num_outputs, num_inputs)
        self.kernel = nnx.Param(initial(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(num_outputs))

    def __call__(
        self, x: Float[Array, "batch rows columns num_inputs"]
    ) -> Float[Array, "batch 2*rows 2*columns num_outputs"]:
        batch, rows, columns, _ = x.shape
        phases = [[self._phase(x, row, column) for column in (0, 1)] for row in (0, 1)]
        # (batch, rows, row phase, columns, column phase, num_outputs)
        y = jnp.stack([jnp.stack(row, axis=3) for row in phases], axis=2)
        return y.reshape(batch, 2 * rows, 2 * columns, -1) + self.bias[...][None, None, None]

    def _phase(self, x: Array, row: int, column: int) -> Array:
        """Every second output, starting at `row` and `column`."""
        taps, padding = zip(*(_taps(phase) for phase in (row, column)), strict=True)
        kernel = self.kernel[...][taps[0]][:, taps[1]].swapaxes(2, 3)
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )


def _taps(phase: int) -> tuple[Any, tuple[int, int]]:
    """Which taps reach the outputs `2 i + phase`, in the order of the inputs, and the padding.

    Input `j` adds tap `k` to output `2 j + k - 1`, so even outputs get the odd taps.
    """
    if phase == 0:
        return slice(3, None, -2), (1, 0)
    return slice(4, None, -2), (1, 1)


def _halving(num_inputs: int, num_outputs: int, rngs: nnx.Rngs) -> nnx.Conv:
    kernel: Sequence[int] = (_KERNEL, _KERNEL)
    return nnx.Conv(
        num_inputs, num_outputs, kernel, strides=2, padding=(_PADDING, _PADDING), rngs=rngs
    )


def _batch_norm(num_features: int, rngs: nnx.Rngs) -> nnx.BatchNorm:
    return nnx.BatchNorm(
        num_features, use_running_average=True, epsilon=BATCH_NORM_EPSILON, rngs=rngs
    )
