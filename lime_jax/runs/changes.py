"""Items whose files hold other sounds than when they were explained: found and forgotten."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lime_jax import storage
from lime_jax.errors import StoreError
from lime_jax.runs import locks, parquet, schema, sources
from lime_jax.runs.items import Item
from lime_jax.runs.sources import Source
from lime_jax.runs.store import EMPTY, ERRORS, RESULTS, SOURCES, Store, read


def forget_changed(store: Store, items: Sequence[Item]) -> tuple[str, ...]:
    """Removes what is stored of items whose files hold something else now; returns their ids."""
    found = sources.compare(items, stored_sources(store))
    # Items of other shards may lie in the same parts.
    with locks.exclusive_folder(store.folder):
        if found.changed:
            _forget(store, found.changed)
        if found.touched:
            _write_sources(store, found.touched)
    return found.changed


def stored_sources(store: Store) -> dict[str, Source]:
    """Returns what the files of items were when they were explained, as far as that is known."""
    known: dict[str, Source] = {}
    for path in sorted(store.parts(SOURCES), key=_modified):
        with contextlib.suppress(StoreError):  # without it, its items just cannot be compared
            known.update({row.pop("id"): Source(**row) for row in read(path).to_pylist()})
    return known


def _write_sources(store: Store, changed: Mapping[str, Source]) -> None:
    name = f"{storage.digest_of_json([sorted(changed), time.time_ns()])[:24]}.parquet"
    parquet.write_table(store.folder / SOURCES / name, schema.sources_table(changed))


def _forget(store: Store, ids: Sequence[str]) -> None:
    import pyarrow as pa

    gone = set(ids)
    for table in (RESULTS, ERRORS, SOURCES):
        for path in store.parts(table):
            if path.name == EMPTY:
                continue
            with contextlib.suppress(StoreError):  # what is damaged is set aside later
                rows = read(path)
                rest = rows.filter(pa.array([id not in gone for id in rows["id"].to_pylist()]))
                if not rest.num_rows:
                    path.unlink()
                elif rest.num_rows < rows.num_rows:
                    parquet.write_table(path, rest)


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
