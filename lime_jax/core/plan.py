"""How a problem will be solved and what that takes, before anything is run."""

import dataclasses
from typing import Any, Protocol, runtime_checkable

import jax

from lime_jax.core.explanation import Explanation
from lime_jax.core.problem import Problem


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Plan:
    """One way of solving a problem. `print` says it in words.

    Attributes:
      executor: what carries it out.
      problem: what is explained.
      way: the executor in words, for example "one compiled program".
      num_evaluations: of the model or, where it sees little at a time, of its windows, for every
        item.
      is_most: whether it may be fewer, because targets are met.
      batch_size: what the executor goes by; before long work others may still be tried out.
      num_at_a_time: how many are evaluated at a time.
      is_exact: whether there is no sampling error.
      unit: what is evaluated: inputs, windows, or passes (columns of a layer in units of all).
      window: elements of the input that one window holds; None for whole inputs.
      share: of a whole input that one of them is.
      details: what the executor has worked out.
    """

    executor: "Executor"
    problem: Problem
    way: str
    num_evaluations: int
    batch_size: int
    num_at_a_time: int
    is_exact: bool
    is_most: bool = False
    unit: str = "evaluations"
    window: int | None = None
    share: float = 1.0
    details: Any = None

    @property
    def num_bytes(self) -> int:
        """What is in memory at a time beside the model and the components, estimated."""
        return self.executor.num_bytes(self)

    def __str__(self) -> str:
        return self.describe()

    def describe(self, *, sample_rate: int | None = None, seconds: float | None = None) -> str:
        """Says it in one line.

        Args:
          sample_rate: of waveforms, in Hz, so that windows are told in seconds.
          seconds: how long it is expected to take, see
            `lime_jax.core.execution.estimate.measure_seconds`.
        """
        most = "at most " if self.is_most else ""
        each = "" if self.problem.is_single else f" for each of {self.problem.num_items} items"
        number = f"{most}{self.num_evaluations:,} {self.unit}{each}"
        kind = "exact" if self.is_exact else "sampled"
        length = ""
        if self.window is not None and sample_rate is not None:
            length = f"{self.window / sample_rate:.3g}-s windows, as "
        time = "" if seconds is None else f", about {format_seconds(seconds)}"
        at_a_time = "" if self.unit == "passes" else f", {self.num_at_a_time:,} at a time"
        size = format_bytes(self.num_bytes)
        return f"{kind} through {length}{self.way}: {number}{at_a_time}, about {size}{time}"

    __repr__ = __str__


@runtime_checkable
class Executor(Protocol):
    """One way of computing explanations; `lime_jax.core.choose` asks them in a fixed order."""

    def plan(self, problem: Problem) -> Plan | None:
        """Returns how it would solve a problem; None if it cannot, or others would sooner.

        Cheap refusals come first: the first plan is carried out, and `lj.plan` shows it. An
        executor that is no `Evaluator` has none where `problem.masks` are given.
        """
        ...

    def run(self, plan: Plan) -> Explanation | None:
        """Carries a plan out; None if memory turned out to be too short for it."""
        ...

    def num_bytes(self, plan: Plan) -> int:
        """Estimates what is in memory at a time."""
        ...


@runtime_checkable
class Evaluator(Protocol):
    """An executor that also evaluates given masks; others have no plan for them."""

    def predict(self, plan: Plan) -> jax.Array | None:
        """Returns their outputs, `(num_masks, num_outputs)`; None if memory is too short."""
        ...


def format_seconds(seconds: float) -> str:
    """Returns a time in words, as exact as an estimate is."""
    if seconds < 9.5:
        return f"{seconds:.1g} s"
    if seconds < 90:
        return f"{round(seconds, -1):.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def format_bytes(number: int) -> str:
    """Returns a number of bytes in words."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= 0.9995 * size:
            return f"{number / size:.3g} {unit}"
    return f"{number} bytes"
