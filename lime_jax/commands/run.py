"""The command that explains a data set: what it prints while it runs, and how it ends."""

import contextlib
import time
from collections.abc import Callable, Iterator

from lime_jax.commands import terminal
from lime_jax.commands.annotations import command
from lime_jax.runs import driver, store
from lime_jax.runs.config import RunConfig
from lime_jax.runs.driver import RunResult
from lime_jax.runs.progress import Progress

FAILED, MOST_FAILED = 10, 100
_SECONDS_BETWEEN_LINES = 30.0
_NUM_REASONS = 3


@command(source="SOURCE", output_dir="STORE")
class RunArguments(RunConfig):
    """Explains a model on every sound of a data set; the same command goes on after a stop."""


def run(arguments: RunArguments) -> int:
    """Runs, and says how it ended.

    Returns:
      0 if nothing failed, `FAILED` plus the number of failed items, `MOST_FAILED` at most, or 128
      plus the signal that stopped it.
    """
    config = RunConfig(**vars(arguments))
    with _display() as show:
        result = driver.run(config, report=show, say=terminal.say)
    progress = result.progress
    for path in result.set_aside:
        terminal.say(
            f"warning: `{path}` was damaged; it is in {store.DAMAGED}/ now and its items were "
            "computed again."
        )
    terminal.say(f"{result.folder}: {summary(progress)}")
    if progress.failed:
        _say_reasons(result)
    if result.signal is not None:
        terminal.say(
            f"stopped by {result.signal.name}; all that is done is stored. Run the same command "
            "again to go on."
        )
        return 128 + int(result.signal)
    return min(FAILED + progress.failed, MOST_FAILED) if progress.failed else 0


def summary(progress: Progress) -> str:
    """Returns where a run stands, in a line."""
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


def _say_reasons(result: RunResult) -> None:
    errors = store.errors(store.open_store(result.folder), _NUM_REASONS)
    for row in errors:
        terminal.say(f"{row['id']}: {row['reason']}")
    if result.progress.failed > len(errors):
        terminal.say(f"all reasons: {result.folder / store.ERRORS}")


@contextlib.contextmanager
def _display() -> Iterator[Callable[[Progress], None]]:
    """A bar, or on no terminal a line every half minute."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rates]}"))
    bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
    row, last = bar.add_task("", total=None, rates="compiling"), time.monotonic()

    def show(progress: Progress) -> None:
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
        yield show


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
