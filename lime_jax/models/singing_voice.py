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
        # The published network looks at the image mel × time; the layers are stored in that order.
        x = excerpts.swapaxes(1, 2)[..., None]
        for index, conv in enumerate(self.convs):
            x = _leaky(conv(x))
            if index % 2 == 1:
                x = nnx.max_pool(x, (3, 3), (3, 3))
        x = x.reshape(len(x), -1)
        for layer in self.dense:
            x = _leaky(layer(x))
        return jax.nn.sigmoid(self.output(x))


_leaky = functools.partial(nnx.leaky_relu, negative_slope=0.01)
