"""How far a run is: for people a few numbers, for machines a line of JSON per event."""

import dataclasses
import datetime
import json
import time
from pathlib import Path
from typing import Any

from lime_jax import storage


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
      total: items of this run's share of the data set.
      done: items explained, earlier runs included.
      failed: items that failed, earlier runs included.
      items_per_s: in this run, since its first batch, which compiles; NaN before.
      evaluations_per_s: of the model, likewise: masks per second.
      busy_share: of the time that the device worked, likewise.
      seconds_left: at this rate; NaN before.
    """

    total: int
    done: int
    failed: int
    items_per_s: float
    evaluations_per_s: float
    busy_share: float
    seconds_left: float

    @property
    def left(self) -> int:
        """Items that are neither explained nor failed."""
        return self.total - self.done - self.failed


class Meter:
    """Counts what a run does.

    The first batch of every engine does not count for its rates: it compiled the programs.
    """

    def __init__(self, total: int, done: int, failed: int, num_engines: int = 1) -> None:
        self.total, self.done, self.failed = total, done, failed
        self._num_engines, self._num_batches = num_engines, 0
        self._start: float | None = None
        self._items, self._evaluations, self._busy = 0.0, 0, 0.0
        self.num_evaluations, self.seconds = 0, 0.0

    def add(self, *, items: float, evaluations: int, busy: float) -> None:
        """Notes a batch: items (a snippet is a part of one), evaluations and device seconds."""
        self.num_evaluations += evaluations
        self.seconds += busy
        self._num_batches += 1
        if self._num_batches <= self._num_engines:
            self._start = time.perf_counter()
            return
        self._items += items
        self._evaluations += evaluations
        self._busy += busy

    def progress(self) -> Progress:
        """Returns where the run stands now."""
        nan = float("nan")
        elapsed = 0.0 if self._start is None else time.perf_counter() - self._start

        def per_s(amount):
            return amount / elapsed if elapsed and self._items else nan

        left = self.total - self.done - self.failed
        rate = per_s(self._items)
        return Progress(
            total=self.total,
            done=self.done,
            failed=self.failed,
            items_per_s=rate,
            evaluations_per_s=per_s(self._evaluations),
            busy_share=per_s(self._busy / self._num_engines),
            seconds_left=left / rate if rate > 0 else (0.0 if left == 0 else nan),
        )


class Log:
    """A file of JSON lines that a run appends to; each is one event with its time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, event: str, **facts: Any) -> None:
        """Appends a line. A log that cannot be written does not end the work that it describes."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "event": event, **storage.plain(facts)}, allow_nan=False)
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError:
            return
