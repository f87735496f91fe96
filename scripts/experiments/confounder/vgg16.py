"""VGG16 with batch normalisation, on spectrograms: the classifier of the audioLIME experiments.

Spectrograms `(batch, time, frequency)` in, one logit per output out. The image network's three
colours become one channel, and its 7 × 7 average pooling makes any size above 32 × 32 fit.

References:
  Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, 2015.
  Haunschmid et al., Towards Musically Meaningful Explanations Using Source Separation, 2020.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Key

# Convolutions of each of the five parts, as multiples of the width; a maximum ends each part.
_PARTS = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
_NUM_POOLED = 7
# He's initialisation; the published code scales the layers for 4096 units, which narrow ones lack.
_INIT = nnx.initializers.variance_scaling(2.0, "fan_in", "normal")


@dataclasses.dataclass(frozen=True)
class Vgg16Config:
    """The size of a VGG16.

    Attributes:
      num_outputs: how many logits.
      width: filters of the first convolutions; the published network has 64.
      num_units: of the two hidden layers; the published network has 4096.
    """

    num_outputs: int = 1
    width: int = 64
    num_units: int = 4096


class Vgg16(nnx.Module):
    """The network: thirteen convolutions, five maxima, three layers; made for training."""

    def __init__(self, config: Vgg16Config, *, rngs: nnx.Rngs):
        sizes = [config.width * multiple for part in _PARTS for multiple in part]
        start = {"kernel_init": _INIT, "rngs": rngs}
        conv = functools.partial(nnx.Conv, kernel_size=(3, 3), padding="SAME", **start)
        norm = functools.partial(nnx.BatchNorm, momentum=0.9, rngs=rngs)
        self.convs = nnx.List([conv(n, m) for n, m in zip([1, *sizes], sizes, strict=False)])
        self.norms = nnx.List([norm(size) for size in sizes])
        flat = _NUM_POOLED**2 * sizes[-1]
        units = config.num_units
        self.hidden = nnx.List(
            [nnx.Linear(flat, units, **start), nnx.Linear(units, units, **start)]
        )
        self.dropout = nnx.Dropout(0.5)
        self.output = nnx.Linear(units, config.num_outputs, **start)

    def __call__(
        self,
        spectrograms: Float[Array, "batch time frequency"],
        *,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "batch num_outputs"]:
        """Logits; in training, half of the hidden units are left out at random.

        Args:
          spectrograms: to be judged.
          key: of the units that are left out; evaluation needs none.
        """
        x = spectrograms[..., None]
        layers = zip(self.convs, self.norms, strict=True)
        for part in _PARTS:
            for _ in part:
                conv, norm = next(layers)
                x = nnx.relu(norm(conv(x)))
            x = nnx.max_pool(x, (2, 2), (2, 2))
        x = adaptive_average_pool(x, _NUM_POOLED).reshape(len(x), -1)
        keys = [None] * len(self.hidden) if key is None else jax.random.split(key)
        for layer, one in zip(self.hidden, keys, strict=True):
            x = self.dropout(nnx.relu(layer(x)), rngs=one)
        return self.output(x)


def adaptive_average_pool(
    x: Float[Array, "batch time frequency channels"], num_cells: int
) -> Float[Array, "batch cells cells channels"]:
    """Means over `num_cells` × `num_cells` cells that may overlap, as PyTorch lays them out."""
    time, frequency = (_cells(size, num_cells) for size in x.shape[1:3])
    return jnp.einsum("btfc,it,jf->bijc", x, time, frequency)


def _cells(size: int, num_cells: int) -> Float[Array, "cells size"]:
    cells = np.arange(num_cells)[:, None]
    start = cells * size // num_cells
    stop = -(-(cells + 1) * size // num_cells)
    inside = (start <= np.arange(size)) & (np.arange(size) < stop)
    return jnp.asarray(inside / inside.sum(axis=1, keepdims=True), jnp.float32)
