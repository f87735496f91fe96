"""The components of a track that matter most, to be heard alone, or to be missed."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from lime_jax.audio import render
from lime_jax.core import ranking
from lime_jax.lemons.explain_track import Record, segment_track
from lime_jax.separation.base import Stems

Waveform = Float[np.ndarray, " _samples"]

SONG = "song"


@dataclasses.dataclass(frozen=True, eq=False)
class Selection:
    """Some components of a track as sound.

    Attributes:
      mix: as long as the track.
      sources: every source that plays in it, as long as the track; the mix itself, for times.
      trimmed: the mix without the silence at its ends.
      start, end: of `trimmed`, in seconds of the track.
    """

    mix: Waveform
    sources: Mapping[str, Waveform]
    trimmed: Waveform
    start: float
    end: float


def top(record: Record, k: int, source: str | None = None) -> tuple[int, ...]:
    """Returns the components that speak most for the track, the strongest first.

    What is silent is never among them, and nothing is where the explanation failed.

    Args:
      record: the explanation.
      k: how many at most; fewer speak for it, or none.
      source: asks about one instrument; None is all.

    Raises:
      ValueError: if `k` is less than 1, or the explanation has no such source.
    """
    if k < 1:
        raise ValueError(f"`k` must be at least 1, got {k}.")
    known = {component.source for component in record.components}
    if source is not None and source not in known:
        raise ValueError(
            f"`source` {source!r} is no component of this explanation; ask about one of "
            f"{', '.join(sorted(name for name in known if name)) or 'none: it is about times'}."
        )
    if record.status != "ok":
        return ()
    candidates = [
        component
        for component in record.components
        if not component.is_silent and source in (None, component.source)
    ]
    coefficients = np.array([component.coefficient for component in candidates], np.float32)
    return tuple(candidates[position].index for position in ranking.strongest(coefficients, k))


def render_selection(stems: Stems, record: Record, indices: Sequence[int]) -> Selection:
    """Renders some components, faded where they begin and end within the track.

    Args:
      stems: of the track.
      record: its explanation.
      indices: of the components.
    """
    audio, mono = segment_track(stems, record.kind), stems.mono()
    mask = _mask(record, indices)
    mix = render.render_faded(audio, mask)
    if record.kind == "time":
        sources = {SONG: mix}
    else:
        asked = {record.components[index].source for index in indices}
        source_of = np.array([component.source for component in record.components])
        sources = {
            name: render.render_faded(audio, mask & (source_of == name))
            for name in mono.names
            if name in asked
        }
    played = np.flatnonzero(np.any([wave != 0 for wave in (mix, *sources.values())], axis=0))
    first, last = (int(played[0]), int(played[-1]) + 1) if len(played) else (0, 0)
    rate = mono.sample_rate
    return Selection(mix, sources, mix[first:last], first / rate, last / rate)


def render_without(stems: Stems, record: Record, indices: Sequence[int]) -> Waveform:
    """Renders the track without some components, to hear and measure what they matter.

    Args:
      stems: of the track.
      record: its explanation.
      indices: of the components.
    """
    return render.render_faded(segment_track(stems, record.kind), ~_mask(record, indices))


def _mask(record: Record, indices: Sequence[int]) -> np.ndarray:
    mask = np.zeros(len(record.components), bool)
    mask[list(indices)] = True
    return mask
