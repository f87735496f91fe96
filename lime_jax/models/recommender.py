"""LEMONS' recommender: a fully convolutional network that hears whether a user likes a track.

One network per user. Mono waveforms at 16 kHz of any length in, the probability that the track is
relevant to the user out. Frames are log-mel spectra; five stages of a convolution, batch
normalisation, rectifier and maximum halve time and frequency; mean and maximum over what is left
give one logit.

References:
  Melchiorre et al., LEMONS: Listenable Explanations for Music recOmmeNder Systems, 2021.
"""

import io
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Key

from lime_jax.audio import features
from lime_jax.core.execution.precision import products
from lime_jax.core.pytree import pytree, static
from lime_jax.core.receptive_fields.layers import Layerwise
from lime_jax.core.receptive_fields.layers import layer
from lime_jax.core.receptive_fields.layers import layerwise
from lime_jax.models import recommender_weights, weights
from lime_jax.models.base import check_waveforms

SAMPLE_RATE, N_FFT, HOP_LENGTH, NUM_BANDS = 16_000, 512, 256, 256
CHANNELS = (64, 128, 128, 128, 64)
NUM_STAGES = len(CHANNELS)
SILENCE = -100.0
"""What every band of digital silence is, in dB."""

MIN_FRAMES = 2**NUM_STAGES
MIN_SAMPLES = (MIN_FRAMES - 1) * HOP_LENGTH
OUTPUT_NAMES = ("relevant",)

_DROPOUT = 0.5
_LAYOUT = ("NHWC", "HWIO", "NHWC")
_HALVES = (1, 2, 2, 1)

Frames = Float[Array, "batch num_frames 256"]
Cells = Float[Array, "batch time bands channels"]
Halved = Float[Array, "batch halftime halfbands out"]


def log_mel(waveforms: Float[Array | np.ndarray, "batch num_samples"]) -> Frames:
    """Log-mel frames in dB, frame `t` centred on sample `256 t`; ends are reflected.

    Bands are narrower than bins at low frequencies: 27 of them hold no bin, and are -100 dB always.

    Args:
      waveforms: at 16 kHz, of more than 256 samples; there are `num_samples // 256 + 1` frames.
    """
    return _frames(waveforms, "reflect")


def frames_of_windows(
    windows: Float[Array | np.ndarray, "batch 512"],
) -> Float[Array, "batch 256"]:
    """The frame that each of these windows makes; nothing is padded."""
    return _frames(windows, "none")[:, 0]


class Stage(nnx.Module):
    """Convolution, batch normalisation, rectifier, and the maximum of two by two."""

    def __init__(self, num_in: int, num_out: int, *, rngs: nnx.Rngs):
        initial = nnx.initializers.variance_scaling(2.0, "fan_avg", "uniform")
        self.conv = nnx.Conv(num_in, num_out, (3, 3), kernel_init=initial, rngs=rngs)
        self.norm = _batch_norm(num_out, rngs)

    def learn(self, x: Cells) -> Halved:
        """In training: normalised by the statistics of this batch, which are kept."""
        x = self.norm(self.conv(x), use_running_average=False)
        return nnx.relu(_pairwise_maxima(x))

    def __call__(self, x: Cells, *, pad_time: int) -> Halved:
        """In use, with zeros around frequency, and around time if `pad_time` is 1.

        The normalisation is part of the kernel, and the maximum comes before offset and rectifier,
        which keep the order: it is the same, with a seventh of the work in the first stage.
        """
        gain, offset = _affine(self.norm)
        kernel = self.conv.kernel[...] * gain[None, None, None]
        assert self.conv.bias is not None
        offset = offset + self.conv.bias[...] * gain
        padding = ((pad_time, pad_time), (1, 1))
        found = jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=_LAYOUT)
        return nnx.relu(_maxima(found) + offset[None, None, None])


class Network(nnx.Module):
    """The network. 444 611 parameters."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.norm = _batch_norm(1, rngs)
        sizes = zip((1, *CHANNELS), CHANNELS, strict=False)
        self.stages = nnx.List([Stage(*size, rngs=rngs) for size in sizes])
        initial = nnx.initializers.variance_scaling(2.0, "fan_avg", "uniform")
        self.output = nnx.Linear(2 * CHANNELS[-1], 1, kernel_init=initial, rngs=rngs)

    def standardised(self, frames: Float[Array, "*batch 256"]) -> Float[Array, "*batch 256"]:
        """Frames in units of the training data's deviation from its mean."""
        gain, offset = _affine(self.norm)
        return frames * gain[0] + offset[0]

    def stage(self, index: int, x: Cells) -> Halved:
        """A stage on cells with zeros around them; half as many come out, rounded down."""
        return self.stages[index](x, pad_time=1)

    def stage_of_windows(self, index: int, x: Cells) -> Halved:
        """The same without zeros around time: `2 m + 2` columns give `m`."""
        return self.stages[index](x, pad_time=0)

    def head(
        self, mean: Float[Array, "batch 64"], maximum: Float[Array, "batch 64"]
    ) -> Float[Array, "batch 1"]:
        """Logits of the mean and the maximum of each channel over all cells."""
        return self.output(jnp.concatenate([mean, maximum], axis=1))

    def logits(
        self, frames: Frames, *, key: Key[Array, ""] | None = None
    ) -> Float[Array, "batch 1"]:
        """Logits of whole tracks.

        Args:
          frames: of `log_mel`, at least 32.
          key: of the dropout in training, which also updates the statistics of the normalisations;
            None is for use.
        """
        return self._in_use(frames) if key is None else self._in_training(frames, key)

    def _in_use(self, frames: Frames) -> Float[Array, "batch 1"]:
        x = self.standardised(frames)[..., None]
        for index in range(NUM_STAGES):
            x = self.stage(index, x)
        return self.head(x.mean(axis=(1, 2)), x.max(axis=(1, 2)))

    def _in_training(self, frames: Frames, key: Key[Array, ""]) -> Float[Array, "batch 1"]:
        x = self.norm(frames[..., None], use_running_average=False)
        for stage in self.stages:
            x = stage.learn(x)
        pooled = jnp.concatenate([x.mean(axis=(1, 2)), x.max(axis=(1, 2))], axis=1)
        is_kept = jax.random.bernoulli(key, 1 - _DROPOUT, pooled.shape)
        return self.output(jnp.where(is_kept, pooled / (1 - _DROPOUT), 0))


@pytree
class Recommender:
    """A network in use: the probability that tracks are relevant to its user.

    Attributes:
      network: the weights.
      sample_rate: of the waveforms, in Hz.
      patch_num_samples: the shortest waveform it can judge, in samples.
      output_names: one.
      resampler: see `lime_jax.audio.io.load`.
    """

    network: Network
    sample_rate: int = static(default=SAMPLE_RATE)
    patch_num_samples: int = static(default=MIN_SAMPLES)
    output_names: tuple[str, ...] = static(default=OUTPUT_NAMES)
    resampler: str = static(default="soxr")

    def __call__(self, waveforms: Float[Array, "batch num_samples"]) -> Float[Array, "batch 1"]:
        """Probabilities of whole tracks.

        Raises:
          ValueError: if they are shorter than half a second.
        """
        check_waveforms(waveforms, self.patch_num_samples, self.sample_rate)
        with products():
            return jax.nn.sigmoid(self.network.logits(log_mel(waveforms)))

    @property
    def receptive_field(self) -> Layerwise:
        """The layers: explanations compute what masks share once."""
        network = self.network
        frames = layer(
            jax.tree_util.Partial(_frame, network),
            window=N_FFT,
            stride=HOP_LENGTH,
            pad=N_FFT // 2,
        )
        # Convolutions of three columns, and the maximum of two: four columns make one.
        stages = [
            layer(jax.tree_util.Partial(_column, stage), window=4, stride=2, pad=1)
            for stage in network.stages
        ]
        head = jax.tree_util.Partial(_relevance, network)
        return layerwise(self, layers=[frames, *stages], head=head)


def load(path: str | os.PathLike[str]) -> Recommender:
    """The recommender that `save` wrote.

    Raises:
      ModelError: if the file is not one.
    """
    read = weights.read_archive(
        Path(path), advice="Name a file of scripts/training/recommender.py."
    )
    return from_arrays(read, source=os.fspath(path))


def save(path: str | os.PathLike[str], recommender: Recommender, *, half: bool = False) -> None:
    """Writes the weights as a NumPy archive, whole or not at all.

    Args:
      path: ending in .npz.
      recommender: of a user.
      half: keeps 16 bits of each weight, which is half the size; statistics stay as they are.
    """
    arrays = to_arrays(recommender)
    if half:
        arrays = {name: _halved(name, array) for name, array in arrays.items()}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    partial = Path(path).with_name(f".{Path(path).name}.partial")
    partial.write_bytes(buffer.getvalue())
    partial.replace(path)


def from_arrays(arrays: weights.Arrays, *, source: str) -> Recommender:
    """The recommender of weights by name, such as "stages.0.conv.kernel".

    Raises:
      ModelError: if they do not fit; it lists all that differ.
    """
    make = lambda: Network(rngs=nnx.Rngs(0))
    return Recommender(weights.network_of(make, arrays, source=source))


def from_torch_arrays(arrays: weights.Arrays, *, source: str) -> Recommender:
    """The recommender of weights that LEMONS' own code learned.

    Args:
      arrays: of PyTorch's `state_dict()`, by any name, in its order.
      source: where they come from, for messages.

    Raises:
      ModelError: if they do not fit; it lists all that differ.
    """
    return from_arrays(recommender_weights.from_torch(arrays, source=source), source=source)


def to_arrays(recommender: Recommender) -> dict[str, np.ndarray]:
    """What `from_arrays` takes."""
    return weights.arrays_of(recommender.network)


def _frames(waveforms: Float[Array | np.ndarray, "batch num_samples"], pad_mode: str) -> Frames:
    power = features.mel_spectrogram(
        waveforms,
        sample_rate=SAMPLE_RATE,
        n_fft=N_FFT,
        hop_length=HOP_LENGTH,
        num_mels=NUM_BANDS,
        pad_mode=pad_mode,
        htk=True,
        norm=None,
    )
    return jnp.swapaxes(features.decibels(power), 1, 2)


def _frame(network: Network, windows: Float[Array, "batch 512"]) -> Float[Array, "batch 256 1"]:
    with products():
        return network.standardised(frames_of_windows(windows))[..., None]


def _column(
    stage: Stage, windows: Float[Array, "batch 4 bands channels"]
) -> Float[Array, "batch halfbands out"]:
    with products():
        return stage(windows, pad_time=0)[:, 0]


def _relevance(
    network: Network, cells: Float[Array, "batch num_columns bands channels"]
) -> Float[Array, "batch 1"]:
    with products():
        return jax.nn.sigmoid(network.head(cells.mean(axis=(1, 2)), cells.max(axis=(1, 2))))


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
    """The same; its gradient is elementwise, where that of windows is a scatter."""
    batch, time, bands, channels = x.shape
    x = x[:, : time // 2 * 2, : bands // 2 * 2]
    x = x.reshape(batch, time // 2, 2, bands // 2, 2, channels)
    x = jnp.maximum(x[:, :, 0], x[:, :, 1])
    return jnp.maximum(x[:, :, :, 0], x[:, :, :, 1])


def _halved(name: str, array: np.ndarray) -> np.ndarray:
    is_statistic = name.endswith((".mean", ".var")) or name.startswith("norm.")
    return array if is_statistic else array.astype(np.float16)
