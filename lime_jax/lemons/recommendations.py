"""How relevant tracks are to listeners: known beforehand, computed before, or work under way."""

import functools

from lime_jax.lemons import relevance
from lime_jax.lemons.audience import Audience
from lime_jax.lemons.job_queue import Job, Jobs, Progress
from lime_jax.lemons.relevance import Readers, Relevance
from lime_jax.lemons.result_cache import Results, key_of
from lime_jax.lemons.tracks import OWN, Tracks


class Recommendations:
    """The relevance of tracks, from the results that there are or from the queue."""

    def __init__(self, audience: Audience, tracks: Tracks, results: Results, jobs: Jobs) -> None:
        self._audience, self._tracks = audience, tracks
        self._results, self._jobs = results, jobs

    def of_library(self, persona: str, library: str, *, is_wanted: bool = False) -> Relevance | Job:
        """Returns the relevance of all tracks by digest, or the work on it.

        Args:
          persona: the listener.
          library: of the tracks.
          is_wanted: the work is done even if nobody asks how far it is.

        Raises:
          HttpError: 404 if something is not there, 503 if there is too much to do.
        """
        _, weights = self._audience.recommender(persona)
        readers = self._tracks.readers(library)
        known = relevance.read_precomputed(self._tracks.library(library).folder, weights)
        if readers.keys() <= known.keys():
            return {digest: known[digest] for digest in readers}
        key = key_of("relevance", relevance.ALGORITHM, weights, *readers)
        stored = self._results.get(key)
        if stored is not None:
            return stored
        work = functools.partial(self._compute, key, persona, readers, known)
        return self._jobs.submit(key, work, is_wanted=is_wanted)

    def of_track(self, persona: str, library: str, track: str) -> float | Job:
        """Returns the relevance of a track of a library or of an upload, or the work on it.

        Raises:
          HttpError: 404 if something is not there, 503 if there is too much to do.
        """
        if library != OWN:
            digest = self._tracks.digest(library, self._tracks.track(library, track).id)
            relevances = self.of_library(persona, library)
            return relevances if isinstance(relevances, Job) else relevances[digest]
        audio = self._tracks.audio(library, track)
        _, weights = self._audience.recommender(persona)
        key = key_of("relevance", relevance.ALGORITHM, weights, audio.digest, track)
        stored = self._results.get(key)
        if stored is not None:
            return stored[audio.digest]
        readers = {audio.digest: lambda: self._tracks.audio(library, track).mix}
        work = functools.partial(self._compute, key, persona, readers, {}, owner=track)
        return self._jobs.submit(key, work)

    def compute(self, persona: str) -> tuple[str, Relevance]:
        """Returns the digest of a recommender and what it says of the first library, at once."""
        recommender, weights = self._audience.recommender(persona)
        readers = self._tracks.readers(next(iter(self._tracks.libraries)))
        return weights, relevance.compute_all(recommender, readers, {}, lambda done, total: None)

    def _compute(
        self,
        key: str,
        persona: str,
        readers: Readers,
        known: Relevance,
        progress: Progress,
        owner: str | None = None,
    ) -> None:
        recommender, _ = self._audience.recommender(persona)
        relevances = relevance.compute_all(recommender, readers, known, progress)
        self._results.put(key, relevances, on_disk=owner is None, owner=owner)
