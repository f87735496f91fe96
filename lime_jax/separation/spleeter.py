"""Spleeter in JAX: stereo sound at 44.1 kHz in, one waveform per instrument out.

The mixture's spectrogram is cut into chunks of 512 frames (11.9 s). The networks estimate each
instrument's magnitudes in it, the squares of these estimates share out every element between the
instruments, and every share goes back to sound with the phase of the mixture. A chunk is one
program; sound comes in and goes out while it runs, so a track needs no more memory than a chunk.

Stems sum to the mixture below 11 kHz (16 kHz in the "-16kHz" variants), and hold nothing above.

References:
  Hennequin, Khlif, Voituret, Moussallam, Spleeter: a fast and efficient music source separation
    tool with pre-trained models, JOSS 2020.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lime_jax.audio import features
from lime_jax.audio.resampling import resample_frames
from lime_jax.core.execution.precision import products
from lime_jax.core.pytree import pytree, static
from lime_jax.models import weights
from lime_jax.separation.base import (
    Channels,
    CountedBlocks,
    Stems,
    StemStream,
    Stemwise,
    Waveform,
    gather_stems,
)
from lime_jax.separation.mask_extension import check_mask_extension, masks_of
from lime_jax.separation.unet import NUM_CHANNELS, NUM_FRAMES

SAMPLE_RATE = 44_100
N_FFT, HOP_LENGTH = 4096, 1024
NUM_BINS = {"11kHz": 1024, "16kHz": 1536}

# Four overlapping squares of Hann windows sum to 1.5.
_GAIN = 2 / 3
_CHUNK = (NUM_FRAMES - 1) * HOP_LENGTH + N_FFT
# To be raised whenever other stems would be made of the same weights.
_ALGORITHM = 1


@pytree
class Spleeter:
    """A separator, see `lime_jax.separation.Separator`.

    Attributes:
      network: a `SpleeterNetwork`.
      name: such as "spleeter:5stems".
      version: of the weights and whatever else the stems depend on; the cache asks for it.
      num_bins: how much of the spectrum the network sees, one of `NUM_BINS`.
      crossfade: seconds by which chunks overlap and fade into each other. The original's chunks do
        not overlap (0), and what a network makes of a track may jump where they meet.
      mask_extension: what stems hold above `num_bins`, see
        `lime_jax.separation.mask_extension.masks_of`.
    """

    network: Any
    name: str = static()
    version: str = static()
    num_bins: int = static(default=NUM_BINS["11kHz"])
    crossfade: float = static(default=0.0)
    mask_extension: str = static(default="zeros")

    def __call__(self, waveform: Waveform, sample_rate: int) -> Stems:
        """Returns the stems of a track; mono is separated as stereo, and its stems averaged.

        Args:
          waveform: `(num_samples,)` or `(num_channels, num_samples)` with at most two channels.
          sample_rate: in Hz; other rates than 44.1 kHz are resampled, and back.

        Raises:
          ValueError: for another shape or more channels.
        """
        return gather_stems(self.stream, waveform, sample_rate)

    def stream(self, blocks: Iterator[Channels], sample_rate: int) -> StemStream:
        """Returns the stems of a track that comes block by block; see `streamed`."""
        overlap = check_crossfade(self.crossfade)
        check_mask_extension(self.mask_extension)
        chunk = functools.partial(_chunk, self.network, self.num_bins, self.mask_extension)
        names = tuple(self.network.config.instruments)
        return StemStream(names, _at_rate(blocks, sample_rate, names, chunk, overlap))


def as_separator(network: Any, name: str, bandwidth: str, crossfade: float) -> Spleeter:
    """Returns the separator with a network's weights.

    Args:
      network: a `SpleeterNetwork`.
      name: such as "spleeter:5stems".
      bandwidth: a key of `NUM_BINS`.
      crossfade: see `Spleeter`.
    """
    version = f"{_ALGORITHM} {weights.digest(network)} crossfade {crossfade:g} s"
    return Spleeter(network, name, version, NUM_BINS[bandwidth], crossfade)


def stems_of_chunk(
    network: Any,
    samples: Float[Array, "num_channels num_samples"],
    fades: Float[Array, " num_frames"],
    *,
    num_bins: int,
    mask_extension: str,
) -> Float[Array, "num_stems num_channels num_samples"]:
    """Returns what a chunk of the mixture adds to every stem.

    Args:
      network: a `SpleeterNetwork`.
      samples: that its 512 frames are made of.
      fades: weights of the frames, for cross-fades.
      num_bins: that the network sees.
      mask_extension: see `Spleeter`.
    """
    spectrum = features.stft(samples, n_fft=N_FFT, hop_length=HOP_LENGTH, pad_mode="none")
    frames = jnp.swapaxes(spectrum, 1, 2)
    # (num_frames, num_bins, num_channels), as the network was trained.
    magnitudes = jnp.abs(frames[..., :num_bins]).transpose(1, 2, 0)
    masks = masks_of(network(magnitudes[None])[:, 0], frames.shape[2], mask_extension)

    def back(mask: Array) -> Array:
        share = (mask * fades[:, None, None]).transpose(2, 0, 1).astype(frames.dtype)
        stem = jnp.swapaxes(share * frames, 1, 2)
        return features.overlap_add(stem, n_fft=N_FFT, hop_length=HOP_LENGTH)

    # One stem after the other: their frames are many times as large as their sound.
    return _GAIN * jax.lax.map(back, masks)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _chunk(
    network: Any, num_bins: int, mask_extension: str, samples: Any, fades: Any
) -> Float[Array, "num_stems num_channels num_samples"]:
    # The fast products of accelerators move masks by more than rounding.
    with products():
        return stems_of_chunk(
            network, samples, fades, num_bins=num_bins, mask_extension=mask_extension
        )


def check_crossfade(crossfade: float) -> int:
    """Returns the number of frames that chunks overlap by.

    Raises:
      ValueError: for less than nothing or more than half a chunk.
    """
    most = NUM_FRAMES // 2 * HOP_LENGTH / SAMPLE_RATE
    if not 0 <= crossfade <= most:
        raise ValueError(
            f"`crossfade` must lie between 0 and {most:.2f} s, half a chunk, got {crossfade:g}."
        )
    return round(crossfade * SAMPLE_RATE / HOP_LENGTH)


def _at_rate(
    blocks: Iterator[Channels], sample_rate: int, names: tuple[str, ...], chunk: Any, overlap: int
) -> Iterator[Stemwise]:
    """Stems at the rate, with the channels and of the length of the blocks."""
    seen = CountedBlocks(blocks)
    frames = (_stereo(block).T for block in seen)
    at_44100 = resample_frames(frames, sample_rate, SAMPLE_RATE, NUM_CHANNELS)
    stems = _separate_blocks((block.T for block in at_44100), chunk, overlap)
    flat = (block.reshape(-1, block.shape[-1]).T for block in stems)
    back = resample_frames(flat, SAMPLE_RATE, sample_rate, len(names) * NUM_CHANNELS)
    done = 0
    for block in back:
        separated = block.T.reshape(len(names), NUM_CHANNELS, -1)
        # Resamplers end a sample early or late.
        separated = separated[..., : max(0, seen.num_samples - done)]
        done += separated.shape[-1]
        yield _like(seen, separated)
    missing = seen.num_samples - done
    if missing > 0:
        yield _like(seen, np.zeros((len(names), NUM_CHANNELS, missing), np.float32))


def _stereo(block: Channels) -> Channels:
    if len(block) > NUM_CHANNELS:
        raise ValueError(
            f"`waveform` must have one or two channels, got {len(block)}. Mix it down first."
        )
    return np.broadcast_to(block, (NUM_CHANNELS, block.shape[1]))


def _like(seen: CountedBlocks, stems: Stemwise) -> Stemwise:
    return stems if seen.num_channels == NUM_CHANNELS else stems.mean(axis=1, keepdims=True)


def _separate_blocks(blocks: Iterator[Channels], chunk: Any, overlap: int) -> Iterator[Stemwise]:
    """Stems of stereo blocks at 44.1 kHz, as long as they are.

    The first frame lies before the sound, so that every sample is in four frames.
    """
    hop = (NUM_FRAMES - overlap) * HOP_LENGTH
    waiting, ahead = np.zeros((NUM_CHANNELS, N_FFT), np.float32), N_FFT
    tail = None
    while True:
        waiting, is_end = _fill_chunk(waiting, blocks)
        # No frame of a further chunk would begin in what there is.
        is_last = is_end and waiting.shape[1] <= NUM_FRAMES * HOP_LENGTH
        samples = waiting[:, :_CHUNK]
        samples = np.pad(samples, ((0, 0), (0, _CHUNK - samples.shape[1])))
        fades = _fades(overlap, fade_in=tail is not None, fade_out=not is_last)
        stems = np.array(chunk(samples, fades))
        if tail is not None:
            stems[..., : tail.shape[-1]] += tail
        yield stems[..., ahead : waiting.shape[1] if is_last else hop]
        if is_last:
            return
        waiting, tail, ahead = waiting[:, hop:], stems[..., hop:], 0


def _fill_chunk(waiting: Channels, blocks: Iterator[Channels]) -> tuple[Channels, bool]:
    """At least a chunk, or all there is and True."""
    parts, size = [waiting], waiting.shape[1]
    while size < _CHUNK:
        block = next(blocks, None)
        if block is None:
            return np.concatenate(parts, axis=1), True
        parts.append(block)
        size += block.shape[1]
    return np.concatenate(parts, axis=1), False


def _fades(overlap: int, *, fade_in: bool, fade_out: bool) -> Float[np.ndarray, " num_frames"]:
    """Weights of the frames of a chunk; where two chunks overlap, theirs sum to one."""
    fades = np.ones(NUM_FRAMES, np.float32)
    ramp = (np.arange(overlap, dtype=np.float32) + 0.5) / max(overlap, 1)
    if fade_in:
        fades[:overlap] *= ramp
    if fade_out:
        fades[NUM_FRAMES - overlap :] *= ramp[::-1]
    return fades
