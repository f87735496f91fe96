"""Models that run outside jit: the device prepares the next inputs meanwhile."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from lime_jax.core.components import Components
from lime_jax.core.execution import accumulate, memory
from lime_jax.core.execution.accumulate import Plan, inputs_of, rows_of
from lime_jax.core.execution.compiled import group_size
from lime_jax.core.execution.host_model import HostModel, predict_in_batches
from lime_jax.core.execution.progress import Progress
from lime_jax.core.execution.stepwise import explain_in_rounds, fold, no_blocks
from lime_jax.core.explanation import Explanation
from lime_jax.core.item_axis import as_one_item, item_of
from lime_jax.core.keys import MaybeKey
from lime_jax.core.masks.neighbourhood import Neighbourhood
from lime_jax.core.methods import Method
from lime_jax.core.pytree import is_traced
from lime_jax.core.surrogates.statistics import Statistics

# Large enough to keep a framework busy.
_HOST_BATCH = 64


def run_on_host(
    model: HostModel,
    components: Components,
    method: Method,
    keys: MaybeKey,
    batch_size: int | None,
    progress: Progress | None,
) -> Explanation:
    """Explains all items, groups of them at a time, with a model outside jit."""
    if is_traced((components, method, keys)):
        raise ValueError("a host model cannot run inside jit or vmap. Call `explain` outside.")
    num_items, num_components = components.num_items, components.num_components
    size = batch_size or _host_batch_size(item_of(components, 0))
    group = group_size(method, keys, num_items, num_components, size)
    each = []
    for start in range(0, num_items, group):
        items, item_keys = item_of((components, keys), slice(start, start + group))
        each.append(_run_group_on_host(model, items, item_keys, method, size, progress))
    return jax.tree.map(lambda *x: jnp.concatenate(x), *each)


def _run_group_on_host(
    model: HostModel,
    components: Components,
    keys: MaybeKey,
    method: Method,
    batch_size: int,
    progress: Progress | None,
) -> Explanation:
    sum_up = functools.partial(
        _accumulate_on_host, model, components, method, batch_size=batch_size
    )
    return explain_in_rounds(sum_up, components, method, keys, progress)


def _accumulate_on_host(
    model: HostModel,
    components: Components,
    method: Method,
    neighbourhoods: Neighbourhood,
    *,
    batch_size: int,
    progress: Progress | None,
) -> Statistics:
    num_items = components.num_items
    total = neighbourhoods.num_masks
    split = accumulate.plan(total, accumulate.round_size(neighbourhoods), batch_size, num_items)
    blocks = None
    for stop, masks, counts, outputs in evaluate_on_host(model, components, neighbourhoods, split):
        if blocks is None:
            blocks = no_blocks(neighbourhoods, num_items, outputs.shape[2])
        blocks = fold(method.kernel, blocks, masks, counts, jnp.asarray(outputs))
        if progress is not None:
            progress(min(stop, total), total)
    assert blocks is not None
    return blocks


def _host_batch_size(components: Components) -> int:
    """Returns how many inputs fit twice, those at work and the next."""
    mask = jax.ShapeDtypeStruct((1, 1, components.num_components), jnp.bool_)

    def inputs(components: Components, mask: jax.Array) -> jax.Array:
        return accumulate.inputs_of(as_one_item(components), mask)

    fitting = memory.batch_size_for(inputs, components, mask)
    return min(_HOST_BATCH, max(1, fitting // 2))


def evaluate_on_host(
    model: HostModel, components: Components, neighbourhoods: Neighbourhood, split: Plan
) -> Iterator[tuple[int, jax.Array, jax.Array, np.ndarray]]:
    """Yields last row, masks, counts and outputs of every step, the next inputs under way."""

    def prepare(step: tuple[int, int]) -> tuple[jax.Array, jax.Array, jax.Array]:
        return _prepare(components, neighbourhoods, jnp.int32(step[0]), step[1])

    ahead = prepare(split.steps[0])
    for step, following in zip(split.steps, [*split.steps[1:], None], strict=True):
        masks, counts, inputs = ahead
        if following is not None:
            ahead = prepare(following)
        flat = np.array(inputs).reshape(-1, *inputs.shape[2:])
        size = min(split.batch_size, components.num_items * split.steps[0][1])
        outputs = predict_in_batches(model, flat, size)
        yield sum(step), masks, counts, outputs.reshape(*masks.shape[:2], -1)


def _prepare_step(
    components: Components, neighbourhoods: Neighbourhood, start: jax.Array, num_rows: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    stop = neighbourhoods.num_masks
    masks, counts = rows_of(neighbourhoods, components.num_items, start, num_rows, stop)
    return masks, counts, inputs_of(components, masks)


_prepare = jax.jit(_prepare_step, static_argnums=3)
