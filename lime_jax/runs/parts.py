"""The parts of a store: Parquet files that appear whole, called after the items in them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lime_jax import storage
from lime_jax.runs import parquet, schema
from lime_jax.runs.store import COMPONENTS, DIGEST_KEY, ERRORS, RESULTS, Store, table_schemas


def write_part(
    store: Store, results: Any, failures: Any, layouts: dict[str, Any], *, ids: Iterable[str]
) -> None:
    """Stores the rows of some items, all of them or nothing of an item.

    Args:
      store: where.
      results: a table with `schema.results_schema`.
      failures: a table with `schema.errors_schema`.
      layouts: the components of all layouts in `results`.
      ids: of the items. The files are called after them, so that whoever computes the same items
        again puts the same rows in their place.

    Raises:
      StoreError: if it cannot be written.
    """
    name = f"{storage.digest_of_json(sorted(ids))[:24]}.parquet"
    for layout, components in layouts.items():
        target = store.folder / COMPONENTS / f"{layout}.parquet"
        if not target.exists():
            parquet.write_table(target, schema.layouts_table({layout: components}))
    if failures.num_rows:
        parquet.write_table(store.folder / ERRORS / name, failures)
    if results.num_rows:
        results = results.cast(table_schemas(store.digest)[RESULTS])
        parquet.write_table(store.folder / RESULTS / name, results)


def stored_ids(store: Store) -> tuple[set[str], set[str], list[Path]]:
    """Returns the ids with results, the ids that failed, and files that are damaged."""
    import pyarrow as pa

    stored: dict[str, set[str]] = {RESULTS: set(), ERRORS: set()}
    damaged = []
    for table, ids in stored.items():
        for path in store.parts(table):
            try:
                column = parquet.read_table(path, ["id"])["id"]
            except (pa.ArrowException, OSError):
                damaged.append(path)
            else:
                ids.update(column.unique().to_pylist())
    return stored[RESULTS], stored[ERRORS], damaged


def digest_of_part(path: Path) -> str | None:
    """Returns the digest of the configuration that a file of results was computed with."""
    from pyarrow import parquet

    metadata = parquet.read_schema(path).metadata or {}
    return metadata.get(DIGEST_KEY, b"").decode("ascii", "replace") or None
