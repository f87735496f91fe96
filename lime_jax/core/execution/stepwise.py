"""One call per step: progress can be reported, and on CPUs networks run faster."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lime_jax.core.components import Components
from lime_jax.core.execution import accumulate, finalize, sequential
from lime_jax.core.execution.batch_size import neighbourhood_size
from lime_jax.core.execution.compiled import group_size, pad_items
from lime_jax.core.execution.progress import Progress
from lime_jax.core.execution.signature_cache import SignatureCache, signature
from lime_jax.core.explanation import Explanation
from lime_jax.core.item_axis import item_of
from lime_jax.core.keys import MaybeKey
from lime_jax.core.masks.neighbourhood import Neighbourhood
from lime_jax.core.masks.sequential import Auto
from lime_jax.core.methods import Method
from lime_jax.core.predictor import Predictor
from lime_jax.core.surrogates.statistics import Statistics

# A step of this much work takes milliseconds, and calling it by itself a fraction of one.
HEAVY_FLOPS = 2e9

_step_flops: SignatureCache[float] = SignatureCache()


def is_heavy(
    predictor: Predictor, components: Components, method: Method, keys: MaybeKey, batch_size: int
) -> bool:
    """Returns whether `run_in_steps` is worth its calls for these items."""
    num_items, num_components = components.num_items, components.num_components
    size = group_size(method, keys, num_items, num_components, batch_size)
    num_masks, round_size = neighbourhood_size(method, item_of(keys, 0), num_components)
    num_rows = accumulate.plan(num_masks, round_size, batch_size, size).steps[0][1]
    return is_heavy_step(predictor, item_of(components, slice(size)), num_rows, batch_size)


def is_heavy_step(predictor: Predictor, items: Components, num_rows: int, batch_size: int) -> bool:
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
    return _flops(predictor, items, num_rows, batch_size) >= HEAVY_FLOPS


def _flops(predictor: Predictor, items: Components, num_rows: int, batch_size: int) -> float:
    """Returns the work of one step, `num_rows` masks of each item."""

    def measure() -> float:
        masks = jax.ShapeDtypeStruct((items.num_items, num_rows, items.num_components), jnp.bool_)
        leaves, structure = jax.tree.flatten((predictor, items, masks))

        # The model is traced inside, for the very shapes it is going to run with.
        def step(*leaves: Any) -> Any:
            arguments = jax.tree.unflatten(structure, leaves)
            return accumulate.compiled_evaluate(*arguments, batch_size=batch_size)

        cost = jax.jit(step).lower(*leaves).cost_analysis()
        return float((cost or {}).get("flops", 0.0))

    shapes = (signature(predictor, items), num_rows, batch_size)
    return _step_flops.get_or_make(shapes, measure)


def run_in_steps(
    predictor: Predictor,
    components: Components,
    method: Method,
    keys: MaybeKey,
    batch_size: int,
    progress: Progress | None = None,
) -> Explanation:
    """Explains many items as `compiled.run_batch` does, called one step at a time.

    So progress can be reported, and on CPUs XLA makes more of a network outside of a loop than
    inside.
    """
    num_items, num_components = components.num_items, components.num_components
    size = group_size(method, keys, num_items, num_components, batch_size)
    items = pad_items((components, keys), -num_items % size)
    starts = range(0, num_items, size)
    if progress is None and _takes_one_step(method, keys, size, num_components, batch_size):
        one_call = functools.partial(_run_group_at_once, size=size, batch_size=batch_size)
        groups = [one_call(predictor, method, items, jnp.int32(start)) for start in starts]
    else:
        first, _ = _group(items, jnp.int32(0), size=size)
        num_outputs = _num_outputs(predictor, method, first, keys, batch_size)
        groups = [
            _run_group_in_steps(
                predictor, group, method, group_keys, batch_size, num_outputs, progress
            )
            for group, group_keys in (
                _group(items, jnp.int32(start), size=size) for start in starts
            )
        ]
    if len(groups) == 1:
        return item_of(groups[0], slice(num_items))
    return jax.tree.map(lambda *x: jnp.concatenate(x)[:num_items], *groups)


def _takes_one_step(
    method: Method, keys: MaybeKey, size: int, num_components: int, batch_size: int
) -> bool:
    """Whether a batch has room for all masks of a group; then one call does all of it."""
    if isinstance(method.sampler, Auto):
        return False
    num_masks, round_size = neighbourhood_size(method, item_of(keys, 0), num_components)
    return len(accumulate.plan(num_masks, round_size, batch_size, size).steps) == 1


@functools.partial(jax.jit, static_argnames=("size", "batch_size"))
def _run_group_at_once(
    predictor: Predictor, method: Method, items: Any, start: Any, *, size: int, batch_size: int
) -> Explanation:
    components, keys = _group(items, start, size=size)
    return accumulate.explain_group(predictor, components, method, keys, batch_size)


def _num_outputs(
    predictor: Predictor, method: Method, group: Components, keys: MaybeKey, batch_size: int
) -> int:
    num_masks, round_size = neighbourhood_size(method, item_of(keys, 0), group.num_components)
    split = accumulate.plan(num_masks, round_size, batch_size, group.num_items)
    return accumulate.num_outputs(predictor, group, split)


def _run_group_in_steps(
    predictor: Predictor,
    components: Components,
    method: Method,
    keys: MaybeKey,
    batch_size: int,
    num_outputs: int,
    progress: Progress | None,
) -> Explanation:
    sum_up = functools.partial(
        _accumulate_in_steps,
        predictor,
        components,
        method,
        batch_size=batch_size,
        num_outputs=num_outputs,
    )
    return explain_in_rounds(sum_up, components, method, keys, progress)


def explain_in_rounds(
    sum_up: Callable[..., Any],
    components: Components,
    method: Method,
    keys: MaybeKey,
    progress: Progress | None,
) -> Explanation:
    """Explains a group from one neighbourhood, or from rounds of them until targets are met.

    Args:
      sum_up: `(neighbourhoods, progress=…)` to the statistics of their blocks.
      components: of a group.
      method: how it is explained.
      keys: one per item, or None.
      progress: counts all rounds there could be.
    """
    num_items, num_components = components.num_items, components.num_components
    if not isinstance(method.sampler, Auto):
        neighbourhoods = _draw(method, keys, num_items, num_components)
        return _finish(method, neighbourhoods, sum_up(neighbourhoods, progress=progress))
    most = method.sampler.most_rounds(num_components)
    rounds = None
    for number in range(most):
        neighbourhoods = _draw_round(method, keys, jnp.int32(number), num_components)
        report = None if progress is None else _later(progress, number, most)
        blocks = sum_up(neighbourhoods, progress=report)
        if rounds is None:
            num_outputs = blocks.output_mean.shape[-1]
            rounds = sequential.start_rounds(method.sampler, num_components, num_outputs)
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
    split = accumulate.plan(total, accumulate.round_size(neighbourhoods), batch_size, num_items)
    blocks = no_blocks(neighbourhoods, num_items, num_outputs)
    for start, num_rows in split.steps:
        arguments = predictor, components, method, neighbourhoods, blocks, jnp.int32(start)
        blocks = _step(*arguments, num_rows=num_rows, batch_size=split.batch_size, stop=total)
        if progress is not None:
            jax.block_until_ready(blocks)
            progress(min(start + num_rows, total), total)
    return blocks


@functools.partial(jax.jit, static_argnames="size")
def _group(items: Any, start: Any, *, size: int) -> Any:
    """Returns items from a place that is known only when it runs: one program for all groups."""
    return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), items)


_step = jax.jit(accumulate.step, static_argnames=("num_rows", "batch_size", "stop"))

fold = jax.jit(accumulate.fold)
no_blocks = jax.jit(accumulate.no_blocks, static_argnums=(1, 2))
_finish = jax.jit(finalize.finalize)
_draw = jax.jit(accumulate.draw, static_argnums=(2, 3))
_draw_round = jax.jit(sequential.draw_round, static_argnums=3)
_add_round = jax.jit(sequential.add_round)
_is_sure = jax.jit(sequential.targets_are_met)
_finish_rounds = jax.jit(sequential.finalize_rounds)
