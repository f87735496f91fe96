"""Results by the digest of what they were computed from: in memory and on disk."""

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lime_jax import storage

_KEY = re.compile(r"[0-9a-f]{64}")


def key_of(*parts: object) -> str:
    """Returns the SHA-256 of everything that a result depends on, in hexadecimal digits."""
    return storage.digest_of_json([str(part) for part in parts])


class Results:
    """Holds JSON by key; files appear whole or not at all, so that servers may share a folder.

    Args:
      folder: of the files.
      num_in_memory: how many results stay in memory.
    """

    def __init__(self, folder: Path, *, num_in_memory: int = 256) -> None:
        self._folder, self._num_in_memory = folder, num_in_memory
        self._memory: OrderedDict[str, Any] = OrderedDict()
        self._owners: dict[str, str] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> Any | None:
        """Returns the value of a key, which may come from anywhere; None if there is none."""
        if not _KEY.fullmatch(key):
            return None
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key]
        value = self._read(key)
        if value is not None:
            self._remember(key, value, None)
        return value

    def put(self, key: str, value: Any, *, on_disk: bool, owner: str | None = None) -> None:
        """Stores a value, in memory alone where it is about an upload.

        Args:
          key: of everything that it depends on.
          value: JSON.
          on_disk: whether other servers find it.
          owner: the id of the upload that it is about, if any.

        Raises:
          StoreError: if it cannot be written.
        """
        self._remember(key, value, owner)
        if on_disk:
            path = self._path(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(value, allow_nan=False)
            storage.write_whole(path, text.encode())

    def retain(self, owners: Collection[str]) -> None:
        """Drops what is about uploads other than these."""
        with self._lock:
            for key, owner in list(self._owners.items()):
                if owner not in owners:
                    self._memory.pop(key, None)
                    del self._owners[key]

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"

    def _read(self, key: str) -> Any | None:
        """Returns None also for a damaged file: it is computed and written again."""
        try:
            return json.loads(self._path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _remember(self, key: str, value: Any, owner: str | None) -> None:
        with self._lock:
            self._memory[key] = value
            self._memory.move_to_end(key)
            if owner is not None:
                self._owners[key] = owner
            while len(self._memory) > self._num_in_memory:
                dropped, _ = self._memory.popitem(last=False)
                self._owners.pop(dropped, None)
