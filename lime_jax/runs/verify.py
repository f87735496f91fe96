"""Proves that a store is whole."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lime_jax.errors import StoreError
from lime_jax.outputs import OutputSelection
from lime_jax.runs import sql_views, store
from lime_jax.runs.store import Store


@dataclasses.dataclass(frozen=True)
class Verification:
    """What a store holds and what is wrong with it.

    Attributes:
      num_items: in the data set.
      num_explained: items with all their rows.
      num_failed: items with a reason why they have none.
      num_rows: of results.
      damaged: files whose checksums or structure are wrong.
      problems: everything else that is wrong, a sentence each.
    """

    num_items: int
    num_explained: int
    num_failed: int
    num_rows: int
    damaged: tuple[Path, ...]
    problems: tuple[str, ...]

    @property
    def num_missing(self) -> int:
        """Items that are neither explained nor failed."""
        return self.num_items - self.num_explained - self.num_failed

    @property
    def is_whole(self) -> bool:
        """Whether every item is accounted for once and nothing is damaged."""
        return not (self.num_missing or self.damaged or self.problems)


def verify(folder: Path) -> Verification:
    """Reads all of a store and compares it with its own promises.

    Every page of every file is read against its checksum; explained and failed items must make up
    the data set; no item may have too many rows, too few or rows of another configuration; and the
    components of every row must be known.

    Raises:
      StoreError: if there is no store, or its data set cannot be read.
    """
    target = store.open_store(folder)
    store.read(folder / store.ITEMS)
    damaged = tuple(_damaged_parts(target))
    if damaged:
        return Verification(len(target.items()), 0, 0, 0, damaged, ())
    with sql_views.connect(target) as connection:

        def count(text):
            return connection.execute(text).fetchone()[0]

        return Verification(
            num_items=count("SELECT count(*) FROM items"),
            num_explained=count("SELECT count(DISTINCT id) FROM results"),
            num_failed=count("SELECT count(DISTINCT id) FROM errors"),
            num_rows=count("SELECT count(*) FROM results"),
            damaged=(),
            problems=tuple(_problems(connection, target)),
        )


def repair(folder: Path, verification: Verification) -> None:
    """Moves damaged files out of the way; the command that made the store computes them again."""
    store.set_aside(store.open_store(folder), verification.damaged)


def _damaged_parts(target: Store) -> Iterator[Path]:
    for table, columns in store.table_schemas("").items():
        for path in target.parts(table):
            try:
                if not store.read(path).schema.equals(columns):
                    yield path
            except StoreError:
                yield path


_CHECKS = {
    "{} have results and an error: {}.": """
        SELECT DISTINCT id FROM results SEMI JOIN errors USING (id)""",
    "{} failed more than once: {}.": """
        SELECT id FROM errors GROUP BY id HAVING count(*) > 1""",
    "{} are not in the data set: {}.": """
        SELECT id FROM (SELECT id FROM results UNION SELECT id FROM errors)
        ANTI JOIN items USING (id)""",
    "{} have rows twice: {}.": """
        SELECT DISTINCT id FROM results GROUP BY id, snippet, output_index HAVING count(*) > 1""",
    "{} lack rows: {}.": """
        SELECT id FROM results GROUP BY id
        HAVING count(DISTINCT snippet) <> max(num_snippets)
            OR count(*) <> max(num_snippets) * $rows_per_snippet""",
    "{} have components that are not described: {}.": """
        SELECT DISTINCT id FROM results ANTI JOIN components USING (layout)""",
}


def _problems(connection: Any, target: Store) -> Iterator[str]:
    names = target.config["output_names"]
    outputs = OutputSelection.parse_stored(target.config["outputs"]).resolve(names)
    for sentence, text in _CHECKS.items():
        given = {"rows_per_snippet": outputs.count} if "$" in text else {}
        ids = [id for (id,) in connection.execute(f"{text} ORDER BY id", given).fetchall()]
        if ids:
            shown = ", ".join(map(repr, ids[:3])) + (" …" if len(ids) > 3 else "")
            yield sentence.format("1 item" if len(ids) == 1 else f"{len(ids)} items", shown)
    for path in target.parts(store.RESULTS):
        other = store.digest_of_part(path)
        if path.stem != "none" and other != target.digest:
            yield f"`{path}` belongs to another configuration ({other})."
