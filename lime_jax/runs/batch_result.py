"""What became of a batch: rows of the store, and failures."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from lime_jax.runs import schema
from lime_jax.runs.reader import Failure, Snippet


@dataclasses.dataclass(frozen=True, eq=False)
class BatchResult:
    """What became of a batch.

    Attributes:
      snippets: that were explained.
      table: their rows, `num_outputs` for every snippet in turn, a `pyarrow.Table`.
      num_outputs: how many rows a snippet has.
      layouts: the components of every layout in the table.
      failures: of the items that could not be explained.
      num_evaluations: of the model.
      seconds: that the device took.
    """

    snippets: Sequence[Snippet]
    table: Any
    num_outputs: int
    layouts: dict[str, list[dict[str, Any]]]
    failures: Sequence[Failure]
    num_evaluations: int
    seconds: float


def failed_batch(failure: Failure) -> BatchResult:
    """Returns the result of a single snippet that could not be explained."""
    return BatchResult((), schema.results_schema().empty_table(), 0, {}, [failure], 0, 0.0)


def merge_results(results: Sequence[BatchResult]) -> BatchResult:
    """Returns several results as one."""
    import pyarrow as pa

    return BatchResult(
        snippets=[snippet for result in results for snippet in result.snippets],
        table=pa.concat_tables([result.table for result in results]),
        num_outputs=max(result.num_outputs for result in results),
        layouts={name: rows for result in results for name, rows in result.layouts.items()},
        failures=[failure for result in results for failure in result.failures],
        num_evaluations=sum(result.num_evaluations for result in results),
        seconds=sum(result.seconds for result in results),
    )
