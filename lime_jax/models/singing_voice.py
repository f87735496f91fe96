"""The singing voice detector: SVDNet with its front end, its weights and its curve over time."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from lime_jax.audio.waveform import check_floating
from lime_jax.core.execution.precision import products
from lime_jax.core.pytree import pytree
from lime_jax.models import weights
from lime_jax.models.base import PatchWindow, Tagger
from lime_jax.models.singing_voice_front_end import (
    FLOOR,
    HOP_LENGTH,
    N_FFT,
    NUM_FRAMES,
    NUM_MELS,
    PATCH_NUM_SAMPLES,
    SAMPLE_RATE,
    Frames,
    log_mel,
)
from lime_jax.models.singing_voice_network import CELL_STRIDE, NUM_CELLS, SvdNet

WEIGHTS = "singing_voice.npz"

_MARGIN = NUM_FRAMES // 2
_CHUNK = 512


@pytree
class SingingVoice:
    """The network of a `Tagger`, together with the statistics of the data it was trained on.

    Attributes:
      network: the weights.
      mean, std: of every band of log-mel frames; they belong to these weights.
    """

    network: SvdNet
    mean: Float[Array, "80"]
    std: Float[Array, "80"]

    def front_end(
        self, waveforms: Float[Array, "batch num_samples"]
    ) -> Float[Array, "batch num_patches 115 80"]:
        """Returns log-mel patches side by side; what is left over at the end is dropped."""
        frames = log_mel(waveforms)
        number = frames.shape[1] // NUM_FRAMES
        return frames[:, : number * NUM_FRAMES].reshape(-1, number, NUM_FRAMES, NUM_MELS)

    def __call__(self, patches: Float[Array, "batch 115 80"]) -> Float[Array, "batch 1"]:
        return self.network.logits(self.network.features(self.standardise(patches)))

    @property
    def window(self) -> PatchWindow:
        """A patch sees its own samples only."""
        return PatchWindow(_one_patch, PATCH_NUM_SAMPLES, NUM_FRAMES * HOP_LENGTH, 0)

    @property
    def silence(self) -> Float[Array, "80"]:
        """What digital silence looks like to the network."""
        return (np.log(FLOOR).astype(np.float32) - self.mean) / self.std

    def standardise(self, frames: Frames) -> Frames:
        """Returns log-mel frames in units of the training data's deviation from its mean."""
        mean, std = (jnp.broadcast_to(x, frames.shape) for x in (self.mean, self.std))
        return (frames - mean) / std

    def frames_of(
        self, waveform: Float[Array | np.ndarray, " num_samples"], num_frames: Any = None
    ) -> Float[Array, "padded 80"]:
        """Returns the standardised frames of a track, with 57 of silence before and behind.

        Rows `t` to `t + 114` are the patch of frame `t`.

        Args:
          waveform: at 22 050 Hz, of at least 1024 samples.
          num_frames: frames from here on are silent; possibly traced. None means that none are.
        """
        frames = self.standardise(log_mel(waveform))
        if num_frames is not None:
            is_inside = jnp.arange(len(frames)) < num_frames
            frames = jnp.where(is_inside[:, None], frames, self.silence[None])
        margin = jnp.broadcast_to(self.silence, (_MARGIN, NUM_MELS))
        return jnp.concatenate([margin, frames, margin])


def curve(voice: SingingVoice, waveform: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " t"]:
    """Returns the probability of singing at every frame of a track; frame `t` starts at `315 t`.

    Layers that neighbouring patches share are computed once.

    Args:
      voice: the detector.
      waveform: at 22 050 Hz.

    Raises:
      ValueError: if it is shorter than a frame.
    """
    if len(waveform) < N_FFT:
        raise ValueError(
            f"`waveform` must hold at least {N_FFT} samples, got {len(waveform)}. Use a longer one."
        )
    check_floating(waveform, "waveform")
    num_frames = (len(waveform) - N_FFT) // HOP_LENGTH + 1
    # Tracks of about the same length share a program.
    whole = -(-num_frames // _CHUNK) * _CHUNK * HOP_LENGTH + N_FFT - HOP_LENGTH
    padded = np.pad(np.asarray(waveform[:whole], np.float32), (0, max(0, whole - len(waveform))))
    return np.asarray(_curve(voice, padded, num_frames))[:num_frames]


@jax.jit
def _curve(
    voice: SingingVoice, waveform: Float[Array | np.ndarray, " samples"], num_frames: Any
) -> Float[Array, " t"]:
    with products():
        frames = voice.frames_of(waveform, num_frames)
        cells = voice.network.features_of_all(frames[None])[0]
        reach = np.arange(NUM_CELLS) * CELL_STRIDE
        times = jnp.arange(len(frames) - NUM_FRAMES + 1)
        logits = jax.lax.map(
            lambda t: voice.network.logits(cells[None, :, t + reach])[0, 0],
            times,
            batch_size=_CHUNK,
        )
        return jax.nn.sigmoid(logits)


def load_singing_voice() -> Tagger:
    """Loads the detector of lime_jax: the probability of singing, averaged over patches of 1.7 s.

    It was trained by `scripts/training/singing_voice.py` on rendered songs with synthetic singers
    and speakers; `data/singing_voice.json` has its scores. The weights are released under CC0-1.0.

    Example:
      >>> import jax.numpy as jnp
      >>> tagger = load_singing_voice()
      >>> bool(tagger(jnp.zeros((1, 2 * tagger.sample_rate)))[0, 0] < 0.5)
      True
    """
    return as_tagger(from_arrays(weights.read_packaged(WEIGHTS), source=WEIGHTS))


def from_arrays(arrays: weights.Arrays, *, source: str) -> SingingVoice:
    """Builds the detector from weights by name, such as "convs.0.kernel", with "mean" and "std".

    Raises:
      ModelError: if they do not fit; it lists all that differ.
    """
    statistics = {name: arrays[name] for name in ("mean", "std") if name in arrays}
    shapes = {name: array.shape for name, array in statistics.items()}
    weights.check_shapes({"mean": (NUM_MELS,), "std": (NUM_MELS,)}, shapes, source=source)
    network = weights.network_of(
        lambda: SvdNet(rngs=nnx.Rngs(0)),
        {name: array for name, array in arrays.items() if name not in statistics},
        source=source,
    )
    mean, std = (jnp.asarray(statistics[name], jnp.float32) for name in ("mean", "std"))
    return SingingVoice(network, mean, std)


def to_arrays(voice: SingingVoice) -> dict[str, np.ndarray]:
    """Returns what `from_arrays` takes."""
    statistics = {"mean": np.asarray(voice.mean), "std": np.asarray(voice.std)}
    return {**weights.arrays_of(voice.network), **statistics}


def as_tagger(voice: SingingVoice) -> Tagger:
    """Returns the detector as a model of waveforms, whose single output is called singing."""
    return Tagger(voice, SAMPLE_RATE, PATCH_NUM_SAMPLES, ("singing",))


def _one_patch(waveforms: Float[Array, "batch num_samples"]) -> Float[Array, "batch 115 80"]:
    return log_mel(waveforms)[:, :NUM_FRAMES]
