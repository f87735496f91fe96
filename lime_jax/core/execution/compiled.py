"""One compiled program for one item or for many, on one device or over a mesh."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lime_jax.core.components import Components, Recomposable
from lime_jax.core.execution import accumulate, sequential
from lime_jax.core.execution.batch_size import neighbourhood_size
from lime_jax.core.explanation import Explanation
from lime_jax.core.item_axis import as_one_item, item_of
from lime_jax.core.keys import MaybeKey
from lime_jax.core.masks.sequential import Auto
from lime_jax.core.methods import Method
from lime_jax.core.predictor import Predictor


@functools.partial(jax.jit, static_argnames=("batch_size", "mesh"))
def run(
    predictor: Predictor,
    components: Recomposable,
    method: Method,
    key: MaybeKey,
    batch_size: int,
    mesh: Mesh | None,
) -> Explanation:
    """Explains one item; with a mesh, its masks are shared among the devices."""

    def program(predictor: Any, components: Any, method: Any, key: Any) -> Explanation:
        devices = () if mesh is None else mesh.axis_names
        items, keys = as_one_item((components, key))
        return item_of(run_group(predictor, items, method, keys, batch_size, devices), 0)

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
    """Explains many items; with a mesh, they are shared among the devices."""
    num_items = components.num_items

    def program(predictor: Any, components: Any, method: Any, keys: Any) -> Explanation:
        return _in_groups(predictor, components, method, keys, batch_size)

    if mesh is None:
        return program(predictor, components, method, keys)
    everywhere, shared = PartitionSpec(), PartitionSpec(mesh.axis_names)
    items, keys = pad_items((components, keys), -num_items % mesh.size)
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
    size = group_size(method, keys, num_items, components.num_components, batch_size)
    filled = pad_items((components, keys), -num_items % size)
    grouped = jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), filled)

    def run(group: tuple[Components, MaybeKey]) -> Explanation:
        return run_group(predictor, group[0], method, group[1], batch_size)

    explanations = jax.lax.map(run, grouped)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:num_items], explanations)


def run_group(
    predictor: Predictor,
    components: Recomposable,
    method: Method,
    keys: MaybeKey,
    batch_size: int,
    devices: tuple[str, ...] = (),
) -> Explanation:
    """Explains a group of items, from one neighbourhood or in rounds of them."""
    is_adaptive = isinstance(method.sampler, Auto)
    run = sequential.explain_item if is_adaptive else accumulate.explain_group
    return run(predictor, components, method, keys, batch_size, devices)


def group_size(
    method: Method, keys: MaybeKey, num_items: int, num_components: int, batch_size: int
) -> int:
    """Returns how many items fill a batch, in groups of equal size."""
    if isinstance(method.sampler, Auto):
        return 1  # every item stops when its own targets are met
    num_masks, _ = neighbourhood_size(method, item_of(keys, 0), num_components)
    largest = max(1, min(num_items, batch_size // num_masks))
    return accumulate.even_batch_size(num_items, 1, largest)


def pad_items(tree: Any, times: int) -> Any:
    """Repeats the last item, to fill a group."""

    def fill(x: jax.Array) -> jax.Array:
        return jnp.concatenate([x, jnp.repeat(x[-1:], times, axis=0)])

    return jax.tree.map(fill, tree) if times else tree
