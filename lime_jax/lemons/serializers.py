"""What the application knows as JSON for the page and for scripts."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from lime_jax.lemons import explanation_body, wording
from lime_jax.lemons.application import Application, Sound
from lime_jax.lemons.explain_track import TYPES, Component, Record
from lime_jax.lemons.job_queue import Job
from lime_jax.lemons.library import Library, Track
from lime_jax.lemons.listeners import Persona
from lime_jax.lemons.outlines import outline

NUM_RECOMMENDED = 10

_NUM_STYLES = 5
_TITLES = {"top": "Top Highlight", "top3": "Top 3"}


def listener(persona: Persona) -> dict[str, Any]:
    """A listener in a list."""
    return {"id": persona.id, "name": persona.name, "taste": persona.taste}


def profile(application: Application, persona_id: str) -> dict[str, Any]:
    """A listener with what they listened to, most played first."""
    persona, catalogue = application.persona(persona_id), application.catalogue
    plays = [(catalogue[t], count) for t, count in application.plays(persona_id) if t in catalogue]
    plays.sort(key=lambda play: (-play[1], play[0].title))
    styles = Counter[str]()
    for track, count in plays:
        styles[track.style] += count
    total = sum(styles.values())
    return {
        **listener(persona),
        "rule": persona.rule,
        "num_tracks": len(plays),
        "num_plays": total,
        "styles": [
            {"style": style, "share": count / total}
            for style, count in styles.most_common(_NUM_STYLES)
        ],
        "tracks": [{**_named(track), "plays": count} for track, count in plays],
    }


def shelf(library_id: str, library: Library) -> dict[str, Any]:
    """A library in a list."""
    return {"id": library_id, "name": library.name, "num_tracks": len(library.tracks)}


def recommendations(
    application: Application, persona_id: str, library_id: str, relevance: dict[str, float]
) -> list[dict[str, Any]]:
    """The most relevant tracks of a library, best first, and how often they were played."""
    library, plays = application.library(library_id), dict(application.plays(persona_id))
    judged = [
        (relevance[application.digest(library_id, track_id)], track)
        for track_id, track in library.tracks.items()
    ]
    judged.sort(key=lambda entry: (-entry[0], entry[1].id))
    return [
        {
            **_named(track),
            "rank": rank,
            "relevance": value,
            "duration": track.duration,
            "plays": plays.get(track.id, 0),
        }
        for rank, (value, track) in enumerate(judged[:NUM_RECOMMENDED], 1)
    ]


def track(application: Application, library_id: str, track_id: str) -> dict[str, Any]:
    """A track with the outlines of its mix and its sources, and where to hear them."""
    sound = application.sound(library_id, track_id)
    stems, address = sound.stems, f"/audio/{quote(library_id)}/{quote(track_id)}"
    known = {} if sound.is_own else _named(application.track(library_id, track_id))
    return {
        **known,
        "id": track_id,
        "library": library_id,
        "title": sound.title,
        "duration": stems.waveforms.shape[1] / stems.sample_rate,
        "types": _types(application, sound),
        "sound": f"{address}/mix.wav",
        "outline": outline(sound.mix),
        "sources": [
            {"name": name, "sound": f"{address}/{name}.wav", "outline": outline(waveform)}
            for name, waveform in zip(sound.sources, stems.waveforms, strict=False)
        ],
        "gain": sound.gain,
    }


def job(state: Job) -> dict[str, Any]:
    """How far a piece of work is."""
    fields = dataclasses.asdict(state)
    return {"job": fields.pop("key"), **fields}


def explanation(application: Application, key: str) -> dict[str, Any]:
    """An explanation with the sentences that go with it, and where to hear its parts."""
    body = application.found(key)
    record = explanation_body.record_of(body)
    sound = application.sound_of(body)
    persona = application.personas.get(body["persona"])
    fidelity = body["record"]["fidelity"]
    return {
        "key": key,
        "title": sound.title,
        "listener": persona.name if persona else "",
        **body["record"],
        "grade": wording.grade(fidelity),
        "reading": wording.fidelity(fidelity),
        "selections": [
            _selection(key, record, name, indices, body["relevance_without"][name])
            for name, indices in explanation_body.named_selections(record)
            if name in body["relevance_without"]
        ],
        "record": f"/api/explanations/{key}",
    }


def _selection(
    key: str, record: Record, name: str, indices: Sequence[int], left: float
) -> dict[str, Any]:
    chosen, address = [record.components[i] for i in indices], f"/audio/explanations/{key}"
    return {
        "name": name,
        "title": _TITLES.get(name) or name.removeprefix("instrument-"),
        "components": list(indices),
        "parts": [_part(component) for component in chosen],
        "spoken": _spoken(record, chosen),
        "start": min(component.start for component in chosen),
        "end": max(component.end for component in chosen),
        "relevance_without": left,
        "counter_test": wording.without(record.prediction, left),
        "sounds": {
            "part": f"{address}/{name}.wav",
            "without": f"{address}/without-{name}.wav",
            "trimmed_wav": f"{address}/{name}-trimmed.wav",
            "trimmed_mp3": f"{address}/{name}-trimmed.mp3",
        },
    }


def _part(component: Component) -> dict[str, Any]:
    return {
        "index": component.index,
        "source": component.source,
        "start": component.start,
        "end": component.end,
        "coefficient": component.coefficient,
    }


def _spoken(record: Record, chosen: Iterable[Component]) -> str:
    """The parts in words, as in "drums from 3.2 to 6.4 s, and the bass throughout"."""
    found = []
    for component in chosen:
        what = component.source or "everything"
        is_whole = len(record.segments) == 1
        when = "throughout" if is_whole else f"from {component.start:.1f} to {component.end:.1f} s"
        found.append(f"{what} {when}")
    return "; ".join(found)


def _types(application: Application, sound: Sound) -> list[str]:
    can_be_apart = not sound.is_own or application.separator is not None
    return [kind for kind in TYPES if kind == "time" or can_be_apart]


def _named(track: Track) -> dict[str, Any]:
    return {
        "id": track.id,
        "title": track.title,
        "artist": track.artist,
        "album": track.album,
        "style": track.style,
    }
