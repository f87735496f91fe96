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
def connected(found: Store) -> Iterator[Any]:
    """A DuckDB connection with the views results, components, errors and items.

    Raises:
      StoreError: if a query fails, for example on a damaged file.
    """
    import duckdb

    if not (found.folder / store.ITEMS).exists():
        raise StoreError(
            f"`{found.folder}` holds no results yet. Run `lime-jax run` to the end first."
        )
    with duckdb.connect(config={"memory_limit": _MEMORY}) as connection:
        try:
            for name, table in _VIEWS.items():
                _view(connection, name, found.folder / table / "*.parquet")
            _view(connection, "items", found.folder / store.ITEMS)
            yield connection
        except duckdb.Error as error:
            reason = " ".join(str(error).split())[:300]
            raise StoreError(
                f"`{found.folder}` cannot be read ({reason}). `lime-jax verify {found.folder}` "
                "tells what is damaged."
            ) from error


def view(connection: Any, name: str, found: Store) -> None:
    """A further view, of the results of another store."""
    _view(connection, name, found.folder / store.RESULTS / "*.parquet")


def _view(connection: Any, name: str, files: Path) -> None:
    # Views take no parameters; quotes are doubled, and a glob stays one.
    text = str(files).replace("'", "''")
    connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{text}')")
