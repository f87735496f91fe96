"""Which part of the work a process does, where a batch system starts many of them."""

import dataclasses
from collections.abc import Mapping

from lime_jax import storage


@dataclasses.dataclass(frozen=True)
class Shard:
    """One of `count` parts of the work.

    Attributes:
      index: from 0.
      count: how many parts there are.
      source: where the numbers are from, for people.
    """

    index: int = 0
    count: int = 1
    source: str = ""

    def has(self, id: str) -> bool:
        """Returns whether an item belongs to it, by its id alone, so that data sets may grow."""
        return int(storage.digest(id)[8:24], 16) % self.count == self.index


# Index, lowest index, count. A step is what srun starts; the tasks of a whole job are also set in
# its script, which runs once.
_SYSTEMS = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT"),
    ("SLURM_PROCID", "", "SLURM_STEP_NUM_TASKS"),
    ("JOB_COMPLETION_INDEX", "", "JOB_COMPLETIONS"),
)


def shard_of(text: str | None, environment: Mapping[str, str]) -> Shard:
    """Returns the shard that `--shard` and the environment of a batch system say.

    Args:
      text: "i/n", "auto/n", or None for what the environment says, else everything.
      environment: variables of the process.

    Raises:
      ValueError: if the text is neither, i is not below n, or there is no index to be found.

    Example:
      >>> shard_of("1/4", {})
      Shard(index=1, count=4, source='--shard')
      >>> shard_of(None, {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5",
      ...                 "SLURM_ARRAY_TASK_COUNT": "8"})
      Shard(index=2, count=8, source='SLURM_ARRAY_TASK_ID')
    """
    variable = _from_environment(environment)
    if text is None:
        if variable is None:
            return Shard()
        name, number, total = variable
        if total is None:
            raise ValueError(
                f"{name}={number} says that this is one of several processes, but not of how "
                "many. Give `--shard auto/n`."
            )
        return _make_shard(number, total, name, name)
    index, slash, count = text.partition("/")
    if not slash or not count.isdecimal() or not (index == "auto" or index.isdecimal()):
        raise ValueError(f"`--shard` must be i/n or auto/n, got {text!r}.")
    if index != "auto":
        return _make_shard(int(index), int(count), text, "--shard")
    if variable is None:
        raise ValueError(
            "`--shard auto` finds no index: neither SLURM nor a Kubernetes indexed job started "
            "this process. Give i/n."
        )
    return _make_shard(variable[1], int(count), text, variable[0])


def _from_environment(environment: Mapping[str, str]) -> tuple[str, int, int | None] | None:
    for name, lowest, total in _SYSTEMS:
        index, count = environment.get(name, ""), environment.get(total, "")
        # Kubernetes tells a process its index but, unless asked to, not how many there are.
        if index.isdecimal() and (count.isdecimal() or name == "JOB_COMPLETION_INDEX"):
            first = environment.get(lowest, "")
            offset = int(first) if first.isdecimal() else 0
            return name, int(index) - offset, int(count) if count.isdecimal() else None
    return None


def _make_shard(index: int, count: int, text: str, source: str) -> Shard:
    if not 0 <= index < count:
        raise ValueError(
            f"`--shard` needs an index below the number of shards, got {index} of {count} from "
            f"{text}. Indices count from 0 without gaps."
        )
    return Shard(index, count, source)
