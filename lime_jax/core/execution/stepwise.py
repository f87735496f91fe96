"""One call per step: progress can be reported, and on CPUs networks run faster."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from lime_jax.core.components import Components
from lime_jax.core.execution import accumulate, memory
from lime_jax.core.execution import batch_size as batch_sizes
from lime_jax.core.execution.compiled import explain_items, group_size, pad_items
from lime_jax.core.execution.progress import Progress
from lime_jax.core.execution.rounds import explain_in_rounds, no_blocks
from lime_jax.core.execution.signature_cache import SignatureCache
from lime_jax.core.explanation import Explanation
from lime_jax.core.item_axis import item_of
from lime_jax.core.keys import MaybeKey
from lime_jax.core.masks.neighbourhood import Neighbourhood
from lime_jax.core.methods import Method
from lime_jax.core.plan import Plan
from lime_jax.core.predictor import Predictor
from lime_jax.core.problem import Problem
from lime_jax.core.surrogates.statistics import Statistics

# A step of this much work takes milliseconds, and calling it by itself a fraction of one.
HEAVY_FLOPS = 2e9

_step_flops: SignatureCache[float] = SignatureCache()


class Stepwise(batch_sizes.OfWholeInputs):
    """The same explanation called one step at a time.

    So progress can be reported, and on CPUs XLA makes more of a network outside of a loop than
    inside: VGG16 runs at 0.89 of its own speed inside a `lax.scan`, and at 0.99 in steps.
    """

    def plan(self, problem: Problem) -> Plan | None:
        """Returns how it would be done; None for light steps of which nobody waits to hear."""
        if problem.masks is not None:
            return None
        size = batch_sizes.choose_batch_size(problem)
        if problem.progress is None and not is_heavy(problem, size):
            return None
        return batch_sizes.plan_of(self, problem, size, "one program called step by step")

    def run(self, plan: Plan) -> Explanation:
        """Explains all items, groups of them at a time; smaller ones where memory runs out."""
        explanations, reached = memory.retry_with_smaller_batches(
            functools.partial(_explain, plan.problem), plan.batch_size
        )
        batch_sizes.remember_done(plan, reached)
        return plan.problem.as_stated(explanations)


def is_heavy(problem: Problem, batch_size: int) -> bool:
    """Returns whether steps of these items are worth calls of their own: on CPUs."""
    if jax.devices()[0].platform != "cpu":
        return False
    num_items, size = problem.num_items, batch_sizes.size_of_neighbourhood(problem)
    group = group_size(problem.method, problem.key, num_items, problem.num_components, batch_size)
    split = accumulate.steps_of(size.num_masks, size.round_size, batch_size, group)
    num_rows = split.steps[0][1]
    return flops_of_step(problem, group, num_rows, batch_size) >= HEAVY_FLOPS


def flops_of_step(problem: Problem, num_items: int, num_rows: int, batch_size: int) -> float:
    """Returns the work of one step.

    Args:
      problem: with the model and the shapes of an item.
      num_items: in a group.
      num_rows: masks of each item in the step.
      batch_size: inputs at a time.
    """
    predictor, components = problem.predictor, problem.first[0]

    shapes = (problem.signature, num_items, num_rows, batch_size)
    if (flops := _step_flops.get(shapes)) is not None:
        return flops
    arrays, structure = jax.tree.flatten(components)
    of_group = [jax.ShapeDtypeStruct((num_items, *x.shape), x.dtype) for x in arrays]
    masks = jax.ShapeDtypeStruct((num_items, num_rows, problem.num_components), jnp.bool_)

    # The model is traced inside, for the very shapes it is going to run with.
    def step(predictor: Predictor, arrays: Any, masks: Any) -> Any:
        items = jax.tree.unflatten(structure, arrays)
        return accumulate.evaluate(predictor, items, masks, batch_size=batch_size)

    cost = jax.jit(step).lower(predictor, of_group, masks).cost_analysis()
    return _step_flops.put(shapes, float((cost or {}).get("flops", 0.0)))


def _explain(problem: Problem, batch_size: int) -> Explanation:
    """Explains all items as `compiled.explain_many` does, one step at a time."""
    num_items, method, (_, keys) = problem.num_items, problem.method, problem.items
    size = group_size(method, keys, num_items, problem.num_components, batch_size)
    items = pad_items(problem.items, -num_items % size)
    starts = [jnp.int32(start) for start in range(0, num_items, size)]
    whole = batch_sizes.size_of_neighbourhood(problem)
    split = accumulate.steps_of(whole.num_masks, whole.round_size, batch_size, size)
    if problem.progress is None and method.stopping is None and len(split.steps) == 1:
        at_once = functools.partial(_run_group_at_once, size=size, batch_size=batch_size)
        groups = [at_once(problem.predictor, method, items, start) for start in starts]
    else:
        first, _ = _group(items, starts[0], size=size)
        num_outputs = accumulate.num_outputs(problem.predictor, first, split)
        groups = [
            _explain_in_steps(problem, _group(items, start, size=size), batch_size, num_outputs)
            for start in starts
        ]
    if len(groups) == 1:
        return item_of(groups[0], slice(num_items))
    return jax.tree.map(lambda *x: jnp.concatenate(x)[:num_items], *groups)


def _explain_in_steps(
    problem: Problem, group: tuple[Components, MaybeKey], batch_size: int, num_outputs: int
) -> Explanation:
    (components, keys), method = group, problem.method
    sum_up = functools.partial(
        _accumulate,
        problem.predictor,
        components,
        method,
        batch_size=batch_size,
        num_outputs=num_outputs,
    )
    return explain_in_rounds(sum_up, components, method, keys, problem.progress)


@functools.partial(jax.jit, static_argnames=("size", "batch_size"))
def _run_group_at_once(
    predictor: Predictor, method: Method, items: Any, start: Any, *, size: int, batch_size: int
) -> Explanation:
    components, keys = _group(items, start, size=size)
    return explain_items(predictor, components, method, keys, batch_size)


def _accumulate(
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
    rows = accumulate.round_size(neighbourhoods)
    split = accumulate.steps_of(total, rows, batch_size, num_items)
    blocks = no_blocks(neighbourhoods, num_items, num_outputs)
    arguments = predictor, components, method, neighbourhoods, split.batch_size
    for start, num_rows in split.steps:
        blocks, _ = _step(*arguments, num_rows, total, blocks, jnp.int32(start))
        if progress is not None:
            jax.block_until_ready(blocks)
            progress(min(start + num_rows, total), total)
    return blocks


@functools.partial(jax.jit, static_argnames="size")
def _group(items: Any, start: Any, *, size: int) -> Any:
    """Returns items from a place that is known only when it runs: one program for all groups."""
    return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), items)


_step = jax.jit(accumulate.step, static_argnames=("batch_size", "num_rows", "stop"))
