"""More devices explain faster: masks of one clip, or clips of a data set, shared by a mesh.

On a CPU the devices are forced ones that share the same cores, so the curve there shows that the
work is divided, not that it gets faster.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks import cells

COUNTS = (1, 2, 4, 8)


def run(*, quick: bool) -> dict[str, Any]:
    """Returns one process per number of devices."""
    import jax

    on_cpu = jax.devices()[0].platform == "cpu"
    counts = [n for n in COUNTS if on_cpu or n <= len(jax.devices())]
    points = [measure(n, on_cpu, quick) for n in (counts[:2] if quick else counts)]
    one = points[0]
    for point in points:
        point["speed_up_masks"] = one["masks_s"] / point["masks_s"]
        point["speed_up_items"] = one["items_s"] / point["items_s"]
    return {"forced_host_devices": on_cpu, "points": points}


def measure(num_devices: int, forced: bool, quick: bool) -> dict[str, Any]:
    """Explains in a new process with so many devices."""
    environment = dict(os.environ)
    if forced:
        count = f"--xla_force_host_platform_device_count={num_devices}"
        environment["XLA_FLAGS"] = f"{environment.get('XLA_FLAGS', '')} {count}"
    arguments = [num_devices, 1 if quick else 3]
    command = [sys.executable, "-m", "benchmarks.scaling", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def explain(num_devices: int, repeats: int) -> dict[str, Any]:
    """Times one explanation over masks and a batch of them over items."""
    import jax
    import numpy as np

    import lime_jax as lj
    from benchmarks import networks, timing

    lj.keep_freed_memory()
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:num_devices]), ("devices",))
    case = networks.singing_voice()
    components = lj.from_labels(case.signal, lj.equal_segments(115, 10)[:, None], 10)
    many = jax.tree.map(lambda x: jax.numpy.stack([x] * 4), components)
    method = lj.kernel_shap(256)
    size = 32
    key = jax.random.key(0)

    def masks():
        return lj.explain(case.predict, components, method, key=key, batch_size=size, mesh=mesh)

    few = lj.kernel_shap(64)

    def items():
        return lj.explain_batch(case.predict, many, few, key=key, batch_size=size, mesh=mesh)

    alone = lj.explain(case.predict, components, method, key=key, batch_size=size)
    difference = np.abs(masks().coefficients - np.asarray(alone.coefficients)).max()
    return {
        "num_devices": num_devices,
        "masks_s": timing.measure(masks, repeats=repeats)["median"],
        "items_s": timing.measure(items, repeats=repeats)["median"],
        "difference_from_one_device": float(difference),
    }


def rows(numbers: dict[str, Any]) -> Iterator[cells.Row]:
    """Yields the table of the stored numbers."""
    note = " (forced devices on the same cores)" if numbers["forced_host_devices"] else ""
    yield f"devices{note}", "speed-up, masks shared", "speed-up, clips shared", "difference"
    for point in numbers["points"]:
        yield (
            str(point["num_devices"]),
            f"{point['speed_up_masks']:.2f}",
            f"{point['speed_up_items']:.2f}",
            f"{point['difference_from_one_device']:.1e}",
        )


if __name__ == "__main__":
    from benchmarks import stand_in

    stand_in.install()
    print(json.dumps(explain(*map(int, sys.argv[1:]))))
