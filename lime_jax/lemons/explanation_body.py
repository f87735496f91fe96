"""One explanation as it is kept, and the sounds that belong to it."""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from lime_jax.lemons import explain_track, relevance, selections
from lime_jax.lemons.explain_track import Record
from lime_jax.lemons.http_error import Problem
from lime_jax.separation.base import Stems

# To be raised whenever the same question would get another answer.
ALGORITHM = 2

TOP_K = 3

_INSTRUMENT = "instrument-"
_MOMENT = 0.1  # seconds

Waveform = Float[np.ndarray, " num_samples"]

_NAME = re.compile(
    r"(?P<without>without-)?"
    r"(?:(?P<top>top|top3)|component-(?P<component>\d{1,3})|instrument-(?P<source>[a-z0-9-]{1,64}?))"
    r"(?P<trimmed>-trimmed)?"
)


def computed(
    recommender: Any, stems: Stems, kind: str, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Explains, and asks the recommender about the track without what speaks for it.

    Returns:
      JSON: `record`, and `relevance_without` by the name of a selection; silent instruments are
      left out.
    """
    record = explain_track.explain_track(recommender, stems, kind, progress=progress)
    heard = _heard(stems)
    without = {
        name: relevance.judged(recommender, selections.without(stems, record, indices))
        for name, indices in named_selections(record)
        if name.removeprefix(_INSTRUMENT) in heard or not name.startswith(_INSTRUMENT)
    }
    return {"record": _finite(record.to_json()), "relevance_without": _finite(without)}


def _heard(stems: Stems) -> set[str]:
    """The sources that are not silent; sampling gives weights to silent ones, too."""
    loudest = zip(stems.names, np.abs(stems.waveforms).max(axis=1), strict=True)
    return {name for name, peak in loudest if peak > explain_track.SILENCE}


def named_selections(record: Record) -> Iterator[tuple[str, tuple[int, ...]]]:
    """What there is to hear: the components of every selection that is not empty, by name."""
    named = [("top", selections.top(record, 1)), ("top3", selections.top(record, TOP_K))]
    if record.kind != "time":
        named += [
            (f"{_INSTRUMENT}{source}", selections.top(record, TOP_K, source=source))
            for source in record.sources
        ]
    yield from ((name, indices) for name, indices in named if indices)


def record_of(body: dict[str, Any]) -> Record:
    """The record in what `computed` returned."""
    return Record.from_json(body["record"])


def sound(stems: Stems, record: Record, name: str) -> Waveform:
    """The sound of a part of an explanation, or the track without it.

    Args:
      stems: of the track.
      record: of the explanation.
      name: top, top3, component-N or instrument-SOURCE; without- before it for the rest of the
        track, -trimmed behind it for the part without the silence around it.

    Raises:
      Problem: 404 if there is no such part.
    """
    match = _NAME.fullmatch(name)
    indices = _indices(record, match) if match else ()
    if match is None or not indices or (match["without"] and match["trimmed"]):
        raise Problem(404, "This explanation has no such sound.")
    if match["without"]:
        return selections.without(stems, record, indices)
    part = selections.part(stems, record, indices)
    if not match["trimmed"]:
        return part.mix
    # Files of no samples are refused by some players: what is silent is a moment of silence.
    return part.trimmed if len(part.trimmed) else part.mix[: round(_MOMENT * record.sample_rate)]


def _indices(record: Record, match: re.Match[str]) -> tuple[int, ...]:
    if match["component"]:
        index = int(match["component"])
        return (index,) if index < len(record.components) else ()
    if match["source"]:
        return dict(named_selections(record)).get(f"{_INSTRUMENT}{match['source']}", ())
    return dict(named_selections(record)).get(match["top"], ())


def _finite(value: Any) -> Any:
    """The same without what JSON has no word for: None is undefined."""
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
