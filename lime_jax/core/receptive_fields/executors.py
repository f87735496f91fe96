"""Models that declare a receptive field, explained from windows wherever that is cheaper."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lime_jax.core.components import Components
from lime_jax.core.execution import compiled, finalize, memory
from lime_jax.core.execution.batch_size import neighbourhood_size
from lime_jax.core.execution.compiled import run_group
from lime_jax.core.execution.progress import Progress
from lime_jax.core.explanation import Explanation
from lime_jax.core.item_axis import as_one_item, item_of
from lime_jax.core.keys import MaybeKey
from lime_jax.core.masks.exhaustive import Exhaustive
from lime_jax.core.masks.sequential import Auto
from lime_jax.core.methods import Method, resolve
from lime_jax.core.predictor import Predict
from lime_jax.core.receptive_fields import batch_sizes, check, exact_sums, layers, windows
from lime_jax.core.receptive_fields.declaration import declaration
from lime_jax.core.receptive_fields.layers import Columns, Layerwise
from lime_jax.core.receptive_fields.lookup import Lookup
from lime_jax.core.receptive_fields.windows import Layout, Windowed, look_up
from lime_jax.core.surrogates import kernels
from lime_jax.core.surrogates.statistics import Statistics


def explain_by_windows(
    predict: Predict,
    components: Components,
    method: Method,
    keys: MaybeKey,
    batch_size: int | None,
) -> Explanation | None:
    """Explains items from few windows; None where whole inputs are cheaper.

    Raises:
      ValueError: if the declaration of the model is wrong.
    """
    if declaration(predict, Layerwise) is not None:
        return _explain_items_by_layers(predict, components, method, keys, batch_size)
    model = declaration(predict, Windowed)
    if model is None or not windows.cut_alike(components):
        return None
    first, key = item_of((components, keys), 0)
    d = first.num_components
    if model.is_sum and isinstance(method.sampler, (Exhaustive, Auto)):
        weight_of = kernels.weights_by_zeros(method.kernel, d)
        layout = windows.layout_of(model, first, _most_evaluations(method, first))
        if layout is not None and weight_of is not None:
            check.check_windows_once(model, first)
            return _explain_sums(model, components, layout, method, weight_of, batch_size)
    num_masks = min(
        neighbourhood_size(resolve(method, d, with_lookup=with_lookup), key, d)[0]
        for with_lookup in (False, True)
    )
    method = resolve(method, d, with_lookup=True)
    layout = windows.layout_of(model, first, num_masks)
    if layout is None:
        return None
    check.check_windows_once(model, first)
    sizes = batch_sizes.window_batch_sizes(model, first, layout, batch_size)
    explanations, _ = memory.retry_with_smaller_batches(
        lambda size: run_windowed(
            model,
            components,
            layout.arrays,
            method,
            keys,
            (min(sizes[0], size), min(sizes[1], size)),
        ),
        max(sizes),
    )
    return _with_evaluations(explanations, components, layout)


def _explain_items_by_layers(
    predict: Predict,
    components: Components,
    method: Method,
    keys: MaybeKey,
    batch_size: int | None,
) -> Explanation | None:
    # What is silent differs from item to item.
    items = [item_of((components, keys), number) for number in range(components.num_items)]
    if any(_plan(predict, item, method, key) is None for item, key in items):
        return None
    explanations = [
        explain_by_layers(predict, item, method, key, batch_size) for item, key in items
    ]
    if any(explanation is None for explanation in explanations):
        return None
    return jax.tree.map(lambda *x: jnp.stack(x), *explanations)


def explain_by_layers(
    predict: Predict,
    components: Components,
    method: Method,
    key: MaybeKey,
    batch_size: int | None,
    progress: Progress | None = None,
) -> Explanation | None:
    """Explains one item of a model that declares its layers.

    Args:
      predict: possibly with such a declaration.
      components: of one item.
      method: as for `explain`.
      key: of the masks.
      batch_size: of masks; None chooses.
      progress: called as `progress(done, total)`, in columns of the layers.

    Returns:
      None where there is no such declaration, or whole inputs are cheaper.

    Raises:
      ValueError: if the declaration is wrong.
    """
    if (model := declaration(predict, Layerwise)) is None:
        return None
    if (lookup := make_lookup(model, components, method, key, progress)) is None:
        return None
    resolved = resolve(method, components.num_components, with_lookup=True)
    run = functools.partial(_run_looked_up, model, lookup, resolved, key)
    return memory.retry_with_smaller_batches(
        run, batch_size or batch_sizes.head_batch_size(model, lookup)
    )[0]


def _run_looked_up(
    model: Layerwise, lookup: Lookup, method: Method, key: MaybeKey, batch_size: int
) -> Explanation:
    return compiled.run(model.head, lookup, method, key, batch_size, None)


def make_lookup(
    model: Layerwise,
    components: Components,
    method: Method,
    key: MaybeKey,
    progress: Progress | None,
) -> Lookup | None:
    """Returns the columns of one item; None where whole inputs are cheaper, or they do not fit."""
    if (columns := _plan(model, components, method, key)) is None:
        return None
    try:
        lookup = layers.look_up_columns(model, components, columns, progress)
    except jax.errors.JaxRuntimeError as error:
        if not memory.is_out_of_memory(error):
            raise
        return None
    check.check_columns_once(model, components, lookup)
    return lookup


def _plan(
    predict: Predict, components: Components, method: Method, key: MaybeKey
) -> list[Columns] | None:
    model = declaration(predict, Layerwise)
    assert model is not None
    plain = resolve(method, components.num_components, with_lookup=False)
    num_masks, _ = neighbourhood_size(plain, key, components.num_components)
    return layers.plan_columns(model, components, num_masks)


def _most_evaluations(method: Method, components: Components) -> int:
    all_masks = 2**components.num_components
    if isinstance(method.sampler, Auto):
        return min(all_masks, method.sampler.max_evaluations)
    return all_masks


def _with_evaluations(
    explanations: Explanation, components: Components, layout: Layout
) -> Explanation:
    number = jnp.full(components.num_items, layout.num_entries, jnp.int32)
    return dataclasses.replace(explanations, num_evaluations=number)


def _explain_sums(
    model: Windowed,
    components: Components,
    layout: Layout,
    method: Method,
    weight_of: np.ndarray,
    batch_size: int | None,
) -> Explanation:
    """Explains exactly: expectations over all masks from outputs of the windows, in float64."""
    one, num_components = item_of(components, 0), components.num_components
    size, _ = batch_sizes.window_batch_sizes(model, one, layout, batch_size)
    tables, _ = memory.retry_with_smaller_batches(
        lambda size: _tables(model, components, layout.arrays, size), size
    )
    equivalent = getattr(method.sampler, "equivalent_num_samples", None)
    num_samples = equivalent or 2**num_components
    share = 1 / len(layout.sets) if model.head_name == "mean" else 1.0
    totals = [
        exact_sums.statistics_of_sum(
            np.split(share * table.astype(np.float64), layout.first[1:]),
            layout.sets,
            weight_of,
            float(min(num_samples, 2**1000)),
        )
        for table in np.asarray(tables)
    ]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *totals)
    return _with_evaluations(_solve_exactly(method, stacked, num_samples), components, layout)


@functools.partial(jax.jit, static_argnames="batch_size")
def _tables(
    model: Windowed,
    components: Components,
    layout: tuple[jax.Array, ...],
    batch_size: int,
) -> jax.Array:
    def table(item: Components) -> jax.Array:
        return windows.look_up(model, item, *layout, batch_size=batch_size).table

    return jax.lax.map(table, components)


@functools.partial(jax.jit, static_argnames="num_samples")
def _solve_exactly(method: Method, totals: Statistics, num_samples: int) -> Explanation:
    blocks = jax.tree.map(lambda x: x[:, None], totals)
    return finalize.finalize_exactly(method, blocks, num_samples)


@functools.partial(jax.jit, static_argnames="batch_sizes")
def run_windowed(
    model: Windowed,
    components: Components,
    layout: tuple[Any, Any, Any, Any],
    method: Method,
    keys: MaybeKey,
    batch_sizes: tuple[int, int],
) -> Explanation:
    """Explains many items by windows that are looked up, and a head per mask.

    `batch_sizes` are of windows and of masks.
    """

    def explain_item(item: tuple[Components, MaybeKey]) -> Explanation:
        components, key = item
        window_of, masks, first, steps = layout
        lookup = look_up(model, components, window_of, masks, first, steps, batch_sizes[0])
        items, keys = as_one_item((lookup, key))
        return item_of(run_group(model.head, items, method, keys, batch_sizes[1]), 0)

    return jax.lax.map(explain_item, (components, keys))
