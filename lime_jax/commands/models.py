"""The command about models and separators that come by name: list, info, fetch."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from lime_jax.commands.annotations import command
from lime_jax.errors import ModelError, unknown_name


@command()
@dataclasses.dataclass(frozen=True)
class ListConfig:
    """Lists the models and separators that come by name."""


@command(name=None)
@dataclasses.dataclass(frozen=True)
class InfoConfig:
    """Describes a model or separator.

    Attributes:
      name: from `lime-jax models list`.
    """

    name: str


@command(name=None)
@dataclasses.dataclass(frozen=True)
class FetchConfig:
    """Downloads the weights of models and converts them once.

    Attributes:
      name: musicnn; or spleeter:2stems, spleeter:4stems or spleeter:5stems.
      wheel: a copy of musicnn's published wheel, for machines without a package index.
      archive: a copy of spleeter's published archive, such as 5stems.tar.gz, for machines without
        a network.
    """

    name: str = "musicnn"
    wheel: Path | None = None
    archive: Path | None = None


@dataclasses.dataclass(frozen=True)
class ModelsConfig:
    """Models and separators that come by name: list them, read about one, fetch weights."""

    action: (
        Annotated[ListConfig, tyro.conf.subcommand("list")]
        | Annotated[InfoConfig, tyro.conf.subcommand("info")]
        | Annotated[FetchConfig, tyro.conf.subcommand("fetch")]
    )


def run(config: ModelsConfig) -> int:
    """Lists, describes or fetches; returns 0.

    Raises:
      LimeJaxError: if there is no such model, or its weights cannot be fetched.
      ValueError: if an option is impossible.
    """
    if isinstance(config.action, ListConfig):
        _list()
    elif isinstance(config.action, InfoConfig):
        _describe(config.action.name)
    else:
        _fetch(config.action)
    return 0


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    from lime_jax import models, separation

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


def _describe(name: str) -> None:
    from rich.console import Console

    from lime_jax import models, separation

    card = dataclasses.asdict(separation.card(name) if _is_separator(name) else models.card(name))
    console = Console()
    units = {"sample_rate": " Hz", "patch_seconds": " s"}
    for field, value in card.items():
        if value is None:
            continue
        text = ", ".join(value) if isinstance(value, tuple) else f"{value}{units.get(field, '')}"
        label = field.removesuffix("_seconds").replace("_", " ")
        console.print(f"{label}: {text}", highlight=False, soft_wrap=True, markup=False)


def _is_separator(name: str) -> bool:
    from lime_jax import models, separation

    known = (*models.names(), *separation.names())
    if name not in known and all(card.collection != name for card in models.available()):
        raise ModelError(unknown_name("model or separator", name, known))
    return name in separation.names()


def _fetch(config: FetchConfig) -> None:
    from rich.console import Console

    from lime_jax import models, separation

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
