"""The command line: parse, build, call."""

import contextlib
import dataclasses
import importlib.metadata
import io
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

from lime_jax.core.allocator import keep_freed_memory
from lime_jax.errors import LimeJaxError
from lime_jax.models.cache import cache_folder
from lime_jax.options import DemoConfig, ExplainConfig
from lime_jax.single import Result, explain_demo, explain_file

_SECONDS_BEFORE_PROGRESS = 2.0

_DESCRIPTION = (
    "Why did the model say that? LIME for audio in JAX. `lime-jax --version` tells the version; "
    "with LIME_JAX_TRACEBACK=1 in the environment, errors show where they come from."
)

_OPTIONS = (
    "fill", "num_samples", "distance", "kernel_width", "alpha", "start", "duration", "top_k",
    "seed", "batch_size", "std_error", "confidence", "max_evaluations",
)  # fmt: skip
# What the library calls by the names of its arguments is a flag here.
_FLAGS = {f"`{name}`": f"`--{name.replace('_', '-')}`" for name in _OPTIONS} | {
    "`num_segments`": "`--segments`",
    "`num_components`": "the number of components",
    "`lime(num_samples=…)`": "`--num-samples N`",
    "`exhaustive()`": "`--num-samples exhaustive`",
}


@dataclasses.dataclass(frozen=True)
class ListConfig:
    """Lists the models that come by name."""


@dataclasses.dataclass(frozen=True)
class InfoConfig:
    """Tells what is known of a model.

    Attributes:
      name: from `lime-jax models list`.
    """

    name: Annotated[str, tyro.conf.Positional]


@dataclasses.dataclass(frozen=True)
class FetchConfig:
    """Downloads the weights of models and converts them once.

    Attributes:
      name: musicnn.
      wheel: a copy of the published wheel, for machines without a package index.
    """

    name: Annotated[str, tyro.conf.Positional] = "musicnn"
    wheel: Path | None = None


@dataclasses.dataclass(frozen=True)
class ModelsConfig:
    """Models that come by name: list them, read about one, fetch weights."""

    action: (
        Annotated[ListConfig, tyro.conf.subcommand("list")]
        | Annotated[InfoConfig, tyro.conf.subcommand("info")]
        | Annotated[FetchConfig, tyro.conf.subcommand("fetch")]
    )


Command = (
    Annotated[DemoConfig, tyro.conf.subcommand("demo")]
    | Annotated[ExplainConfig, tyro.conf.subcommand("explain")]
    | Annotated[ModelsConfig, tyro.conf.subcommand("models")]
)


def main(arguments: list[str] | None = None) -> int:
    """Runs a command.

    Returns:
      0; 1 if no output could be explained; 2 after one clear line about what is wrong.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        sys.stdout.write(f"lime-jax {importlib.metadata.version('lime-jax')}\n")
        return 0
    command = _parsed(arguments)
    _make_ready()
    try:
        with _one_line_warnings():
            return _run(command)
    except KeyboardInterrupt:
        return _fail("interrupted.", code=130)
    except (LimeJaxError, ValueError, OSError, MemoryError, RuntimeError) as error:
        if os.environ.get("LIME_JAX_TRACEBACK"):
            raise
        return _fail(str(error) or type(error).__name__)


def _make_ready() -> None:
    """What a program may do and a library should not: keep memory, keep compiled programs."""
    keep_freed_memory()
    if not jax.config.jax_compilation_cache_dir:  # pyright: ignore[reportAttributeAccessIssue]
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def _parsed(arguments: list[str]) -> Any:
    """The command, or an exit after one line that says what is wrong with it."""
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            return tyro.cli(
                Command,  # pyright: ignore[reportArgumentType]
                prog="lime-jax",
                description=_DESCRIPTION,
                args=arguments,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
            )
    except SystemExit:
        # Of the frame that tyro draws, what stands between its title and its general advice.
        lines = [line.strip("│| \n") for line in told.getvalue().splitlines()]
        text = " ".join(line for line in lines if line.strip("─-") and line[0] not in "╭╰+")
        if message := re.split("Argument helptext:|For full helptext", text)[0]:
            _say(message)
        raise


def _run(command: Any) -> int:
    if isinstance(command, DemoConfig):
        with _progress_bar("explaining the song") as progress:
            result = explain_demo(command, progress=progress)
        return _show(result)
    if isinstance(command, ExplainConfig):
        with _progress_bar(f"explaining {command.audio.name}") as progress:
            result = explain_file(command, progress=progress)
        return _show(result)
    if isinstance(command.action, ListConfig):
        _list_models()
    elif isinstance(command.action, InfoConfig):
        _describe_model(command.action.name)
    else:
        _fetch(command.action)
    return 0


def _show(result: Result) -> int:
    """Prints what was found; returns 1 if that is nothing."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from lime_jax import report
    from lime_jax.core.explanation import Status
    from lime_jax.report import wording

    record = report.read(result.page.parent)
    names = [component["name"] for component in record["components"]]
    is_explained = False
    top = f"top {record['top_k']} right"
    table = Table("output", "prediction", "surrogate", "fidelity", top, "because of", box=None)
    for output in record["outputs"]:
        status = Status[output["status"]]
        reason = wording.because(output, names) or "nothing speaks for it"
        if cautions := wording.cautions(output):
            reason += f" (caution: {', '.join(cautions)})"
        if status != Status.OK:
            reason = f"not explained: {_in_flags(status.advice)}"
        is_explained |= status == Status.OK
        numbers = (output[key] for key in ("prediction", "local_prediction", "fidelity"))
        sure = wording.certainty(output, record["is_exact"]) if status == Status.OK else "–"
        table.add_row(escape(output["name"]), *map(_number, numbers), sure, escape(reason))
    console = Console()
    console.print(table)
    console.print(f"{len(names)} components, {wording.cost(record)}", highlight=False)
    console.print(f"report: {result.page}", highlight=False, soft_wrap=True, markup=False)
    return 0 if is_explained else _fail("no output could be explained; see above.", code=1)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _list_models() -> None:
    from rich.console import Console
    from rich.table import Table

    from lime_jax import models

    table = Table("name", "outputs", "rate", "weights", "description", box=None)
    for card in models.available():
        here = (
            "here" if models.is_fetched(card.name) else f"lime-jax models fetch {card.collection}"
        )
        rate, outputs = f"{card.sample_rate} Hz", str(len(card.output_names))
        table.add_row(card.name, outputs, rate, here, card.description)
    Console().print(table)


def _describe_model(name: str) -> None:
    from rich.console import Console

    from lime_jax import models

    card = dataclasses.asdict(models.card(name))
    console = Console()
    units = {"sample_rate": " Hz", "patch_seconds": " s"}
    for field, value in card.items():
        if value is None:
            continue
        text = ", ".join(value) if isinstance(value, tuple) else f"{value}{units.get(field, '')}"
        name = field.removesuffix("_seconds").replace("_", " ")
        console.print(f"{name}: {text}", highlight=False, soft_wrap=True, markup=False)


def _fetch(config: FetchConfig) -> None:
    from rich.console import Console

    from lime_jax import models

    console = Console()
    with Console(stderr=True).status(f"fetching {config.name}"):
        folder = models.fetch(config.name, wheel=config.wheel)
    console.print(f"{config.name}: {folder}", highlight=False, soft_wrap=True, markup=False)


@contextlib.contextmanager
def _progress_bar(task: str) -> Iterator[Callable[[int, int], None]]:
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
            _say(f"{task} with {total:,} evaluations of the model")
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
def _one_line_warnings() -> Iterator[None]:
    """Warnings as one line each, without the place in the code."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: _say(f"warning: {message}")
        yield


def _fail(message: str, *, code: int = 2) -> int:
    _say(message)
    return code


def _say(message: str) -> None:
    sys.stderr.write(f"lime-jax: {' '.join(_in_flags(message).split())}\n")


def _in_flags(message: str) -> str:
    for name, flag in _FLAGS.items():
        message = message.replace(name, flag)
    return message


if __name__ == "__main__":
    sys.exit(main())
