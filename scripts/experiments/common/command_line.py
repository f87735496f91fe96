"""The command line of an experiment's script."""

import dataclasses
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lime_jax.core.execution.allocator import keep_freed_memory
from lime_jax.errors import LimeJaxError
from scripts.experiments.common import results

Size = TypeVar("Size")

_ROOT = Path(__file__).parents[3]


def main(
    run: Callable[[Any], Any], config: type, tell: Callable[[Any], None] = results.show
) -> int:
    """Runs a script with the options of the command line, and shows what came out.

    Args:
      run: what it does.
      config: a frozen dataclass of its options.
      tell: shows what `run` returned.

    Returns:
      0; 2 after one line about what is wrong; 130 if it was interrupted.
    """
    import tyro

    options = tyro.cli(config)
    keep_freed_memory()
    try:
        tell(run(options))
        if getattr(options, "smoke", False):
            print(
                "A smoke test: it is too small for these numbers and conditions to mean anything."
            )
        if (folder := getattr(options, "folder", None)) is not None:
            print(f"results: {folder}")
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on.\n")
        return 130
    except (LimeJaxError, ValueError, OSError, MemoryError) as error:
        if os.environ.get("LIME_JAX_TRACEBACK"):
            raise
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def chosen(sizes: Mapping[str, Size], *, smoke: bool, full: bool) -> Size:
    """Returns the size called smoke, full or default.

    Raises:
      ValueError: if both are wanted.
    """
    if smoke and full:
        raise ValueError("`--smoke` does not go with `--full`. Use one of them.")
    return sizes["smoke" if smoke else "full" if full else "default"]


def folder(name: str, config: Any) -> Path:
    """Returns where results go: as asked for, or a folder of each size in `experiments`.

    Args:
      name: of the experiment.
      config: with `output_dir`, `smoke` and perhaps `full`.
    """
    ending = "-smoke" if config.smoke else "-full" if getattr(config, "full", False) else ""
    return config.output_dir or Path("experiments") / f"{name}{ending}"


def command(file: str, config: Any) -> str:
    """Returns what repeats a run in words, without options that have their default.

    Args:
      file: of the module that is run.
      config: its options, of which paths are told by their last part.
    """
    module = ".".join(Path(file).resolve().relative_to(_ROOT).with_suffix("").parts)
    words = ["uv", "run", "python", "-m", module]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        is_needed = field.name == "songs" or value != field.default
        if is_needed and field.name != "output_dir":
            words += [f"--{field.name.replace('_', '-')}", *_words(value)]
    return shlex.join(words)


def _words(value: Any) -> list[str]:
    if isinstance(value, bool):
        return []
    if isinstance(value, tuple):
        return [word for entry in value for word in _words(entry)]
    return [value.name if isinstance(value, Path) else str(value)]
