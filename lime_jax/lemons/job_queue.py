"""The queue of long work, done one job after the other in a thread of its own."""

import dataclasses
import functools
import logging
import math
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from lime_jax.core.execution.progress import Progress
from lime_jax.lemons.http_error import HttpError

Work = Callable[[Progress], None]

SECONDS_UNASKED = 90.0
"""How long a job stays in the queue although nobody asks how far it is.

Browsers let a page that nobody looks at ask once a minute.
"""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Job:
    """A piece of work, and how far it is.

    Attributes:
      key: of its content; the same work has the same key.
      state: "queued", "running", "done" or "failed".
      done: how many steps of `total`.
      total: 0 while unknown.
      error: one sentence, where it failed.
      position: how many jobs come before it.
    """

    key: str
    state: Literal["queued", "running", "done", "failed"] = "queued"
    done: int = 0
    total: int = 0
    error: str = ""
    position: int = 0


class _Closing(Exception):
    """Ends a job at its next step."""


class Jobs:
    """A worker with a queue of limited length; equal requests become one job.

    Args:
      capacity: how many jobs may wait.
      num_kept: of how many jobs it is remembered how far they are.
    """

    def __init__(self, *, capacity: int = 32, num_kept: int = 512) -> None:
        self._last_asked: dict[str, float] = {}
        self._capacity, self._num_kept = capacity, num_kept
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._queue: queue.SimpleQueue[tuple[str, Work] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="explaining", daemon=True)
        self._thread.start()

    def submit(self, key: str, work: Work, *, is_wanted: bool = False) -> Job:
        """Queues work, unless the same is under way, and returns how far it is.

        Args:
          key: of its content.
          work: is given what it reports progress to.
          is_wanted: it is done even if nobody asks how far it is.

        Raises:
          HttpError: 503 if the queue is full.
        """
        with self._lock:
            self._drop_unwanted()
            known = self._jobs.get(key)
            if known is not None and known.state in ("queued", "running"):
                self._note_interest(key, is_wanted)
                return self._with_position(known)
            if self._num_waiting() >= self._capacity:
                raise HttpError(
                    503, "The server has too much to do just now; try again in a minute."
                )
            self._note_interest(key, is_wanted)
            job = self._jobs[key] = Job(key)
            self._jobs.move_to_end(key)
            self._forget()
            self._queue.put((key, work))
            return self._with_position(job)

    def get(self, key: str) -> Job | None:
        """Returns how far a job is; None if nobody asked for it, or long ago."""
        with self._lock:
            job = self._jobs.get(key)
            if job is None:
                return None
            self._note_interest(key)
            return self._with_position(job)

    def close(self, seconds: float = 2.0) -> bool:
        """Ends the worker at its next step; returns whether that was within so many seconds."""
        self._is_closing = True
        self._queue.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _with_position(self, job: Job) -> Job:
        if job.state != "queued":
            return job
        waiting = [key for key, other in self._jobs.items() if other.state == "queued"]
        running = any(other.state == "running" for other in self._jobs.values())
        return dataclasses.replace(job, position=waiting.index(job.key) + running)

    def _num_waiting(self) -> int:
        return sum(job.state == "queued" for job in self._jobs.values())

    def _note_interest(self, key: str, is_wanted: bool = False) -> None:
        now = math.inf if is_wanted else time.monotonic()
        self._last_asked[key] = max(now, self._last_asked.get(key, now))

    def _drop_unwanted(self) -> None:
        """Fails what nobody asks about, so that one visitor cannot fill the queue and leave."""
        oldest = time.monotonic() - SECONDS_UNASKED
        for key, job in self._jobs.items():
            if job.state == "queued" and self._last_asked[key] < oldest:
                error = "Nobody waited for this any more; ask again."
                self._jobs[key] = dataclasses.replace(job, state="failed", error=error)

    def _forget(self) -> None:
        ended = [key for key, job in self._jobs.items() if job.state in ("done", "failed")]
        for key in ended[: max(0, len(self._jobs) - self._num_kept)]:
            del self._jobs[key], self._last_asked[key]

    def _run(self) -> None:
        while (entry := self._queue.get()) is not None and not self._is_closing:
            key, work = entry
            if self._begin(key):
                self._update(key, **self._do(key, work))

    def _begin(self, key: str) -> bool:
        """Says whether a job is still wanted; one that was dropped may be queued a second time."""
        with self._lock:
            self._drop_unwanted()
            job = self._jobs.get(key)
            if job is None or job.state != "queued":
                return False
            self._jobs[key] = dataclasses.replace(job, state="running")
            return True

    def _do(self, key: str, work: Work) -> dict[str, str]:
        try:
            work(functools.partial(self._report_progress, key))
        except HttpError as error:
            return {"state": "failed", "error": error.sentence}
        except _Closing:
            return {"state": "failed", "error": "The server was stopped."}
        except Exception:  # whatever it is, the next job must find the worker alive
            _log.exception("a job failed")
            sentence = "This failed inside the server; its terminal says why."
            return {"state": "failed", "error": sentence}
        return {"state": "done"}

    def _report_progress(self, key: str, done: int, total: int) -> None:
        if self._is_closing:
            raise _Closing
        self._update(key, done=done, total=total)

    def _update(self, key: str, **changes: str | int) -> None:
        with self._lock:
            self._jobs[key] = dataclasses.replace(self._jobs[key], **changes)  # pyright: ignore[reportArgumentType]
