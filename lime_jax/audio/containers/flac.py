"""FLAC files by their metadata and their last frame."""

import functools
import itertools
import re
from typing import BinaryIO

from lime_jax.audio.containers.layout import Layout, holds, read_at

_MARKER = re.compile(rb"fLaC[\0\x80]\0\0\x22")
_FRAME = re.compile(rb"\xff[\xf8\xf9]")
# Eight channels of the longest block at 24 bits, not compressed at all.
_LONGEST_FRAME = 2**16 * 8 * 3
_ID3V1 = 128
_SHORTEST_FRAME = 9
_BLOCK_SIZES = {
    1: 192,
    **{2 + i: 576 << i for i in range(4)},
    **{8 + i: 256 << i for i in range(8)},
}
# Chance makes one header in some thousand frames; check sums of all before it would take seconds.
_MOST_CANDIDATES = 3


def inspect(file: BinaryIO, start: int, size: int) -> Layout:
    """Finds the number of samples where an encoder that wrote to a pipe left it out."""
    info = read_at(file, start, 42)
    if len(info) < 42 or info[4] & 0x7F != 0:
        return Layout()
    sound = _behind_metadata(file, start + 4)
    if int.from_bytes(info[21:26], "big") & (2**36 - 1):
        return Layout(marker=_MARKER, marker_from=sound)
    if holds(file, _MARKER, sound):
        return Layout(joined="files")
    num_samples = _num_samples(file, sound, size, int.from_bytes(info[8:10], "big"))
    if num_samples is None:
        return Layout(problem="is truncated: its last frame is cut")
    # The upper four of these forty bits belong to the sample format.
    patch = (info[21] >> 4 << 36 | num_samples).to_bytes(5, "big")
    parts = ((0, start + 21), patch, (start + 26, size))
    return Layout(parts=parts)


def _behind_metadata(file: BinaryIO, position: int) -> int:
    while len(head := read_at(file, position, 4)) == 4:
        position += 4 + int.from_bytes(head[1:], "big")
        if head[0] & 0x80:
            break
    return position


def _num_samples(file: BinaryIO, sound: int, size: int, block_size: int) -> int | None:
    """Where the last whole frame ends, in samples; None if the file does not end with one."""
    first = max(sound, size - _LONGEST_FRAME - _ID3V1)
    tail = read_at(file, first, size - first)
    if tail[-_ID3V1 : -_ID3V1 + 3] == b"TAG":
        tail = tail[:-_ID3V1]
    starts = [match.start() for match in _FRAME.finditer(tail)]
    ends = ((at, _end_of_block(tail[at : at + 16], block_size)) for at in reversed(starts))
    likely = ((at, end) for at, end in ends if end is not None)
    for at, end in itertools.islice(likely, _MOST_CANDIDATES):
        if _crc(tail[at:], 0x8005, 16) == 0:
            return end
    return None


def _end_of_block(frame: bytes, block_size: int) -> int | None:
    """Reads a frame header; None if it is none by its check sum."""
    if len(frame) < _SHORTEST_FRAME:
        return None
    number, used = _coded_number(frame[4:11])
    code, rate = frame[2] >> 4, frame[2] & 15
    num_size, num_rate = {6: 1, 7: 2}.get(code, 0), {12: 1, 13: 2, 14: 2}.get(rate, 0)
    at = 4 + used
    length = at + num_size + num_rate + 1
    if used == 0 or code == 0 or _crc(frame[:length], 0x07, 8) != 0:
        return None
    own_size = _BLOCK_SIZES.get(code, 0)
    if num_size:
        own_size = int.from_bytes(frame[at : at + num_size], "big") + 1
    is_variable = frame[1] & 1
    return (number if is_variable else number * block_size) + own_size


def _coded_number(data: bytes) -> tuple[int, int]:
    """A number as UTF-8 writes characters, up to 36 bits, and its bytes; nought if it is none."""
    ones = 8 - (~data[0] & 0xFF).bit_length()
    if ones in (1, 8):
        return 0, 0
    number = data[0] & (0x7F >> ones)
    for byte in data[1:ones]:
        number = number << 6 | byte & 0x3F
    return number, max(1, ones)


def _crc(data: bytes, polynomial: int, width: int) -> int:
    table, mask, remainder = _crc_table(polynomial, width), (1 << width) - 1, 0
    for byte in data:
        remainder = (remainder << 8 & mask) ^ table[remainder >> width - 8 ^ byte]
    return remainder


@functools.cache
def _crc_table(polynomial: int, width: int) -> tuple[int, ...]:
    top, mask = 1 << width - 1, (1 << width) - 1
    table = []
    for byte in range(256):
        value = byte << width - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
        table.append(value)
    return tuple(table)
