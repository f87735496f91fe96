"""Ogg files by their pages."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from lime_jax.audio.containers.layout import Layout, read_at

_LONGEST_PAGE = 27 + 255 + 255 * 255
_BEGINS, _ENDS = 2, 4


def inspect(file: BinaryIO, start: int, size: int) -> Layout:
    """Reads every page header: the last page must end the stream, none behind it begin another."""
    if not _ends(file, size):
        return Layout(problem="is truncated: its last page is missing")
    before_sound = True
    for flags in _page_flags(file, start):
        if flags & _BEGINS and not before_sound:
            return Layout(joined="Ogg streams")
        before_sound = bool(flags & _BEGINS)
    return Layout()


def _ends(file: BinaryIO, size: int) -> bool:
    tail = read_at(file, max(0, size - 2 * _LONGEST_PAGE), 2 * _LONGEST_PAGE)
    pages = [match.start() for match in re.finditer(b"OggS", tail)]
    whole = [page for page in pages if page + _page_length(tail[page : page + 282]) <= len(tail)]
    return bool(whole) and bool(tail[whole[-1] + 5] & _ENDS)


def _page_flags(file: BinaryIO, position: int) -> Iterator[int]:
    while header := read_at(file, position, 27 + 255):
        if header[:4] == b"OggS" and len(header) >= 27:
            yield header[5]
            position += _page_length(header)
            continue
        offset = read_at(file, position, _LONGEST_PAGE).find(b"OggS", 1)
        if offset < 0:
            return
        position += offset


def _page_length(header: bytes) -> int:
    """Bytes of an Ogg page; more than any page has if the header is cut."""
    num_segments = header[26] if len(header) > 26 else 255
    table = header[27 : 27 + num_segments]
    return 27 + num_segments + sum(table) if len(table) == num_segments else 2 * _LONGEST_PAGE
