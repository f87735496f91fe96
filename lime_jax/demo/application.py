"""What the application knows and keeps: listeners, libraries, recommenders, results, songs."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lime_jax.demo import explaining, explanations, recommending
from lime_jax.demo.jobs import Job, Jobs, Progress
from lime_jax.demo.library import Library, Track, load_catalogue, load_library
from lime_jax.demo.personas import Persona, load_personas, plays_of
from lime_jax.demo.problems import Problem
from lime_jax.demo.results import Results, key_of
from lime_jax.demo.uploads import Song, Uploads
from lime_jax.errors import StoreError
from lime_jax.models import recommender as recommenders
from lime_jax.report.naming import slug
from lime_jax.separation.base import Separator, Stems

OWN = "own"
"""The library of the songs that users bring."""

DEFAULT_PERSONA, DEFAULT_KIND = 3, "time-source"
"""What is chosen at first: the fourth listener and both, as in LEMONS."""

_RESERVED = (OWN, "explanations")
_NUM_SOUNDS, _NUM_RECOMMENDERS = 16, 16


@dataclasses.dataclass(frozen=True)
class Sound:
    """A track of a library or a song of a user.

    Attributes:
      digest: of what is heard.
      sources: names of the stems; none of a song that nobody took apart yet.
      is_own: whether it is a song of a user.
      title: to show.
      stems: the sources, or the mix alone.
    """

    digest: str
    sources: tuple[str, ...]
    is_own: bool
    title: str = dataclasses.field(compare=False)
    stems: Stems = dataclasses.field(compare=False)

    @property
    def mix(self) -> recommending.Waveform:
        """What the recommender hears."""
        return self.stems.waveforms.sum(axis=0)


@dataclasses.dataclass(frozen=True)
class Question:
    """What somebody wants explained."""

    persona: str
    library: str
    track: str
    kind: str


class Application:
    """Answers questions from what is kept, or starts work on them."""

    def __init__(
        self,
        home: Path,
        *,
        cache: Path,
        libraries: Sequence[Path] = (),
        separator: Separator | None = None,
    ) -> None:
        self._home, self.separator = home, separator
        self.personas: Mapping[str, Persona] = {p.id: p for p in load_personas(home)}
        self.libraries = _by_name([_library(folder) for folder in (home, *libraries)])
        self.results, self.jobs, self.uploads = Results(cache), Jobs(), Uploads()
        self._digest = functools.lru_cache(4096)(self._digest_now)
        self._stems = functools.lru_cache(_NUM_SOUNDS)(self._stems_now)
        self._recommender = functools.lru_cache(_NUM_RECOMMENDERS)(self._recommender_now)

    @functools.cached_property
    def catalogue(self) -> Mapping[str, Track]:
        """All tracks that listeners listened to."""
        return load_catalogue(self._home)

    def warm_up(self) -> Job | None:
        """Starts on what the page asks first, so that its programs are compiled when somebody asks.

        Returns:
          The work; None if it was done before, or the relevance of the tracks is not known yet.
        """
        persona = list(self.personas)[min(DEFAULT_PERSONA, len(self.personas) - 1)]
        library = next(iter(self.libraries))
        relevance = self.relevance(persona, library)
        if isinstance(relevance, Job):
            return relevance
        track = min(
            self.libraries[library].tracks,
            key=lambda track: (-relevance[self._digest(library, track)], track),
        )
        return self.explanation(Question(persona, library, track, DEFAULT_KIND))[1]

    def close(self) -> bool:
        """Ends the work under way; whether it did end."""
        return self.jobs.close()

    def digest(self, library: str, track: str) -> str:
        """Of what a track sounds like."""
        return self._digest(library, track)

    def plays(self, persona: str) -> tuple[tuple[str, int], ...]:
        """The tracks a listener listened to, and how often."""
        return plays_of(self._home, self.persona(persona).id)

    def persona(self, persona: str) -> Persona:
        """A listener, or a `Problem`."""
        if persona not in self.personas:
            raise Problem(404, "There is no such listener.")
        return self.personas[persona]

    def library(self, library: str) -> Library:
        """A library, or a `Problem`."""
        if library not in self.libraries:
            raise Problem(404, "There is no such library.")
        return self.libraries[library]

    def track(self, library: str, track: str) -> Track:
        """A track of a library, or a `Problem`."""
        tracks = self.library(library).tracks
        if track not in tracks:
            raise Problem(404, "There is no such track.")
        return tracks[track]

    def sound(self, library: str, track: str) -> Sound:
        """What a track sounds like, or a `Problem`."""
        if library == OWN:
            song = self.uploads.get(track)
            if song is None:
                raise Problem(404, "That song is not here any more; send it again.")
            return _sound_of_song(song)
        title, stems = self.track(library, track).title, self._stems(library, track)
        return Sound(self._digest(library, track), stems.names, False, title, stems)

    def sound_by_digest(self, digest: str) -> Sound:
        """The same by its digest."""
        if song := self.uploads.by_digest(digest):
            return _sound_of_song(song)
        for name, library in self.libraries.items():
            for track in library.tracks:
                if self._digest(name, track) == digest:
                    return self.sound(name, track)
        raise Problem(404, "The track of that explanation is not here any more.")

    def relevance(self, persona: str, library: str) -> recommending.Relevance | Job:
        """The relevance of all tracks by digest, or the work on it."""
        _, weights = self._recommender(self.persona(persona).id)
        digests = self._reading(library)
        known = recommending.precomputed(self.library(library).folder, weights)
        if digests.keys() <= known.keys():
            return {digest: known[digest] for digest in digests}
        key = key_of("relevance", recommending.ALGORITHM, weights, *digests)
        found = self.results.get(key)
        if found is not None:
            return found
        return self.jobs.submit(key, functools.partial(self._judge, key, persona, digests, known))

    def judged(self, persona: str) -> tuple[str, recommending.Relevance]:
        """The digest of a recommender, and how it judges the first library; takes its time."""
        recommender, weights = self._recommender(self.persona(persona).id)
        reading = self._reading(next(iter(self.libraries)))
        found = recommending.judged_all(recommender, reading, {}, lambda done, total: None)
        return weights, found

    def relevance_of(self, persona: str, library: str, track: str) -> float | Job:
        """The relevance of one track, or the work on it."""
        if library != OWN:
            sought = self._digest(library, self.track(library, track).id)
            found = self.relevance(persona, library)
            return found if isinstance(found, Job) else found[sought]
        sound = self.sound(library, track)
        _, weights = self._recommender(self.persona(persona).id)
        key = key_of("relevance", recommending.ALGORITHM, weights, sound.digest)
        found = self.results.get(key)
        if found is not None:
            return found[sound.digest]
        reading = {sound.digest: lambda: sound.mix}
        work = functools.partial(self._judge, key, persona, reading, {}, on_disk=False)
        return self.jobs.submit(key, work)

    def explanation(self, question: Question) -> tuple[str, Job | None]:
        """The key of an explanation, and the work on it unless it is there."""
        if question.kind not in explaining.TYPES:
            raise Problem(422, f"`type` must be one of {', '.join(explaining.TYPES)}.")
        sound = self.sound(question.library, question.track)
        is_mix = sound.is_own and question.kind != "time"
        if is_mix and self.separator is None:
            raise Problem(422, "Without a separator, your own song is explained by Time only.")
        _, weights = self._recommender(self.persona(question.persona).id)
        parts = (self.separator.name, self.separator.version) if is_mix and self.separator else ()
        versions = (explanations.ALGORITHM, recommending.ALGORITHM)
        key = key_of("explanation", *versions, sound.digest, weights, question.kind, *parts)
        if self.results.get(key) is not None:
            return key, None
        return key, self.jobs.submit(key, functools.partial(self._explain, key, question, sound))

    def found(self, key: str) -> dict[str, Any]:
        """An explanation by its key, or a `Problem`."""
        body = self.results.get(key)
        if not isinstance(body, dict) or "record" not in body:
            raise Problem(404, "There is no such explanation.")
        return body

    def _explain(self, key: str, question: Question, sound: Sound, progress: Progress) -> None:
        recommender, _ = self._recommender(question.persona)
        stems = sound.stems
        if question.kind != "time" and not sound.sources and self.separator is not None:
            stems = self.separator(sound.mix, stems.sample_rate).mono()
            self.uploads.take_apart(sound.digest, stems)
        body = explanations.computed(recommender, stems, question.kind, progress)
        body = {**body, "sound": sound.digest, "persona": question.persona}
        self.results.put(key, body, on_disk=not sound.is_own)

    def _judge(
        self,
        key: str,
        persona: str,
        reading: recommending.Readers,
        known: recommending.Relevance,
        progress: Progress,
        on_disk: bool = True,
    ) -> None:
        recommender, _ = self._recommender(persona)
        found = recommending.judged_all(recommender, reading, known, progress)
        self.results.put(key, found, on_disk=on_disk)

    def _reading(self, library: str) -> recommending.Readers:
        """What reads each track of a library, by digest."""
        return {
            self._digest(library, track): functools.partial(self._mix, library, track)
            for track in self.library(library).tracks
        }

    def _mix(self, library: str, track: str) -> recommending.Waveform:
        return self._stems_now(library, track).waveforms.sum(axis=0)

    def _digest_now(self, library: str, track: str) -> str:
        return self.libraries[library].digest(track)

    def _stems_now(self, library: str, track: str) -> Stems:
        return self.libraries[library].stems(track)

    def _recommender_now(self, persona: str) -> tuple[Any, str]:
        path = self._home / "recommenders" / f"{persona}.npz"
        if not path.is_file():
            raise Problem(404, "This listener has no recommender here.")
        return recommenders.load(path), hashlib.sha256(path.read_bytes()).hexdigest()


def _library(folder: Path) -> Library:
    library = load_library(folder)
    if library.sample_rate != recommenders.SAMPLE_RATE:
        raise StoreError(
            f"`{folder}` has a sample rate of {library.sample_rate} Hz; the recommenders hear "
            f"{recommenders.SAMPLE_RATE} Hz. Write the library again at that rate."
        )
    return library


def _by_name(libraries: Sequence[Library]) -> Mapping[str, Library]:
    """Libraries by a name for addresses; another one of that name gets a number."""
    found: dict[str, Library] = {}
    for library in libraries:
        name = slug(library.name)
        taken = name in found or name in _RESERVED
        found[f"{name}-{len(found) + 1}" if taken else name] = library
    return found


def _sound_of_song(song: Song) -> Sound:
    sources = song.stems.names if len(song.stems.names) > 1 else ()
    return Sound(song.digest, sources, True, song.title, song.stems)
