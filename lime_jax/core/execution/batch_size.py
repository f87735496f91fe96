"""How many inputs to predict at a time: what fits into memory, then what runs fastest."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from lime_jax.core.components import Components
from lime_jax.core.execution import accumulate, memory
from lime_jax.core.masks import neighbourhood
from lime_jax.core.methods import Method
from lime_jax.core.predictor import Predictor
from lime_jax.core.receptive_fields.check import check_locality, compare
from lime_jax.core.receptive_fields.layers import Layered
from lime_jax.core.receptive_fields.windows import Layout, Local, Lookup

# Trying sizes pays where the work is many times what the trials cost.
_WORTH_SECONDS = 3.0
_SHARE_FOR_TRIALS = 0.1
_WORTH_BATCHES = 8
_SMALLEST = 8
_REPEATS = 3

# A step of this much work takes milliseconds, and calling it by itself a fraction of one.
_HEAVY_FLOPS = 2e9

_MOST_REMEMBERED = 64
_remembered: dict[Any, int] = {}


def batch_size_for(
    predictor: Predictor,
    components: Components,
    method: Method,
    key: Any,
    *,
    num_items: int = 1,
    may_try: bool = True,
) -> int:
    """The batch size remembered for a model and shapes, or a good one.

    Small work gets the largest batch that fits and leaves next to nothing over. Before large work
    a few sizes are tried, for a tenth of its time at most, and the fastest is remembered: the
    best size can be several times faster than its neighbours, and nothing but trying finds it.

    Args:
      predictor: the model.
      components: of one item.
      method: its neighbourhood says how much work there is.
      key: of one item, or None.
      num_items: how many items are to be explained.
      may_try: whether there is time to be measured; inside jit there is not.
    """
    signature = _signature(predictor, components)
    if signature in _remembered:
        return _remembered[signature]
    largest = _largest(signature, predictor, components)
    num_masks, dealt = size_of(method, key, components.num_components)
    untried = accumulate.even(num_masks, dealt, largest)
    # As much as was done with this model so far may well come again.
    num_inputs = _num_inputs.get(signature, 0) + num_masks * num_items
    # Processes that share the work could find different sizes.
    if not may_try or jax.process_count() > 1:
        return untried
    if num_inputs < _WORTH_BATCHES * largest:
        _put(_num_inputs, signature, num_inputs)
        return untried
    sizes = [untried, *candidates(largest, dealt)]
    found = fastest(_trial(predictor, components), sizes, num_inputs)
    return remember(predictor, components, found)


def is_heavy(predictor: Predictor, items: Components, num_rows: int, batch_size: int) -> bool:
    """Whether steps are worth calling one by one: on CPUs, where XLA fuses less inside loops.

    VGG16 runs at 0.89 of its own speed inside a `lax.scan`, and at 0.99 in steps.

    Args:
      predictor: the model.
      items: the components of a group.
      num_rows: masks of each item in one step.
      batch_size: inputs at a time.
    """
    if jax.devices()[0].platform != "cpu":
        return False
    signature = (_signature(predictor, items), num_rows, batch_size)
    if signature not in _flops:
        masks = jax.ShapeDtypeStruct((items.num_items, num_rows, items.num_components), jnp.bool_)
        leaves, structure = jax.tree.flatten((predictor, items, masks))
        # The model is traced inside, for the very shapes it is going to run with.
        step = lambda *leaves: accumulate.compiled_evaluate(
            *jax.tree.unflatten(structure, leaves), batch_size=batch_size
        )
        cost = jax.jit(step).lower(*leaves).cost_analysis()
        _put(_flops, signature, float((cost or {}).get("flops", 0.0)))
    return _flops[signature] >= _HEAVY_FLOPS


def local_batch_sizes(
    model: Local, components: Components, layout: Layout, batch_size: int | None
) -> tuple[int, int]:
    """How many windows and how many masks at a time, for a model that declares its locality."""
    if batch_size is not None:
        return batch_size, batch_size
    signature = (_signature(model, components), layout.num_entries)
    if signature not in _local_sizes:
        shape = list(components.sources.shape[1:])
        shape[model.axis] = model.window
        window = jax.ShapeDtypeStruct((1, *shape), components.sources.dtype)
        trunk = lambda model, window: model.trunk(window)
        head = lambda model, windows: model.head(windows)
        features = jax.eval_shape(trunk, model, window)
        windows = jax.ShapeDtypeStruct((1, len(layout.first), *features.shape[1:]), features.dtype)
        sizes = (
            memory.batch_size_for(trunk, model, window),
            memory.batch_size_for(head, model, windows),
        )
        _put(_local_sizes, signature, sizes)
    return _local_sizes[signature]


def batch_size_of_head(model: Layered, lookup: Lookup) -> int:
    """How many masks at a time, once the columns of a `Layered` model are looked up."""
    signature = (_signature(model), len(lookup.first), lookup.table.shape[1:])
    if signature not in _local_sizes:
        shape = (1, len(lookup.first), *lookup.table.shape[1:])
        columns = jax.ShapeDtypeStruct(shape, lookup.table.dtype)
        head = lambda model, columns: model.head(columns)
        size = memory.batch_size_for(head, model, columns)
        _put(_local_sizes, signature, (size, size))
    return _local_sizes[signature][1]


def check_once(model: Local, components: Components) -> None:
    """Checks a declaration on noise and on the first item of every model and shape.

    Again on the next item, as long as nothing that it saw moved the outputs.

    Raises:
      ValueError: if the declaration is wrong.
    """
    signature = _signature(model, components)
    if signature in _checked:
        return
    d = components.num_components
    masks = jnp.arange(4)[:, None] % (jnp.arange(d)[None] % 3 + 2) > 0
    masks = masks.at[1].set(True)
    inputs = jax.vmap(components.recomposed)(masks)
    noise = np.random.default_rng(0).standard_normal((2, *inputs.shape[1:]))
    inputs = jnp.concatenate([inputs, jnp.asarray(noise, inputs.dtype)])
    check_locality(model, inputs)
    outputs = np.asarray(model(inputs))
    if np.ptp(outputs[np.isfinite(outputs).all(axis=1)], axis=0).any():
        _put(_checked, signature, True)


def check_columns_once(model: Layered, components: Components, lookup: Lookup) -> None:
    """Checks the layers of a model on the first item of every shape: all on, and half of it.

    Again on the next item, as long as nothing that was switched off moved the outputs.

    Raises:
      ValueError: if the declaration is wrong.
    """
    signature = _signature(model, components)
    if signature in _checked:
        return
    masks = np.arange(components.num_components)[None] % np.array([[1], [2]]) == 0
    expected = np.asarray(_whole(model, components, masks))
    compare(model, expected, _above(model, lookup, masks))
    # What nothing moved proves nothing.
    if np.ptp(expected, axis=0).any():
        _put(_checked, signature, True)


@jax.jit
def _whole(model: Layered, components: Components, masks: Any) -> Any:
    return model.whole(jax.vmap(components.recomposed)(jnp.asarray(masks)))


@jax.jit
def _above(model: Layered, lookup: Lookup, masks: Any) -> Any:
    return model.head(jax.vmap(lookup.recomposed)(jnp.asarray(masks)))


def remember(predictor: Predictor, components: Components, batch_size: int) -> int:
    """Keeps a batch size for this model and these shapes; returns it."""
    _put(_remembered, _signature(predictor, components), batch_size)
    return batch_size


def candidates(largest: int, dealt: int = 1) -> list[int]:
    """Powers of two and their middles up to the largest batch, downwards."""
    smallest = max(_SMALLEST, dealt)
    steps = [factor << power for power in range(3, 20) for factor in (1, 3)]
    return sorted((n for n in steps if smallest <= n <= largest and n % dealt == 0), reverse=True)


def fastest(trial: Callable[[int], float], sizes: list[int], num_inputs: int) -> int:
    """The size with the least time per input; tries no more than the work is worth.

    Args:
      trial: the seconds that one batch of a size takes.
      sizes: the first is tried in any case.
      num_inputs: how many inputs are to be predicted.
    """
    per_input: dict[int, float] = {}
    start = time.perf_counter()
    for size in sizes:
        per_input[size] = trial(size) / size
        expected = num_inputs * min(per_input.values())
        if time.perf_counter() - start > _SHARE_FOR_TRIALS * expected:
            break
        if expected < _WORTH_SECONDS:
            break
    return min(per_input, key=lambda size: per_input[size])


def _trial(predictor: Predictor, components: Components) -> Callable[[int], float]:
    items = jax.tree.map(lambda x: x[None], components)

    def seconds(size: int) -> float:
        masks = jnp.arange(size)[:, None] % (jnp.arange(components.num_components)[None] + 2) > 0
        run = lambda: jax.block_until_ready(
            accumulate.compiled_evaluate(predictor, items, masks[None], batch_size=size)
        )
        run()
        times = []
        for _ in range(_REPEATS):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return float(np.median(times))

    return seconds


_largest_sizes: dict[Any, int] = {}
_flops: dict[Any, float] = {}
_num_inputs: dict[Any, int] = {}
_local_sizes: dict[Any, tuple[int, int]] = {}
_checked: dict[Any, bool] = {}
_sizes_of_neighbourhoods: dict[Any, tuple[int, int]] = {}


def _largest(signature: Any, predictor: Predictor, components: Components) -> int:
    if signature not in _largest_sizes:
        mask = jax.ShapeDtypeStruct((1, 1, components.num_components), jnp.bool_)
        one = lambda predictor, components, mask: accumulate.evaluate(
            predictor, jax.tree.map(lambda x: x[None], components), mask, batch_size=1
        )
        fitting = memory.batch_size_for(one, predictor, components, mask)
        _put(_largest_sizes, signature, fitting)
    return _largest_sizes[signature]


def size_of(method: Method, key: Any, num_components: int) -> tuple[int, int]:
    """How many masks a neighbourhood has, and how they are dealt, without drawing it."""
    signature = (_signature(method), key is None, num_components)
    if signature not in _sizes_of_neighbourhoods:
        size = neighbourhood.size_of(method.sampler, num_components, key)
        _put(_sizes_of_neighbourhoods, signature, (size.num_masks, size.dealt))
    return _sizes_of_neighbourhoods[signature]


def _put(remembered: dict[Any, Any], signature: Any, value: Any) -> None:
    if len(remembered) >= _MOST_REMEMBERED:
        remembered.pop(next(iter(remembered)))
    remembered[signature] = value


def _signature(*trees: Any) -> Any:
    leaves, structure = jax.tree.flatten(trees)
    kinds = tuple((np.shape(leaf), jax.dtypes.result_type(leaf)) for leaf in leaves)
    return structure, kinds, jax.devices()[0].device_kind


def is_traced(tree: Any) -> bool:
    """Whether any leaf is being traced, or everything is, inside jit or vmap."""
    tree = (tree, jnp.zeros(()))  # inside jit even this is traced
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def checked_batch_size(batch_size: int | None) -> int | None:
    """The batch size that was asked for, if any.

    Raises:
      ValueError: if it is less than one.
    """
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1 or None, got {batch_size}.")
    return batch_size
