"""Explanations from the columns of a network's layers, and a head per mask."""

import functools

import jax
import jax.numpy as jnp

from lime_jax.core.components import Components
from lime_jax.core.execution import accumulate, compiled, memory
from lime_jax.core.execution.batch_size import neighbourhood_size, size_of_neighbourhood
from lime_jax.core.explanation import Explanation
from lime_jax.core.item_axis import as_one_item, item_of
from lime_jax.core.keys import MaybeKey
from lime_jax.core.plan import Plan
from lime_jax.core.problem import Problem
from lime_jax.core.receptive_fields import batch_sizes, check, layer_columns
from lime_jax.core.receptive_fields.layer_columns import Columns
from lime_jax.core.receptive_fields.layers import Layerwise
from lime_jax.core.receptive_fields.lookup import Lookup


class Layers:
    """Every column is computed once per combination of what it sees; masks look up the last."""

    def plan(self, problem: Problem) -> Plan | None:
        """Returns how it would be done; None where whole inputs are cheaper for any item."""
        if (model := problem.declaration_of(Layerwise)) is None:
            return None
        if problem.masks is not None:
            num_masks = len(problem.masks)
        else:
            num_masks = size_of_neighbourhood(problem).num_masks
        # What is silent differs from item to item.
        planned = [
            layer_columns.plan_columns(model, _item(problem, number)[0], num_masks)
            for number in range(problem.num_items)
        ]
        if any(layers is None for layers in planned):
            return None
        passes = max(layer.num_evaluations for layers in planned for layer in layers or ())
        return Plan(
            executor=self,
            problem=problem,
            way="columns of layers that masks look up",
            num_evaluations=max(1, round(passes)),
            batch_size=problem.batch_size or layer_columns.BLOCK,
            num_at_a_time=1,
            is_exact=False if problem.masks is not None else _is_exact(problem),
            unit="passes",
            details=planned,
        )

    def run(self, plan: Plan) -> Explanation | None:
        """Explains all items, one after the other; None if the columns of one do not fit."""
        explanations = []
        for number, layers in enumerate(plan.details):
            if (explanation := _explain(plan.problem, number, layers)) is None:
                return None
            explanations.append(explanation)
        if plan.problem.is_single:
            return explanations[0]
        return jax.tree.map(lambda *x: jnp.stack(x), *explanations)

    def predict(self, plan: Plan) -> jax.Array | None:
        """Evaluates the given masks; None if the columns do not fit."""
        problem, masks = plan.problem, plan.problem.given_masks
        model = problem.needed_declaration(Layerwise)
        if (lookup := _look_up(problem, problem.components, plan.details[0])) is None:
            return None
        run = functools.partial(accumulate.evaluate, model.head, *as_one_item((lookup, masks)))
        size = min(problem.batch_size or len(masks), len(masks))
        return memory.retry_with_smaller_batches(run, size)[0][0]

    def num_bytes(self, plan: Plan) -> int:
        """Estimates what the columns of two neighbouring layers take."""
        model = plan.problem.needed_declaration(Layerwise)
        return max(
            layer_columns.num_bytes(model, _item(plan.problem, number)[0], layers)
            for number, layers in enumerate(plan.details)
        )


def _item(problem: Problem, number: int) -> tuple[Components, MaybeKey]:
    if problem.is_single:
        return problem.first
    return item_of(problem.items, number)


def _is_exact(problem: Problem) -> bool:
    method = problem.method_with_lookup
    return neighbourhood_size(method, problem.key, problem.num_components).is_exact


def _look_up(problem: Problem, components: Components, layers: list[Columns]) -> Lookup | None:
    """Returns the columns of one item; None where they do not fit after all."""
    model = problem.needed_declaration(Layerwise)
    # Copies hold what they work out no longer than they are needed.
    fresh = [Columns(layer.sees) for layer in layers]
    try:
        lookup = layer_columns.look_up_columns(model, components, fresh, problem.progress)
    except jax.errors.JaxRuntimeError as error:
        if not memory.is_out_of_memory(error):
            raise
        return None
    check.check_columns_once(model, components, lookup)
    return lookup


def _explain(problem: Problem, number: int, layers: list[Columns]) -> Explanation | None:
    """Explains one item, whose columns are let go before those of the next are computed."""
    components, key = _item(problem, number)
    model = problem.needed_declaration(Layerwise)
    if (lookup := _look_up(problem, components, layers)) is None:
        return None
    run = functools.partial(
        compiled.explain_one, model.head, lookup, problem.method_with_lookup, key
    )
    size = problem.batch_size or batch_sizes.head_batch_size(model, lookup)
    return memory.retry_with_smaller_batches(run, size)[0]
