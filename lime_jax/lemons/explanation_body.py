"""An explanation as it is stored, and the sounds that belong to it."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from lime_jax import storage
from lime_jax.audio.waveform import Waveform
from lime_jax.core.execution.progress import Progress
from lime_jax.lemons import explain_track, relevance, selections
from lime_jax.lemons.explain_track import Record
from lime_jax.lemons.http_error import HttpError
from lime_jax.separation.base import Stems

# To be raised whenever the same question would get another explanation.
ALGORITHM = 2

TOP_K = 3

_INSTRUMENT = "instrument-"
_MOMENT = 0.1  # seconds

_NAME = re.compile(
    r"(?P<without>without-)?"
    r"(?:(?P<top>top|top3)|component-(?P<component>\d{1,3})|instrument-(?P<source>[a-z0-9-]{1,64}?))"
    r"(?P<trimmed>-trimmed)?"
)


def compute(recommender: Any, stems: Stems, kind: str, progress: Progress) -> dict[str, Any]:
    """Explains a track, and asks the recommender about it without what speaks for it.

    Returns:
      JSON: `record`, and `relevance_without` by the name of a selection; silent instruments are
      left out.
    """
    record = explain_track.explain_track(recommender, stems, kind, progress=progress)
    audible = _audible_sources(stems)
    without = {
        name: relevance.compute(recommender, selections.render_without(stems, record, indices))
        for name, indices in named_selections(record)
        if name.removeprefix(_INSTRUMENT) in audible or not name.startswith(_INSTRUMENT)
    }
    return {"record": record.to_json(), "relevance_without": storage.plain(without)}


def named_selections(record: Record) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yields the name and the components of every selection that is not empty."""
    named = [("top", selections.top(record, 1)), ("top3", selections.top(record, TOP_K))]
    if record.kind != "time":
        named += [
            (f"{_INSTRUMENT}{source}", selections.top(record, TOP_K, source=source))
            for source in record.sources
        ]
    yield from ((name, indices) for name, indices in named if indices)


def record_of(body: dict[str, Any]) -> Record:
    """Returns the record in what `compute` returned."""
    return Record.from_json(body["record"])


def waveform(stems: Stems, record: Record, name: str) -> Waveform:
    """Returns the sound of some components of an explanation, or the track without them.

    Args:
      stems: of the track.
      record: of the explanation.
      name: top, top3, component-N or instrument-SOURCE; without- before it for the rest of the
        track, -trimmed behind it for the sound without the silence around it.

    Raises:
      HttpError: 404 if there is no such sound.
    """
    match = _NAME.fullmatch(name)
    indices = _indices(record, match) if match else ()
    if match is None or not indices or (match["without"] and match["trimmed"]):
        raise HttpError(404, "This explanation has no such sound.")
    if match["without"]:
        return selections.render_without(stems, record, indices)
    selection = selections.render_selection(stems, record, indices)
    if not match["trimmed"]:
        return selection.mix
    # Files of no samples are refused by some players: what is silent is a moment of silence.
    moment = selection.mix[: round(_MOMENT * record.sample_rate)]
    return selection.trimmed if len(selection.trimmed) else moment


def _audible_sources(stems: Stems) -> set[str]:
    """Returns the sources that are not silent; sampling gives coefficients to silent ones, too."""
    peaks = zip(stems.names, np.abs(stems.waveforms).max(axis=1), strict=True)
    return {name for name, peak in peaks if peak > explain_track.SILENCE}


def _indices(record: Record, match: re.Match[str]) -> tuple[int, ...]:
    if match["component"]:
        index = int(match["component"])
        return (index,) if index < len(record.components) else ()
    if match["source"]:
        return dict(named_selections(record)).get(f"{_INSTRUMENT}{match['source']}", ())
    return dict(named_selections(record)).get(match["top"], ())
