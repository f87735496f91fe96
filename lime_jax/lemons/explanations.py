"""Explanations of recommendations: computed before, or work under way."""

import dataclasses
import functools
from typing import Any

from lime_jax.lemons import explain_track, explanation_body, relevance
from lime_jax.lemons.audience import Audience
from lime_jax.lemons.http_error import HttpError
from lime_jax.lemons.job_queue import Job, Jobs, Progress
from lime_jax.lemons.result_cache import Results, key_of
from lime_jax.lemons.track_audio import TrackAudio
from lime_jax.lemons.tracks import Tracks
from lime_jax.separation.base import Separator, with_residual


@dataclasses.dataclass(frozen=True)
class Question:
    """What somebody wants explained: a listener, a track of a library, a kind of components."""

    persona: str
    library: str
    track: str
    kind: str


class Explanations:
    """The explanations of tracks, from the results that there are or from the queue."""

    def __init__(
        self,
        audience: Audience,
        tracks: Tracks,
        results: Results,
        jobs: Jobs,
        separator: Separator | None,
    ) -> None:
        self._audience, self._tracks = audience, tracks
        self._results, self._jobs, self._separator = results, jobs, separator

    def submit(self, question: Question, *, is_wanted: bool = False) -> tuple[str, Job | None]:
        """Returns the key of an explanation, and the work on it unless it is there.

        Args:
          question: what is to be explained.
          is_wanted: the work is done even if nobody asks how far it is.

        Raises:
          HttpError: 404 if something is not there, 422 if that cannot be explained, 503 if there
            is too much to do.
        """
        if question.kind not in explain_track.TYPES:
            raise HttpError(422, f"`type` must be one of {', '.join(explain_track.TYPES)}.")
        audio = self._tracks.audio(question.library, question.track)
        needs_separator = audio.is_own and question.kind != "time"
        if needs_separator and self._separator is None:
            raise HttpError(422, "Without a separator, your own song is explained by Time only.")
        _, weights = self._audience.recommender(question.persona)
        key = self._key(audio, weights, question.kind)
        if self._results.get(key) is not None:
            return key, None
        work = functools.partial(self._explain, key, question)
        return key, self._jobs.submit(key, work, is_wanted=is_wanted)

    def body(self, key: str) -> dict[str, Any]:
        """Returns an explanation as it is stored.

        Raises:
          HttpError: 404 if there is none of that key.
        """
        body = self._results.get(key)
        if not isinstance(body, dict) or "record" not in body:
            raise HttpError(404, "There is no such explanation.")
        return body

    def _key(self, audio: TrackAudio, weights: str, kind: str) -> str:
        separator = self._separator if audio.is_own and kind != "time" else None
        parts = (separator.name, separator.version) if separator else ()
        # Who sent a track finds its explanations, and with its title; others who sent it do not.
        parts = (*parts, audio.owner) if audio.is_own else parts
        versions = (explanation_body.ALGORITHM, relevance.ALGORITHM)
        return key_of("explanation", *versions, audio.digest, weights, kind, *parts)

    def _explain(self, key: str, question: Question, progress: Progress) -> None:
        recommender, _ = self._audience.recommender(question.persona)
        audio = self._tracks.audio(question.library, question.track)
        if question.kind != "time" and not audio.sources and self._separator is not None:
            audio = self._separate(question.track, audio, self._separator)
        stems = audio.stems_for(question.kind)
        body = explanation_body.compute(recommender, stems, question.kind, progress)
        about = {"sound": audio.digest, "owner": audio.owner, "persona": question.persona}
        self._results.put(key, body | about, on_disk=not audio.is_own, owner=audio.owner)

    def _separate(self, upload_id: str, audio: TrackAudio, separator: Separator) -> TrackAudio:
        stems = separator(audio.mix, audio.whole.sample_rate).mono()
        stems = with_residual(stems, audio.mix)
        self._tracks.uploads.add_stems(upload_id, stems)
        return dataclasses.replace(audio, stems=stems, sources=stems.names)
