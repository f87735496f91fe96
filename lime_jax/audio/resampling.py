"""Waveforms at another sample rate."""

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from lime_jax.audio.waveform import Waveform
from lime_jax.core.arguments import one_of

Frames = Float[np.ndarray, "num_frames num_channels"]

RESAMPLERS = ("soxr", "kaiser-best")

# The "kaiser_best" filter of resampy 0.2: zero crossings, share of the band kept, Kaiser's beta.
_ZERO_CROSSINGS = 64
_ROLLOFF = 0.9475937167399596
_BETA = 14.769656459379492
_ENTRIES = 512  # of its table, per zero crossing


def resample(
    blocks: Iterator[Waveform], rate: int, sample_rate: int, resampler: str
) -> Iterator[Waveform]:
    """Yields the blocks of a waveform at another rate.

    Args:
      blocks: of a waveform at `rate`.
      rate: in Hz.
      sample_rate: of the result, in Hz.
      resampler: "soxr" (HQ), or "kaiser-best", the filter of librosa before 0.10. Networks hear
        the difference above nine tenths of the band: those trained on the one want it again.

    Raises:
      ValueError: for an unknown resampler.
    """
    resampler = one_of("resampler", resampler, RESAMPLERS)
    if rate == sample_rate:
        return blocks
    streams = {"soxr": _soxr, "kaiser-best": _kaiser_best}
    return streams[resampler](blocks, rate, sample_rate)


def resample_frames(
    blocks: Iterator[Frames], rate: int, sample_rate: int, num_channels: int
) -> Iterator[Frames]:
    """Yields the blocks of several channels at another rate, by soxr (HQ).

    Args:
      blocks: of frames at `rate`.
      rate: in Hz.
      sample_rate: of the result, in Hz.
      num_channels: of every block.
    """
    import soxr

    if rate == sample_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, sample_rate, num_channels, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block))
    yield stream.resample_chunk(np.zeros((0, num_channels), np.float32), last=True)


def _soxr(blocks: Iterator[Waveform], rate: int, sample_rate: int) -> Iterator[Waveform]:
    frames = (block[:, None] for block in blocks)
    return (block[:, 0] for block in resample_frames(frames, rate, sample_rate, 1))


def _kaiser_best(blocks: Iterator[Waveform], rate: int, sample_rate: int) -> Iterator[Waveform]:
    from scipy import signal

    divisor = math.gcd(rate, sample_rate)
    up, down = sample_rate // divisor, rate // divisor
    # resampy 0.2 read its table in whole steps, so a lowered rate gets a slightly wider filter.
    width = up * _ENTRIES / int(_ENTRIES * up / down) if up < down else up
    half = int(_ZERO_CROSSINGS * width)
    time = np.arange(-half, half + 1) / width
    kaiser = np.i0(_BETA * np.sqrt(1 - np.square(time / _ZERO_CROSSINGS)))
    taps = np.sinc(_ROLLOFF * time) * kaiser
    window = (taps / taps.sum()).astype(np.float32)
    waveform = np.concatenate(list(blocks))
    yield signal.resample_poly(waveform, up, down, window=window)
