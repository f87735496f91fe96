"""What separates a mixture into stems, and what comes out of it."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float

from lime_jax.audio import segment
from lime_jax.audio.waveform import check_floating

Waveform = Float[Array | np.ndarray, "*num_channels num_samples"]
Channels = Float[np.ndarray, "_num_channels _num_samples"]
Stemwise = Float[np.ndarray, "_num_stems _num_channels _num_samples"]


@dataclasses.dataclass(frozen=True, eq=False)
class Stems:
    """The stems of a track.

    Attributes:
      waveforms: float32 `(num_stems, num_samples)`, or `(num_stems, num_channels, num_samples)` of
        a track with channels.
      names: one per stem.
      sample_rate: in Hz.
    """

    waveforms: Float[np.ndarray, "num_stems *num_channels num_samples"]
    names: tuple[str, ...]
    sample_rate: int

    def mono(self) -> "Stems":
        """Returns the mean over channels."""
        waveforms = self.waveforms if self.waveforms.ndim == 2 else self.waveforms.mean(axis=1)
        return Stems(waveforms, self.names, self.sample_rate)


@runtime_checkable
class Separator(Protocol):
    """Takes a mixture apart.

    One that can work on a track while it is read also has a method `stream`, with the arguments and
    the result of `stream_stems`; long tracks then take no more memory than short ones.
    """

    @property
    def name(self) -> str:
        """What it is called in stored results."""
        ...

    @property
    def version(self) -> str:
        """Whatever else its stems depend on, such as a checksum of its weights."""
        ...

    def __call__(self, waveform: Waveform, sample_rate: int) -> Stems:
        """Returns stems as long as the waveform, with its channels, at its sample rate.

        Args:
          waveform: `(num_samples,)` or `(num_channels, num_samples)`.
          sample_rate: in Hz; the separator resamples to the rate it knows and back.
        """
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class StemStream:
    """Stems block by block.

    Attributes:
      names: one per stem.
      blocks: float32 `(num_stems, num_channels, any number of samples)`.
    """

    names: tuple[str, ...]
    blocks: Iterator[Stemwise]


def stream_stems(separator: Separator, blocks: Iterator[Channels], sample_rate: int) -> StemStream:
    """Separates a track that comes block by block; separators that cannot stream get it whole.

    Args:
      separator: see `Separator`.
      blocks: `(num_channels, any number of samples)`.
      sample_rate: in Hz.

    Raises:
      ValueError: if the stems do not belong to the track, or hold integers.
    """
    if (stream := getattr(separator, "stream", None)) is not None:
        seen = CountedBlocks(blocks)
        made = stream(iter(seen), sample_rate)
        return StemStream(made.names, _matching(made, seen, separator.name))
    waveform = np.concatenate(list(blocks), axis=1)
    stems = separator(waveform, sample_rate)
    expected = (len(stems.names), *waveform.shape)
    if stems.waveforms.shape != expected or stems.sample_rate != sample_rate:
        raise ValueError(
            f"`{separator.name}` must return stems of shape {expected} at {sample_rate} Hz, got "
            f"{stems.waveforms.shape} at {stems.sample_rate} Hz."
        )
    check_floating(stems.waveforms, f"{separator.name}()")
    return StemStream(stems.names, iter([stems.waveforms]))


class CountedBlocks:
    """Passes blocks on, and counts the channels and samples of all so far."""

    def __init__(self, blocks: Iterator[Channels]) -> None:
        self._blocks, self.num_channels, self.num_samples = blocks, 0, 0

    def __iter__(self) -> Iterator[Channels]:
        for block in self._blocks:
            self.num_channels = len(block)
            self.num_samples += block.shape[1]
            yield block


def _matching(made: StemStream, seen: CountedBlocks, name: str) -> Iterator[Stemwise]:
    """The blocks of stems, which must be those of the track that was read."""
    num_samples = 0
    for block in made.blocks:
        num_samples += block.shape[-1]
        if block.shape[:-1] != (len(made.names), seen.num_channels):
            raise _misfit(made, seen, name, (*block.shape[:-1], num_samples))
        check_floating(block, f"{name}()")
        yield block
    if num_samples != seen.num_samples:
        raise _misfit(made, seen, name, (len(made.names), seen.num_channels, num_samples))


def _misfit(made: StemStream, seen: CountedBlocks, name: str, shape: tuple[int, ...]) -> ValueError:
    expected = (len(made.names), seen.num_channels, seen.num_samples)
    return ValueError(f"`{name}` must return stems of shape {expected}, got {shape}.")


def gather_stems(make: Any, waveform: Waveform, sample_rate: int) -> Stems:
    """Returns what `__call__` of a separator should, from its `stream`.

    Args:
      make: the method `stream`.
      waveform: `(num_samples,)` or `(num_channels, num_samples)`.
      sample_rate: in Hz.

    Raises:
      ValueError: for another shape.
    """
    waveform = as_waveform(waveform)
    stream = make(iter([np.atleast_2d(waveform)]), sample_rate)
    waveforms = np.concatenate(list(stream.blocks), axis=-1)
    return Stems(waveforms[:, 0] if waveform.ndim == 1 else waveforms, stream.names, sample_rate)


def as_waveform(waveform: Waveform) -> Float[np.ndarray, "*num_channels num_samples"]:
    """Returns the waveform as float32.

    Raises:
      ValueError: for another shape than `(num_samples,)` or `(num_channels, num_samples)`, or none,
        and for integers.
    """
    check_floating(waveform, "waveform")
    waveform = np.asarray(waveform, np.float32)
    if waveform.ndim not in (1, 2) or waveform.size == 0:
        raise ValueError(
            "`waveform` must have shape (num_samples,) or (num_channels, num_samples) and hold a "
            f"sample, got {waveform.shape}."
        )
    return waveform


def with_residual(stems: Stems, mix: Waveform) -> Stems:
    """Adds what the stems lack of the mixture, so that they sum to it; see `segment.with_residual`.

    Args:
      stems: mono.
      mix: mono, `(num_samples,)`.

    Raises:
      ValueError: for channels, or if stems and mixture differ in length.
    """
    if stems.waveforms.ndim != 2:
        raise ValueError(
            f"`stems` must be mono, got waveforms of shape {stems.waveforms.shape}. Use "
            "`stems.mono()`."
        )
    waveforms, names = segment.with_residual(stems.waveforms, stems.names, mix)
    return Stems(np.asarray(waveforms), names, stems.sample_rate)
