"""What was made once and is kept in memory, by bytes: the latest, without what was forgotten."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """Values by key, each of which may belong to a song of a user."""

    def __init__(self, size: Callable[[Value], int], *, num_bytes: int = 2**28) -> None:
        self._size, self._num_bytes = size, num_bytes
        self._values: OrderedDict[Hashable, tuple[str | None, Value]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value], owner: str | None = None) -> Value:
        """The value of a key, made if it is not there.

        Args:
          key: of everything that the value depends on.
          make: makes it.
          owner: the song that it belongs to, if any.
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
        """Drops what belongs to other songs than these."""
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
