"""Peak memory does not grow with the number of samples, and hardly with anything else.

Every point is a process of its own, because a peak is a fact of a process. Host memory is its
largest resident size; device memory, where the device tells it, the allocator's peak.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks import cells

POINTS = [
    *[(num_samples, 40, 10) for num_samples in (1_000, 10_000, 100_000, 1_000_000)],
    *[(10_000, d, 10) for d in (10, 100, 400, 1024)],
    *[(10_000, 40, outputs) for outputs in (1, 50, 527)],
]
QUICK = [(1_000, 40, 10), (100_000, 40, 10)]
INPUT_LENGTH = 4096


def run(*, quick: bool) -> dict[str, Any]:
    """Returns all points, each in a process."""
    points = [measure(*point) for point in (QUICK if quick else POINTS)]
    samples = [p for p in points if (p["num_components"], p["num_outputs"]) == (40, 10)]
    host = [p["host_mib"] for p in samples]
    return {"points": points, "host_growth_over_num_samples": host[-1] / host[0] - 1}


def measure(num_samples: int, num_components: int, num_outputs: int) -> dict[str, Any]:
    """Returns one explanation in a new process."""
    command = [sys.executable, "-m", "benchmarks.memory"]
    numbers = map(str, (num_samples, num_components, num_outputs))
    done = subprocess.run([*command, *numbers], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def explain(num_samples: int, num_components: int, num_outputs: int) -> dict[str, Any]:
    """Explains, and tells the peaks of this process."""
    import jax

    import lime_jax as lj

    signal = jax.random.normal(jax.random.key(0), (INPUT_LENGTH,))
    labels = lj.equal_segments(INPUT_LENGTH, num_components)
    weights = jax.random.normal(jax.random.key(1), (INPUT_LENGTH, num_outputs)) / 64
    predict = jax.tree_util.Partial(lambda w, x: jax.nn.sigmoid(x @ w), weights)
    components = lj.from_labels(signal, labels, num_components)
    method = lj.lime(num_samples)
    jax.block_until_ready(
        lj.explain(predict, components, method, key=jax.random.key(2), batch_size=256)
    )
    stats = jax.devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    return {
        "num_samples": num_samples,
        "num_components": num_components,
        "num_outputs": num_outputs,
        "host_mib": peak_resident_mib(),
        "device_mib": peak / 2**20 if peak else None,
    }


def peak_resident_mib() -> float:
    """The most memory this process held; unlike `ru_maxrss` it knows nothing of the parent's."""
    with open("/proc/self/status", encoding="utf-8") as file:
        (line,) = (line for line in file if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def rows(numbers: dict[str, Any]) -> Iterator[cells.Row]:
    """Yields the table of the stored numbers."""
    yield "samples", "components", "outputs", "host peak, MiB", "device peak, MiB"
    for point in numbers["points"]:
        device = point["device_mib"]
        yield (
            f"{point['num_samples']:,}",
            str(point["num_components"]),
            str(point["num_outputs"]),
            cells.number(point["host_mib"]),
            cells.number(device) if device else "",
        )


if __name__ == "__main__":
    from benchmarks import stand_in

    stand_in.install()
    print(json.dumps(explain(*map(int, sys.argv[1:]))))
