"""The application: its listeners, tracks, recommendations and explanations, kept in order."""

import threading
from collections.abc import Sequence
from pathlib import Path

from lime_jax.lemons.audience import Audience
from lime_jax.lemons.explanations import Explanations, Question
from lime_jax.lemons.job_queue import Job, Jobs
from lime_jax.lemons.memory_cache import MemoryCache
from lime_jax.lemons.recommendations import Recommendations
from lime_jax.lemons.result_cache import Results
from lime_jax.lemons.tracks import Tracks
from lime_jax.separation.base import Separator

DEFAULT_PERSONA, DEFAULT_KIND = 3, "time-source"
"""What is chosen at first: the fourth listener and both, as in LEMONS."""

_SECONDS_BETWEEN_TIDYING = 30.0


class Application:
    """Everything that the server serves.

    Attributes:
      separator: takes uploads apart; without one they are explained by time only.
      audience: the listeners.
      tracks: of the libraries and of users.
      recommendations: the relevance of the tracks.
      explanations: of the relevance.
      results, jobs: what was computed, and what is being computed.
      files: sound files that were served, in memory.
    """

    def __init__(
        self,
        home: Path,
        *,
        cache: Path,
        libraries: Sequence[Path] = (),
        separator: Separator | None = None,
    ) -> None:
        self.separator = separator
        self.audience, self.tracks = Audience(home), Tracks((home, *libraries))
        self.results, self.jobs = Results(cache), Jobs()
        shared = (self.audience, self.tracks, self.results, self.jobs)
        self.recommendations = Recommendations(*shared)
        self.explanations = Explanations(*shared, separator)
        self.files: MemoryCache[bytes] = MemoryCache(len)
        self._is_closed = threading.Event()
        threading.Thread(target=self._tidy_always, name="tidying", daemon=True).start()

    @property
    def default_persona(self) -> str:
        """Returns the id of the listener that the page shows first."""
        personas = list(self.audience.personas)
        return personas[min(DEFAULT_PERSONA, len(personas) - 1)]

    def warm_up(self) -> Job | None:
        """Starts on what the page asks first, so that its programs are compiled when somebody asks.

        Returns:
          The work; None if it was done before.
        """
        persona, library = self.default_persona, next(iter(self.tracks.libraries))
        relevance = self.recommendations.of_library(persona, library, is_wanted=True)
        if isinstance(relevance, Job):
            return relevance
        track = min(
            self.tracks.libraries[library].tracks,
            key=lambda track: (-relevance[self.tracks.digest(library, track)], track),
        )
        question = Question(persona, library, track, DEFAULT_KIND)
        return self.explanations.submit(question, is_wanted=True)[1]

    def tidy(self) -> None:
        """Drops whatever is about uploads that are forgotten."""
        uploads = self.tracks.uploads.ids()
        self.results.retain(uploads)
        self.files.retain(uploads)

    def close(self) -> bool:
        """Ends the work under way; returns whether it did end."""
        self._is_closed.set()
        return self.jobs.close()

    def _tidy_always(self) -> None:
        while not self._is_closed.wait(_SECONDS_BETWEEN_TIDYING):
            self.tidy()
