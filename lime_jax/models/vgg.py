"""VGG: a music tagger of five small convolutions, the baseline that comes with musicnn.

Patches of 187 log-mel frames (3 s at 16 kHz) in, logits of 50 tags out. The weights of Jordi Pons
and Xavier Serra (ISC licence) are fetched by `lime_jax.models.fetch`. Dropout, which only training
needs, is left out.

References:
  Pons and Serra, musicnn: Pre-trained convolutional neural networks for music audio tagging, 2019.
"""

import dataclasses
import functools

from flax import nnx
from jaxtyping import Array, Float

from lime_jax.models.base import PatchWindow
from lime_jax.models.musicnn import WINDOW, ConvBlock, batch_norm, front_end

# (window, stride) of the maximum after each convolution, over time × frequency.
_POOLS = (
    ((4, 1), (2, 2)),
    ((2, 2), (2, 2)),
    ((2, 2), (2, 2)),
    ((2, 2), (2, 2)),
    ((4, 4), (4, 4)),
)
_NUM_FLAT = 2  # positions that are left of 187 × 96


@dataclasses.dataclass(frozen=True)
class VggConfig:
    """The size of a VGG.

    Attributes:
      num_filters: of each convolution.
      num_outputs: the number of tags.
    """

    num_filters: int = 128
    num_outputs: int = 50


VGG = VggConfig()


class Vgg(nnx.Module):
    """The network: five times convolution and maximum, one linear layer."""

    def __init__(self, config: VggConfig = VGG, *, rngs: nnx.Rngs):
        block = functools.partial(ConvBlock, kernel_size=(3, 3), padding="SAME", rngs=rngs)
        num_filters = config.num_filters
        self.input_norm = batch_norm(1, rngs)
        self.blocks = nnx.List([block(n, num_filters) for n in (1, *4 * (num_filters,))])
        self.output = nnx.Linear(_NUM_FLAT * num_filters, config.num_outputs, rngs=rngs)

    def front_end(
        self, waveforms: Float[Array, "batch num_samples"]
    ) -> Float[Array, "batch num_patches 187 96"]:
        return front_end(waveforms)

    @property
    def window(self) -> PatchWindow:
        """The samples that one patch sees."""
        return WINDOW

    def __call__(self, patches: Float[Array, "batch 187 96"]) -> Float[Array, "batch num_outputs"]:
        x = self.input_norm(patches[..., None])
        for block, (window, stride) in zip(self.blocks, _POOLS, strict=True):
            x = nnx.max_pool(block(x), window, stride)
        return self.output(x.reshape(len(patches), -1))
