"""The command line: lists the subcommands, parses, calls."""

import contextlib
import importlib.metadata
import io
import os
import re
import sys
from collections.abc import Callable
from typing import Annotated, Any, Union

import jax
import tyro

from lime_jax.commands import (
    aggregate,
    demo,
    encoding,
    explain,
    lemons,
    models,
    report,
    run,
    separate,
    terminal,
    verify,
)
from lime_jax.core.execution.allocator import keep_freed_memory
from lime_jax.errors import LimeJaxError
from lime_jax.models.cache import cache_folder

_DESCRIPTION = (
    "Why did the model say that? LIME for audio in JAX. `lime-jax --version` tells the version; "
    "with LIME_JAX_TRACEBACK=1 in the environment, errors show where they come from."
)

_SUBCOMMANDS: dict[str, tuple[type, Callable[[Any], int]]] = {
    "demo": (demo.DemoConfig, demo.run),
    "explain": (explain.ExplainConfig, explain.run),
    "separate": (separate.SeparateConfig, separate.run),
    "run": (run.RunArguments, run.run),
    "verify": (verify.VerifyConfig, verify.run),
    "aggregate": (aggregate.AggregateConfig, aggregate.run),
    "report": (report.ReportConfig, report.run),
    "models": (models.ModelsConfig, models.run),
    "lemons": (lemons.LemonsConfig, lemons.run),
}
_RUN_BY_CONFIG = dict(_SUBCOMMANDS.values())


def main(arguments: list[str] | None = None) -> int:
    """Runs a command.

    Returns:
      0; 1 if no output could be explained or a store is not whole; 2 after one clear line about
      what is wrong; of `run` also 10 plus the number of failed items, at most 100, and 128 plus the
      signal that stopped it.
    """
    encoding.write_anything()
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        sys.stdout.write(f"lime-jax {importlib.metadata.version('lime-jax')}\n")
        return 0
    config = _parse(arguments)
    _prepare_process()
    try:
        with terminal.one_line_warnings():
            return _RUN_BY_CONFIG[type(config)](config)
    except KeyboardInterrupt:
        return terminal.fail("interrupted.", code=130)
    except (LimeJaxError, ValueError, OSError, MemoryError, RuntimeError) as error:
        if os.environ.get("LIME_JAX_TRACEBACK"):
            raise
        return terminal.fail(str(error) or type(error).__name__)


def _prepare_process() -> None:
    """What a program may do and a library should not: keep memory, keep compiled programs."""
    keep_freed_memory()
    if not jax.config.jax_compilation_cache_dir:  # pyright: ignore[reportAttributeAccessIssue]
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def _parse(arguments: list[str]) -> Any:
    """The configuration of a command, or an exit after one line that says what is wrong."""
    configs: Any = Union[  # noqa: UP007
        tuple(
            Annotated[config, tyro.conf.subcommand(name)]
            for name, (config, _) in _SUBCOMMANDS.items()
        )
    ]
    written = io.StringIO()
    try:
        with contextlib.redirect_stderr(written):
            return tyro.cli(
                configs,
                prog="lime-jax",
                description=_DESCRIPTION,
                args=arguments,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
            )
    except SystemExit:
        # Of the frame that tyro draws, what stands between its title and its general advice.
        lines = [line.strip("│| \n") for line in written.getvalue().splitlines()]
        text = " ".join(line for line in lines if line.strip("─-") and line[0] not in "╭╰+")
        if message := re.split("Argument helptext:|For full helptext", text)[0]:
            terminal.say(message)
        raise


if __name__ == "__main__":
    sys.exit(main())
