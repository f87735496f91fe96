"""SVDNet: a small convolutional network that hears whether someone sings.

Excerpts of 115 log-mel frames (1.6 s at 22 050 Hz, z-scored per band) in, one probability out, for
the frame in the middle. Dropout, which only training needs, is left out.

References:
  Schlüter and Grill, Exploring Data Augmentation for Improved Singing Voice Detection with Neural
  Networks, 2015. Mishra et al., Reliable Local Explanations for Machine Listening, 2020.
"""

import functools

import jax
from flax import nnx
from jaxtyping import Array, Float

from lime_jax.core.locality import Local, local

NUM_FRAMES = 115
NUM_MELS = 80


class SvdNet(nnx.Module):
    """The network: two convolutions and a maximum, twice; three layers. 1 408 225 parameters."""

    def __init__(self, *, rngs: nnx.Rngs):
        conv = functools.partial(nnx.Conv, kernel_size=(3, 3), padding="VALID", rngs=rngs)
        self.convs = nnx.List([conv(1, 64), conv(64, 32), conv(32, 128), conv(128, 64)])
        self.dense = nnx.List([nnx.Linear(4928, 256, rngs=rngs), nnx.Linear(256, 64, rngs=rngs)])
        self.output = nnx.Linear(64, 1, rngs=rngs)

    def __call__(self, excerpts: Float[Array, "batch 115 80"]) -> Float[Array, "batch 1"]:
        return self.classify(self.features(excerpts))

    def features(self, frames: Float[Array, "batch time 80"]) -> Float[Array, "batch 7 cells 64"]:
        """The convolutions and maxima; each cell sees 25 frames, the next one starts 9 later."""
        # The published network looks at the image mel × time; the layers are stored in that order.
        x = frames.swapaxes(1, 2)[..., None]
        for index, conv in enumerate(self.convs):
            x = _leaky(conv(x))
            if index % 2 == 1:
                x = nnx.max_pool(x, (3, 3), (3, 3))
        return x

    def classify(self, features: Float[Array, "batch 7 11 64"]) -> Float[Array, "batch 1"]:
        """The layers behind the convolutions."""
        x = features.reshape(len(features), -1)
        for layer in self.dense:
            x = _leaky(layer(x))
        return jax.nn.sigmoid(self.output(x))

    @property
    def locality(self) -> Local:
        """How far the convolutions see along time."""
        return local(
            self,
            trunk=jax.tree_util.Partial(SvdNet.features, self),
            head=jax.tree_util.Partial(_classify_windows, self),
            window=25,
            stride=9,
        )


def _classify_windows(
    network: SvdNet, windows: Float[Array, "batch 11 7 1 64"]
) -> Float[Array, "batch 1"]:
    return network.classify(windows[:, :, :, 0].swapaxes(1, 2))


_leaky = functools.partial(nnx.leaky_relu, negative_slope=0.01)
