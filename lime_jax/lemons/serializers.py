"""The JSON of what the application knows, for the page and for scripts."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from lime_jax.lemons import explanation_body, wording
from lime_jax.lemons.application import Application
from lime_jax.lemons.explain_track import TYPES, Component, Record
from lime_jax.lemons.job_queue import Job
from lime_jax.lemons.library import Library, Track
from lime_jax.lemons.listeners import Persona
from lime_jax.lemons.outlines import outline
from lime_jax.lemons.track_audio import TrackAudio

NUM_RECOMMENDED = 10

_NUM_STYLES = 5
_TITLES = {"top": "Top Highlight", "top3": "Top 3"}


def listener(persona: Persona) -> dict[str, Any]:
    """Returns a listener as an entry of a list."""
    return {"id": persona.id, "name": persona.name, "taste": persona.taste}


def profile(application: Application, persona_id: str) -> dict[str, Any]:
    """Returns a listener with what they listened to, most played first."""
    audience = application.audience
    persona, catalogue = audience.persona(persona_id), audience.catalogue
    plays = [(catalogue[t], count) for t, count in audience.plays(persona_id) if t in catalogue]
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
        "tracks": [{**_description(track), "plays": count} for track, count in plays],
    }


def shelf(library_id: str, library: Library) -> dict[str, Any]:
    """Returns a library as an entry of a list."""
    return {"id": library_id, "name": library.name, "num_tracks": len(library.tracks)}


def recommendations(
    application: Application, persona_id: str, library_id: str, relevance: dict[str, float]
) -> list[dict[str, Any]]:
    """Returns the most relevant tracks of a library, best first, and how often they were played.

    Args:
      application: knows them.
      persona_id: of the listener.
      library_id: of the library.
      relevance: of its tracks, by digest.
    """
    plays = dict(application.audience.plays(persona_id))
    ranked = [
        (relevance[application.tracks.digest(library_id, track_id)], track)
        for track_id, track in application.tracks.library(library_id).tracks.items()
    ]
    ranked.sort(key=lambda entry: (-entry[0], entry[1].id))
    return [
        {
            **_description(track),
            "rank": rank,
            "relevance": value,
            "duration": track.duration,
            "plays": plays.get(track.id, 0),
        }
        for rank, (value, track) in enumerate(ranked[:NUM_RECOMMENDED], 1)
    ]


def track(application: Application, library_id: str, track_id: str) -> dict[str, Any]:
    """Returns a track with the outlines of its mix and its sources, and where to hear them."""
    audio = application.tracks.audio(library_id, track_id)
    stems, address = audio.stems, f"/audio/{quote(library_id)}/{quote(track_id)}"
    known = {} if audio.is_own else _description(application.tracks.track(library_id, track_id))
    return {
        **known,
        "id": track_id,
        "library": library_id,
        "title": audio.title,
        "duration": stems.waveforms.shape[1] / stems.sample_rate,
        "types": _kinds(application, audio),
        "sound": f"{address}/mix.wav",
        "outline": outline(audio.mix),
        "sources": [
            {"name": name, "sound": f"{address}/{name}.wav", "outline": outline(waveform)}
            for name, waveform in zip(audio.sources, stems.waveforms, strict=False)
        ],
        "gain": audio.gain,
    }


def job(state: Job) -> dict[str, Any]:
    """Returns how far a job is."""
    fields = dataclasses.asdict(state)
    return {"job": fields.pop("key"), **fields}


def explanation(application: Application, key: str) -> dict[str, Any]:
    """Returns an explanation with the sentences that go with it, and where to hear it."""
    body = application.explanations.body(key)
    record = explanation_body.record_of(body)
    audio = application.tracks.audio_of(body)
    persona = application.audience.personas.get(body["persona"])
    fidelity = body["record"]["fidelity"]
    return {
        "key": key,
        "title": audio.title,
        "listener": persona.name if persona else "",
        **body["record"],
        "grade": wording.grade(fidelity),
        "reading": wording.fidelity(fidelity, record.status),
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
        "parts": [_component(component) for component in chosen],
        "spoken": _in_words(record, chosen),
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


def _component(component: Component) -> dict[str, Any]:
    return {
        "index": component.index,
        "source": component.source,
        "start": component.start,
        "end": component.end,
        "coefficient": component.coefficient,
    }


def _in_words(record: Record, chosen: Iterable[Component]) -> str:
    """Returns components in words, as in "drums from 3.2 to 6.4 s; bass throughout"."""
    phrases = []
    for component in chosen:
        what = component.source or "everything"
        is_whole = len(record.segments) == 1
        when = "throughout" if is_whole else f"from {component.start:.1f} to {component.end:.1f} s"
        phrases.append(f"{what} {when}")
    return "; ".join(phrases)


def _kinds(application: Application, audio: TrackAudio) -> list[str]:
    has_sources = not audio.is_own or application.separator is not None
    return [kind for kind in TYPES if kind == "time" or has_sources]


def _description(track: Track) -> dict[str, Any]:
    return {
        "id": track.id,
        "title": track.title,
        "artist": track.artist,
        "album": track.album,
        "style": track.style,
    }
