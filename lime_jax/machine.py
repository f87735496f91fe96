"""What computed a result: the device, the processors, the versions."""

import datetime
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

PACKAGES = ("lime-jax", "jax", "jaxlib", "flax", "optax", "numpy")


def describe_machine(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """Returns the device, the number of processors, versions and the date, as plain values.

    Args:
      packages: whose versions are named, where they are installed.
    """
    import jax

    device = jax.devices()[0]
    versions = {name: version(name) for name in packages}
    return {
        "platform": device.platform,
        "device": device.device_kind if device.platform != "cpu" else _cpu_name(),
        "num_devices": len(jax.devices()),
        "num_cpus": num_processors(),
        "python": platform.python_version(),
        "versions": {name: number for name, number in versions.items() if number},
        "date": datetime.date.today().isoformat(),
    }


def version(package: str) -> str | None:
    """Returns the installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def num_processors() -> int:
    """Returns how many processors this process may use, where the system says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or "CPU"
