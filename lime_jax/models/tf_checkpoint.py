"""Reads TensorFlow checkpoints (the V2 format of `tf.train.Saver`) with NumPy alone.

A checkpoint is an index and its data files: the index is a LevelDB table that says of every tensor
where its bytes lie.

References:
  https://github.com/google/leveldb/blob/main/doc/table_format.md
  https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/protobuf/tensor_bundle.proto
"""

import dataclasses
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lime_jax.errors import ModelError
from lime_jax.models.crc32c import crc32c, mask_crc

Folder = Path | zipfile.Path

_MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
_FOOTER_SIZE = 48
_CHECKSUM_SIZE = 4
_SNAPPY = 1
_STRING = 7
_DTYPES = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "u1",
    5: "<i2",
    6: "i1",
    8: "<c8",
    9: "<i8",
    10: "?",
    17: "<u2",
    18: "<c16",
    19: "<f2",
    22: "<u4",
    23: "<u8",
}  # numbered as in TensorFlow's types.proto


class _Malformed(Exception):
    """Why bytes are no part of a checkpoint."""


@dataclasses.dataclass(frozen=True)
class _Entry:
    """Where a tensor lies, and what it is (the message BundleEntryProto)."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    is_sliced: bool


def read(folder: Folder, stem: str) -> dict[str, np.ndarray]:
    """Reads every numeric tensor of the checkpoint `<stem>.index`, `<stem>.data-…` in `folder`.

    Args:
      folder: a folder, or a `zipfile.Path` into an archive.
      stem: what the names of the files begin with; empty for files like `.index`.

    Returns:
      Read-only arrays by the name of their variable. Strings are left out.

    Raises:
      ModelError: if a file is missing, damaged, or no such checkpoint.
    """
    index = folder / f"{stem}.index"
    try:
        rows = dict(_table(_read_bytes(index)))
        num_shards = _num_shards(rows.pop(b"", b""))
        entries = {key.decode(): _entry(value) for key, value in rows.items()}
    except (_Malformed, UnicodeDecodeError) as error:
        raise ModelError(
            f"`{index}` is not the index of a TensorFlow checkpoint: {error}. Fetch it again, or "
            "point at the files that `tf.train.Saver` wrote."
        ) from error
    shards = [folder / f"{stem}.data-{i:05d}-of-{num_shards:05d}" for i in range(num_shards)]
    contents = [_read_bytes(shard) for shard in shards]
    tensors = {}
    for name, entry in entries.items():
        if entry.dtype == _STRING:
            continue
        try:
            tensors[name] = _tensor(entry, contents)
        except _Malformed as error:
            raise ModelError(
                f"`{name}` cannot be read from the checkpoint `{folder / stem}`: {error}. Fetch "
                "the checkpoint again."
            ) from error
    return tensors


def _read_bytes(path: Folder) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"`{path}` cannot be read ({getattr(error, 'strerror', None) or error}). A checkpoint "
            "needs its index and all of its data files, whole."
        ) from error


def _table(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a LevelDB table."""
    footer = table[-_FOOTER_SIZE:]
    if len(footer) < _FOOTER_SIZE or not footer.endswith(_MAGIC):
        raise _Malformed("the magic number is missing from its end")
    _, _, *handle = _varints(footer, 4)  # the first two locate the meta index, which is empty
    for _, value in _block(table, *handle):
        yield from _block(table, *_varints(value, 2))


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of one block; each key drops what it shares with the one before."""
    end = offset + size
    checked, checksum = table[offset : end + 1], table[end + 1 : end + 1 + _CHECKSUM_SIZE]
    if len(checksum) < _CHECKSUM_SIZE:
        raise _Malformed("it ends too early")
    if mask_crc(crc32c(checked)) != int.from_bytes(checksum, "little"):
        raise _Malformed("a checksum does not match")
    if checked[-1]:
        codec = "Snappy" if checked[-1] == _SNAPPY else f"an unknown method ({checked[-1]})"
        raise _Malformed(f"it is compressed with {codec}, which TensorFlow itself never does")
    num_restarts = int.from_bytes(checked[-5:-1], "little")
    entries = checked[: size - 4 * (num_restarts + 1)]
    key, position = b"", 0
    while position < len(entries):
        (num_shared, key_size, value_size), position = _take_varints(entries, position, 3)
        middle = position + key_size
        key = key[:num_shared] + entries[position:middle]
        position = middle + value_size
        yield key, entries[middle:position]


def _num_shards(header: bytes) -> int:
    fields = dict(_fields(header))
    if fields.get(2, 0) != 0:
        raise _Malformed("its numbers are big-endian")
    if not isinstance(num_shards := fields.get(1), int):
        raise _Malformed("it does not say how many data files there are")
    return num_shards


def _entry(message: bytes) -> _Entry:
    fields = dict(_fields(message))
    dimensions = [dict(_fields(dim)) for number, dim in _fields(fields.get(2, b"")) if number == 2]
    return _Entry(
        dtype=fields.get(1, 0),
        shape=tuple(dimension.get(1, 0) for dimension in dimensions),
        shard=fields.get(3, 0),
        offset=fields.get(4, 0),
        size=fields.get(5, 0),
        checksum=fields.get(6, 0),
        is_sliced=7 in fields,
    )


def _tensor(entry: _Entry, shards: list[bytes]) -> np.ndarray:
    if entry.is_sliced:
        raise _Malformed("it is partitioned, which is not supported")
    if not 0 <= entry.shard < len(shards):
        raise _Malformed(f"it lies in data file {entry.shard}, there are {len(shards)}")
    if entry.dtype not in _DTYPES:
        raise _Malformed(f"its type (number {entry.dtype}) is not supported")
    dtype = np.dtype(_DTYPES[entry.dtype])
    data = memoryview(shards[entry.shard])[entry.offset : entry.offset + entry.size]
    if len(data) != entry.size or entry.size != math.prod(entry.shape) * dtype.itemsize:
        raise _Malformed(
            f"shape {entry.shape} takes {math.prod(entry.shape) * dtype.itemsize} bytes, "
            f"{len(data)} of {entry.size} are there"
        )
    if mask_crc(crc32c(data)) != entry.checksum:
        raise _Malformed("its checksum does not match")
    return np.frombuffer(data, dtype).reshape(entry.shape)


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The numbers and values of the fields of a protocol buffer."""
    position = 0
    while position < len(message):
        (tag,), position = _take_varints(message, position, 1)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            (value,), position = _take_varints(message, position, 1)
            yield number, value
            continue
        if wire_type == 2:
            (size,), position = _take_varints(message, position, 1)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise _Malformed(f"a field of wire type {wire_type}")
        value = message[position : position + size]
        position += size
        yield number, value if wire_type == 2 else int.from_bytes(value, "little")


def _varints(data: bytes, count: int) -> list[int]:
    return _take_varints(data, 0, count)[0]


def _take_varints(data: bytes, position: int, count: int) -> tuple[list[int], int]:
    """`count` numbers of seven bits per byte from `position` on, and the position behind them."""
    numbers = []
    for _ in range(count):
        number = shift = 0
        while True:
            if position >= len(data):
                raise _Malformed("a number is cut short")
            octet, position = data[position], position + 1
            number |= (octet & 0x7F) << shift
            shift += 7
            if octet < 0x80:
                break
        numbers.append(number)
    return numbers, position
