"""What the command line writes: lines on stderr, bars while it works, warnings as lines."""

import contextlib
import sys
import threading
import warnings
from collections.abc import Callable, Iterator

_SECONDS_BEFORE_PROGRESS = 2.0

_OPTIONS = (
    "fill", "num_samples", "distance", "kernel_width", "alpha", "start", "duration", "top_k",
    "seed", "batch_size", "std_error", "confidence", "max_evaluations", "crossfade",
    "separator_command",
)  # fmt: skip
# What the library calls by the names of its arguments is a flag here.
_FLAGS = {f"`{name}`": f"`--{name.replace('_', '-')}`" for name in _OPTIONS} | {
    "`num_segments`": "`--segments`",
    "`num_components`": "the number of components",
    "`lime(num_samples=…)`": "`--num-samples N`",
    "`exhaustive()`": "`--num-samples exhaustive`",
}


def fail(message: str, *, code: int = 2) -> int:
    """Says what is wrong, and returns the exit code."""
    say(message)
    return code


def say(message: str) -> None:
    """Writes one line to stderr."""
    line = " ".join(in_flags(message).split())
    # Names of files may hold codes that terminals obey.
    sys.stderr.write(f"lime-jax: {''.join(c if c.isprintable() else '?' for c in line)}\n")


def in_flags(message: str) -> str:
    """The message with flags instead of the names of arguments."""
    for name, flag in _FLAGS.items():
        message = message.replace(name, flag)
    return message


@contextlib.contextmanager
def progress_bar(task: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with rate and time left after two seconds of work; without a terminal, one line."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    row = bar.add_task(task, total=None, rate="compiling")

    def tell(done: int, total: int) -> None:
        if done == 0 and not console.is_terminal:
            say(f"{task} with {total:,} evaluations of the model")
        speed = bar.tasks[0].speed
        rate = f"{speed:.0f}/s" if speed else "" if done else "compiling"
        bar.update(row, completed=done, total=total, rate=rate)

    delayed = threading.Timer(_SECONDS_BEFORE_PROGRESS, bar.start)
    delayed.daemon = True
    delayed.start()
    try:
        yield tell
    finally:
        delayed.cancel()
        delayed.join()
        if bar.live.is_started:
            bar.stop()


@contextlib.contextmanager
def one_line_warnings() -> Iterator[None]:
    """Warnings as one line each, without the place in the code."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
        yield
