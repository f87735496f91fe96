"""Long work, one piece after the other in a thread of its own, while the server stays awake."""

import dataclasses
import logging
import math
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from lime_jax.lemons.http_error import Problem

Progress = Callable[[int, int], None]
Work = Callable[[Progress], None]

SECONDS_UNASKED = 90.0
"""For so long work waits in the queue although nobody asks how far it is.

Browsers let a page that nobody looks at ask once a minute.
"""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Job:
    """How far a piece of work is.

    Attributes:
      key: of its content; the same work has the same key.
      state: as it says.
      done: how many steps of `total`.
      total: 0 while unknown.
      error: one sentence, where it failed.
      position: how many pieces come before it.
    """

    key: str
    state: Literal["queued", "running", "done", "failed"] = "queued"
    done: int = 0
    total: int = 0
    error: str = ""
    position: int = 0


class _Closing(Exception):
    """Ends a piece of work at its next step."""


class Jobs:
    """A worker with a queue of limited length; equal requests become one piece of work."""

    def __init__(self, *, capacity: int = 32, num_kept: int = 512) -> None:
        self._asked: dict[str, float] = {}
        self._capacity, self._num_kept = capacity, num_kept
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._queue: queue.SimpleQueue[tuple[str, Work] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="explaining", daemon=True)
        self._thread.start()

    def submit(self, key: str, work: Work, *, is_wanted: bool = False) -> Job:
        """Queues work, unless the same is under way.

        Args:
          key: of its content.
          work: to be done.
          is_wanted: even though nobody asks how far it is.

        Raises:
          Problem: 503 if the queue is full.
        """
        with self._lock:
            self._give_up()
            known = self._jobs.get(key)
            if known is not None and known.state in ("queued", "running"):
                self._ask(key, is_wanted)
                return self._placed(known)
            if self._num_waiting() >= self._capacity:
                raise Problem(503, "The server has too much to do just now; try again in a minute.")
            self._ask(key, is_wanted)
            job = self._jobs[key] = Job(key)
            self._jobs.move_to_end(key)
            self._forget()
            self._queue.put((key, work))
            return self._placed(job)

    def get(self, key: str) -> Job | None:
        """How far it is; None if nobody asked for it, or long ago."""
        with self._lock:
            job = self._jobs.get(key)
            if job is None:
                return None
            self._ask(key)
            return self._placed(job)

    def close(self, seconds: float = 2.0) -> bool:
        """Ends the worker at its next step, and waits for that for so long; whether it ended."""
        self._is_closing = True
        self._queue.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _placed(self, job: Job) -> Job:
        if job.state != "queued":
            return job
        waiting = [key for key, other in self._jobs.items() if other.state == "queued"]
        running = any(other.state == "running" for other in self._jobs.values())
        return dataclasses.replace(job, position=waiting.index(job.key) + running)

    def _num_waiting(self) -> int:
        return sum(job.state == "queued" for job in self._jobs.values())

    def _ask(self, key: str, is_wanted: bool = False) -> None:
        now = math.inf if is_wanted else time.monotonic()
        self._asked[key] = max(now, self._asked.get(key, now))

    def _give_up(self) -> None:
        """Ends what nobody asks about, so that one visitor cannot fill the queue and leave."""
        oldest = time.monotonic() - SECONDS_UNASKED
        for key, job in self._jobs.items():
            if job.state == "queued" and self._asked[key] < oldest:
                error = "Nobody waited for this any more; ask again."
                self._jobs[key] = dataclasses.replace(job, state="failed", error=error)

    def _forget(self) -> None:
        ended = [key for key, job in self._jobs.items() if job.state in ("done", "failed")]
        for key in ended[: max(0, len(self._jobs) - self._num_kept)]:
            del self._jobs[key], self._asked[key]

    def _run(self) -> None:
        while (entry := self._queue.get()) is not None and not self._is_closing:
            key, work = entry
            if self._begin(key):
                self._update(key, **self._outcome(key, work))

    def _begin(self, key: str) -> bool:
        """Whether it is still wanted; what was given up and asked for again is queued twice."""
        with self._lock:
            self._give_up()
            job = self._jobs.get(key)
            if job is None or job.state != "queued":
                return False
            self._jobs[key] = dataclasses.replace(job, state="running")
            return True

    def _outcome(self, key: str, work: Work) -> dict[str, str]:
        try:
            work(lambda done, total: self._tell(key, done, total))
        except Problem as problem:
            return {"state": "failed", "error": problem.sentence}
        except _Closing:
            return {"state": "failed", "error": "The server was stopped."}
        except Exception:  # whatever it is, the next piece of work must find the worker alive
            _log.exception("a piece of work failed")
            sentence = "This failed inside the server; its terminal says why."
            return {"state": "failed", "error": sentence}
        return {"state": "done"}

    def _tell(self, key: str, done: int, total: int) -> None:
        if self._is_closing:
            raise _Closing
        self._update(key, done=done, total=total)

    def _update(self, key: str, **changes: str | int) -> None:
        with self._lock:
            self._jobs[key] = dataclasses.replace(self._jobs[key], **changes)  # pyright: ignore[reportArgumentType]
