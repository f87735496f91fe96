"""Questions to a store in SQL; DuckDB does the work, out of memory where it must."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lime_jax.errors import StoreError
from lime_jax.runs import store
from lime_jax.runs.store import Store

_MEMORY = "1GB"

_VIEWS = {
    "results": store.RESULTS,
    "components": store.COMPONENTS,
    "errors": store.ERRORS,
}


@contextmanager
def connect(target: Store) -> Iterator[Any]:
    """Yields a DuckDB connection with the views results, components, errors and items.

    Raises:
      StoreError: if a query fails, for example on a damaged file.
    """
    import duckdb

    if not (target.folder / store.ITEMS).exists():
        raise StoreError(
            f"`{target.folder}` holds no results yet. Run `lime-jax run` to the end first."
        )
    with duckdb.connect(config={"memory_limit": _MEMORY}) as connection:
        try:
            for name, table in _VIEWS.items():
                _create_view(connection, name, target.folder / table / "*.parquet")
            _create_view(connection, "items", target.folder / store.ITEMS)
            yield connection
        except duckdb.Error as error:
            reason = " ".join(str(error).split())[:300]
            raise StoreError(
                f"`{target.folder}` cannot be read ({reason}). `lime-jax verify {target.folder}` "
                "tells what is damaged."
            ) from error


def add_view(connection: Any, name: str, target: Store) -> None:
    """Adds a further view, of the results of another store."""
    _create_view(connection, name, target.folder / store.RESULTS / "*.parquet")


def _create_view(connection: Any, name: str, files: Path) -> None:
    # Views take no parameters; quotes are doubled, and a glob stays one.
    text = str(files).replace("'", "''")
    connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{text}')")
