"""Ways to run the engine: as one program, over many items, step by step, beside a host model."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Key

from lime_jax.core.components import Components
from lime_jax.core.execution import accumulate as engine
from lime_jax.core.execution import batch_size as tuning
from lime_jax.core.execution import finalize, memory, sequential
from lime_jax.core.execution.host_model import HostModel, evaluate_on_host
from lime_jax.core.explanation import Explanation
from lime_jax.core.item_axis import as_one_item, item_of
from lime_jax.core.masks.neighbourhood import Neighbourhood
from lime_jax.core.masks.sequential import Auto
from lime_jax.core.methods import Method
from lime_jax.core.predictor import Predictor
from lime_jax.core.receptive_fields.windows import Local, look_up
from lime_jax.core.surrogates.statistics import Statistics

Progress = Callable[[int, int], None]
MaybeKey = Key[Array, "..."] | None

# Large enough to keep a framework busy.
_HOST_BATCH = 64


@functools.partial(jax.jit, static_argnames=("batch_size", "mesh"))
def run(
    predictor: Predictor,
    components: engine.Recomposable,
    method: Method,
    key: MaybeKey,
    batch_size: int,
    mesh: Mesh | None,
) -> Explanation:
    """One item; with a mesh, its masks are shared among the devices."""

    def program(predictor: Any, components: Any, method: Any, key: Any) -> Explanation:
        devices = () if mesh is None else mesh.axis_names
        items, keys = as_one_item((components, key))
        return item_of(_run_group(predictor, items, method, keys, batch_size, devices), 0)

    if mesh is not None:
        everywhere = PartitionSpec()
        program = jax.shard_map(
            program, mesh=mesh, in_specs=everywhere, out_specs=everywhere, check_vma=False
        )
    return program(predictor, components, method, key)


@functools.partial(jax.jit, static_argnames=("batch_size", "mesh"))
def run_batch(
    predictor: Predictor,
    components: Components,
    method: Method,
    keys: MaybeKey,
    batch_size: int,
    mesh: Mesh | None,
) -> Explanation:
    """Many items; with a mesh, they are shared among the devices."""
    num_items = components.num_items

    def program(predictor: Any, components: Any, method: Any, keys: Any) -> Explanation:
        return _in_groups(predictor, components, method, keys, batch_size)

    if mesh is None:
        return program(predictor, components, method, keys)
    everywhere, shared = PartitionSpec(), PartitionSpec(mesh.axis_names)
    items, keys = _padded((components, keys), -num_items % mesh.size)
    explanations = jax.shard_map(
        program,
        mesh=mesh,
        in_specs=(everywhere, shared, everywhere, shared),
        out_specs=shared,
        check_vma=False,
    )(predictor, items, method, keys)
    # Explanations are small: every device gets all of them.
    replicated = NamedSharding(mesh, everywhere)
    return jax.tree.map(
        lambda x: jax.lax.with_sharding_constraint(x[:num_items], replicated), explanations
    )


def _in_groups(
    predictor: Predictor, components: Components, method: Method, keys: MaybeKey, batch_size: int
) -> Explanation:
    """Maps over groups of items; a group is as many items as fill a batch with their masks."""
    num_items = components.num_items
    size = _group_size(method, keys, num_items, components.num_components, batch_size)
    filled = _padded((components, keys), -num_items % size)
    grouped = jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), filled)
    run = lambda group: _run_group(predictor, group[0], method, group[1], batch_size)
    explanations = jax.lax.map(run, grouped)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:num_items], explanations)


def _run_group(
    predictor: Predictor,
    components: engine.Recomposable,
    method: Method,
    keys: MaybeKey,
    batch_size: int,
    devices: tuple[str, ...] = (),
) -> Explanation:
    is_adaptive = isinstance(method.sampler, Auto)
    run = sequential.run if is_adaptive else engine.run
    return run(predictor, components, method, keys, batch_size, devices)


def _group_size(
    method: Method, keys: MaybeKey, num_items: int, num_components: int, batch_size: int
) -> int:
    """As many items as fill a batch, in groups of equal size."""
    if isinstance(method.sampler, Auto):
        return 1  # every item stops when it is sure
    num_masks, _ = tuning.size_of(method, item_of(keys, 0), num_components)
    largest = max(1, min(num_items, batch_size // num_masks))
    return engine.even(num_items, 1, largest)


@functools.partial(jax.jit, static_argnames="batch_sizes")
def run_local(
    model: Local,
    components: Components,
    layout: tuple[Any, Any, Any, Any],
    method: Method,
    keys: MaybeKey,
    batch_sizes: tuple[int, int],
) -> Explanation:
    """Many items of a local model: windows looked up, then a head per mask.

    `batch_sizes` are of windows and of masks.
    """

    def one(item: tuple[Components, MaybeKey]) -> Explanation:
        components, key = item
        window_of, masks, first, steps = layout
        lookup = look_up(model, components, window_of, masks, first, steps, batch_sizes[0])
        items, keys = as_one_item((lookup, key))
        return item_of(_run_group(model.head, items, method, keys, batch_sizes[1]), 0)

    return jax.lax.map(one, (components, keys))


def is_heavy(
    predictor: Predictor, components: Components, method: Method, keys: MaybeKey, batch_size: int
) -> bool:
    """Whether `run_in_steps` is worth its calls; many items at a time."""
    num_items, num_components = components.num_items, components.num_components
    size = _group_size(method, keys, num_items, num_components, batch_size)
    num_masks, dealt = tuning.size_of(method, item_of(keys, 0), num_components)
    num_rows = engine.plan(num_masks, dealt, batch_size, size).steps[0][1]
    return tuning.is_heavy(predictor, item_of(components, slice(size)), num_rows, batch_size)


def run_in_steps(
    predictor: Predictor,
    components: Components,
    method: Method,
    keys: MaybeKey,
    batch_size: int,
    progress: Progress | None = None,
) -> Explanation:
    """The same as the engine's single program for many items, called one step at a time.

    So progress can be told, and on CPUs XLA makes more of a network outside of a loop than inside.
    """
    num_items, num_components = components.num_items, components.num_components
    size = _group_size(method, keys, num_items, num_components, batch_size)
    items = _padded((components, keys), -num_items % size)
    starts = range(0, num_items, size)
    if progress is None and _takes_one_step(method, keys, size, num_components, batch_size):
        one_call = functools.partial(_run_group_at_once, size=size, batch_size=batch_size)
        explained = [one_call(predictor, method, items, jnp.int32(start)) for start in starts]
    else:
        groups = (_group(items, jnp.int32(start), size=size) for start in starts)
        first, _ = _group(items, jnp.int32(0), size=size)
        num_outputs = _num_outputs(predictor, method, first, keys, batch_size)
        explained = [
            _run_group_in_steps(
                predictor, some, method, some_keys, batch_size, num_outputs, progress
            )
            for some, some_keys in groups
        ]
    if len(explained) == 1:
        return item_of(explained[0], slice(num_items))
    return jax.tree.map(lambda *x: jnp.concatenate(x)[:num_items], *explained)


def _takes_one_step(
    method: Method, keys: MaybeKey, size: int, num_components: int, batch_size: int
) -> bool:
    """Whether a batch has room for all masks of a group; then one call does all of it."""
    if isinstance(method.sampler, Auto):
        return False
    num_masks, dealt = tuning.size_of(method, item_of(keys, 0), num_components)
    return len(engine.plan(num_masks, dealt, batch_size, size).steps) == 1


@functools.partial(jax.jit, static_argnames=("size", "batch_size"))
def _run_group_at_once(
    predictor: Predictor, method: Method, items: Any, start: Any, *, size: int, batch_size: int
) -> Explanation:
    components, keys = _group(items, start, size=size)
    return engine.run(predictor, components, method, keys, batch_size)


def _num_outputs(
    predictor: Predictor, method: Method, group: Components, keys: MaybeKey, batch_size: int
) -> int:
    num_masks, dealt = tuning.size_of(method, item_of(keys, 0), group.num_components)
    split = engine.plan(num_masks, dealt, batch_size, group.num_items)
    return engine.num_outputs(predictor, group, split)


def _run_group_in_steps(
    predictor: Predictor,
    components: Components,
    method: Method,
    keys: MaybeKey,
    batch_size: int,
    num_outputs: int,
    progress: Progress | None,
) -> Explanation:
    accumulate = functools.partial(
        _accumulate_in_steps,
        predictor,
        components,
        method,
        batch_size=batch_size,
        num_outputs=num_outputs,
    )
    return _explained(accumulate, components, method, keys, progress)


def _explained(
    accumulate: Callable[..., Any],
    components: Components,
    method: Method,
    keys: MaybeKey,
    progress: Progress | None,
) -> Explanation:
    """One neighbourhood, or rounds of them until the answer is sure; called from Python.

    Args:
      accumulate: `(neighbourhoods, progress=…)` to the statistics of their blocks.
      components: of a group.
      method: how it is explained.
      keys: one per item, or None.
      progress: told of all rounds there could be.
    """
    num_items, num_components = components.num_items, components.num_components
    if not isinstance(method.sampler, Auto):
        neighbourhoods = _draw(method, keys, num_items, num_components)
        return _finish(method, neighbourhoods, accumulate(neighbourhoods, progress=progress))
    most = method.sampler.most_rounds(num_components)
    rounds = None
    for number in range(most):
        neighbourhoods = _draw_round(method, keys, jnp.int32(number), num_components)
        told = None if progress is None else _later(progress, number, most)
        blocks = accumulate(neighbourhoods, progress=told)
        if rounds is None:
            num_outputs = blocks.output_mean.shape[-1]
            rounds = sequential.start(method.sampler, num_components, num_outputs)
        rounds = _add_round(rounds, blocks)
        if most == 1 or bool(_is_sure(method, rounds)):
            break
    return _finish_rounds(method, rounds)


def _later(progress: Progress, number: int, most: int) -> Progress:
    """Progress of round `number` as a share of all `most` rounds."""
    return lambda done, total: progress(number * total + done, most * total)


def _accumulate_in_steps(
    predictor: Predictor,
    components: Components,
    method: Method,
    neighbourhoods: Neighbourhood,
    *,
    batch_size: int,
    num_outputs: int,
    progress: Progress | None,
) -> Statistics:
    num_items = components.num_items
    total = neighbourhoods.num_masks
    split = engine.plan(total, engine.rounds(neighbourhoods), batch_size, num_items)
    blocks = _no_blocks(neighbourhoods, num_items, num_outputs)
    for start, num_rows in split.steps:
        blocks = _step(
            predictor, components, method, neighbourhoods, blocks, jnp.int32(start),
            num_rows=num_rows, batch_size=split.batch_size, stop=total,
        )  # fmt: skip
        if progress is not None:
            jax.block_until_ready(blocks)
            progress(min(start + num_rows, total), total)
    return blocks


@functools.partial(jax.jit, static_argnames="size")
def _group(items: Any, start: Any, *, size: int) -> Any:
    """Some items from a place that is known only when it runs: one program for all groups."""
    return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), items)


def run_on_host(
    model: HostModel,
    components: Components,
    method: Method,
    keys: MaybeKey,
    batch_size: int | None,
    progress: Progress | None,
) -> Explanation:
    """The explanations of all items, groups of them at a time, evaluated outside jit."""
    if tuning.is_traced((components, method, keys)):
        raise ValueError("a host model cannot run inside jit or vmap. Call `explain` outside.")
    num_items, num_components = components.num_items, components.num_components
    size = batch_size or _host_batch_size(item_of(components, 0))
    group = _group_size(method, keys, num_items, num_components, size)
    each = []
    for start in range(0, num_items, group):
        part = slice(start, start + group)
        some, some_keys = item_of((components, keys), part)
        each.append(_run_group_on_host(model, some, some_keys, method, size, progress))
    return jax.tree.map(lambda *x: jnp.concatenate(x), *each)


def _run_group_on_host(
    model: HostModel,
    components: Components,
    keys: MaybeKey,
    method: Method,
    batch_size: int,
    progress: Progress | None,
) -> Explanation:
    accumulate = functools.partial(
        _accumulate_on_host, model, components, method, batch_size=batch_size
    )
    return _explained(accumulate, components, method, keys, progress)


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
    split = engine.plan(total, engine.rounds(neighbourhoods), batch_size, num_items)
    blocks = None
    for stop, masks, counts, outputs in evaluate_on_host(model, components, neighbourhoods, split):
        if blocks is None:
            blocks = _no_blocks(neighbourhoods, num_items, outputs.shape[2])
        blocks = _fold(method.kernel, blocks, masks, counts, jnp.asarray(outputs))
        if progress is not None:
            progress(min(stop, total), total)
    assert blocks is not None
    return blocks


def _host_batch_size(components: Components) -> int:
    """As many inputs as fit twice, the ones at work and the next ones."""
    mask = jax.ShapeDtypeStruct((1, 1, components.num_components), jnp.bool_)
    one = lambda components, mask: engine.inputs_of(as_one_item(components), mask)
    fitting = memory.batch_size_for(one, components, mask)
    return min(_HOST_BATCH, max(1, fitting // 2))


def _padded(tree: Any, times: int) -> Any:
    """The last item repeated, to fill a group."""
    fill = lambda x: jnp.concatenate([x, jnp.repeat(x[-1:], times, axis=0)])
    return jax.tree.map(fill, tree) if times else tree


_step = jax.jit(engine.step, static_argnames=("num_rows", "batch_size", "stop"))
_fold = jax.jit(engine.fold)
_no_blocks = jax.jit(engine.no_blocks, static_argnums=(1, 2))
_finish = jax.jit(finalize.finish)
_draw = jax.jit(engine.draw, static_argnums=(2, 3))
_draw_round = jax.jit(sequential.draw, static_argnums=3)
_add_round = jax.jit(sequential.add)
_is_sure = jax.jit(sequential.is_sure)
_finish_rounds = jax.jit(sequential.finish)
