"""A folder of files that appears whole or not at all."""

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from lime_jax.core.arguments import file_path
from lime_jax.errors import LimeJaxError
from lime_jax.report import record
from lime_jax.separation import stem_cache
from lime_jax.storage import sync

SUMMARY = "summary.json"
"""What a summary of a data set lists its files in."""

_LISTINGS = (SUMMARY, stem_cache.LISTING)


def check_folder(folder: str | Path) -> Path:
    """Returns the absolute path of a folder that a report may be written to.

    Call it before hours of work whose result goes there.

    Raises:
      LimeJaxError: if `folder` is a file, cannot be written, or holds anything but an earlier
        report.
    """
    path = file_path("folder", folder).resolve()
    try:
        if path.exists() and not path.is_dir():
            raise LimeJaxError(f"`{path}` is a file. Name a folder for the report.")
        if path.is_dir() and (names := sorted(os.listdir(path))):
            _check_replaceable(path, names)
    except OSError as error:
        raise _unwritable(path, error) from error
    existing = next(parent for parent in path.parents if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise LimeJaxError(
            f"`{path}` cannot be written: no permission in `{existing}`. Choose another folder."
        )
    return path


def write_folder(folder: str | Path, files: Mapping[str, bytes | Path]) -> Path:
    """Writes files into a temporary sibling of `folder`, which then takes its place.

    Args:
      folder: created with its parents; replaced if it is empty or holds what an earlier call wrote.
      files: the content of every file by name, or a file that is copied.

    Raises:
      LimeJaxError: if the folder cannot be written or must not be replaced.
    """
    path = check_folder(folder)
    partial = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
    try:
        partial.mkdir(parents=True)
        for name, content in files.items():
            if isinstance(content, Path):
                shutil.copyfile(content, partial / name)
            else:
                (partial / name).write_bytes(content)
            sync(partial / name)
        sync(partial)
        _put_in_place(partial, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def _check_replaceable(path: Path, names: list[str]) -> None:
    """Raises unless everything in `path` is listed by the record of a report there."""
    listing = next((name for name in _LISTINGS if name in names), None)
    if listing is None and record.FILE_NAME not in names:
        raise LimeJaxError(
            f"`{path}` is not empty and holds nothing that lime-jax wrote. Choose a new or an "
            "empty folder."
        )
    known = _known_files(path / listing) if listing else record.read(path).get("files", [])
    for name in names:
        if name not in known or not (path / name).is_file():
            raise LimeJaxError(
                f"`{path}` holds {name!r}, which no report wrote. Move it away or choose another "
                "folder."
            )


def _known_files(listing: Path) -> list[str]:
    try:
        return list(json.loads(listing.read_text(encoding="utf-8"))["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise LimeJaxError(
            f"`{listing}` is none of ours. Choose a new or an empty folder."
        ) from error


def _put_in_place(partial: Path, path: Path) -> None:
    if not (path.exists() and os.listdir(path)):
        partial.rename(path)
    else:
        earlier = path.with_name(f"{partial.name}.earlier")
        path.rename(earlier)
        try:
            partial.rename(path)
        except OSError:
            earlier.rename(path)
            raise
        shutil.rmtree(earlier, ignore_errors=True)
    sync(path.parent)


def _unwritable(path: Path, error: OSError) -> LimeJaxError:
    reason = error.strerror or str(error)
    return LimeJaxError(f"`{path}` cannot be written ({reason}). Choose another folder.")
