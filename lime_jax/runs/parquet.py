"""Parquet files with checksums, which appear whole or not at all."""

import io
from pathlib import Path
from typing import Any

from lime_jax import storage


def write_table(path: Path, table: Any) -> None:
    """Writes a `pyarrow.Table` as Parquet with a checksum on every page.

    Raises:
      StoreError: if it cannot be written; nothing is left behind.
    """
    storage.write_whole(path, lambda file: _write_parquet(table, file))


def encode_table(table: Any) -> bytes:
    """Returns a `pyarrow.Table` as the bytes of a Parquet file with a checksum on every page."""
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


def _write_parquet(table: Any, file: Any) -> None:
    from pyarrow import parquet

    parquet.write_table(table, file, compression="zstd", write_page_checksum=True)
