"""Files that appear whole or not at all, and Parquet with checksums."""

import contextlib
import io
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lime_jax.errors import StoreError

PARTIAL = ".partial"
"""What files end in while they are written; readers of `*.parquet` do not see them."""


def write_whole(path: Path, write: Callable[[Any], None], *, exclusive: bool = False) -> None:
    """Writes a file under another name, syncs it and gives it its name.

    Args:
      path: of the file; its folder must exist.
      write: is given a binary file to write to.
      exclusive: leave a file of that name alone and raise `FileExistsError`.

    Raises:
      StoreError: if it cannot be written; nothing is left behind.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        with partial.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            os.link(partial, path)
        else:
            os.replace(partial, path)
        sync(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise StoreError(
            f"`{path}` cannot be written ({error.strerror or error}). What was written before is "
            "safe; make room or permission, and run the same command again to go on."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_table(path: Path, table: Any, *, exclusive: bool = False) -> None:
    """Writes a `pyarrow.Table` as Parquet with a checksum on every page.

    Raises:
      StoreError: if it cannot be written; nothing is left behind.
    """
    write_whole(path, lambda file: _write_parquet(table, file), exclusive=exclusive)


def encoded_table(table: Any) -> bytes:
    """A `pyarrow.Table` as the bytes of a Parquet file with a checksum on every page."""
    buffer = io.BytesIO()
    _write_parquet(table, buffer)
    return buffer.getvalue()


def read_table(path: Path, columns: list[str] | None = None) -> Any:
    """Reads a Parquet file and proves the checksum of every page it reads.

    Raises:
      OSError: if it is damaged or cannot be read; also `pyarrow.ArrowException`.
    """
    from pyarrow import parquet

    with parquet.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read(columns)


def sync(path: Path) -> None:
    """Waits until a file or a folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_parquet(table: Any, file: Any) -> None:
    from pyarrow import parquet

    parquet.write_table(table, file, compression="zstd", write_page_checksum=True)
