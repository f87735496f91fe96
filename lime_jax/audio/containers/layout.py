"""What the structure of a sound file says about it."""

import dataclasses
import re
from collections.abc import Iterator
from typing import BinaryIO

from lime_jax.audio.containers.parts import Part

_BLOCK = 2**20
_LONGEST_MARKER = 32


@dataclasses.dataclass(frozen=True)
class Layout:
    """What is known of a sound file before it is decoded.

    Attributes:
      problem: what is wrong, as the rest of a sentence about the file, or None.
      joined: what there is more than one of, such as "MP3 files", or None.
      promised: bytes of sound that its header promises, or None if it promises none.
      held: bytes that are there for them.
      parts: what a decoder is to read instead of the whole file, or None.
      marker: what only stands where another file begins, or None. Only a decoder could tell where
        the sound ends, so it has to be looked for.
      marker_from: where to begin to look.
      is_length_exact: False where a decoder estimates the number of samples.
    """

    problem: str | None = None
    joined: str | None = None
    promised: int | None = None
    held: int = 0
    parts: tuple[Part, ...] | None = None
    marker: re.Pattern[bytes] | None = None
    marker_from: int = 0
    is_length_exact: bool = True

    def shortfall(self, tolerance: int) -> str | None:
        """Says if more than `tolerance` of the promised bytes are missing."""
        if self.promised is None or self.promised - self.held <= tolerance:
            return None
        return (
            f"is truncated: its header promises {self.promised} bytes of sound, it holds "
            f"{self.held}"
        )


def read_at(file: BinaryIO, position: int, size: int) -> bytes:
    """Returns up to `size` bytes from `position` on."""
    file.seek(position)
    return file.read(size)


def holds_another(file: BinaryIO, layout: Layout) -> bool:
    """Tests whether the marker of the layout stands in the file, which is read to its end."""
    if layout.marker is None:
        return False
    # A decoder may read from the same descriptor.
    before = file.tell()
    try:
        return holds(file, layout.marker, layout.marker_from)
    finally:
        file.seek(before)


def holds(file: BinaryIO, marker: re.Pattern[bytes], position: int) -> bool:
    """Searches from `position` to the end, block by block."""
    file.seek(position)
    return any(marker.search(block) for block in _overlapping_blocks(file))


def _overlapping_blocks(file: BinaryIO) -> Iterator[bytes]:
    tail = b""
    while block := file.read(_BLOCK):
        yield tail + block
        tail = block[-_LONGEST_MARKER:]
