"""How the command line reads and names the fields of settings: the only home of their flags."""

import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

from lime_jax.settings import NumSamples

Command = TypeVar("Command", bound=type)


def _num_samples(words: list[str]) -> int | Literal["exhaustive", "auto"]:
    (word,) = words
    if word == "exhaustive" or word == "auto":
        return word
    if not word.removeprefix("-").isdecimal():
        raise ValueError(f"must be a whole number, auto or exhaustive, got {word!r}.")
    return int(word)


# The descriptions say what None does, which "{None}|PATH" and "(default: None)" would only blur.
_BY_TYPE: dict[Any, Any] = {
    kind | None: tyro.conf.arg(metavar=metavar, help_behavior_hint="")
    for kind, metavar in ((Path, "PATH"), (str, "STR"), (int, "INT"), (float, "FLOAT"))
} | {
    NumSamples: tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT|auto|exhaustive",
        instance_from_str=_num_samples,
        is_instance=lambda value: isinstance(value, int) or value in ("exhaustive", "auto"),
        str_from_instance=lambda value: [str(value)],
    )
}


def command(**metavars: str | None) -> Callable[[Command], Command]:
    """Makes a dataclass of settings a command: its fields, inherited ones too, get their flags.

    Args:
      metavars: by the name of a field that is given by its place, not by a flag: what `--help`
        calls it; None for the usual name of its type.
    """

    def annotate(cls: Command) -> Command:
        annotations = typing.get_type_hints(cls)
        for name, kind in annotations.items():
            if name in metavars:
                metavar = metavars[name]
                arg = () if metavar is None else (tyro.conf.arg(metavar=metavar),)
                annotations[name] = Annotated[(kind, tyro.conf.Positional, *arg)]
            elif kind in _BY_TYPE:
                annotations[name] = Annotated[kind, _BY_TYPE[kind]]
        cls.__annotations__ = annotations
        return cls

    return annotate
