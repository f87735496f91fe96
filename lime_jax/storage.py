"""Files whole or not at all, digests, plain JSON, and file names from names others chose."""

import contextlib
import dataclasses
import enum
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lime_jax.errors import LimeJaxError, StoreError

PARTIAL = ".partial"
"""What files end in while they are written; readers of `*.parquet` do not see them."""

_SLUG_LENGTH = 40
_RERUN = (
    "What was written before is safe; make room or permission, and run the same command again to "
    "go on."
)


def write_whole(
    path: Path,
    content: bytes | Callable[[BinaryIO], object],
    *,
    exclusive: bool = False,
    error: type[LimeJaxError] = StoreError,
    advice: str = _RERUN,
) -> None:
    """Writes a file under another name, syncs it and gives it its name.

    Args:
      path: of the file; its folder must exist.
      content: of the file, or what writes it into a binary file.
      exclusive: leave a file of that name alone and raise `FileExistsError`.
      error: raised if it cannot be written; nothing is left behind.
      advice: the end of its message, which says what to do.
    """
    # A name of its own, as `path.name` may have the greatest length already.
    partial = path.with_name(f".{secrets.token_hex(8)}{PARTIAL}")
    try:
        with partial.open("xb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            os.link(partial, path)
        else:
            os.replace(partial, path)
        sync(path.parent)
    except FileExistsError:
        raise
    except OSError as reason:
        raise error(
            f"`{path}` cannot be written ({reason.strerror or reason}). {advice}"
        ) from reason
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields a new folder, which is called `path` once it is full; `path` must not exist."""
    partial = path.with_name(f".{path.name}{PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    os.replace(partial, path)


def sync(path: Path) -> None:
    """Waits until a file or a folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(*content: bytes | str) -> str:
    """Returns the SHA-256 of bytes and texts, one behind the other, in hexadecimal.

    Example:
      >>> digest("a", b"b") == digest("ab")
      True
    """
    total = hashlib.sha256()
    for part in content:
        total.update(part.encode() if isinstance(part, str) else part)
    return total.hexdigest()


def digest_of_file(path: Path) -> str:
    """Returns the SHA-256 of the content of a file, in hexadecimal.

    Raises:
      OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_json(value: Any, *, sort_keys: bool = False) -> str:
    """Returns the SHA-256 of a value as JSON in ASCII, in hexadecimal.

    Args:
      value: plain, see `plain`.
      sort_keys: makes mappings equal whatever the order of their keys.

    Raises:
      ValueError: for NaN and infinity, which are no JSON.
    """
    return digest(json.dumps(value, sort_keys=sort_keys, allow_nan=False))


def number_of(value: Any) -> float | None:
    """Returns a float32 as a number; None for what is undefined or infinite."""
    # The shortest decimal that is this float32, so that files show 0.3 and not 0.30000001192092896.
    return float(str(np.float32(value))) if np.isfinite(value) else None


def plain(value: Any, where: str = "value") -> Any:
    """Returns settings or results as what JSON has: strings, numbers, lists and mappings.

    Numbers that are not finite become None.

    Args:
      value: a dataclass, mapping or list of such.
      where: what an error calls it.

    Raises:
      ValueError: if it holds anything else.
    """
    match value:
        case enum.Enum():
            return value.name
        case None | bool() | str():
            return value
        case int() | np.integer():
            return int(value)
        case float() | np.floating():
            return float(value) if math.isfinite(value) else None
        case np.bool_() | np.ndarray():
            return plain(value.tolist(), where)
        case Path():
            return str(value)
        case Mapping():
            return {str(key): plain(entry, f"{where}.{key}") for key, entry in value.items()}
        case list() | tuple():
            return [plain(entry, f"{where}[{i}]") for i, entry in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return plain(fields, where)
    raise ValueError(
        f"`{where}` must be a plain value, got {type(value).__name__}. Use numbers, strings, "
        "lists, mappings and dataclasses."
    )


def slug(name: str) -> str:
    """Returns lower-case letters, digits and hyphens, never none: safe in any file name.

    Example:
      >>> slug("../Électric Guitar")
      'electric-guitar'
    """
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^a-z0-9]+", "-", ascii_name.lower()).strip("-")[:_SLUG_LENGTH].rstrip("-") or (
        "output"
    )
