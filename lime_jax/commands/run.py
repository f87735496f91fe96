"""The commands about whole data sets: what they do and what they print."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import tyro

from lime_jax import report
from lime_jax import settings
from lime_jax.commands import terminal
from lime_jax.runs import store, worker
from lime_jax.runs.config import RunConfig
from lime_jax.runs.progress import Progress
from lime_jax.runs.store import Store
from lime_jax.runs.worker import Outcome

STORE = tyro.conf.arg(metavar="STORE")
FAILED, MOST_FAILED = 10, 100
_SECONDS_BETWEEN_LINES = 30.0
_NUM_REASONS = 3
_NUM_PRINTED = 40


@dataclasses.dataclass(frozen=True)
class VerifyConfig:
    """Proves that a store is whole: every item once, every checksum right, one configuration.

    Attributes:
      store: a folder that `lime-jax run` wrote.
      repair: move damaged files out of the way, so that the same run computes them again.
    """

    store: Annotated[Path, tyro.conf.Positional, STORE]
    repair: bool = False


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

    store: Annotated[Path, tyro.conf.Positional, STORE]
    output_dir: Annotated[Path | None, settings.PATH] = None
    compare: tuple[Path, ...] = ()
    num_picked: int = 5


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """Writes a page about a store, with pictures and sounds, and the numbers of `aggregate`.

    Attributes:
      store: a folder that `lime-jax run` wrote.
      output_dir: where the report goes; STORE-report if not given.
      compare: further stores of the same data set, with other seeds, fills or numbers of samples,
        for U_n and N_ce.
      num_picked: how many representative clips every output gets.
      num_outputs: how many outputs get a section: those with the highest mean predictions.
    """

    store: Annotated[Path, tyro.conf.Positional, STORE]
    output_dir: Annotated[Path | None, settings.PATH] = None
    compare: tuple[Path, ...] = ()
    num_picked: int = 5
    num_outputs: int = 10


def run(config: RunConfig) -> int:
    """Runs, and says how it ended.

    Returns:
      0 if nothing failed, `FAILED` plus the number of failed items, `MOST_FAILED` at most, or 128
      plus the signal that stopped it.
    """
    with _display() as tell:
        outcome = worker.run(config, report=tell)
    progress = outcome.progress
    for path in outcome.set_aside:
        terminal.say(
            f"warning: `{path}` was damaged; it is in {store.DAMAGED}/ now and its items were "
            "computed again."
        )
    if outcome.shard.count > 1:
        shard = outcome.shard
        terminal.say(f"shard {shard.index} of {shard.count} (from {shard.source})")
    terminal.say(f"{outcome.folder}: {summary(progress)}")
    if progress.failed:
        _say_reasons(outcome)
    if outcome.signal is not None:
        terminal.say(
            f"stopped by {outcome.signal.name}; all that is done is stored. Run the same command "
            "again to go on."
        )
        return 128 + int(outcome.signal)
    return min(FAILED + progress.failed, MOST_FAILED) if progress.failed else 0


def verify(config: VerifyConfig) -> int:
    """Verifies, and says what is wrong.

    Returns:
      0 if the store is whole, else 1.
    """
    from lime_jax.runs import verify as verification

    verdict = verification.verify(config.store)
    for path in verdict.damaged:
        terminal.say(f"`{path}` is damaged: its checksums or its columns are wrong.")
    for problem in verdict.problems:
        terminal.say(problem)
    if verdict.damaged:
        if not config.repair:
            return terminal.fail(
                f"{len(verdict.damaged)} damaged; with `--repair` they are moved out of the way, "
                "and the command that made the store computes their items again.",
                code=1,
            )
        verification.repair(config.store, verdict)
        return terminal.fail("moved to damaged/; run the command that made the store.", code=1)
    parts = (
        f"{verdict.num_explained:,} explained + {verdict.num_failed:,} failed + "
        f"{verdict.num_missing:,} missing = {verdict.num_items:,} items, {verdict.num_rows:,} rows"
    )
    if verdict.is_whole:
        terminal.say(f"{config.store} is whole: {parts}")
        return 0
    return terminal.fail(f"{config.store} is not whole: {parts}", code=1)


def aggregate(config: AggregateConfig) -> int:
    """Sums up, writes the tables and prints the strongest component of every output."""
    from lime_jax.report import summary as reports
    from lime_jax.runs import aggregate as aggregation

    folder = config.output_dir or _beside(config.store, "summary")
    report.check_folder(folder)
    found, others = _opened(config)
    summed = aggregation.aggregate(found, compare=others, num_picked=config.num_picked)
    reports.write_tables(folder, found, summed)
    _print_components(summed.components.to_pylist())
    terminal.say(f"tables: {folder}")
    return 0


def write_report(config: ReportConfig) -> int:
    """Writes the page."""
    from lime_jax.report import summary as reports

    folder = config.output_dir or _beside(config.store, "report")
    found, others = _opened(config)
    path = reports.write_report(
        folder,
        found,
        compare=others,
        num_outputs=config.num_outputs,
        num_picked=config.num_picked,
    )
    terminal.say(f"report: {path}")
    return 0


def summary(progress: Progress) -> str:
    """Where a run stands, in a line."""
    counts = (
        f"{progress.done:,} explained, {progress.failed:,} failed, {progress.left:,} left of "
        f"{progress.total:,} items"
    )
    return f"{counts}{f' ({rates})' if (rates := speed(progress)) else ''}"


def speed(progress: Progress) -> str:
    """Items and masks per second and the share of the time the device worked; empty if unknown."""
    if not progress.items_per_s > 0:
        return ""
    return (
        f"{progress.items_per_s:.3g} items/s, {progress.evaluations_per_s:,.0f} masks/s, device "
        f"busy {progress.busy_share:.0%}"
    )


def _beside(folder: Path, ending: str) -> Path:
    folder = folder.resolve()
    return folder.with_name(f"{folder.name}-{ending}")


def _opened(config: AggregateConfig | ReportConfig) -> tuple[Store, list[Store]]:
    if isinstance(config, ReportConfig) and config.num_outputs < 1:
        raise ValueError(f"`--num-outputs` must be at least 1, got {config.num_outputs}.")
    if config.num_picked < 1:
        raise ValueError(f"`--num-picked` must be at least 1, got {config.num_picked}.")
    return store.open_store(config.store), [store.open_store(path) for path in config.compare]


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


def _say_reasons(outcome: Outcome) -> None:
    errors = store.errors(store.open_store(outcome.folder), _NUM_REASONS)
    for row in errors:
        terminal.say(f"{row['id']}: {row['reason']}")
    if outcome.progress.failed > len(errors):
        terminal.say(f"all reasons: {outcome.folder / store.ERRORS}")


@contextlib.contextmanager
def _display() -> Iterator[Any]:
    """A bar, or on no terminal a line every half minute."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rates]}"))
    bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
    row, last = bar.add_task("", total=None, rates="compiling"), time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal last
        failed = f"{progress.failed:,} failed, " if progress.failed else ""
        left = f", {_time(progress.seconds_left)} left" if progress.seconds_left > 0 else ""
        rates = f"{failed}{speed(progress)}{left}"
        bar.update(
            row, completed=progress.done + progress.failed, total=progress.total, rates=rates
        )
        if not console.is_terminal and time.monotonic() - last > _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            terminal.say(f"{summary(progress)}{left}")

    with bar:
        yield tell


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
