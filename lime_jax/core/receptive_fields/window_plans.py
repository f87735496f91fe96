"""What plans that evaluate windows have in common."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lime_jax.core.execution import memory
from lime_jax.core.explanation import Explanation
from lime_jax.core.plan import Executor, Plan
from lime_jax.core.problem import Problem
from lime_jax.core.receptive_fields import batch_sizes, windows
from lime_jax.core.receptive_fields.windows import Layout, Windowed


class Details(NamedTuple):
    """What plans that evaluate windows have worked out.

    Attributes:
      layout: which windows are evaluated with which components on.
      num_windows: evaluated at a time.
      num_masks: looked up at a time.
      weight_of: the kernel by the number of zeros, for sums over windows.
    """

    layout: Layout
    num_windows: int
    num_masks: int
    weight_of: np.ndarray | None


def are_cut_alike(problem: Problem) -> bool:
    """Returns whether all items are cut into the same segments."""
    if problem.is_single:
        return True
    labels = np.asarray(problem.components.labels)
    return bool((labels == labels[:1]).all())


def plan_of(
    executor: Executor,
    problem: Problem,
    num_masks: int,
    *,
    way: str,
    is_exact: bool,
    weight_of: np.ndarray | None = None,
) -> Plan | None:
    """Returns the plan of evaluating windows; None where whole inputs are cheaper.

    Args:
      executor: what carries it out.
      problem: of items that are cut alike.
      num_masks: evaluations of whole inputs that it would replace.
      way: see `Plan`.
      is_exact: see `Plan`.
      weight_of: see `Details`.
    """
    model = problem.needed_declaration(Windowed)
    layout = windows.layout_of(model, problem.first[0], num_masks)
    if layout is None:
        return None
    sizes = batch_sizes.window_batch_sizes(model, problem.first[0], layout, problem.batch_size)
    return Plan(
        executor=executor,
        problem=problem,
        way=way,
        num_evaluations=layout.num_entries,
        batch_size=sizes[0],
        num_at_a_time=min(sizes[0], layout.num_entries),
        is_exact=is_exact,
        unit="windows",
        window=model.window,
        share=model.window / problem.first[0].sources.shape[1 + model.axis],
        details=Details(layout, *sizes, weight_of),
    )


def as_stated(plan: Plan, explanations: Explanation) -> Explanation:
    """Returns the explanations that a problem states, with the windows as their evaluations."""
    problem = plan.problem
    number = jnp.full(problem.num_items, plan.num_evaluations, jnp.int32)
    counted = dataclasses.replace(explanations, num_evaluations=number)
    return problem.report_in_full(problem.as_stated(counted))


def num_bytes(plan: Plan) -> int:
    """Estimates what the features of all windows and of a batch at work take."""
    model = plan.problem.needed_declaration(Windowed)
    components = plan.problem.first[0]
    window = batch_sizes.shape_of_window(model, components)
    features = jax.eval_shape(model.backbone, window)
    table = plan.num_evaluations * features.size * features.dtype.itemsize
    return table + plan.num_at_a_time * memory.num_bytes(model.backbone, window)
