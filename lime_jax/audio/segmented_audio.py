"""An excerpt cut into components that a listener understands, and where each of them lies."""

import dataclasses
from collections.abc import Sequence
from typing import Any, SupportsFloat

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from lime_jax.audio.waveform import check_floating
from lime_jax.audio.waveform import whole_rate as whole_rate
from lime_jax.core.arguments import MOST, instance, whole_number
from lime_jax.core.components import Components, equal_segments

Waveform = Float[Array | np.ndarray, " num_samples"] | Sequence[float]
Stems = Float[Array | np.ndarray, "num_stems num_samples"] | Sequence[Sequence[float]]
MaybeKey = Key[Array, ""] | None
Used = int | Int[Array, ""] | None
Rate = SupportsFloat
"""In Hz: a whole number of Python, NumPy or JAX, 22050.0 too."""


@dataclasses.dataclass(frozen=True)
class ComponentExtent:
    """Where a component lies; for a superpixel the box around it.

    Attributes:
      name: such as "T3", "F1", "T3 F1", "S12", "drums" or "drums T3", counted from 1.
      source: the stem it belongs to, or None.
      start: in seconds.
      end: in seconds.
      low: in Hz.
      high: in Hz.
    """

    name: str
    source: str | None
    start: float
    end: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, eq=False)
class SegmentedAudio:
    """An excerpt and its components.

    Attributes:
      components: over the waveform `(num_samples,)` where `n_fft` is None, else over its complex
        STFT `(num_bins, num_frames)` with that window and a hop of a quarter of it.
      extents: one per component, in the order of the mask.
      kind: "time", "frequency", "grid", "superpixels", "stems" or "stems-time".
      waveform: float32 `(num_samples,)`, the input; what all components together sound like.
      sample_rate: in Hz.
      n_fft: window length of the STFT in samples, or None.
    """

    components: Components
    extents: tuple[ComponentExtent, ...]
    kind: str
    waveform: Float[Array, " num_samples"]
    sample_rate: int
    n_fft: int | None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the components, in the order of the mask."""
        return tuple(extent.name for extent in self.extents)

    @property
    def hop_length(self) -> int | None:
        """Samples between the frames of the STFT, or None."""
        return None if self.n_fft is None else self.n_fft // 4


def as_waveform(waveform: Waveform) -> Float[Array, " num_samples"]:
    """Returns the waveform as a float32 array; refuses integers and all but one axis."""
    check_floating(waveform, "waveform")
    waveform = jnp.asarray(waveform, jnp.float32)
    check_waveform(waveform.shape)
    return waveform


def check_waveform(shape: tuple[int, ...]) -> None:
    """Refuses the shape of what is no mono waveform.

    Raises:
      ValueError: if there is another axis than that of samples, or no sample.
    """
    if len(shape) != 1 or shape[0] == 0:
        raise ValueError(
            f"`waveform` must have shape (num_samples,) and hold a sample, got {shape}. Mix to "
            "mono first."
        )


def segment_labels(size: int, num_segments: int, what: str, used: Used) -> Int[Array, " size"]:
    """Returns the segment of every sample or frame; see `equal_segments`.

    Args:
      size: how many there are.
      num_segments: how many segments.
      what: "samples" or "STFT frames", for the message.
      used: how many of them are cut; the rest belongs to the last segment. None means all.

    Raises:
      ValueError: for more segments than that.
    """
    num_segments = whole_number("num_segments", num_segments, -MOST)
    if not 1 <= num_segments <= size:
        raise ValueError(
            f"`num_segments` must lie between 1 and {size}, the number of {what}, got "
            f"{num_segments}. Use fewer segments or a longer excerpt."
        )
    return equal_segments(size, num_segments, used=used)


def sample_edges(
    num_samples: int, num_segments: int, sample_rate: int
) -> list[tuple[float, float]]:
    """Returns start and end of every segment of `equal_segments`, in seconds."""
    num_segments = int(num_segments)
    starts = [index * (num_samples // num_segments) / sample_rate for index in range(num_segments)]
    return list(zip(starts, [*starts[1:], num_samples / sample_rate], strict=True))


def check_audio(audio: Any) -> None:
    """Refuses what is no `SegmentedAudio`.

    Raises:
      ValueError: if it is anything else.
    """
    instance("audio", audio, SegmentedAudio, "Make it with `lime_jax.audio.segment`.")
