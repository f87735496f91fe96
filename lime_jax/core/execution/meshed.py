"""Explanations over a mesh: the masks of one item, or many items, shared among devices."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lime_jax.core.components import Components
from lime_jax.core.execution import batch_size, compiled, memory
from lime_jax.core.explanation import Explanation
from lime_jax.core.item_axis import as_one_item, item_of
from lime_jax.core.keys import MaybeKey
from lime_jax.core.methods import Method
from lime_jax.core.plan import Plan
from lime_jax.core.predictor import Predictor
from lime_jax.core.problem import Problem


class Meshed(batch_size.OfWholeInputs):
    """One program over several devices, and over several processes that call it alike."""

    def plan(self, problem: Problem) -> Plan | None:
        """Returns how it would be done; None without a mesh."""
        if problem.mesh is None or problem.masks is not None:
            return None
        size = batch_size.agree(batch_size.choose_batch_size(problem), problem.mesh)
        devices = "1 device" if problem.mesh.size == 1 else f"{problem.mesh.size} devices"
        plan = batch_size.plan_of(self, problem, size, f"one program over {devices}")
        share = -(-plan.num_evaluations * problem.num_items // problem.mesh.size)
        return dataclasses.replace(plan, num_at_a_time=min(plan.num_at_a_time, share))

    def run(self, plan: Plan) -> Explanation:
        """Explains one item or many; progress is reported at the end."""
        problem = plan.problem
        explain = explain_one if problem.is_single else explain_many
        arguments = _on_every_device(problem.arguments, problem.mesh)
        program = functools.partial(explain, *arguments, mesh=problem.mesh)
        explanation, reached = memory.retry_with_smaller_batches(
            lambda size: program(batch_size=size), plan.batch_size
        )
        batch_size.remember_done(plan, reached)
        return problem.report_in_full(explanation)


@functools.partial(jax.jit, static_argnames=("batch_size", "mesh"))
def explain_one(
    predictor: Predictor,
    components: Components,
    method: Method,
    key: MaybeKey,
    *,
    batch_size: int,
    mesh: Mesh,
) -> Explanation:
    """Explains one item; its masks are shared among the devices, and only sums travel."""

    def program(predictor: Any, components: Any, method: Any, key: Any) -> Explanation:
        items, keys = as_one_item((components, key))
        shared = compiled.explain_items(predictor, items, method, keys, batch_size, mesh.axis_names)
        return item_of(shared, 0)

    everywhere = PartitionSpec()
    return jax.shard_map(
        program, mesh=mesh, in_specs=everywhere, out_specs=everywhere, check_vma=False
    )(predictor, components, method, key)


@functools.partial(jax.jit, static_argnames=("batch_size", "mesh"))
def explain_many(
    predictor: Predictor,
    components: Components,
    method: Method,
    keys: MaybeKey,
    *,
    batch_size: int,
    mesh: Mesh,
) -> Explanation:
    """Explains many items, which are shared among the devices."""
    num_items = components.num_items
    everywhere, shared = PartitionSpec(), PartitionSpec(mesh.axis_names)
    items, keys = compiled.pad_items((components, keys), -num_items % mesh.size)
    explanations = jax.shard_map(
        functools.partial(compiled.explain_many, batch_size=batch_size),
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


def _on_every_device(tree: Any, mesh: Mesh | None) -> Any:
    """Makes one array of what all processes hold; a single process needs nothing."""
    if mesh is None or jax.process_count() == 1:
        return tree
    everywhere = NamedSharding(mesh, PartitionSpec())

    def put(x: Any) -> Any:
        if not isinstance(x, (jax.Array, np.ndarray)):
            return x
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(
                put(jax.random.key_data(x)), impl=jax.random.key_impl(x)
            )
        if isinstance(x, jax.Array) and not x.is_fully_addressable:
            return x
        values = np.asarray(x)
        return jax.make_array_from_callback(values.shape, everywhere, lambda part: values[part])

    return jax.tree.map(put, tree)
