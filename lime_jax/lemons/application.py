"""What the application knows and keeps: listeners, libraries, recommenders, results, songs."""

import dataclasses
import functools
import hashlib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lime_jax.errors import StoreError
from lime_jax.lemons import audio_responses, explain_track, explanation_body
from lime_jax.lemons import relevance as recommending
from lime_jax.lemons.http_error import Problem
from lime_jax.lemons.job_queue import Job, Jobs, Progress
from lime_jax.lemons.library import Library, Track, load_catalogue, load_library
from lime_jax.lemons.listeners import Persona, load_personas, plays_of
from lime_jax.lemons.memory_cache import Kept
from lime_jax.lemons.result_cache import Results, key_of
from lime_jax.lemons.uploads import Song, Uploads
from lime_jax.models import recommender as recommenders
from lime_jax.report.naming import slug
from lime_jax.separation.base import Separator, Stems, with_residual

OWN = "own"
"""The library of the songs that users bring."""

DEFAULT_PERSONA, DEFAULT_KIND = 3, "time-source"
"""What is chosen at first: the fourth listener and both, as in LEMONS."""

_RESERVED = (OWN, "explanations")
_NUM_RECOMMENDERS = 16
_HEADROOM = 0.5
_SECONDS_UNTIDY = 30.0


@dataclasses.dataclass(frozen=True, eq=False)
class Sound:
    """A track of a library or a song of a user.

    Attributes:
      digest: of what is heard.
      sources: names of the stems; none of a song that nobody took apart yet.
      owner: the id of a song of a user; None for a track of a library.
      title: to show.
      whole: what the recommender hears: the song as it was sent, or the stems of a track.
      stems: the sources, which add up to the whole; or that alone.
    """

    digest: str
    sources: tuple[str, ...]
    owner: str | None
    title: str
    whole: Stems
    stems: Stems

    @property
    def is_own(self) -> bool:
        """Whether it is a song of a user."""
        return self.owner is not None

    @property
    def mix(self) -> recommending.Waveform:
        """What the recommender hears."""
        return self.whole.waveforms.sum(axis=0)

    @property
    def gain(self) -> float:
        """Of all sounds of this track: no selection of its sources clips, all are equally loud.

        A song of a user leaves its stems some room, and so keeps it when it is taken apart, unless
        they need even more.
        """
        room = _HEADROOM if self.is_own else 1
        whole = audio_responses.common_gain(self.whole.waveforms / room)
        return min(whole, audio_responses.common_gain(self.stems.waveforms))

    def explained(self, kind: str) -> Stems:
        """What an explanation of a kind is about."""
        return self.whole if kind == "time" else self.stems


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
        self.files: Kept[bytes] = Kept(len)
        self._digest = functools.lru_cache(4096)(self._digest_now)
        self._stems: Kept[Stems] = Kept(lambda stems: stems.waveforms.nbytes)
        self._recommender = functools.lru_cache(_NUM_RECOMMENDERS)(self._recommender_now)
        self._is_closed = threading.Event()
        threading.Thread(target=self._tidy_always, name="tidying", daemon=True).start()

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
        relevance = self.relevance(persona, library, is_wanted=True)
        if isinstance(relevance, Job):
            return relevance
        track = min(
            self.libraries[library].tracks,
            key=lambda track: (-relevance[self._digest(library, track)], track),
        )
        question = Question(persona, library, track, DEFAULT_KIND)
        return self.explanation(question, is_wanted=True)[1]

    def close(self) -> bool:
        """Ends the work under way; whether it did end."""
        self._is_closed.set()
        return self.jobs.close()

    def tidy(self) -> None:
        """Drops whatever is about songs that are forgotten."""
        songs = self.uploads.ids()
        self.results.retain(songs)
        self.files.retain(songs)

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
        title = self.track(library, track).title
        make = functools.partial(self._stems_now, library, track)
        stems = self._stems.get((library, track), make)
        return Sound(self._digest(library, track), stems.names, None, title, stems, stems)

    def sound_of(self, body: Mapping[str, Any]) -> Sound:
        """What an explanation is about, or a `Problem`."""
        if (owner := body.get("owner")) is not None:
            return self.sound(OWN, owner)
        for name, library in self.libraries.items():
            for track in library.tracks:
                if self._digest(name, track) == body["sound"]:
                    return self.sound(name, track)
        raise Problem(404, "The track of that explanation is not here any more.")

    def relevance(
        self, persona: str, library: str, *, is_wanted: bool = False
    ) -> recommending.Relevance | Job:
        """The relevance of all tracks by digest, or the work on it, wanted even if nobody waits."""
        _, weights = self._recommender(self.persona(persona).id)
        digests = self._reading(library)
        known = recommending.precomputed(self.library(library).folder, weights)
        if digests.keys() <= known.keys():
            return {digest: known[digest] for digest in digests}
        key = key_of("relevance", recommending.ALGORITHM, weights, *digests)
        found = self.results.get(key)
        if found is not None:
            return found
        work = functools.partial(self._judge, key, persona, digests, known)
        return self.jobs.submit(key, work, is_wanted=is_wanted)

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
        key = key_of("relevance", recommending.ALGORITHM, weights, sound.digest, track)
        found = self.results.get(key)
        if found is not None:
            return found[sound.digest]
        reading = {sound.digest: lambda: self.sound(library, track).mix}
        work = functools.partial(self._judge, key, persona, reading, {}, owner=track)
        return self.jobs.submit(key, work)

    def explanation(self, question: Question, *, is_wanted: bool = False) -> tuple[str, Job | None]:
        """The key of an explanation, and the work on it unless it is there; see `relevance`."""
        if question.kind not in explain_track.TYPES:
            raise Problem(422, f"`type` must be one of {', '.join(explain_track.TYPES)}.")
        sound = self.sound(question.library, question.track)
        is_mix = sound.is_own and question.kind != "time"
        if is_mix and self.separator is None:
            raise Problem(422, "Without a separator, your own song is explained by Time only.")
        _, weights = self._recommender(self.persona(question.persona).id)
        parts = (self.separator.name, self.separator.version) if is_mix and self.separator else ()
        # Who brought a song finds its explanations, and with its title; others of it do not.
        parts = (*parts, sound.owner) if sound.is_own else parts
        versions = (explanation_body.ALGORITHM, recommending.ALGORITHM)
        key = key_of("explanation", *versions, sound.digest, weights, question.kind, *parts)
        if self.results.get(key) is not None:
            return key, None
        work = functools.partial(self._explain, key, question)
        return key, self.jobs.submit(key, work, is_wanted=is_wanted)

    def found(self, key: str) -> dict[str, Any]:
        """An explanation by its key, or a `Problem`."""
        body = self.results.get(key)
        if not isinstance(body, dict) or "record" not in body:
            raise Problem(404, "There is no such explanation.")
        return body

    def _tidy_always(self) -> None:
        while not self._is_closed.wait(_SECONDS_UNTIDY):
            self.tidy()

    def _explain(self, key: str, question: Question, progress: Progress) -> None:
        recommender, _ = self._recommender(question.persona)
        sound = self.sound(question.library, question.track)
        if question.kind != "time" and not sound.sources and self.separator is not None:
            sound = self._taken_apart(question.track, sound, self.separator)
        stems = sound.explained(question.kind)
        body = explanation_body.computed(recommender, stems, question.kind, progress)
        about = {"sound": sound.digest, "owner": sound.owner, "persona": question.persona}
        self.results.put(key, body | about, on_disk=not sound.is_own, owner=sound.owner)

    def _taken_apart(self, song_id: str, sound: Sound, separator: Separator) -> Sound:
        found = separator(sound.mix, sound.whole.sample_rate).mono()
        stems = with_residual(found, sound.mix)
        self.uploads.take_apart(song_id, stems)
        return dataclasses.replace(sound, stems=stems, sources=stems.names)

    def _judge(
        self,
        key: str,
        persona: str,
        reading: recommending.Readers,
        known: recommending.Relevance,
        progress: Progress,
        owner: str | None = None,
    ) -> None:
        recommender, _ = self._recommender(persona)
        found = recommending.judged_all(recommender, reading, known, progress)
        self.results.put(key, found, on_disk=owner is None, owner=owner)

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
    stems, sources = (song.stems, song.stems.names) if song.stems else (song.mix, ())
    return Sound(song.digest, sources, song.id, song.title, song.mix, stems)
