"""The cache of converted weights: each collection of models is there whole, or not at all."""

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from lime_jax import storage
from lime_jax.errors import ModelError
from lime_jax.models import weights

# To be raised whenever conversion or networks change, so that older caches are made anew.
FORMAT = 1

_MANIFEST = "manifest.json"
_ABANDONED_AFTER = 86_400.0  # seconds; separating a long song on a slow machine takes hours


def cache_folder() -> Path:
    """Returns `$LIME_JAX_CACHE`, or `lime_jax` in `$XDG_CACHE_HOME` or in `~/.cache`."""
    if chosen := os.environ.get("LIME_JAX_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lime_jax"


def write(folder: Path, models: Mapping[str, Mapping[str, np.ndarray]], *, origin: str) -> None:
    """Saves the arrays of several models so that `folder` appears with all of them at once.

    Two processes may do so at the same time; an unusable `folder` is replaced.

    Args:
      folder: of the collection, in the cache.
      models: arrays by name, by model.
      origin: of the weights, for the record.

    Raises:
      ModelError: if the cache cannot be written.
    """
    with new_folder(folder, is_complete) as new:
        for name, arrays in models.items():
            weights.save(new / name, arrays)
        manifest = {"format": FORMAT, "origin": origin, "sha256": _digests(new)}
        (new / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


@contextlib.contextmanager
def new_folder(folder: Path, is_whole: Callable[[Path], bool]) -> Iterator[Path]:
    """Yields a folder to fill, which then replaces `folder`, unless there is a whole one by now.

    Args:
      folder: in the cache.
      is_whole: whether a folder has all that it should.

    Raises:
      ModelError: if the cache cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        with tempfile.TemporaryDirectory(prefix=_prefix(folder), dir=folder.parent) as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            yield new
            _publish(new, folder, Path(scratch) / "old", is_whole)
    except OSError as error:
        raise ModelError(
            f"the cache `{folder.parent}` cannot be written ({error.strerror or error}). Set the "
            "environment variable LIME_JAX_CACHE to a folder with some free space."
        ) from error


def read(folder: Path, model: str) -> dict[str, np.ndarray] | None:
    """Reads the arrays of one model; None if they are missing, damaged, or of another `FORMAT`."""
    digests = _manifest_digests(folder)
    files = {name for name in digests if name.startswith(f"{model}/")}
    if not files or any(_digest(folder / name) != digests[name] for name in files):
        return None
    return weights.restore(folder / model)


def is_complete(folder: Path) -> bool:
    """Returns whether `folder` holds, unharmed, all that `write` put there in this `FORMAT`."""
    digests = _manifest_digests(folder)
    return bool(digests) and all(_digest(folder / name) == digests[name] for name in digests)


def check_published(path: Path, *, name: str, sha256: str, option: str) -> None:
    """Checks that a copy is the published file.

    Args:
      path: of the copy.
      name: of the published file.
      sha256: of its content, in hexadecimal.
      option: that named the copy, for the message.

    Raises:
      ModelError: if it cannot be read or is another file.
    """
    try:
        digest = storage.digest_of_file(path)
    except OSError as error:
        raise ModelError(
            f"`{path}` cannot be read ({error.strerror}). Point `{option}` at {name}."
        ) from error
    if digest != sha256:
        raise ModelError(
            f"`{path}` is not the published {name}: its sha256 is {digest} instead of {sha256}. "
            "Download it again, whole."
        )


def _manifest_digests(folder: Path) -> dict[str, str]:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest["sha256"] if manifest.get("format") == FORMAT else {}


def _digests(folder: Path) -> dict[str, str | None]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _digest(path) for path in files}


def _digest(path: Path) -> str | None:
    try:
        return storage.digest_of_file(path)
    except OSError:
        return None


def _publish(new: Path, folder: Path, old: Path, is_whole: Callable[[Path], bool]) -> None:
    if not is_whole(folder):
        with contextlib.suppress(FileNotFoundError):
            folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if not is_whole(folder):  # otherwise another process was faster
            raise


def _prefix(folder: Path) -> str:
    return f".{folder.name}-"


def _sweep(folder: Path) -> None:
    """Removes what killed processes left behind."""
    for path in folder.parent.glob(f"{_prefix(folder)}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                shutil.rmtree(path, ignore_errors=True)
