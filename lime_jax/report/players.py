"""The players of a report: what they offer to hear, rendered and encoded once."""

import base64
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lime_jax.audio import io
from lime_jax.audio.render import render_faded
from lime_jax.audio.segment import SegmentedAudio

MAX_TRACKS = 40
MAX_SAMPLES = 20_000_000  # of all tracks together: 80 MB when a browser has decoded them

MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_NUM_PARTS = 12  # components with a player of their own, per output

# -1 dB: lossy encoders overshoot what they are given.
_PEAK = 10 ** (-1 / 20)

Mask = tuple[bool, ...]


@dataclass(frozen=True)
class Choice:
    """One entry of a player.

    Attributes:
      label: what the listener reads.
      mask: the components that are heard.
      component: its id if a single component is heard for itself.
    """

    label: str
    mask: Mask
    component: int | None = None


def mask_of(components: Sequence[int], num_components: int) -> Mask:
    """Returns the mask that switches only `components` on, as a key of dictionaries."""
    return tuple(i in components for i in range(num_components))


def choices(output: Mapping[str, Any], labels: Sequence[str]) -> list[Choice]:
    """Returns what a listener may want to compare for one output, the most telling first.

    Args:
      output: an entry of `outputs` in the record.
      labels: what to call each component.
    """
    num_components = len(labels)
    top = output["top_components"]
    offered = [Choice("Original", (True,) * num_components)]
    mask = mask_of(top, num_components)
    if len(top) > 1:
        offered.append(Choice(f"Top {len(top)} together", mask))
    if 0 < len(top) < num_components:
        name = labels[top[0]] if len(top) == 1 else f"top {len(top)}"
        offered.append(Choice(f"Without {name}", tuple(not on for on in mask)))
    for component in by_absolute_weight(output)[:_NUM_PARTS]:
        offered.append(Choice(labels[component], mask_of([component], num_components), component))
    return offered


def by_absolute_weight(output: Mapping[str, Any]) -> list[int]:
    """Returns all components by absolute coefficient, the largest first."""
    weights = np.nan_to_num(np.array(output["coefficients"], float))
    return [int(i) for i in np.argsort(-np.abs(weights), kind="stable")]


def masks_that_fit(players: Sequence[Sequence[Choice]], num_samples: int) -> list[Mask]:
    """Returns the distinct masks a page has room for, two or more, from all players in turn.

    Args:
      players: the choices of every output.
      num_samples: of the sound.
    """
    room = min(MAX_TRACKS, max(2, MAX_SAMPLES // num_samples))
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*players))
    masks = dict.fromkeys(choice.mask for choice in in_turn if choice is not None)
    return list(masks)[:room]


def render(audio: SegmentedAudio, masks: Sequence[Mask]) -> list[np.ndarray]:
    """Returns the waveform of every mask without clicks; all have one gain, so that none clips."""
    waveforms = [render_faded(audio, np.array(mask)) for mask in masks]
    peak = max((float(np.abs(waveform).max()) for waveform in waveforms), default=0.0)
    return [waveform / np.float32(max(1.0, peak / _PEAK)) for waveform in waveforms]


def encode(waveforms: Sequence[np.ndarray], sample_rate: int) -> list[str]:
    """Returns base64 of mp3, which all browsers decode, or of FLAC at rates mp3 does not know.

    The encoder delays all tracks alike, so they stay in step even where the delay is not cut away.
    """
    form = "mp3" if sample_rate in MP3_RATES else "flac"
    return [
        base64.b64encode(io.encode(waveform, sample_rate, form)).decode("ascii")
        for waveform in waveforms
    ]
