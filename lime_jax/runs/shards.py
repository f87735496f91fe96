"""Which part of the work a process does, where a batch system starts many of them."""

import dataclasses
import sys
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


@dataclasses.dataclass(frozen=True)
class _Place:
    """What variables say about this process: its index, of how many (None: they do not), which."""

    index: int
    count: int | None
    source: str


def shard_of(
    text: str | None, environment: Mapping[str, str], *, has_terminal: bool = False
) -> Shard:
    """Returns the shard that `--shard` and the environment of a batch system say.

    Without `--shard`, only what a batch system starts by itself takes a part: an array of jobs, a
    step of several tasks, an indexed job. A shell in such a job has the same variables, so whoever
    types into a terminal or a notebook does everything.

    Args:
      text: "i/n", "auto/n", "auto", or None for what the environment says, else everything.
      environment: variables of the process.
      has_terminal: whether somebody types into the process.

    Raises:
      ValueError: if the text is neither, i is not below n, or there is no index to be found.

    Example:
      >>> shard_of("1/4", {})
      Shard(index=1, count=4, source='--shard')
      >>> task = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5",
      ...         "SLURM_ARRAY_TASK_COUNT": "8"}
      >>> shard_of(None, task)
      Shard(index=2, count=8, source='SLURM_ARRAY_TASK_ID')
      >>> shard_of(None, task, has_terminal=True)
      Shard(index=0, count=1, source='')
    """
    if text is None:
        place = None if is_interactive(environment, has_terminal) else _batch_place(environment)
        return Shard() if place is None else _shard_at(place, place.source)
    index, slash, count = text.partition("/")
    if not (index == "auto" or (index.isdecimal() and slash)) or (slash and not count.isdecimal()):
        raise ValueError(f"`--shard` must be i/n, auto/n or auto, got {text!r}.")
    if index != "auto":
        return _make_shard(int(index), int(count), text, "--shard")
    place = _batch_place(environment) or _place(environment, *_MPI)
    if place is None:
        raise ValueError(
            "`--shard auto` finds no index: neither SLURM nor a Kubernetes indexed job nor MPI "
            "started this process. Give i/n."
        )
    if slash:
        place = dataclasses.replace(place, count=int(count))
    return _shard_at(place, text)


def passed_over(environment: Mapping[str, str], *, has_terminal: bool = False) -> str | None:
    """Returns why variables of a batch system do not make a shard, or None if there are none."""
    place = _batch_place(environment)
    if place is None or place.count == 1 or not is_interactive(environment, has_terminal):
        return None
    many = "several" if place.count is None else place.count
    return (
        f"{place.source} says process {place.index} of {many}, but this is a terminal or a "
        "notebook: everything is done here. `--shard auto` takes only that part."
    )


def is_interactive(environment: Mapping[str, str], has_terminal: bool) -> bool:
    """Returns whether a person sits before the process, in a terminal or a notebook."""
    of_srun_pty = any(name.startswith("SLURM_PTY_") for name in environment)
    return has_terminal or of_srun_pty or "JPY_PARENT_PID" in environment


def has_terminal() -> bool:
    """Returns whether somebody may type into this process."""
    try:
        return sys.stdin.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


# Index, count, lowest index. A step is what srun starts; the tasks of a whole job are also set in
# its script, which runs once.
_ARRAY = (("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),)
_STEP = (("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", ""),)
_KUBERNETES = "JOB_COMPLETION_INDEX"
# Also set where one of several processes starts a run by itself, so only if asked for.
_MPI = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", ""),
    ("PMI_RANK", "PMI_SIZE", ""),
)


def _batch_place(environment: Mapping[str, str]) -> _Place | None:
    array, step = _place(environment, *_ARRAY), _place(environment, *_STEP)
    if array and array.count and step and step.count and step.count > 1:
        # Each job of the array has a step of several tasks.
        index = array.index * step.count + step.index
        return _Place(index, array.count * step.count, f"{array.source} and {step.source}")
    if array or step:
        return array or step
    index, count = environment.get(_KUBERNETES, ""), environment.get("JOB_COMPLETIONS", "")
    # Kubernetes tells a process its index but, unless asked to, not how many there are.
    if index.isdecimal():
        return _Place(int(index), int(count) if count.isdecimal() else None, _KUBERNETES)
    return None


def _place(environment: Mapping[str, str], *systems: tuple[str, str, str]) -> _Place | None:
    for name, total, lowest in systems:
        index, count = environment.get(name, ""), environment.get(total, "")
        if index.isdecimal() and count.isdecimal():
            first = environment.get(lowest, "")
            return _Place(int(index) - (int(first) if first.isdecimal() else 0), int(count), name)
    return None


def _shard_at(place: _Place, text: str) -> Shard:
    if place.count is None:
        raise ValueError(
            f"{place.source}={place.index} says that this is one of several processes, but not of "
            "how many. Give `--shard auto/n`."
        )
    return _make_shard(place.index, place.count, text, place.source)


def _make_shard(index: int, count: int, text: str, source: str) -> Shard:
    if not 0 <= index < count:
        raise ValueError(
            f"`--shard` needs an index below the number of shards, got {index} of {count} from "
            f"{text}. Indices count from 0 without gaps."
        )
    return Shard(index, count, source)
