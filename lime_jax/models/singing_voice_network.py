"""SVDNet: a small convolutional network that says whether someone sings.

Patches of 115 log-mel frames (1.6 s at 22 050 Hz, z-scored per band) in, one probability out, for
the frame in the middle.

References:
  Schlüter and Grill, Exploring Data Augmentation for Improved Singing Voice Detection with Neural
  Networks, 2015. Mishra et al., Reliable Local Explanations for Machine Listening, 2020, who
  trained it anew; this is their layout.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from lime_jax.core.receptive_fields.declaration import declare_tested
from lime_jax.core.receptive_fields.windows import Windowed, windowed

CELL_FRAMES, CELL_STRIDE, NUM_CELLS = 25, 9, 11
"""How many frames the convolutions see at a time, how far apart, and how often in a patch."""

_DROPOUT = 0.5


class SvdNet(nnx.Module):
    """The layers: two convolutions and a maximum, twice; three layers. 1 408 225 parameters."""

    def __init__(self, *, rngs: nnx.Rngs):
        # As large as rectifiers need, so that the first layers learn from the first step on.
        initial = {"kernel_init": nnx.initializers.orthogonal(math.sqrt(2)), "rngs": rngs}
        conv = functools.partial(nnx.Conv, kernel_size=(3, 3), padding="VALID", **initial)
        self.convs = nnx.List([conv(1, 64), conv(64, 32), conv(32, 128), conv(128, 64)])
        self.dense = nnx.List([nnx.Linear(4928, 256, **initial), nnx.Linear(256, 64, **initial)])
        self.output = nnx.Linear(64, 1, **initial)

    def __call__(self, patches: Float[Array, "batch 115 80"]) -> Float[Array, "batch 1"]:
        return jax.nn.sigmoid(self.logits(self.features(patches)))

    def features(self, frames: Float[Array, "batch time bands"]) -> Float[Array, "batch b t 64"]:
        """Applies convolutions and maxima, frequency first, as the published layers are stored.

        A cell sees 25 frames and 25 bands, and the next one those that start 9 later: 115 frames
        make 11 cells, 80 bands 7.
        """
        x = frames.swapaxes(1, 2)[..., None]
        for pair in (0, 1):
            x = nnx.max_pool(self._pair(pair, x), (3, 3), (3, 3))
        return x

    def features_of_all(
        self, frames: Float[Array, "batch time bands"]
    ) -> Float[Array, "batch b t 64"]:
        """Returns the cells that start at every frame; what they share is computed once."""
        x = nnx.max_pool(self._pair(0, frames.swapaxes(1, 2)[..., None]), (3, 3), (3, 1))
        x = nnx.max_pool(self._to_every_third(x), (3, 1), (3, 1))
        return jnp.maximum(jnp.maximum(x[:, :, :-6], x[:, :, 3:-3]), x[:, :, 6:])

    def logits(
        self, features: Float[Array, "batch 7 11 64"], *, key: Key[Array, ""] | None = None
    ) -> Float[Array, "batch 1"]:
        """Applies the layers behind the convolutions.

        Args:
          features: of one patch each.
          key: of the dropout before every layer, in training; None in use.
        """
        x = features.reshape(len(features), -1)
        layers = (*self.dense, self.output)
        keys = [None] * len(layers) if key is None else jax.random.split(key, len(layers))
        for layer, layer_key in zip(layers, keys, strict=True):
            x = layer(x if layer_key is None else _drop_out(x, layer_key))
            x = x if layer is self.output else _leaky(x)
        return x

    @property
    def receptive_field(self) -> Windowed:
        """How far the convolutions see along time."""
        return _declare_windows(self, _head_of_times, axis=0)

    @property
    def band_receptive_field(self) -> Windowed:
        """How far they see along frequency; to be explained where components are bands."""
        return _declare_windows(self, _head_of_bands, axis=1)

    def _pair(self, index: int, x: Array) -> Array:
        for conv in self.convs[2 * index : 2 * index + 2]:
            x = _leaky(conv(x))
        return x

    def _to_every_third(self, x: Array) -> Array:
        """The second pair on every third column, for each column that it may start at."""
        size = x.shape[2]
        x = jnp.pad(x, [(0, 0), (0, 0), (0, -size % 3), (0, 0)])
        batch, bands, _, channels = x.shape
        thirds = jnp.moveaxis(x.reshape(batch, bands, -1, 3, channels), 3, 1)
        cells = self._pair(1, thirds.reshape(3 * batch, bands, -1, channels))
        cells = jnp.moveaxis(cells.reshape(batch, 3, *cells.shape[1:]), 1, 3)
        return cells.reshape(batch, cells.shape[1], -1, cells.shape[-1])[:, :, : size - 12]


def _declare_windows(network: SvdNet, head: Any, axis: int) -> Windowed:
    return declare_tested(
        windowed(
            network,
            backbone=jax.tree_util.Partial(SvdNet.features, network),
            head=jax.tree_util.Partial(head, network),
            window=CELL_FRAMES,
            stride=CELL_STRIDE,
            axis=axis,
        )
    )


def _head_of_times(
    network: SvdNet, windows: Float[Array, "batch 11 7 1 64"]
) -> Float[Array, "batch 1"]:
    return jax.nn.sigmoid(network.logits(windows[:, :, :, 0].swapaxes(1, 2)))


def _head_of_bands(
    network: SvdNet, windows: Float[Array, "batch 7 1 11 64"]
) -> Float[Array, "batch 1"]:
    return jax.nn.sigmoid(network.logits(windows[:, :, 0]))


def _drop_out(x: Array, key: Key[Array, ""]) -> Array:
    return jnp.where(jax.random.bernoulli(key, 1 - _DROPOUT, x.shape), x / (1 - _DROPOUT), 0)


_leaky = functools.partial(nnx.leaky_relu, negative_slope=0.01)
