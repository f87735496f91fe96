"""Runs the benchmarks and writes one JSON file each.

Needs jax, numpy and flax alone; what needs more, and peers that are not installed, are left out and
named.

  python -m benchmarks --out results/            all of them, as published
  python -m benchmarks --quick                   some minutes on two cores
  python -m benchmarks --only overhead memory    some of them
  python -m benchmarks --device gpu              on an accelerator, or not at all
"""

import argparse
import importlib
import json
import time
from pathlib import Path

NAMES = (
    "ceilings",
    "slime_70000",
    "overhead",
    "peers",
    "front_end",
    "precision",
    "dataset",
    "windows",
    "layers",
    "lemons",
    "coverage",
    "few_masks",
    "memory",
    "million_rows",
    "whole_run",
    "kills",
    "separation",
    "designs",
    "scaling",
    "allocator",
)


def main() -> None:
    """Parses the command line and runs what it names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the JSON")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer repeats")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    parser.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="refuse any other")
    options = parser.parse_args()

    from benchmarks import stand_in

    stand_in.install()
    import jax

    from lime_jax.core.execution.allocator import keep_freed_memory

    # For all that is compared: without it a CPU spends most of its time on mapping pages.
    keep_freed_memory()
    platform = jax.devices()[0].platform
    if options.device not in (None, platform):
        parser.error(f"--device {options.device}: jax found only {platform!r} devices.")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        run_one(name, options.out, quick=options.quick)


def run_one(name: str, folder: Path, *, quick: bool) -> None:
    """Runs one script and writes `folder/name.json` whole."""
    from lime_jax import storage
    from lime_jax.machine import describe_machine

    module = importlib.import_module(f"benchmarks.{name}")
    claim = (module.__doc__ or "").splitlines()[0]
    print(f"{name}: {claim}", flush=True)
    start = time.perf_counter()
    try:
        numbers = module.run(quick=quick)
    except ModuleNotFoundError as error:
        print(f"  left out: the package {error.name} is not installed", flush=True)
        return
    seconds = round(time.perf_counter() - start, 1)
    result = {
        "name": name,
        "claim": claim,
        "quick": quick,
        "seconds": seconds,
        "machine": describe_machine(),
        "numbers": numbers,
    }
    storage.write_whole(folder / f"{name}.json", (json.dumps(result, indent=1) + "\n").encode())
    print(f"  {seconds} s -> {folder / name}.json", flush=True)


if __name__ == "__main__":
    main()
