"""What was worked out once for shapes and settings, remembered while it is new."""

import weakref
import zlib
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import jax
import numpy as np

T = TypeVar("T")


class SignatureCache(Generic[T]):
    """Values by signature, of which the latest are remembered.

    Attributes:
      maximum: how many values are remembered.
    """

    def __init__(self, maximum: int = 64) -> None:
        self.maximum = maximum
        self._values: dict[Any, T] = {}

    def get(self, signature: Any) -> T | None:
        """Returns the value of a signature, or None."""
        return self._values.get(signature)

    def put(self, signature: Any, value: T) -> T:
        """Remembers a value, and forgets the oldest one if there are too many; returns it."""
        if signature not in self._values and len(self._values) >= self.maximum:
            self._values.pop(next(iter(self._values)))
        self._values[signature] = value
        return value

    def get_or_make(self, signature: Any, make: Callable[[], T]) -> T:
        """Returns the value of a signature, which is made if it is not remembered."""
        value = self.get(signature)
        return self.put(signature, make()) if value is None else value

    def __len__(self) -> int:
        return len(self._values)

    def clear(self) -> None:
        """Forgets all values."""
        self._values.clear()


class SameArrays:
    """Tells whether a tree still holds the arrays that it held; keeps none of them alive."""

    def __init__(self, tree: Any) -> None:
        self._marks = [_mark(leaf) for leaf in jax.tree.leaves(tree)]

    def are_in(self, tree: Any) -> bool:
        """Returns whether a tree of the same structure holds the same arrays."""
        leaves = jax.tree.leaves(tree)
        return all(
            mark() is leaf if isinstance(mark, weakref.ref) else mark == _mark(leaf)
            for mark, leaf in zip(self._marks, leaves, strict=True)
        )


def _mark(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array):
        return weakref.ref(leaf)
    # What NumPy holds may change in place.
    return zlib.crc32(np.ascontiguousarray(leaf).tobytes())


def signature(*trees: Any) -> Any:
    """Returns what programs depend on: structure, shapes and types, and the kind of device."""
    leaves, structure = jax.tree.flatten(trees)
    kinds = tuple((np.shape(leaf), jax.dtypes.result_type(leaf)) for leaf in leaves)
    return structure, kinds, jax.devices()[0].device_kind
