"""The command that proves that a store is whole."""

import dataclasses
from pathlib import Path

from lime_jax.commands import terminal
from lime_jax.commands.annotations import command
from lime_jax.runs.verify import repair, verify


@command(store="STORE")
@dataclasses.dataclass(frozen=True)
class VerifyConfig:
    """Proves that a store is whole: every item once, every checksum right, one configuration.

    Attributes:
      store: a folder that `lime-jax run` wrote.
      repair: move damaged files out of the way, so that the same run computes them again.
    """

    store: Path
    repair: bool = False


def run(config: VerifyConfig) -> int:
    """Verifies, and says what is wrong.

    Returns:
      0 if the store is whole, else 1.
    """
    report = verify(config.store)
    for path in report.damaged:
        terminal.say(f"`{path}` is damaged: its checksums or its columns are wrong.")
    for problem in report.problems:
        terminal.say(problem)
    if report.damaged:
        if not config.repair:
            return terminal.fail(
                f"{len(report.damaged)} damaged; with `--repair` they are moved out of the way, "
                "and the command that made the store computes their items again.",
                code=1,
            )
        repair(config.store, report)
        return terminal.fail("moved to damaged/; run the command that made the store.", code=1)
    counts = (
        f"{report.num_explained:,} explained + {report.num_failed:,} failed + "
        f"{report.num_missing:,} missing = {report.num_items:,} items, {report.num_rows:,} rows"
    )
    if report.is_whole:
        terminal.say(f"{config.store} is whole: {counts}")
        return 0
    return terminal.fail(f"{config.store} is not whole: {counts}", code=1)
