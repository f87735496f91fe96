"""Tags of MP3 files: before and behind the sound and, where files were joined, in it."""

import re
from typing import BinaryIO

from lime_jax.audio.containers.layout import read_at

_BLOCK = 2**16
_ID3_FOOTER = 0x10
_NOT_ZERO = re.compile(rb"[^\0]")


def skip_id3(file: BinaryIO, position: int) -> int:
    """Returns the position behind any ID3v2 tags; their size is four times seven bits."""
    while (head := read_at(file, position, 10))[:3] == b"ID3" and len(head) == 10:
        high, upper, lower, low = head[6:]
        footer = 10 if head[5] & _ID3_FOOTER else 0
        position += 10 + (high << 21 | upper << 14 | lower << 7 | low) + footer
    return position


def skip_tags(file: BinaryIO, position: int, size: int) -> int:
    """Returns the position behind tags of any kind and zeros, at most `size`."""
    while position < size:
        length = _tag_length(file, position)
        if length == 0:
            return position
        position += length
    return size


def _tag_length(file: BinaryIO, position: int) -> int:
    head = read_at(file, position, 32)
    if head[:1] == b"\0":
        return _num_zeros(file, position)
    if head.startswith(b"ID3"):
        return skip_id3(file, position) - position
    if head.startswith(b"APETAGEX"):
        # The footer has the size of what stands before it, which is behind us.
        is_header = len(head) == 32 and bool(head[23] & 0x20)
        return 32 + (int.from_bytes(head[12:16], "little") if is_header else 0)
    if head.startswith(b"LYRICSBEGIN"):
        end = re.search(rb"LYRICS200|LYRICSEND", read_at(file, position, _BLOCK))
        return end.end() if end else 0
    if head.startswith(b"TAG"):
        return 227 if head[3:4] == b"+" else 128
    return 0


def _num_zeros(file: BinaryIO, position: int) -> int:
    start = position
    while block := read_at(file, position, _BLOCK):
        if other := _NOT_ZERO.search(block):
            return position + other.start() - start
        position += len(block)
    return position - start
