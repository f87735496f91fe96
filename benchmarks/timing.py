"""Fair timings: warmed up, blocked upon, repeated; ratios pair by pair in one run."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def seconds(function: Callable[[], Any]) -> float:
    """Returns one call, ended by waiting for its arrays."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def spread(values: list[float]) -> dict[str, Any]:
    """Median, quartiles and extremes."""
    low, quarter, median, three, high = np.percentile(values, [0, 25, 50, 75, 100])
    return {
        "median": float(median),
        "quartiles": [float(quarter), float(three)],
        "range": [float(low), float(high)],
        "repeats": len(values),
    }


def measure(function: Callable[[], Any], repeats: int = 5) -> dict[str, Any]:
    """Returns seconds of warmed-up calls, and of the first one, which compiles."""
    first = seconds(function)
    return {"first_s": first, **spread([seconds(function) for _ in range(repeats)])}


def compare(
    functions: dict[str, Callable[[], Any]], baseline: str, repeats: int = 5
) -> dict[str, dict[str, Any]]:
    """Times functions in turn, A B A B …; `ratio` is baseline time over own time in each turn.

    Interleaving keeps the ratios fair on machines whose speed drifts.
    """
    first = {name: seconds(function) for name, function in functions.items()}
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats):
        # Back and forth, so that none is always the first after a pause.
        names = list(functions) if turn % 2 == 0 else list(functions)[::-1]
        for name in names:
            times[name].append(seconds(functions[name]))
    return {
        name: {
            "first_s": first[name],
            **spread(times[name]),
            "ratio": spread([b / a for a, b in zip(times[name], times[baseline], strict=True)]),
        }
        for name in functions
    }
