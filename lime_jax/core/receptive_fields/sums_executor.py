"""Exact explanations of models whose output is a sum over windows, of any number of components."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lime_jax.core.components import Components
from lime_jax.core.execution import finalize, memory
from lime_jax.core.explanation import Explanation
from lime_jax.core.methods import Method
from lime_jax.core.plan import Plan
from lime_jax.core.problem import Problem
from lime_jax.core.receptive_fields import check, exact_sums, window_plans, windows
from lime_jax.core.receptive_fields.windows import Windowed
from lime_jax.core.surrogates import kernels
from lime_jax.core.surrogates.statistics import Statistics


class ExactSums:
    """Expectations over all masks from outputs of the windows: no mask is drawn at all."""

    def plan(self, problem: Problem) -> Plan | None:
        """Returns how it would be done; None without such a declaration, or for sampled masks."""
        model, limit = problem.declaration_of(Windowed), problem.limit
        if model is None or limit is None or not model.is_sum:
            return None
        method, num_masks = limit
        weight_of = kernels.weights_by_zeros(method.kernel, problem.num_components)
        if weight_of is None or not window_plans.are_cut_alike(problem):
            return None
        return window_plans.plan_of(
            self, problem, num_masks, way="sums over windows", is_exact=True, weight_of=weight_of
        )

    def run(self, plan: Plan) -> Explanation:
        """Explains all items, in float64."""
        problem, layout = plan.problem, plan.details.layout
        model, limit = problem.needed_declaration(Windowed), problem.limit
        assert limit is not None
        check.check_windows_once(model, problem.first[0])
        method, components = limit[0], problem.items[0]
        tables, _ = memory.retry_with_smaller_batches(
            functools.partial(_tables, model, components, layout.arrays), plan.batch_size
        )
        equivalent = getattr(method.sampler, "equivalent_num_samples", None)
        num_samples = equivalent or 2**problem.num_components
        share = 1 / len(layout.sets) if model.head_name == "mean" else 1.0
        totals = [
            exact_sums.statistics_of_sum(
                np.split(share * table.astype(np.float64), layout.first[1:]),
                layout.sets,
                plan.details.weight_of,
                float(min(num_samples, 2**1000)),
            )
            for table in np.asarray(tables)
        ]
        stacked = jax.tree.map(lambda *x: jnp.stack(x), *totals)
        explanations = _solve_exactly(method, stacked, num_samples)
        return window_plans.as_stated(plan, explanations)

    def num_bytes(self, plan: Plan) -> int:
        """Estimates what the tables of all items' windows and a batch of windows take."""
        return window_plans.num_bytes(plan)


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
