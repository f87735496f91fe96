"""The network of LEMONS' recommender: convolutions that halve time and frequency, and a head.

Five stages of a convolution, batch normalisation, rectifier and maximum; mean and maximum over what
is left give one logit.

References:
  Melchiorre et al., LEMONS: Listenable Explanations for Music recOmmeNder Systems, 2021.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

CHANNELS = (64, 128, 128, 128, 64)
NUM_STAGES = len(CHANNELS)
MIN_FRAMES = 2**NUM_STAGES

_DROPOUT = 0.5
_LAYOUT = ("NHWC", "HWIO", "NHWC")
_HALVES = (1, 2, 2, 1)

Frames = Float[Array, "batch num_frames 256"]
Cells = Float[Array, "batch time bands channels"]
Halved = Float[Array, "batch halftime halfbands out"]


class Stage(nnx.Module):
    """Convolution, batch normalisation, rectifier, and the maximum of two by two."""

    def __init__(self, num_in: int, num_out: int, *, rngs: nnx.Rngs):
        initial = nnx.initializers.variance_scaling(2.0, "fan_avg", "uniform")
        self.conv = nnx.Conv(num_in, num_out, (3, 3), kernel_init=initial, rngs=rngs)
        self.norm = _batch_norm(num_out, rngs)

    def learn(self, x: Cells) -> Halved:
        """Applies the stage in training: normalised by the statistics of this batch."""
        x = self.norm(self.conv(x), use_running_average=False)
        return nnx.relu(_pairwise_maxima(x))

    def __call__(self, x: Cells, *, pad_time: int) -> Halved:
        """Applies the stage in use, with zeros around frequency, and time if `pad_time` is 1.

        The normalisation is part of the kernel, and the maximum comes before offset and rectifier,
        which keep the order: it is the same, with a seventh of the work in the first stage.
        """
        gain, offset = _affine(self.norm)
        kernel = self.conv.kernel[...] * gain[None, None, None]
        assert self.conv.bias is not None
        offset = offset + self.conv.bias[...] * gain
        padding = ((pad_time, pad_time), (1, 1))
        cells = jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=_LAYOUT)
        return nnx.relu(_maxima(cells) + offset[None, None, None])


class Network(nnx.Module):
    """The stages and the head. 444 611 parameters."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.norm = _batch_norm(1, rngs)
        sizes = zip((1, *CHANNELS), CHANNELS, strict=False)
        self.stages = nnx.List([Stage(*size, rngs=rngs) for size in sizes])
        initial = nnx.initializers.variance_scaling(2.0, "fan_avg", "uniform")
        self.output = nnx.Linear(2 * CHANNELS[-1], 1, kernel_init=initial, rngs=rngs)

    def standardise(self, frames: Float[Array, "*batch 256"]) -> Float[Array, "*batch 256"]:
        """Returns frames in units of the training data's deviation from its mean."""
        gain, offset = _affine(self.norm)
        return frames * gain[0] + offset[0]

    def stage(self, index: int, x: Cells) -> Halved:
        """Applies a stage to cells with zeros around them; half as many come out, rounded down."""
        return self.stages[index](x, pad_time=1)

    def head(
        self, mean: Float[Array, "batch 64"], maximum: Float[Array, "batch 64"]
    ) -> Float[Array, "batch 1"]:
        """Returns logits of the mean and the maximum of each channel over all cells."""
        return self.output(jnp.concatenate([mean, maximum], axis=1))

    def logits(
        self, frames: Frames, *, key: Key[Array, ""] | None = None
    ) -> Float[Array, "batch 1"]:
        """Returns logits of whole tracks.

        Args:
          frames: of `log_mel`, at least 32.
          key: of the dropout in training, which also updates the statistics of the normalisations;
            None is for use.
        """
        return self._in_use(frames) if key is None else self._in_training(frames, key)

    def _in_use(self, frames: Frames) -> Float[Array, "batch 1"]:
        x = self.standardise(frames)[..., None]
        for index in range(NUM_STAGES):
            x = self.stage(index, x)
        return self.head(x.mean(axis=(1, 2)), x.max(axis=(1, 2)))

    def _in_training(self, frames: Frames, key: Key[Array, ""]) -> Float[Array, "batch 1"]:
        x = self.norm(frames[..., None], use_running_average=False)
        for stage in self.stages:
            x = stage.learn(x)
        pooled = jnp.concatenate([x.mean(axis=(1, 2)), x.max(axis=(1, 2))], axis=1)
        is_on = jax.random.bernoulli(key, 1 - _DROPOUT, pooled.shape)
        return self.output(jnp.where(is_on, pooled / (1 - _DROPOUT), 0))


def _batch_norm(num_features: int, rngs: nnx.Rngs) -> nnx.BatchNorm:
    return nnx.BatchNorm(num_features, momentum=0.9, epsilon=1e-5, rngs=rngs)


def _affine(norm: nnx.BatchNorm) -> tuple[Float[Array, " channels"], Float[Array, " channels"]]:
    """Gain and offset of a normalisation in use."""
    assert norm.scale is not None and norm.bias is not None
    gain = norm.scale[...] / jnp.sqrt(norm.var[...] + norm.epsilon)
    return gain, norm.bias[...] - norm.mean[...] * gain


def _maxima(x: Cells) -> Float[Array, "batch halftime halfbands channels"]:
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, _HALVES, _HALVES, "VALID")


def _pairwise_maxima(x: Cells) -> Halved:
    """What `_maxima` returns, with an elementwise gradient, where that of windows is a scatter."""
    batch, time, bands, channels = x.shape
    x = x[:, : time // 2 * 2, : bands // 2 * 2]
    x = x.reshape(batch, time // 2, 2, bands // 2, 2, channels)
    x = jnp.maximum(x[:, :, 0], x[:, :, 1])
    return jnp.maximum(x[:, :, :, 0], x[:, :, :, 1])
