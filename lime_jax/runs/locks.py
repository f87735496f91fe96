"""Runs that must not meet: each holds a lock that the system lets go when the process dies."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lime_jax.errors import StoreError
from lime_jax.runs.shards import Shard

_FOLDER = "locks"
_MOST_SECONDS_TO_WAIT = 60


@contextlib.contextmanager
def hold_shard(folder: Path, shard: Shard) -> Iterator[None]:
    """Holds the lock of a shard; shards of the same split may run side by side.

    Raises:
      StoreError: if another run does this shard, or another split of the same store.
    """
    import filelock

    (folder / _FOLDER).mkdir(parents=True, exist_ok=True)
    own = _path(folder, shard)
    lock = filelock.FileLock(own, timeout=0)
    try:
        with exclusive_folder(folder):
            lock.acquire()
            for other in (folder / _FOLDER).glob("*-of-*"):
                if other.name.partition("-of-")[2] != str(shard.count):
                    _check_is_free(other)
    except filelock.Timeout as error:
        lock.release(force=True)
        raise StoreError(
            f"`{folder}` is in use by another run ({Path(error.lock_file).name}). Wait for it, or "
            "stop it first; shards of one store must all be i/n of the same n."
        ) from error
    except (OSError, NotImplementedError) as error:
        raise StoreError(
            f"`{folder}` cannot be locked ({error}). Choose a file system with locks."
        ) from error
    try:
        yield
    finally:
        lock.release(force=True)


def exclusive_folder(folder: Path) -> Any:
    """Returns a lock that every run holds for a moment, when it comes in."""
    import filelock

    return filelock.FileLock(folder / _FOLDER / "door", timeout=_MOST_SECONDS_TO_WAIT)


def _path(folder: Path, shard: Shard) -> Path:
    return folder / _FOLDER / f"{shard.index}-of-{shard.count}"


def _check_is_free(path: Path) -> None:
    import filelock

    with filelock.FileLock(path, timeout=0):
        pass
