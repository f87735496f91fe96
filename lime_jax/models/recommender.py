"""LEMONS' recommender: a fully convolutional network that says whether a listener likes a track.

One network per listener. Mono waveforms at 16 kHz of any length in, the probability that the track
is relevant to the listener out. Frames are log-mel spectra.

References:
  Melchiorre et al., LEMONS: Listenable Explanations for Music recOmmeNder Systems, 2021.
"""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from lime_jax import storage
from lime_jax.audio import features
from lime_jax.core.execution.precision import products
from lime_jax.core.pytree import pytree, static
from lime_jax.core.receptive_fields.declaration import declare_tested
from lime_jax.core.receptive_fields.layers import Layerwise, layer, layerwise
from lime_jax.errors import ModelError
from lime_jax.models import recommender_weights, weights
from lime_jax.models.base import check_waveforms
from lime_jax.models.recommender_network import MIN_FRAMES, Frames, Network, Stage

SAMPLE_RATE, N_FFT, HOP_LENGTH, NUM_BANDS = 16_000, 512, 256, 256
SILENCE = -100.0
"""What every band of digital silence is, in dB."""

MIN_SAMPLES = (MIN_FRAMES - 1) * HOP_LENGTH
OUTPUT_NAMES = ("relevant",)


def log_mel(waveforms: Float[Array | np.ndarray, "batch num_samples"]) -> Frames:
    """Returns log-mel frames in dB, frame `t` centred on sample `256 t`; ends are reflected.

    Bands are narrower than bins at low frequencies: 27 of them hold no bin, and are -100 dB always.

    Args:
      waveforms: at 16 kHz, of more than 256 samples; there are `num_samples // 256 + 1` frames.
    """
    return _frames(waveforms, "reflect")


def frames_of_windows(
    windows: Float[Array | np.ndarray, "batch 512"],
) -> Float[Array, "batch 256"]:
    """Returns the frame that each of these windows makes; nothing is padded."""
    return _frames(windows, "none")[:, 0]


@pytree
class Recommender:
    """The model of one listener: the probability that tracks are relevant to them.

    Attributes:
      network: the weights.
      sample_rate: of the waveforms, in Hz.
      patch_num_samples: the shortest waveform it takes, in samples.
      output_names: a single one.
      resampler: see `lime_jax.audio.io.load`.
    """

    network: Network
    sample_rate: int = static(default=SAMPLE_RATE)
    patch_num_samples: int = static(default=MIN_SAMPLES)
    output_names: tuple[str, ...] = static(default=OUTPUT_NAMES)
    resampler: str = static(default="soxr")

    def __call__(self, waveforms: Float[Array, "batch num_samples"]) -> Float[Array, "batch 1"]:
        """Returns probabilities of whole tracks.

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
        return declare_tested(layerwise(self, layers=[frames, *stages], head=head))


def load(path: str | os.PathLike[str]) -> Recommender:
    """Loads the recommender that `save` wrote.

    Raises:
      ModelError: if the file is not one.
    """
    advice = "Name a file of scripts/training/recommender.py."
    return from_arrays(weights.read_archive(Path(path), advice=advice), source=os.fspath(path))


def save(path: str | os.PathLike[str], recommender: Recommender, *, half: bool = False) -> None:
    """Writes the weights as a NumPy archive, whole or not at all.

    Args:
      path: ending in .npz.
      recommender: of a listener.
      half: stores 16 bits of each weight, which is half the size; statistics stay as they are.

    Raises:
      ModelError: if the file cannot be written.
    """
    arrays = to_arrays(recommender)
    if half:
        arrays = {name: _halve(name, array) for name, array in arrays.items()}
    storage.write_whole(
        Path(path),
        lambda file: np.savez(file, allow_pickle=False, **arrays),
        error=ModelError,
        advice="Choose a folder that exists and may be written to.",
    )


def from_arrays(arrays: weights.Arrays, *, source: str) -> Recommender:
    """Builds the recommender from weights by name, such as "stages.0.conv.kernel".

    Raises:
      ModelError: if they do not fit; it lists all that differ.
    """
    return Recommender(weights.network_of(lambda: Network(rngs=nnx.Rngs(0)), arrays, source=source))


def from_torch_arrays(arrays: weights.Arrays, *, source: str) -> Recommender:
    """Builds the recommender from weights that LEMONS' own code learned.

    Args:
      arrays: of PyTorch's `state_dict()`, by any name, in its order.
      source: where they come from, for messages.

    Raises:
      ModelError: if they do not fit; it lists all that differ.
    """
    return from_arrays(recommender_weights.from_torch(arrays, source=source), source=source)


def to_arrays(recommender: Recommender) -> dict[str, np.ndarray]:
    """Returns what `from_arrays` takes."""
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
        return network.standardise(frames_of_windows(windows))[..., None]


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


def _halve(name: str, array: np.ndarray) -> np.ndarray:
    is_statistic = name.endswith((".mean", ".var")) or name.startswith("norm.")
    return array if is_statistic else array.astype(np.float16)
