"""Whole explanations in one compiled program."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from lime_jax.core.components import Recomposable
from lime_jax.core.execution import accumulate, batch_size, finalize, memory, sequential
from lime_jax.core.explanation import Explanation
from lime_jax.core.item_axis import as_one_item, item_of
from lime_jax.core.keys import MaybeKey
from lime_jax.core.methods import Method
from lime_jax.core.plan import Plan
from lime_jax.core.predictor import Predictor
from lime_jax.core.problem import Problem


class Compiled(batch_size.OfWholeInputs):
    """Everything in one program: the way of all models that nothing else is better for."""

    def plan(self, problem: Problem) -> Plan:
        """Returns how it would be done."""
        size = batch_size.choose_batch_size(problem)
        return batch_size.plan_of(self, problem, size, "one compiled program")

    def run(self, plan: Plan) -> Explanation:
        """Explains one item or many; with smaller batches where memory runs out."""
        problem = plan.problem
        explain = explain_one if problem.is_single else explain_many
        program = functools.partial(explain, *problem.arguments)
        explanation, reached = memory.retry_with_smaller_batches(program, plan.batch_size)
        batch_size.remember_done(plan, reached)
        return explanation

    def predict(self, plan: Plan) -> jax.Array:
        """Evaluates the given masks."""
        problem = plan.problem
        items, rows = as_one_item((problem.components, problem.masks))
        evaluate = functools.partial(accumulate.evaluate, problem.predictor, items, rows)
        if problem.is_traced:
            return evaluate(plan.batch_size)[0]
        return memory.retry_with_smaller_batches(evaluate, plan.batch_size)[0][0]


@functools.partial(jax.jit, static_argnames="batch_size")
def explain_one(
    predictor: Predictor,
    components: Recomposable,
    method: Method,
    key: MaybeKey,
    batch_size: int,
) -> Explanation:
    """Explains one item."""
    items, keys = as_one_item((components, key))
    return item_of(explain_items(predictor, items, method, keys, batch_size), 0)


@functools.partial(jax.jit, static_argnames="batch_size")
def explain_many(
    predictor: Predictor,
    components: Recomposable,
    method: Method,
    keys: MaybeKey,
    batch_size: int,
) -> Explanation:
    """Explains many items, in groups that fill a batch with their masks."""
    num_items = components.num_items
    size = group_size(method, keys, num_items, components.num_components, batch_size)
    filled = pad_items((components, keys), -num_items % size)
    grouped = jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), filled)
    explanations = jax.lax.map(
        lambda group: explain_items(predictor, group[0], method, group[1], batch_size), grouped
    )
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:num_items], explanations)


def explain_items(
    predictor: Predictor,
    components: Recomposable,
    method: Method,
    keys: MaybeKey,
    batch_size: int,
    devices: tuple[str, ...] = (),
) -> Explanation:
    """Explains a group of items, in a single traceable program.

    Args:
      predictor: the model.
      components: of all items, a leading axis on every array.
      method: how they are explained.
      keys: one per item, or None.
      batch_size: inputs at a time.
      devices: names of mesh axes, inside `shard_map`: the rows are shared among their devices.
    """
    if method.stopping is not None:
        return sequential.explain_item(predictor, components, method, keys, batch_size, devices)
    neighbourhoods = accumulate.draw(method, keys, components.num_items, components.num_components)
    blocks = accumulate.accumulate(
        predictor, components, method, neighbourhoods, batch_size, devices
    )
    return finalize.finalize(method, neighbourhoods, blocks)


def group_size(
    method: Method, keys: MaybeKey, num_items: int, num_components: int, size: int
) -> int:
    """Returns how many items fill a batch of a size, in groups of equal size."""
    if method.stopping is not None:
        return 1  # every item stops when its own targets are met
    num_masks = batch_size.neighbourhood_size(method, keys, num_components).num_masks
    largest = max(1, min(num_items, size // num_masks))
    return accumulate.even_batch_size(num_items, 1, largest)


def pad_items(tree: Any, times: int) -> Any:
    """Repeats the last item, to fill a group."""

    def fill(x: jax.Array) -> jax.Array:
        return jnp.concatenate([x, jnp.repeat(x[-1:], times, axis=0)])

    return jax.tree.map(fill, tree) if times else tree
