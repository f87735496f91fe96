"""The command that sums up a store."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lime_jax.commands import terminal
from lime_jax.commands.annotations import command
from lime_jax.report.folder import check_folder
from lime_jax.report.summary import write_tables
from lime_jax.runs.aggregate import aggregate
from lime_jax.runs.store import Store, open_store

_NUM_PRINTED = 40


@command(store="STORE")
@dataclasses.dataclass(frozen=True)
class AggregateConfig:
    """Sums up a store: what the model listens to, per output, group and component.

    Attributes:
      store: a folder that `lime-jax run` wrote.
      output_dir: where the tables go, as Parquet and CSV; STORE-summary if not given.
      compare: further stores of the same data set, with other seeds, fills or numbers of samples,
        for U_n and N_ce.
      num_picked: how many representative explanations of every output.
    """

    store: Path
    output_dir: Path | None = None
    compare: tuple[Path, ...] = ()
    num_picked: int = 5


def run(config: AggregateConfig) -> int:
    """Sums up, writes the tables and prints the components of every output; returns 0."""
    folder = config.output_dir or folder_beside(config.store, "summary")
    check_folder(folder)
    store, others = open_stores(config.store, config.compare, config.num_picked)
    summary = aggregate(store, compare=others, num_picked=config.num_picked)
    write_tables(folder, store, summary)
    _print_components(summary.components.to_pylist())
    terminal.say(f"tables: {folder}")
    return 0


def folder_beside(folder: Path, ending: str) -> Path:
    """Returns the folder FOLDER-ENDING, where a command writes if no other place is named."""
    folder = folder.resolve()
    return folder.with_name(f"{folder.name}-{ending}")


def open_stores(
    folder: Path, compare: Sequence[Path], num_picked: int
) -> tuple[Store, list[Store]]:
    """Opens a store and those to compare it with.

    Raises:
      StoreError: if one is no store.
      ValueError: if `num_picked` is impossible.
    """
    if num_picked < 1:
        raise ValueError(f"`--num-picked` must be at least 1, got {num_picked}.")
    return open_store(folder), [open_store(path) for path in compare]


def _print_components(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("output", "component", "mean weight", "std", "same sign", "top for", box=None)
    of_all = [row for row in rows if row["group"] is None]
    for row in of_all[:_NUM_PRINTED]:
        names = (escape(row["output"]), escape(row["component"]))
        shares = (f"{row[key]:.0%}" for key in ("sign_consistency", "top_positive_share"))
        table.add_row(*names, f"{row['mean']:+.3f}", f"{row['std'] or 0:.3f}", *shares)
    console = Console()
    console.print(table)
    if len(of_all) > _NUM_PRINTED:
        console.print(f"{len(of_all) - _NUM_PRINTED} further rows in the tables")
