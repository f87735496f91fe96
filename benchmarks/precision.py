"""`precision="default"` runs faster on accelerators and finds the same strongest components."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

import lime_jax as lj
from benchmarks import cells, networks, overhead, timing


def run(*, quick: bool) -> dict[str, Any]:
    """Time, coefficients and the three strongest components at both precisions."""
    made = [networks.singing_voice(), networks.musicnn(50)]
    return {"cases": [measure(case, 1 if quick else 3) for case in (made[:1] if quick else made)]}


def measure(case: networks.Case, repeats: int) -> dict[str, Any]:
    """Both precisions on the same masks."""
    d = 25
    components = lj.from_labels(case.signal, overhead.segments(case.signal.shape, d), d)
    method, key = lj.lime(case.batch_size * max(2, case.num_batches // 2)), jax.random.key(0)

    def explain(precision):
        return lj.explain(
            case.predict,
            components,
            method,
            key=key,
            batch_size=case.batch_size,
            precision=precision,
        )

    ways = {name: lambda name=name: explain(name) for name in ("float32", "default")}
    times = timing.compare(ways, "float32", repeats)
    exact, fast = (np.asarray(explain(name).coefficients) for name in ("float32", "default"))
    tops = [np.argsort(-x, axis=1)[:, :3] for x in (exact, fast)]
    same = [set(a) == set(b) for a, b in zip(*tops, strict=True)]
    return {
        "model": case.name,
        "ways": times,
        "largest_coefficient": float(np.abs(exact).max()),
        "difference_of_coefficients": float(np.abs(exact - fast).max()),
        "same_top_3": float(np.mean(same)),
    }


def rows(numbers: dict[str, Any]) -> Iterator[cells.Row]:
    """Yields the table of the stored numbers."""
    yield "model", "times faster", "difference of coefficients", "largest", "same top 3"
    for case in numbers["cases"]:
        yield (
            case["model"],
            cells.ratio(case["ways"]["default"]["ratio"]),
            f"{case['difference_of_coefficients']:.1e}",
            f"{case['largest_coefficient']:.1e}",
            f"{case['same_top_3']:.0%}",
        )
