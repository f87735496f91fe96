"""On a CPU, keeping freed memory makes the same network and the same explanation faster.

Two processes run the same work in turn, one after `lj.keep_freed_memory()`.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks import cells, timing


def run(*, quick: bool) -> dict[str, Any]:
    """Returns samples per second with and without, for the network alone and for explanations."""
    rounds = [{how: _measure(how) for how in HOW} for _ in range(1 if quick else 3)]
    found: dict[str, Any] = {}
    for what in ("bare", "explain"):
        rates = {how: [each[how][what] for each in rounds] for how in HOW}
        found[what] = {f"{how}_samples_per_s": timing.spread(rates[how]) for how in HOW}
        pairs = zip(rates["kept"], rates["returned"], strict=True)
        found[what]["times_faster"] = timing.spread([kept / returned for kept, returned in pairs])
    return {"model": "SVDNet, chunks of 64", **found}


HOW = ("returned", "kept")


def _measure(how: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.allocator", how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def work(how: str) -> dict[str, float]:
    """In a process of its own: the memory policy is set once."""
    from benchmarks import networks, overhead
    from lime_jax.core.execution.allocator import keep_freed_memory

    if how == "kept":
        keep_freed_memory()
    found = overhead.measure(networks.singing_voice(), 10, quick=True)
    return {"bare": found["bare_samples_per_s"], "explain": found["explain_samples_per_s"]}


def rows(numbers: dict[str, Any]) -> Iterator[cells.Row]:
    """Yields the table of the stored numbers."""
    yield numbers["model"], "freed memory returned, samples/s", "kept, samples/s", "times faster"
    for what in ("bare", "explain"):
        one = numbers[what]
        yield (
            what,
            cells.number(one["returned_samples_per_s"]["median"]),
            cells.number(one["kept_samples_per_s"]["median"]),
            cells.ratio(one["times_faster"]),
        )


if __name__ == "__main__":
    from benchmarks import stand_in

    stand_in.install()
    print(json.dumps(work(sys.argv[1])))
