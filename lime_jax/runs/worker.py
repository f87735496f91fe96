"""A data set explained from end to end, resumable at any moment."""

import collections
import contextlib
import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from lime_jax.errors import ModelError, StoreError
from lime_jax.runs import dataset_layouts, locks, ray_cluster, schema, shards, store
from lime_jax.runs.batching import batches
from lime_jax.runs.config import RunConfig, check, determining, layout_of
from lime_jax.runs.explainer import Explainer, Rows, explainer_of
from lime_jax.runs.items import Item, checked
from lime_jax.runs.progress import Log, Meter, Progress
from lime_jax.runs.reader import Failure, ahead
from lime_jax.runs.shards import Shard
from lime_jax.runs.store import Store

Report = Callable[[Progress], None]

# A model that fails on so many sounds and has explained none fails on all.
HOPELESS = 16


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
      folder: of the store.
      progress: at the end.
      shard: what part of the work it was.
      signal: that stopped it, or None.
      set_aside: damaged files that were moved away and computed again.
    """

    folder: Path
    progress: Progress
    shard: Shard
    signal: signal.Signals | None
    set_aside: tuple[Path, ...]


def run(
    config: RunConfig,
    *,
    items: Sequence[Item] | None = None,
    model: Any = None,
    report: Report | None = None,
) -> Outcome:
    """Explains every item that has no result yet, and stores part after part.

    What is stored is whole: killed at any moment, the same call goes on and loses at most the part
    that was being computed. SIGINT and SIGTERM end it after that part.

    Args:
      config: what to do; all that determines the numbers must equal that of earlier calls.
      items: the data set; None finds it by `config.source`.
      model: to use instead of loading `config.model`.
      report: told of every batch.

    Raises:
      LimeJaxError: if data set, model or store cannot be used, or the disk is full.
      ValueError: if an option is impossible.
    """
    check(config)
    if items is None:
        items = dataset_layouts.items_of(config.source, layout_of(config))
    items = checked(items, "`items`")
    if config.ray is None:
        return _run(config, items, model, report, None)
    with ray_cluster.connected(config.ray) as ray:
        return _run(config, items, model, report, ray)


def _run(
    config: RunConfig, items: Sequence[Item], model: Any, report: Report | None, ray: Any
) -> Outcome:
    shard = Shard() if ray else shards.shard_of(config.shard, os.environ)
    explainer = explainer_of(config, items, model=model)
    separator = explainer.want.separator
    asked = determining(config, explainer.model, explainer.output_names, separator)
    kept = store.create_or_join(Path(config.output_dir).absolute(), asked)
    with locks.held(kept.folder, shard):
        with locks.door(kept.folder):
            everything = store.keep_items(kept, items)
        num_engines = ray_cluster.num_engines(ray, config) if ray else 1
        pending, meter, damaged = _work(kept, config, everything, shard, num_engines)
        log = Log(kept.folder / "log" / f"{shard.index}-of-{shard.count}.jsonl")
        keep = Keep(kept, config, meter, log, report)
        with _stopping() as stopped:
            log.write(
                "start", pid=os.getpid(), shard=f"{shard.index}/{shard.count}", left=len(pending)
            )
            if ray:
                ray_cluster.explain_all(ray, config, kept, pending, keep, stopped, model=model)
            else:
                explain_all(explainer, pending, keep, stopped)
        progress = meter.progress()
        log.write("stop" if stopped else "end", **dataclasses.asdict(progress))
    folder = Path(config.output_dir)
    return Outcome(folder, progress, shard, stopped[0] if stopped else None, tuple(damaged))


class Keep:
    """Collects rows until all snippets of an item are there, and stores whole items in parts."""

    def __init__(
        self, kept: Store, config: RunConfig, meter: Meter, log: Log, report: Report | None
    ) -> None:
        self._store, self._config, self._meter = kept, config, meter
        self._log, self._report = log, report
        self._open: dict[str, list[Any]] = collections.defaultdict(list)
        self._tables: list[Any] = []
        self._failures: list[Failure] = []
        self._layouts: dict[str, Any] = {}
        self._ids: set[str] = set()
        self._failed: dict[str, str] = {}
        self._last = time.monotonic()

    def add(self, found: Rows) -> None:
        """Takes what became of a batch, and stores a part when it is full or old enough."""
        self._layouts.update(found.layouts)
        for number, snippet in enumerate(found.snippets):
            id, size = snippet.item.id, found.num_outputs
            if id in self._failed:
                continue
            self._open[id].append(found.table.slice(number * size, size))
            if len(self._open[id]) == snippet.num_snippets:
                self._tables.extend(self._open.pop(id))
                self._ids.add(id)
                self._meter.done += 1
        for failure in found.failures:
            self.fail(failure)
        self._meter.add(
            items=float(sum(1 / s.num_snippets for s in found.snippets)),
            evaluations=found.num_evaluations,
            busy=found.seconds,
        )
        self._flush_if_due()

    def fail(self, failure: Failure) -> None:
        """Takes an item that failed; one bad snippet fails all of it."""
        if failure.item.id not in self._failed:
            self._failed[failure.item.id] = failure.reason
            self._open.pop(failure.item.id, None)
            self._failures.append(failure)
            self._meter.failed += 1
            self._log.write("failure", id=failure.item.id, reason=failure.reason)
            self._flush_if_due()

    def note(self, told: Any) -> None:
        """Takes what an engine elsewhere has explained and stored."""
        self._meter.done += told.num_done
        self._meter.failed += len(told.failures)
        self._meter.add(
            items=float(told.num_done), evaluations=told.num_evaluations, busy=told.seconds
        )
        self._log.write("part", **dataclasses.asdict(self._meter.progress()))
        self.tell()

    @property
    def num_done(self) -> int:
        """Items explained, earlier runs included."""
        return self._meter.done

    @property
    def reasons(self) -> list[tuple[str, str]]:
        """Ids of all items that failed here, and why."""
        return list(self._failed.items())

    def tell(self) -> None:
        """Reports the progress."""
        if self._report is not None:
            self._report(self._meter.progress())

    def _flush_if_due(self) -> None:
        self.tell()
        num_items = len(self._ids) + len(self._failures)
        is_old = time.monotonic() - self._last > self._config.part_seconds
        if num_items >= self._config.part_items or is_old:
            self.flush()

    def flush(self) -> None:
        """Stores the items that are complete."""
        import pyarrow as pa

        self._last = time.monotonic()
        ids = self._ids | {failure.item.id for failure in self._failures}
        if not ids:
            return
        empty = schema.results_schema().empty_table()
        results = pa.concat_tables([empty, *self._tables]).unify_dictionaries()
        used = set(results["layout"].unique().to_pylist())
        found = {name: layout for name, layout in self._layouts.items() if name in used}
        failures = schema.errors_table(self._failures)
        store.write_part(self._store, results.combine_chunks(), failures, found, ids=ids)
        self._log.write("part", items=len(ids), **dataclasses.asdict(self._meter.progress()))
        self._tables, self._failures, self._ids = [], [], set()
        # What is stored need not be kept; superpixels have a layout of their own for every item.
        self._layouts = {name: self._layouts[name] for name in self._layouts.keys() - found.keys()}


def explain_all(
    explainer: Explainer,
    items: Sequence[Item],
    keep: Keep,
    stopped: Sequence[Any] = (),
    *,
    hopeless: int = HOPELESS,
) -> None:
    """Loads, explains and stores items, until all are done or `stopped` is not empty.

    Raises:
      ModelError: if the model fails on everything.
    """
    num_workers = explainer.config.num_workers or num_processors()
    loaded = ahead(_until(stopped, items), explainer.want, num_workers)
    bad: set[str] = set()
    for batch in batches(loaded, explainer.num_items):
        if isinstance(batch, Failure):
            keep.fail(batch)
            continue
        found = explainer.explain(batch)
        keep.add(found)
        bad |= {failure.item.id for failure in found.failures}
        if len(bad) >= hopeless and not keep.num_done:
            raise ModelError(
                f"all of the first {len(bad)} sounds failed: {found.failures[0].reason}"
            )
        if stopped:
            break
    keep.flush()
    keep.tell()


def num_processors() -> int:
    """Those that this process may use, where the system says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _until(stopped: Sequence[Any], items: Sequence[Item]) -> Iterator[Item]:
    for item in items:
        if stopped:
            return
        yield item


def _work(
    kept: Store, config: RunConfig, items: Sequence[Item], shard: Shard, num_engines: int
) -> tuple[list[Item], Meter, list[Path]]:
    """What is left to do for a shard, what is done, and damaged files, now out of the way."""
    store.sweep(kept)
    own = [item for item in items if shard.has(item.id)]
    if config.retry_failed:
        _forget_failures(kept, shard)
    done, failed, damaged = store.finished(kept)
    store.set_aside(kept, damaged)
    pending = [item for item in own if item.id not in done and item.id not in failed]
    num_done = sum(item.id in done for item in own)
    meter = Meter(len(own), num_done, len(own) - num_done - len(pending), num_engines)
    return pending, meter, damaged


def _forget_failures(kept: Store, shard: Shard) -> None:
    if shard.count > 1:
        raise StoreError(
            "`--retry-failed` does not go with `--shard`: the failures of all shards lie "
            "together. Run the command once without shards."
        )
    for path in kept.parts(store.ERRORS):
        path.unlink()
    store.create_or_join(kept.folder, kept.config)


@contextlib.contextmanager
def _stopping() -> Iterator[list[signal.Signals]]:
    """A list that SIGINT or SIGTERM writes itself into; the second one ends the process."""
    stopped: list[signal.Signals] = []
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        if stopped:
            raise KeyboardInterrupt
        stopped.append(signal.Signals(number))

    earlier = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
