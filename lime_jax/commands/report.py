"""The command that writes a page about a store."""

import dataclasses
from pathlib import Path

from lime_jax.commands import terminal
from lime_jax.commands.aggregate import folder_beside, open_stores
from lime_jax.commands.annotations import command
from lime_jax.report.summary import write_report


@command(store="STORE")
@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """Writes a page about a store, with pictures and sounds, and the numbers of `aggregate`.

    Attributes:
      store: a folder that `lime-jax run` wrote.
      output_dir: where the report goes; STORE-report if not given.
      compare: further stores of the same data set, with other seeds, fills or numbers of samples,
        for U_n and N_ce.
      num_picked: how many representative excerpts every output gets.
      num_outputs: how many outputs get a section: those with the highest mean predictions.
    """

    store: Path
    output_dir: Path | None = None
    compare: tuple[Path, ...] = ()
    num_picked: int = 5
    num_outputs: int = 10


def run(config: ReportConfig) -> int:
    """Writes the page and says where; returns 0."""
    folder = config.output_dir or folder_beside(config.store, "report")
    if config.num_outputs < 1:
        raise ValueError(f"`--num-outputs` must be at least 1, got {config.num_outputs}.")
    store, others = open_stores(config.store, config.compare, config.num_picked)
    path = write_report(
        folder,
        store,
        compare=others,
        num_outputs=config.num_outputs,
        num_picked=config.num_picked,
    )
    terminal.say(f"report: {path}")
    return 0
