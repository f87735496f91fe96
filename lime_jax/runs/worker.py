"""Loads, explains and stores items, batch after batch."""

from collections.abc import Iterator, Sequence
from typing import Any

from lime_jax.errors import ModelError
from lime_jax.machine import num_processors
from lime_jax.runs.batching import batches
from lime_jax.runs.explainer import Explainer
from lime_jax.runs.items import Item
from lime_jax.runs.reader import Failure, load_ahead
from lime_jax.runs.writer import ResultWriter

# A model that fails on so many sounds and has explained none fails on all.
HOPELESS = 16


def explain_all(
    explainer: Explainer,
    items: Sequence[Item],
    writer: ResultWriter,
    stopped: Sequence[Any] = (),
    *,
    hopeless: int = HOPELESS,
) -> None:
    """Loads, explains and stores items, until all are done or `stopped` is not empty.

    Raises:
      ModelError: if the model fails on everything.
    """
    num_workers = explainer.config.num_workers or num_processors()
    loaded = load_ahead(_until(stopped, items), explainer.requirements, num_workers)
    bad: set[str] = set()
    for batch in batches(loaded, explainer.num_items):
        if isinstance(batch, Failure):
            writer.fail(batch)
            continue
        result = explainer.explain(batch)
        writer.add(result)
        bad |= {failure.item.id for failure in result.failures}
        if len(bad) >= hopeless and not writer.num_done:
            raise ModelError(
                f"all of the first {len(bad)} sounds failed: {result.failures[0].reason}"
            )
        if stopped:
            break
    writer.flush()
    writer.report_progress()


def _until(stopped: Sequence[Any], items: Sequence[Item]) -> Iterator[Item]:
    for item in items:
        if stopped:
            return
        yield item
