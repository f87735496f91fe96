"""The parts of a song that matter most, to be heard alone, or to be missed."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from lime_jax.audio import render
from lime_jax.core import ranking
from lime_jax.lemons.explain_track import Record, segmented
from lime_jax.separation.base import Stems

Waveform = Float[np.ndarray, " _samples"]

SONG = "song"


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Some components of a song as sound.

    Attributes:
      mix: as long as the song.
      sources: every source that takes part, as long as the song; the song itself, for times.
      trimmed: the mix without the silence at its ends.
      start, end: of `trimmed`, in seconds of the song.
    """

    mix: Waveform
    sources: Mapping[str, Waveform]
    trimmed: Waveform
    start: float
    end: float


def top(record: Record, k: int, source: str | None = None) -> tuple[int, ...]:
    """The components that speak most for the song, the strongest first; never what is silent.

    Args:
      record: the explanation.
      k: how many at most; fewer speak for it, or none.
      source: asks about one instrument; None is all.

    Raises:
      ValueError: if `k` is less than 1, or the explanation has no such source.
    """
    if k < 1:
        raise ValueError(f"`k` must be at least 1, got {k}.")
    known = {one.source for one in record.components}
    if source is not None and source not in known:
        raise ValueError(
            f"`source` {source!r} is no component of this explanation; ask about one of "
            f"{', '.join(sorted(name for name in known if name)) or 'none: it is about times'}."
        )
    heard = [one for one in record.components if not one.is_silent]
    asked = [one for one in heard if source in (None, one.source)]
    coefficients = np.array([one.coefficient for one in asked], np.float32)
    found = ranking.strongest(coefficients, k)
    return tuple(asked[position].index for position in found)


def part(stems: Stems, record: Record, indices: Sequence[int]) -> Part:
    """The sound of some components, faded where they begin and end within the song.

    Args:
      stems: of the song.
      record: its explanation.
      indices: of the components.
    """
    audio, mono = segmented(stems, record.kind), stems.mono()
    mask = _mask(record, indices)
    mix = render.render_faded(audio, mask)
    if record.kind == "time":
        sources = {SONG: mix}
    else:
        asked = {record.components[index].source for index in indices}
        of = np.array([one.source for one in record.components])
        sources = {
            name: render.render_faded(audio, mask & (of == name))
            for name in mono.names
            if name in asked
        }
    heard = np.flatnonzero(np.any([wave != 0 for wave in (mix, *sources.values())], axis=0))
    first, last = (int(heard[0]), int(heard[-1]) + 1) if len(heard) else (0, 0)
    rate = mono.sample_rate
    return Part(mix, sources, mix[first:last], first / rate, last / rate)


def without(stems: Stems, record: Record, indices: Sequence[int]) -> Waveform:
    """The song without some components: what they matter is heard, and measured, by their absence.

    Args:
      stems: of the song.
      record: its explanation.
      indices: of the components.
    """
    return render.render_faded(segmented(stems, record.kind), ~_mask(record, indices))


def _mask(record: Record, indices: Sequence[int]) -> np.ndarray:
    mask = np.zeros(len(record.components), bool)
    mask[list(indices)] = True
    return mask
