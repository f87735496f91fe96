"""A million rows are summed up in less than a minute and two GiB, on two cores.

The store has 20 000 sounds, 50 outputs and 5 stems, four groups and five labels; the summary is
made by a process of its own, because a peak of memory is a fact of a process.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import cells

NUM_OUTPUTS, STEMS, PART_ITEMS = 50, ("bass", "drums", "guitar", "piano", "strings"), 256


def run(*, quick: bool) -> dict[str, Any]:
    """Makes the store and sums it up."""
    num_items = 400 if quick else 20_000
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "store")
        start = time.perf_counter()
        make_store(store, num_items)
        made = time.perf_counter() - start
        command = [sys.executable, "-m", "benchmarks.million_rows", str(store)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    return {"num_rows": num_items * NUM_OUTPUTS, "make_s": made, **measured}


def make_store(folder: Path, num_items: int) -> None:
    """A store as `lime-jax run` would write it, with random numbers in it."""
    from lime_jax.runs import schema, store, writer
    from lime_jax.runs.items import Item

    rng = np.random.default_rng(0)
    names = [f"tag {index}" for index in range(NUM_OUTPUTS)]
    config = {"model": "random", "components": "stems", "outputs": "all", "output_names": names}
    kept = store.create_or_join(folder, config)
    items = [
        Item(f"{i:06}", Path(f"/music/{i:06}.wav"), label=names[i % 5], group=f"album {i % 4}")
        for i in range(num_items)
    ]
    store.store_items(kept, items)
    place = {"start": 0.0, "end": 1.0, "low": 0.0, "high": 8000.0}
    layout = [{"index": i, "name": s, "source": s, **place} for i, s in enumerate(STEMS)]
    for first in range(0, num_items, PART_ITEMS):
        some = items[first : first + PART_ITEMS]
        table = _random_rows([item.id for item in some], names, rng)
        empty = schema.errors_schema().empty_table()
        ids = (item.id for item in some)
        writer.write_part(kept, table, empty, {"stems": layout}, ids=ids)


def _random_rows(ids: list[str], names: list[str], rng: np.random.Generator) -> Any:
    import pyarrow as pa

    from lime_jax.runs import schema

    number = len(ids) * len(names)
    weights = rng.standard_normal((number, len(STEMS))).astype(np.float32)
    prediction = rng.uniform(size=number).astype(np.float32)
    output = np.tile(np.arange(len(names), dtype=np.int32), len(ids))

    def lists(values):
        return pa.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1])

    columns = {
        "id": np.repeat(ids, len(names)),
        "snippet": np.zeros(number, np.int32),
        "num_snippets": np.ones(number, np.int32),
        "start": np.zeros(number),
        "duration": np.full(number, 10.0),
        "output": pa.DictionaryArray.from_arrays(output, names),
        "output_index": output,
        "status": pa.array(["OK"] * number),
        "prediction": prediction,
        "local_prediction": prediction + rng.normal(0, 0.1, number).astype(np.float32),
        "fidelity": rng.uniform(0.2, 1, number).astype(np.float32),
        "intercept": np.zeros(number, np.float32),
        "coefficients": lists(weights),
        "std_error": lists(np.zeros_like(weights)),
        "top_components": lists(np.argsort(-weights, axis=1)[:, :3].astype(np.int32)),
        "layout": pa.array(["stems"] * number),
        "num_evaluations": np.full(number, 32, np.int32),
        "explain_seconds": np.zeros(number, np.float32),
        "load_seconds": np.zeros(number, np.float32),
    }
    arrays = [
        value if isinstance(value, pa.Array) else pa.array(value) for value in columns.values()
    ]
    fields = schema.results_schema()
    cast = [array.cast(field.type) for array, field in zip(arrays, fields, strict=True)]
    return pa.Table.from_arrays(cast, schema=fields)


def measure(folder: Path) -> dict[str, Any]:
    """Sums a store up, and tells time and peak memory of this process."""
    from benchmarks.memory import peak_resident_mib
    from lime_jax.runs import aggregate, store

    before = peak_resident_mib()
    start = time.perf_counter()
    summary = aggregate.aggregate(store.open_store(folder))
    seconds = time.perf_counter() - start
    rows = {name: table.num_rows for name, table in summary.tables().items()}
    return {
        "aggregate_s": seconds,
        "peak_mib": peak_resident_mib(),
        "before_mib": before,
        "tables": rows,
    }


def rows(numbers: dict[str, Any]) -> Iterator[cells.Row]:
    """Yields the table of the stored numbers."""
    yield "rows", "summed up, s", "peak memory, MiB"
    yield (
        f"{numbers['num_rows']:,}",
        cells.number(numbers["aggregate_s"]),
        cells.number(numbers["peak_mib"]),
    )


def headline(numbers: dict[str, Any]) -> str:
    """Returns what the README says was measured."""
    return f"{numbers['aggregate_s']:.1f} s, {numbers['peak_mib']:.0f} MiB"


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
