"""The command line: parse, build, call."""

import contextlib
import dataclasses
import importlib.metadata
import io
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

from lime_jax.commands import explanation_tables, lemons, run, separate, terminal
from lime_jax.commands.explain import explain_demo, explain_file
from lime_jax.commands.lemons import LemonsConfig
from lime_jax.commands.run import AggregateConfig, ReportConfig, VerifyConfig
from lime_jax.core.execution.allocator import keep_freed_memory
from lime_jax.errors import LimeJaxError
from lime_jax.models.cache import cache_folder
from lime_jax.runs.config import RunConfig
from lime_jax.settings import PATH, DemoConfig, ExplainConfig, SeparateConfig

_DESCRIPTION = (
    "Why did the model say that? LIME for audio in JAX. `lime-jax --version` tells the version; "
    "with LIME_JAX_TRACEBACK=1 in the environment, errors show where they come from."
)


@dataclasses.dataclass(frozen=True)
class ListConfig:
    """Lists the models and separators that come by name."""


@dataclasses.dataclass(frozen=True)
class InfoConfig:
    """Tells what is known of a model or separator.

    Attributes:
      name: from `lime-jax models list`.
    """

    name: Annotated[str, tyro.conf.Positional]


@dataclasses.dataclass(frozen=True)
class FetchConfig:
    """Downloads the weights of models and converts them once.

    Attributes:
      name: musicnn; or spleeter:2stems, spleeter:4stems or spleeter:5stems.
      wheel: a copy of musicnn's published wheel, for machines without a package index.
      archive: a copy of spleeter's published archive, such as 5stems.tar.gz, for machines without
        a network.
    """

    name: Annotated[str, tyro.conf.Positional] = "musicnn"
    wheel: Annotated[Path | None, PATH] = None
    archive: Annotated[Path | None, PATH] = None


@dataclasses.dataclass(frozen=True)
class ModelsConfig:
    """Models and separators that come by name: list them, read about one, fetch weights."""

    action: (
        Annotated[ListConfig, tyro.conf.subcommand("list")]
        | Annotated[InfoConfig, tyro.conf.subcommand("info")]
        | Annotated[FetchConfig, tyro.conf.subcommand("fetch")]
    )


Command = (
    Annotated[DemoConfig, tyro.conf.subcommand("demo")]
    | Annotated[ExplainConfig, tyro.conf.subcommand("explain")]
    | Annotated[SeparateConfig, tyro.conf.subcommand("separate")]
    | Annotated[RunConfig, tyro.conf.subcommand("run")]
    | Annotated[VerifyConfig, tyro.conf.subcommand("verify")]
    | Annotated[AggregateConfig, tyro.conf.subcommand("aggregate")]
    | Annotated[ReportConfig, tyro.conf.subcommand("report")]
    | Annotated[ModelsConfig, tyro.conf.subcommand("models")]
    | Annotated[LemonsConfig, tyro.conf.subcommand("lemons")]
)


def main(arguments: list[str] | None = None) -> int:
    """Runs a command.

    Returns:
      0; 1 if no output could be explained or a store is not whole; 2 after one clear line about
      what is wrong; of `run` also 10 plus the number of failed items, at most 100, and 128 plus the
      signal that stopped it.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        sys.stdout.write(f"lime-jax {importlib.metadata.version('lime-jax')}\n")
        return 0
    command = _parsed(arguments)
    _make_ready()
    try:
        with terminal.one_line_warnings():
            return _run(command)
    except KeyboardInterrupt:
        return terminal.fail("interrupted.", code=130)
    except (LimeJaxError, ValueError, OSError, MemoryError, RuntimeError) as error:
        if os.environ.get("LIME_JAX_TRACEBACK"):
            raise
        return terminal.fail(str(error) or type(error).__name__)


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
            terminal.say(message)
        raise


def _run(command: Any) -> int:
    if isinstance(command, DemoConfig):
        with terminal.progress_bar("explaining the song") as progress:
            result = explain_demo(command, progress=progress)
        return explanation_tables.show(result)
    if isinstance(command, ExplainConfig):
        with terminal.progress_bar(f"explaining {command.audio.name}") as progress:
            result = explain_file(command, progress=progress, tell=terminal.say)
        return explanation_tables.show(result)
    if isinstance(command, SeparateConfig):
        return separate.separate(command)
    if isinstance(command, RunConfig):
        return run.run(command)
    if isinstance(command, VerifyConfig):
        return run.verify(command)
    if isinstance(command, AggregateConfig):
        return run.aggregate(command)
    if isinstance(command, ReportConfig):
        return run.write_report(command)
    if isinstance(command, LemonsConfig):
        return lemons.run(command)
    if isinstance(command.action, ListConfig):
        _list_models()
    elif isinstance(command.action, InfoConfig):
        _describe_model(command.action.name)
    else:
        _fetch(command.action)
    return 0


def _list_models() -> None:
    from rich.console import Console
    from rich.table import Table

    from lime_jax import models
    from lime_jax import separation

    table = Table("name", "outputs", "rate", "weights", "description", box=None)
    for card in models.available():
        here = (
            "here" if models.is_fetched(card.name) else f"lime-jax models fetch {card.collection}"
        )
        rate, outputs = f"{card.sample_rate} Hz", str(len(card.output_names))
        table.add_row(card.name, outputs, rate, here, card.description)
    separators = Table(box=None)
    separators.add_column("separator", no_wrap=True)
    for heading in ("stems", "weights", "description"):
        separators.add_column(heading)
    for card in separation.available():
        here = "here" if separation.is_fetched(card.name) else card.weights
        separators.add_row(card.name, ", ".join(card.stems), here, card.description)
    console = Console()
    console.print(table)
    console.print()
    console.print(separators)


def _describe_model(name: str) -> None:
    from rich.console import Console

    from lime_jax import models
    from lime_jax import separation

    is_separator = _is_separator(name)
    card = dataclasses.asdict(separation.card(name) if is_separator else models.card(name))
    console = Console()
    units = {"sample_rate": " Hz", "patch_seconds": " s"}
    for field, value in card.items():
        if value is None:
            continue
        text = ", ".join(value) if isinstance(value, tuple) else f"{value}{units.get(field, '')}"
        name = field.removesuffix("_seconds").replace("_", " ")
        console.print(f"{name}: {text}", highlight=False, soft_wrap=True, markup=False)


def _is_separator(name: str) -> bool:
    from lime_jax import separation

    return name.startswith(separation.FAMILY) or name == separation.ONE_VS_ALL


def _fetch(config: FetchConfig) -> None:
    from rich.console import Console

    from lime_jax import models
    from lime_jax import separation

    console = Console()
    is_separator = _is_separator(config.name)
    if config.wheel is not None and is_separator:
        raise ValueError("`--wheel` goes with musicnn. Use `--archive FILE` for spleeter.")
    if config.archive is not None and not is_separator:
        raise ValueError("`--archive` goes with spleeter. Use `--wheel FILE` for musicnn.")
    with Console(stderr=True).status(f"fetching {config.name}"):
        if is_separator:
            folder = separation.fetch(config.name, archive=config.archive)
        else:
            folder = models.fetch(config.name, wheel=config.wheel)
    console.print(f"{config.name}: {folder}", highlight=False, soft_wrap=True, markup=False)


if __name__ == "__main__":
    sys.exit(main())
