"""A leading axis over items."""

from collections.abc import Callable
from typing import Any

import jax

from lime_jax.core.modes import in_usual_modes


def each(num_items: int, function: Callable[..., Any], *items: Any) -> Any:
    """Maps over items. A single one is not mapped over: simpler programs compile faster."""
    if num_items > 1:
        return jax.vmap(function, axis_size=num_items)(*items)
    result = function(*jax.tree.map(lambda x: x[0], items))
    return jax.tree.map(lambda x: x[None], result)


@jax.jit
def as_one_item(tree: Any) -> Any:
    """Adds a leading axis over items, of size one."""
    return jax.tree.map(lambda x: x[None], tree)


@in_usual_modes
def item_of(tree: Any, index: int | slice) -> Any:
    """Returns one item, or a slice of items, of every leaf.

    Raises:
      IndexError: if there is no such item; JAX by itself would take the last.
    """
    if isinstance(index, slice):
        return jax.tree.map(lambda x: x[index], tree)
    sizes = {len(leaf) for leaf in jax.tree.leaves(tree)}
    if any(not 0 <= index < size for size in sizes):
        raise IndexError(f"There is no item {index} of {min(sizes)}.")
    return _item_of(tree, index)


# One program for all leaves and items; op by op, each would be one of its own.
@jax.jit
def _item_of(tree: Any, index: Any) -> Any:
    return jax.tree.map(lambda x: x[index], tree)
