"""Models that run outside jit: the device prepares the next inputs meanwhile."""

import functools
import inspect
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from lime_jax.core.components import Components
from lime_jax.core.execution import accumulate, memory
from lime_jax.core.execution import batch_size as batch_sizes
from lime_jax.core.execution.accumulate import Steps, inputs_of, rows_of
from lime_jax.core.execution.compiled import group_size
from lime_jax.core.execution.host_model import HostModel, check_function, predict_in_batches
from lime_jax.core.execution.progress import Progress
from lime_jax.core.execution.rounds import explain_in_rounds, fold, no_blocks
from lime_jax.core.explanation import Explanation
from lime_jax.core.item_axis import item_of
from lime_jax.core.masks.neighbourhood import Neighbourhood
from lime_jax.core.methods import Method
from lime_jax.core.plan import Plan
from lime_jax.core.problem import Problem
from lime_jax.core.surrogates.statistics import Statistics

# Large enough to keep a framework busy.
_HOST_BATCH = 64
# Batches of an explanation that asks a model again that was found to be a function before.
_WORTH_ASKING = 16


class Host:
    """Models outside jit: the device draws masks, recomposes and sums up around their calls."""

    def plan(self, problem: Problem) -> Plan | None:
        """Returns how it would be done; None for a model that is JAX.

        Raises:
          ValueError: inside jit, or with a mesh.
        """
        if not isinstance(problem.predict, HostModel):
            return None
        if problem.mesh is not None:
            raise ValueError("`mesh` is for models that run on it. Leave it out for a host model.")
        if problem.is_traced:
            raise ValueError("a host model cannot run inside jit or vmap. Call `explain` outside.")
        if problem.masks is not None:
            size = batch_sizes.choose_batch_size(problem)
        else:
            size = problem.batch_size or _host_batch_size(problem)
        return batch_sizes.plan_of(self, problem, size, "calls of a host model")

    def run(self, plan: Plan) -> Explanation:
        """Explains all items, groups of them at a time."""
        problem, method, size = plan.problem, plan.problem.method, plan.batch_size
        num_items, (_, keys) = problem.num_items, problem.items
        group = group_size(method, keys, num_items, problem.num_components, size)
        num_inputs = num_items * batch_sizes.size_of_neighbourhood(problem).num_masks
        model = problem.predict
        # It may have been switched to training since; among many batches one more is not felt.
        if not model.is_function or num_inputs >= _WORTH_ASKING * size:
            model.is_function = None
        explanations = []
        for start in range(0, num_items, group):
            items, item_keys = item_of(problem.items, slice(start, start + group))
            sum_up = functools.partial(
                _accumulate_on_host,
                model,
                items,
                method,
                batch_size=size,
                always=problem.batch_size is not None,
            )
            explanations.append(
                explain_in_rounds(sum_up, items, method, item_keys, problem.progress)
            )
        return problem.as_stated(jax.tree.map(lambda *x: jnp.concatenate(x), *explanations))

    def predict(self, plan: Plan) -> jax.Array:
        """Evaluates the given masks."""
        problem, masks = plan.problem, plan.problem.given_masks
        size = plan.batch_size
        chunks = [
            np.array(_recompose(problem.components, masks[start : start + size]))
            for start in range(0, len(masks), size)
        ]
        outputs = [predict_in_batches(problem.predict, chunk, size) for chunk in chunks]
        return jnp.asarray(np.concatenate(outputs))

    def num_bytes(self, plan: Plan) -> int:
        """Estimates what two batches of inputs take, the one at work and the next."""
        return 2 * plan.num_at_a_time * _bytes_of_input(plan.problem)


@jax.jit
def _recompose(components: Components, masks: jax.Array) -> jax.Array:
    return jax.vmap(components.recomposed)(masks)


def _accumulate_on_host(
    model: HostModel,
    components: Components,
    method: Method,
    neighbourhoods: Neighbourhood,
    *,
    batch_size: int,
    always: bool,
    progress: Progress | None,
) -> Statistics:
    num_items = components.num_items
    total = neighbourhoods.num_masks
    split = accumulate.steps_of(total, accumulate.round_size(neighbourhoods), batch_size, num_items)
    blocks = None
    # A model of a fixed batch gets just what was asked for, filled up; others as few as will do.
    size = batch_size if always else min(batch_size, num_items * split.steps[0][1])
    steps = evaluate_on_host(model, components, neighbourhoods, split, size)
    for stop, masks, counts, outputs in steps:
        if blocks is None:
            blocks = no_blocks(neighbourhoods, num_items, outputs.shape[2])
        blocks = fold(method.kernel, blocks, masks, counts, jnp.asarray(outputs))
        if progress is not None:
            progress(min(stop, total), total)
    assert blocks is not None
    return blocks


def _host_batch_size(problem: Problem) -> int:
    """Returns how many inputs fit twice, those at work and the next."""
    fitting = memory.num_fitting(_bytes_of_input(problem))
    return min(_HOST_BATCH, max(1, fitting // 2))


def _bytes_of_input(problem: Problem) -> int:
    mask = jax.ShapeDtypeStruct((1, problem.num_components), jnp.bool_)
    return memory.num_bytes(inspect.unwrap(_recompose), problem.first[0], mask)


def evaluate_on_host(
    model: HostModel,
    components: Components,
    neighbourhoods: Neighbourhood,
    split: Steps,
    size: int,
) -> Iterator[tuple[int, jax.Array, jax.Array, np.ndarray]]:
    """Yields last row, masks, counts and outputs of every step, the next inputs under way.

    The model is called with `size` inputs at a time.
    """

    def prepare(step: tuple[int, int]) -> tuple[jax.Array, jax.Array, jax.Array]:
        return _prepare(components, neighbourhoods, jnp.int32(step[0]), step[1])

    ahead = prepare(split.steps[0])
    for step, following in zip(split.steps, [*split.steps[1:], None], strict=True):
        masks, counts, inputs = ahead
        if following is not None:
            ahead = prepare(following)
        flat = np.array(inputs).reshape(-1, *inputs.shape[2:])
        outputs = predict_in_batches(model, flat, size)
        check_function(model, flat, outputs, size)
        yield sum(step), masks, counts, outputs.reshape(*masks.shape[:2], -1)


def _prepare_step(
    components: Components, neighbourhoods: Neighbourhood, start: jax.Array, num_rows: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    stop = neighbourhoods.num_masks
    masks, counts = rows_of(neighbourhoods, components.num_items, start, num_rows, stop)
    return masks, counts, inputs_of(components, masks)


_prepare = jax.jit(_prepare_step, static_argnums=3)
