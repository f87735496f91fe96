"""Writes the parts of a store: whole items, as Parquet files that appear whole or not at all."""

import collections
import dataclasses
import time
from collections.abc import Callable, Iterable
from typing import Any

from lime_jax import storage
from lime_jax.runs import parquet, schema
from lime_jax.runs.batch_result import BatchResult
from lime_jax.runs.config import RunConfig
from lime_jax.runs.progress import Log, Meter, Progress
from lime_jax.runs.reader import Failure
from lime_jax.runs.sources import Source
from lime_jax.runs.store import COMPONENTS, ERRORS, RESULTS, SOURCES, Store, table_schemas

Report = Callable[[Progress], None]


@dataclasses.dataclass(frozen=True)
class ChunkResult:
    """What another process did with some items.

    Attributes:
      num_done: items explained and stored.
      failures: ids and reasons of the others, stored too.
      num_evaluations: of the model.
      seconds: that its device worked.
    """

    num_done: int
    failures: tuple[tuple[str, str], ...]
    num_evaluations: int
    seconds: float


class ResultWriter:
    """Collects rows until all snippets of an item are there, and stores whole items in parts."""

    def __init__(
        self, target: Store, config: RunConfig, meter: Meter, log: Log, report: Report | None
    ) -> None:
        self._store, self._config, self._meter = target, config, meter
        self._log, self._report = log, report
        self._open: dict[str, list[Any]] = collections.defaultdict(list)
        self._tables: list[Any] = []
        self._failures: list[Failure] = []
        self._layouts: dict[str, Any] = {}
        self._ids: set[str] = set()
        self._sources: dict[str, Source] = {}
        self._failed: dict[str, str] = {}
        self._last = time.monotonic()

    def add(self, batch: BatchResult) -> None:
        """Takes the rows of a batch, and stores a part when it is full or old enough."""
        self._layouts.update(batch.layouts)
        for number, snippet in enumerate(batch.snippets):
            id, size = snippet.item.id, batch.num_outputs
            if id in self._failed:
                continue
            self._open[id].append(batch.table.slice(number * size, size))
            if len(self._open[id]) == snippet.num_snippets:
                self._tables.extend(self._open.pop(id))
                self._ids.add(id)
                self._note_source(id, snippet.source)
                self._meter.done += 1
        for failure in batch.failures:
            self.fail(failure)
        self._meter.add(
            items=float(sum(1 / snippet.num_snippets for snippet in batch.snippets)),
            evaluations=batch.num_evaluations,
            busy=batch.seconds,
        )
        self._flush_if_due()

    def fail(self, failure: Failure) -> None:
        """Takes an item that failed; one bad snippet fails all of it."""
        if failure.item.id not in self._failed:
            self._failed[failure.item.id] = failure.reason
            self._open.pop(failure.item.id, None)
            self._failures.append(failure)
            self._note_source(failure.item.id, failure.source)
            self._meter.failed += 1
            self._log.write("failure", id=failure.item.id, reason=failure.reason)
            self._flush_if_due()

    def add_stored(self, result: ChunkResult) -> None:
        """Takes what an engine elsewhere has explained and stored."""
        self._meter.done += result.num_done
        self._meter.failed += len(result.failures)
        self._meter.add(
            items=float(result.num_done), evaluations=result.num_evaluations, busy=result.seconds
        )
        self._log.write("part", **dataclasses.asdict(self._meter.progress()))
        self.report_progress()

    @property
    def num_done(self) -> int:
        """Items explained, earlier runs included."""
        return self._meter.done

    @property
    def reasons(self) -> list[tuple[str, str]]:
        """Ids of all items that failed here, and why."""
        return list(self._failed.items())

    def report_progress(self) -> None:
        """Reports the progress."""
        if self._report is not None:
            self._report(self._meter.progress())

    def _note_source(self, id: str, source: Source | None) -> None:
        if source is not None:
            self._sources[id] = source

    def _flush_if_due(self) -> None:
        self.report_progress()
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
        layouts = {name: layout for name, layout in self._layouts.items() if name in used}
        failures = schema.errors_table(self._failures)
        sources = schema.sources_table(self._sources)
        write_part(
            self._store, results.combine_chunks(), failures, layouts, ids=ids, sources=sources
        )
        self._log.write("part", items=len(ids), **dataclasses.asdict(self._meter.progress()))
        self._tables, self._failures, self._ids, self._sources = [], [], set(), {}
        # What is stored need not be kept; superpixels have a layout of their own for every item.
        self._layouts = {
            name: self._layouts[name] for name in self._layouts.keys() - layouts.keys()
        }


def write_part(
    store: Store,
    results: Any,
    failures: Any,
    layouts: dict[str, Any],
    *,
    ids: Iterable[str],
    sources: Any = None,
) -> None:
    """Stores the rows of some items, all of them or nothing of an item.

    Args:
      store: where.
      results: a table with `schema.results_schema`.
      failures: a table with `schema.errors_schema`.
      layouts: the components of all layouts in `results`.
      ids: of the items. The files are called after them, so that whoever computes the same items
        again puts the same rows in their place.
      sources: a table with `schema.sources_schema`, as far as it is known.

    Raises:
      StoreError: if it cannot be written.
    """
    name = f"{storage.digest_of_json(sorted(ids))[:24]}.parquet"
    for layout, components in layouts.items():
        target = store.folder / COMPONENTS / f"{layout}.parquet"
        if not target.exists():
            parquet.write_table(target, schema.layouts_table({layout: components}))
    # Before the results, so that there are none of which it is not known what they are of.
    if sources is not None and sources.num_rows:
        parquet.write_table(store.folder / SOURCES / name, sources)
    if failures.num_rows:
        parquet.write_table(store.folder / ERRORS / name, failures)
    if results.num_rows:
        results = results.cast(table_schemas(store.digest)[RESULTS])
        parquet.write_table(store.folder / RESULTS / name, results)
