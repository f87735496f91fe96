"""A cache in memory, bounded by bytes, whose values may belong to what users sent."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class MemoryCache(Generic[Value]):
    """Holds the values used last, by key; those of an upload go with it.

    Args:
      size: of a value, in bytes.
      num_bytes: of all values together; what was used longest ago is dropped.
    """

    def __init__(self, size: Callable[[Value], int], *, num_bytes: int = 2**28) -> None:
        self._size, self._num_bytes = size, num_bytes
        self._values: OrderedDict[Hashable, tuple[str | None, Value]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value], owner: str | None = None) -> Value:
        """Returns the value of a key, made if it is not there.

        Args:
          key: of everything that the value depends on.
          make: makes it.
          owner: the id of the upload that it belongs to, if any.
        """
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key][1]
        value = make()
        with self._lock:
            self._values[key] = owner, value
            self._shrink()
        return value

    def retain(self, owners: Collection[str]) -> None:
        """Drops what belongs to uploads other than these."""
        with self._lock:
            for key, (owner, _) in list(self._values.items()):
                if owner is not None and owner not in owners:
                    del self._values[key]

    def clear(self) -> None:
        """Drops everything."""
        with self._lock:
            self._values.clear()

    def _shrink(self) -> None:
        total = sum(self._size(value) for _, value in self._values.values())
        while total > self._num_bytes:
            _, (_, value) = self._values.popitem(last=False)
            total -= self._size(value)
