"""A file as a decoder is to see it: some of its bytes, and some of ours in place of others."""

import io
import itertools
from collections.abc import Sequence
from typing import Any, BinaryIO

Part = bytes | tuple[int, int]
"""Bytes to be read instead, or first and last (exclusive) position of bytes of the file."""


def open_parts(file: BinaryIO, parts: Sequence[Part]) -> io.BufferedReader:
    """Opens the parts, one behind the other, as a file; it does not close the one behind it."""
    return io.BufferedReader(_Parts(file, parts), 2**16)


class _Parts(io.RawIOBase):
    def __init__(self, file: BinaryIO, parts: Sequence[Part]) -> None:
        self._file = file
        self._parts = parts
        sizes = [len(p) if isinstance(p, bytes) else p[1] - p[0] for p in parts]
        self._ends = list(itertools.accumulate(sizes))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ends[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        data = self._read_some(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _read_some(self, size: int) -> bytes:
        """At most `size` bytes, from a single part."""
        starts = [0, *self._ends]
        for part, start, end in zip(self._parts, starts, self._ends, strict=False):
            if start <= self._position < end:
                inside, size = self._position - start, min(size, end - self._position)
                if isinstance(part, bytes):
                    return part[inside : inside + size]
                self._file.seek(part[0] + inside)
                return self._file.read(size)
        return b""
