"""SVDNet: a small convolutional network that hears whether someone sings.

Excerpts of 115 log-mel frames (1.6 s at 22 050 Hz, z-scored per band) in, one probability out, for
the frame in the middle.

References:
  Schlüter and Grill, Exploring Data Augmentation for Improved Singing Voice Detection with Neural
  Networks, 2015. Mishra et al., Reliable Local Explanations for Machine Listening, 2020, who
  trained it anew; this is their layout.
"""

import functools
import importlib.resources
import io
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Key

from lime_jax.audio import features as spectrograms
from lime_jax.core.execution.precision import products
from lime_jax.core.pytree import pytree
from lime_jax.core.receptive_fields.windows import Windowed
from lime_jax.core.receptive_fields.windows import windowed
from lime_jax.models import weights
from lime_jax.models.base import PatchWindow, Tagger

SAMPLE_RATE, N_FFT, HOP_LENGTH = 22_050, 1024, 315
NUM_FRAMES, NUM_MELS = 115, 80
LOWEST_HZ, HIGHEST_HZ = 27.5, 8000.0
FLOOR = 1e-7
PATCH_NUM_SAMPLES = (NUM_FRAMES - 1) * HOP_LENGTH + N_FFT
WEIGHTS = "singing_voice.npz"

_MARGIN = NUM_FRAMES // 2
_WINDOW, _STRIDE, _CELLS = 25, 9, 11
_DROPOUT = 0.5
_CHUNK = 512

Waveforms = Float[Array | np.ndarray, "*batch num_samples"]
Frames = Float[Array, "*batch num_frames 80"]


def _peaks() -> Float[np.ndarray, "82"]:
    """Where bands begin, peak and end, in Hz: every band peaks where its neighbours end."""
    low, high = (1127 * np.log1p(hz / 700) for hz in (LOWEST_HZ, HIGHEST_HZ))
    mels = np.linspace(low, high, NUM_MELS + 2)
    return 700 * np.expm1(mels / 1127)


CENTRES = _peaks()[1:-1]
"""Of the bands, in Hz."""


def mel_filterbank() -> Float[np.ndarray, "80 513"]:
    """The triangular bands, equally spaced on the mel scale, each of sum one.

    Edges snap to bins, and each side rises by the number of bins it has, as in the published code.

    Example:
      >>> lowest = mel_filterbank()[0]
      >>> lowest.nonzero()[0].tolist(), f"{lowest[2]:.5f}", f"{lowest[3]:.5f}"
      ([2, 3], '0.63705', '0.36295')
    """
    peaks = _peaks()
    bins = np.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    edges = np.searchsorted(bins, peaks)
    bank = np.zeros((NUM_MELS, len(bins)))
    for band, (left, top, right) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        bank[band, left:top] = (bins[left:top] - peaks[band]) / max(top - left, 1)
        bank[band, top:right] = (peaks[band + 2] - bins[top:right]) / max(right - top, 1)
    return (bank / bank.sum(axis=1, keepdims=True)).astype(np.float32)


def magnitudes(waveforms: Waveforms) -> Float[Array, "*batch num_frames 513"]:
    """Magnitude spectra of all whole frames: `(num_samples - 1024) // 315 + 1` of them."""
    spectra = spectrograms.stft(
        waveforms, n_fft=N_FFT, hop_length=HOP_LENGTH, pad_mode="none", symmetric=True
    )
    return jnp.swapaxes(jnp.abs(spectra), -1, -2)


def bands(magnitudes: Float[Array | np.ndarray, "*batch num_frames 513"]) -> Frames:
    """Magnitude spectra summed up in bands."""
    return jnp.matmul(jnp.asarray(magnitudes), mel_filterbank().T, precision="highest")


def logarithm(bands: Frames) -> Frames:
    """The natural logarithm, not below that of 1e-7."""
    return jnp.log(jnp.maximum(bands, FLOOR))


def log_mel(waveforms: Waveforms) -> Frames:
    """What the network sees before it is standardised."""
    return logarithm(bands(magnitudes(waveforms)))


class SvdNet(nnx.Module):
    """The network: two convolutions and a maximum, twice; three layers. 1 408 225 parameters."""

    def __init__(self, *, rngs: nnx.Rngs):
        # As large as rectifiers need, so that the first layers learn from the first step on.
        initial = {"kernel_init": nnx.initializers.orthogonal(math.sqrt(2)), "rngs": rngs}
        conv = functools.partial(nnx.Conv, kernel_size=(3, 3), padding="VALID", **initial)
        self.convs = nnx.List([conv(1, 64), conv(64, 32), conv(32, 128), conv(128, 64)])
        self.dense = nnx.List([nnx.Linear(4928, 256, **initial), nnx.Linear(256, 64, **initial)])
        self.output = nnx.Linear(64, 1, **initial)

    def __call__(self, excerpts: Float[Array, "batch 115 80"]) -> Float[Array, "batch 1"]:
        return jax.nn.sigmoid(self.logits(self.features(excerpts)))

    def features(self, frames: Float[Array, "batch time bands"]) -> Float[Array, "batch b t 64"]:
        """The convolutions and maxima, frequency first, as the published layers are stored.

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
        """The same for cells that start at every frame; what they share is computed once."""
        x = nnx.max_pool(self._pair(0, frames.swapaxes(1, 2)[..., None]), (3, 3), (3, 1))
        x = nnx.max_pool(self._to_every_third(x), (3, 1), (3, 1))
        return jnp.maximum(jnp.maximum(x[:, :, :-6], x[:, :, 3:-3]), x[:, :, 6:])

    def logits(
        self, features: Float[Array, "batch 7 11 64"], *, key: Key[Array, ""] | None = None
    ) -> Float[Array, "batch 1"]:
        """The layers behind the convolutions.

        Args:
          features: of one excerpt each.
          key: of the dropout before every layer, in training; None is for use.
        """
        x = features.reshape(len(features), -1)
        layers = (*self.dense, self.output)
        keys = [None] * len(layers) if key is None else jax.random.split(key, len(layers))
        for layer, one in zip(layers, keys, strict=True):
            x = layer(x if one is None else _dropped(x, one))
            x = x if layer is self.output else _leaky(x)
        return x

    @property
    def receptive_field(self) -> Windowed:
        """How far the convolutions see along time."""
        return _local(self, _judge_times, axis=0)

    @property
    def band_receptive_field(self) -> Windowed:
        """How far they see along frequency: explain this one where components are bands."""
        return _local(self, _judge_bands, axis=1)

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
        found = self._pair(1, thirds.reshape(3 * batch, bands, -1, channels))
        found = jnp.moveaxis(found.reshape(batch, 3, *found.shape[1:]), 1, 3)
        return found.reshape(batch, found.shape[1], -1, found.shape[-1])[:, :, : size - 12]


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
        """Log-mel excerpts side by side; what is left over at the end is not heard."""
        frames = log_mel(waveforms)
        number = frames.shape[1] // NUM_FRAMES
        return frames[:, : number * NUM_FRAMES].reshape(-1, number, NUM_FRAMES, NUM_MELS)

    def __call__(self, patches: Float[Array, "batch 115 80"]) -> Float[Array, "batch 1"]:
        return self.network.logits(self.network.features(self.standardised(patches)))

    @property
    def window(self) -> PatchWindow:
        """An excerpt hears its own samples only."""
        return PatchWindow(_one_patch, PATCH_NUM_SAMPLES, NUM_FRAMES * HOP_LENGTH, 0)

    @property
    def silence(self) -> Float[Array, "80"]:
        """What digital silence looks like to the network."""
        return (np.log(FLOOR).astype(np.float32) - self.mean) / self.std

    def standardised(self, frames: Frames) -> Frames:
        """Log-mel frames in units of the training data's deviation from its mean."""
        mean, std = (jnp.broadcast_to(x, frames.shape) for x in (self.mean, self.std))
        return (frames - mean) / std

    def frames_of(
        self, waveform: Float[Array | np.ndarray, " num_samples"], num_frames: Any = None
    ) -> Float[Array, "padded 80"]:
        """Standardised frames of a song between 57 of silence: rows `t` to `t + 114` judge frame t.

        Args:
          waveform: at 22 050 Hz, of at least 1024 samples.
          num_frames: silence from here on, possibly traced; None means all frames are heard.
        """
        frames = self.standardised(log_mel(waveform))
        if num_frames is not None:
            is_heard = jnp.arange(len(frames)) < num_frames
            frames = jnp.where(is_heard[:, None], frames, self.silence[None])
        margin = jnp.broadcast_to(self.silence, (_MARGIN, NUM_MELS))
        return jnp.concatenate([margin, frames, margin])


def curve(voice: SingingVoice, waveform: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " t"]:
    """The probability of singing at every frame of a song; frame `t` starts at sample `315 t`.

    Layers that neighbouring excerpts share are computed once.

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
    num_frames = (len(waveform) - N_FFT) // HOP_LENGTH + 1
    # Songs of about the same length share a program.
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
        reach = np.arange(_CELLS) * _STRIDE
        judge = lambda t: voice.network.logits(cells[None, :, t + reach])[0, 0]
        times = jnp.arange(len(frames) - NUM_FRAMES + 1)
        return jax.nn.sigmoid(jax.lax.map(judge, times, batch_size=_CHUNK))


def load_singing_voice() -> Tagger:
    """The shipped detector: the probability that someone sings, averaged over excerpts of 1.7 s.

    It was trained by `scripts/training/singing_voice.py` on rendered songs with synthetic singers and
    speakers; `data/singing_voice.json` has its scores. The weights are released under CC0-1.0.

    Example:
      >>> import jax.numpy as jnp
      >>> tagger = load_singing_voice()
      >>> bool(tagger(jnp.zeros((1, 2 * tagger.sample_rate)))[0, 0] < 0.5)
      True
    """
    packaged = importlib.resources.files("lime_jax") / "data" / WEIGHTS
    with np.load(io.BytesIO(packaged.read_bytes()), allow_pickle=False) as arrays:
        return as_tagger(from_arrays(dict(arrays), source=WEIGHTS))


def from_arrays(arrays: weights.Arrays, *, source: str) -> SingingVoice:
    """The detector of weights by name, such as "convs.0.kernel", with "mean" and "std".

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
    """What `from_arrays` takes."""
    statistics = {"mean": np.asarray(voice.mean), "std": np.asarray(voice.std)}
    return {**weights.arrays_of(voice.network), **statistics}


def as_tagger(voice: SingingVoice) -> Tagger:
    """A detector of waveforms, whose single output is called singing."""
    return Tagger(voice, SAMPLE_RATE, PATCH_NUM_SAMPLES, ("singing",))


def _one_patch(waveforms: Float[Array, "batch num_samples"]) -> Float[Array, "batch 115 80"]:
    return log_mel(waveforms)[:, :NUM_FRAMES]


def _local(network: SvdNet, judge: Any, axis: int) -> Windowed:
    return windowed(
        network,
        backbone=jax.tree_util.Partial(SvdNet.features, network),
        head=jax.tree_util.Partial(judge, network),
        window=_WINDOW,
        stride=_STRIDE,
        axis=axis,
    )


def _judge_times(
    network: SvdNet, windows: Float[Array, "batch 11 7 1 64"]
) -> Float[Array, "batch 1"]:
    return jax.nn.sigmoid(network.logits(windows[:, :, :, 0].swapaxes(1, 2)))


def _judge_bands(
    network: SvdNet, windows: Float[Array, "batch 7 1 11 64"]
) -> Float[Array, "batch 1"]:
    return jax.nn.sigmoid(network.logits(windows[:, :, 0]))


def _dropped(x: Array, key: Key[Array, ""]) -> Array:
    return jnp.where(jax.random.bernoulli(key, 1 - _DROPOUT, x.shape), x / (1 - _DROPOUT), 0)


_leaky = functools.partial(nnx.leaky_relu, negative_slope=0.01)
