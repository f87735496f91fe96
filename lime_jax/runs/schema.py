"""Explanations and failures as rows of a table (docs/store-schema.md)."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lime_jax.core.explanation import Explanation, Status
from lime_jax.runs.reader import Failure, Snippet
from lime_jax.runs.sources import Source


@functools.cache
def results_schema() -> Any:
    """Returns the columns of `results.parquet`: one row per item, snippet and output."""
    import pyarrow as pa

    name = pa.dictionary(pa.int32(), pa.string())
    number, whole = pa.float32(), pa.int32()
    return pa.schema(
        {
            "id": pa.string(),
            "snippet": whole,
            "num_snippets": whole,
            "start": pa.float64(),
            "duration": pa.float64(),
            "output": name,
            "output_index": whole,
            "status": name,
            "prediction": number,
            "local_prediction": number,
            "fidelity": number,
            "intercept": number,
            "coefficients": pa.list_(number),
            "std_error": pa.list_(number),
            "top_components": pa.list_(whole),
            "layout": name,
            "num_evaluations": whole,
            "explain_seconds": number,
            "load_seconds": number,
        }
    )


@functools.cache
def errors_schema() -> Any:
    """Returns the columns of `errors.parquet`: one row per item that failed."""
    import pyarrow as pa

    text = pa.string()
    return pa.schema({"id": text, "path": text, "stage": text, "reason": text})


@functools.cache
def sources_schema() -> Any:
    """Returns the columns of `sources.parquet`: one row per item that is explained or failed."""
    import pyarrow as pa

    text = pa.string()
    return pa.schema({"id": text, "stat": text, "sha256": text})


@functools.cache
def layouts_schema() -> Any:
    """Returns the columns of `components.parquet`: one row per component of a layout."""
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    return pa.schema(
        {
            "layout": text,
            "index": pa.int32(),
            "name": text,
            "source": text,
            "start": number,
            "end": number,
            "low": number,
            "high": number,
        }
    )


def results_table(
    snippets: Sequence[Snippet],
    explanations: Explanation,
    outputs: np.ndarray,
    output_names: Sequence[str],
    *,
    layouts: Sequence[str],
    top_k: int,
    sample_rate: int,
    explain_seconds: float,
) -> Any:
    """Returns a `pyarrow.Table` with the rows of a batch, those of a snippet together.

    Args:
      snippets: what was explained.
      explanations: of at least these snippets, with a leading axis over items.
      outputs: indices of the outputs to store, `(num_items, num_stored)`.
      output_names: of the model.
      layouts: what `components.parquet` calls the components of every snippet.
      top_k: how many components of positive weight are listed.
      sample_rate: in Hz.
      explain_seconds: what a snippet took.
    """
    import pyarrow as pa

    num_stored = outputs.shape[1]
    columns = {
        "id": pa.array([s.item.id for s in snippets for _ in range(num_stored)], pa.string()),
        **_columns_of_snippets(snippets, num_stored, sample_rate),
        **_columns_of_outputs(explanations, outputs, output_names, top_k),
        "layout": _layout_names(layouts, num_stored),
        "num_evaluations": np.repeat(
            np.asarray(explanations.num_evaluations)[: len(outputs)], num_stored
        ),
        "explain_seconds": np.full(outputs.size, explain_seconds),
        "load_seconds": np.repeat([s.load_seconds for s in snippets], num_stored),
    }
    schema = results_schema()
    typed = [
        value if isinstance(value, (pa.Array, pa.ChunkedArray)) else pa.array(value)
        for value in (columns[field.name] for field in schema)
    ]
    return pa.Table.from_arrays(
        [array.cast(field.type) for array, field in zip(typed, schema, strict=True)], schema=schema
    )


def _columns_of_snippets(
    snippets: Sequence[Snippet], num_stored: int, sample_rate: int
) -> dict[str, Any]:
    values = {
        "snippet": [s.index for s in snippets],
        "num_snippets": [s.num_snippets for s in snippets],
        "start": [s.start for s in snippets],
        "duration": [s.num_samples / sample_rate for s in snippets],
    }
    return {name: np.repeat(np.asarray(column), num_stored) for name, column in values.items()}


def _columns_of_outputs(
    explanations: Explanation, outputs: np.ndarray, output_names: Sequence[str], top_k: int
) -> dict[str, Any]:
    num_items = len(outputs)

    def stored(values: Any) -> np.ndarray:
        return np.take_along_axis(np.asarray(values)[:num_items], outputs, axis=1).ravel()

    def stored_rows(values: Any) -> np.ndarray:
        rows = np.take_along_axis(np.asarray(values)[:num_items], outputs[..., None], axis=1)
        return rows.reshape(outputs.size, -1)

    status, coefficients = stored(explanations.status), stored_rows(explanations.coefficients)
    return {
        "output": _dictionary(outputs.ravel(), output_names),
        "output_index": outputs.ravel(),
        "status": _dictionary(status, [s.name for s in Status]),
        "prediction": stored(explanations.prediction),
        "local_prediction": stored(explanations.local_prediction),
        "fidelity": stored(explanations.fidelity),
        "intercept": stored(explanations.intercept),
        "coefficients": _lists(coefficients),
        "std_error": _lists(stored_rows(explanations.std_error)),
        "top_components": _top_components(coefficients, status, top_k),
    }


def _layout_names(layouts: Sequence[str], num_stored: int) -> Any:
    names = sorted(set(layouts))
    return _dictionary(np.repeat([names.index(layout) for layout in layouts], num_stored), names)


def _dictionary(indices: np.ndarray, names: Sequence[str]) -> Any:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(np.asarray(indices, np.int32), list(names))


def errors_table(failures: Sequence[Failure]) -> Any:
    """Returns a `pyarrow.Table` of failures."""
    import pyarrow as pa

    from lime_jax.runs.manifest import as_text

    rows = [
        {
            "id": failure.item.id,
            "path": None if failure.item.path is None else as_text(failure.item.path),
            "stage": failure.stage,
            "reason": failure.reason.encode("utf-8", "backslashreplace").decode("utf-8"),
        }
        for failure in failures
    ]
    return pa.Table.from_pylist(rows, errors_schema())


def sources_table(sources: Mapping[str, Source]) -> Any:
    """Returns a `pyarrow.Table` of what the files of items were, by their ids."""
    import pyarrow as pa

    rows = [{"id": id, **dataclasses.asdict(source)} for id, source in sources.items()]
    return pa.Table.from_pylist(rows, sources_schema())


def layouts_table(layouts: dict[str, list[dict[str, Any]]]) -> Any:
    """Returns a `pyarrow.Table` of the components of every layout."""
    import pyarrow as pa

    rows = [
        {"layout": layout, **row} for layout, components in layouts.items() for row in components
    ]
    return pa.Table.from_pylist(rows, layouts_schema())


def _lists(rows: np.ndarray) -> Any:
    import pyarrow as pa

    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.ravel().astype(np.float32)))


def _top_components(coefficients: np.ndarray, status: np.ndarray, top_k: int) -> Any:
    """Lists the components of largest positive weight of every row, none where status is not OK."""
    import pyarrow as pa

    strength = np.nan_to_num(coefficients, nan=-np.inf)
    order = np.argsort(-strength, axis=1, kind="stable")[:, :top_k].astype(np.int32)
    is_top = np.take_along_axis(strength, order, axis=1) > 0
    is_top &= (status == Status.OK)[:, None]
    offsets = np.concatenate([[0], np.cumsum(is_top.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(order[is_top]))
