"""What the command line writes: lines on stderr, bars while it works, warnings as lines."""

import contextlib
import sys
import threading
import warnings
from collections.abc import Iterator

from lime_jax.core.execution.progress import Progress
from lime_jax.errors import ExplanationWarning

_SECONDS_BEFORE_PROGRESS = 2.0

_OPTIONS = """
    fill num_samples distance kernel_width alpha start duration top_k seed batch_size std_error
    confidence max_evaluations crossfade separator_command
""".split()
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
    """Returns the message with flags instead of the names of arguments."""
    for name, flag in _FLAGS.items():
        message = message.replace(name, flag)
    return message


@contextlib.contextmanager
def progress_bar(task: str) -> Iterator[Progress]:
    """Shows a bar with rate and time left, after two seconds of work; one line if no terminal."""
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[rate]}"),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left:"),
        bars.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    bar = bars.Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    row = bar.add_task(task, total=None, rate="compiling")

    def show(done: int, total: int) -> None:
        if done == 0 and not console.is_terminal:
            say(f"{task} with {total:,} evaluations of the model")
        speed = bar.tasks[0].speed
        rate = f"{speed:.0f}/s" if speed else "" if done else "compiling"
        bar.update(row, completed=done, total=total, rate=rate)

    delayed = threading.Timer(_SECONDS_BEFORE_PROGRESS, bar.start)
    delayed.daemon = True
    delayed.start()
    try:
        yield show
    finally:
        delayed.cancel()
        delayed.join()
        if bar.live.is_started:
            bar.stop()


@contextlib.contextmanager
def one_line_warnings() -> Iterator[None]:
    """Shows warnings as one line each, without the place in the code."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
        # Tables, pages and stores say it beside the output that it is about.
        warnings.simplefilter("ignore", ExplanationWarning)
        yield
