"""Explanations from few windows, and a head per mask."""

import functools
from typing import Any

import jax
from jaxtyping import Array, Bool, Float

from lime_jax.core.components import Components
from lime_jax.core.execution import accumulate, compiled, memory
from lime_jax.core.execution.batch_size import neighbourhood_size, size_of_neighbourhood
from lime_jax.core.explanation import Explanation
from lime_jax.core.item_axis import as_one_item, item_of
from lime_jax.core.keys import MaybeKey
from lime_jax.core.masks.neighbourhood import Size
from lime_jax.core.methods import Method
from lime_jax.core.plan import Plan
from lime_jax.core.problem import Problem
from lime_jax.core.receptive_fields import check, window_plans
from lime_jax.core.receptive_fields.windows import Windowed, look_up


class Windows:
    """Every window is evaluated once per combination of what overlaps it; masks look it up."""

    def plan(self, problem: Problem) -> Plan | None:
        """Returns how it would be done; None where whole inputs are cheaper."""
        model = problem.declaration_of(Windowed)
        if model is None or not window_plans.are_cut_alike(problem):
            return None
        return window_plans.plan_of(
            self,
            problem,
            _num_masks(problem),
            way="windows that masks look up",
            is_exact=problem.masks is None and _size_with_lookup(problem).is_exact,
        )

    def run(self, plan: Plan) -> Explanation:
        """Explains all items, one after the other."""
        problem, layout = plan.problem, plan.details.layout
        model = problem.needed_declaration(Windowed)
        check.check_windows_once(model, problem.first[0])
        components, keys = problem.items
        sizes = plan.details.num_windows, plan.details.num_masks

        def run(size: int) -> Explanation:
            fitting = (min(sizes[0], size), min(sizes[1], size))
            method = problem.method_with_lookup
            return run_windowed(model, components, layout.arrays, method, keys, fitting)

        explanations, _ = memory.retry_with_smaller_batches(run, max(sizes))
        return window_plans.as_stated(plan, explanations)

    def predict(self, plan: Plan) -> jax.Array:
        """Evaluates the given masks."""
        problem, layout = plan.problem, plan.details.layout
        model = problem.needed_declaration(Windowed)
        check.check_windows_once(model, problem.components)
        run = functools.partial(
            predict_windows, model, problem.components, layout.arrays, problem.given_masks
        )
        size = min(problem.batch_size or len(problem.given_masks), len(problem.given_masks))
        return memory.retry_with_smaller_batches(run, size)[0]

    def num_bytes(self, plan: Plan) -> int:
        """Estimates what the table of the windows' features and a batch of windows take."""
        return window_plans.num_bytes(plan)


def _num_masks(problem: Problem) -> int:
    """Returns how many evaluations of the whole model a lookup would replace."""
    if problem.masks is not None:
        return len(problem.masks)
    return min(size_of_neighbourhood(problem).num_masks, _size_with_lookup(problem).num_masks)


def _size_with_lookup(problem: Problem) -> Size:
    return neighbourhood_size(problem.method_with_lookup, problem.key, problem.num_components)


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
        lookup = look_up(model, components, *layout, batch_sizes[0])
        items, keys = as_one_item((lookup, key))
        return item_of(compiled.explain_items(model.head, items, method, keys, batch_sizes[1]), 0)

    return jax.lax.map(explain_item, (components, keys))


@functools.partial(jax.jit, static_argnums=4)
def predict_windows(
    model: Windowed,
    components: Components,
    layout: tuple[Array, Array, Array, Array],
    masks: Bool[Array, "rows components"],
    batch_size: int,
) -> Float[Array, "rows outputs"]:
    """Returns the outputs for masks, from windows that are looked up."""
    lookup = look_up(model, components, *layout, batch_size)
    lookup, rows = as_one_item((lookup, masks))
    return accumulate.evaluate(model.head, lookup, rows, batch_size=batch_size)[0]
