"""How a frozen dataclass becomes a pytree."""

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar, dataclass_transform, no_type_check

import jax
import jax.core
import jax.numpy as jnp

T = TypeVar("T")


def static(**options: Any) -> Any:
    """Declares a field of the tree's structure: hashable; a new value recompiles."""
    return dataclasses.field(metadata={"static": True}, **options)


@dataclass_transform(frozen_default=True, field_specifiers=(static, dataclasses.field))
def pytree(cls: type[T]) -> type[T]:
    """Makes `cls` a frozen dataclass whose fields are leaves, or structure where `static()`.

    Instances compare by identity: their leaves may be arrays, which have no single truth value.
    """
    cls = dataclasses.dataclass(frozen=True, eq=False)(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    meta = [field.name for field in fields if field.metadata.get("static")]
    data = [field.name for field in fields if not field.metadata.get("static")]
    keys = [jax.tree_util.GetAttrKey(name) for name in data]

    # JAX calls these all the time, with what it was given; checks of types would take longer.
    @no_type_check
    def flatten(instance: T) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return tuple(getattr(instance, n) for n in data), tuple(getattr(instance, n) for n in meta)

    @no_type_check
    def flatten_with_keys(instance: T) -> tuple[tuple[tuple[Any, Any], ...], tuple[Any, ...]]:
        leaves, structure = flatten(instance)
        return tuple(zip(keys, leaves, strict=True)), structure

    @no_type_check
    def unflatten(structure: tuple[Any, ...], leaves: Iterable[Any]) -> T:
        return cls(
            **dict(zip(data, leaves, strict=True)), **dict(zip(meta, structure, strict=True))
        )

    # Not register_dataclass: under it, jax 0.10 and 0.11 take the structures of any two classes
    # with the same static values for equal, and jit then now and then runs the other's program.
    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


def varying_like(tree: T, *examples: Any) -> T:
    """Returns arrays that differ between the devices that any of the examples differs between.

    For what loops start from inside the caller's `jax.shard_map`, which checks that types agree.
    """
    axes = varying_axes(examples)

    def vary(x: Any) -> Any:
        missing = tuple(sorted(axes - varying_axes(x)))
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    return jax.tree.map(vary, tree) if axes else tree


def varying_axes(*trees: Any) -> frozenset[Any]:
    """Returns the axes of the caller's mesh that arrays differ over, inside `jax.shard_map`."""
    kinds = [getattr(jax.typeof(leaf), "mat", None) for leaf in jax.tree.leaves(trees)]
    return frozenset().union(*(getattr(kind, "varying", ()) for kind in kinds))


def is_traced(tree: Any) -> bool:
    """Returns whether any leaf is being traced, or everything is, inside jit or vmap."""
    tree = (tree, jnp.zeros(()))  # inside jit even this is traced
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))
