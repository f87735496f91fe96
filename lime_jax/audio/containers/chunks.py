"""Files of chunks that say how long they are: WAV, RF64, Wave64, AIFF and CAF; and AU."""

import dataclasses
import itertools
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

from lime_jax.audio.containers.layout import Layout, holds, read_at

# Sizes of those who could not go back to write the right one: ffmpeg, sox and recorders.
_PLACEHOLDERS = frozenset({0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0x7FFFF000})
_UNKNOWN_64 = 2**62
_LONGEST_HEADER = 4096
# A file that consists of empty chunks would take for ever.
_MOST_CHUNKS = 4096


@dataclasses.dataclass(frozen=True)
class _Grammar:
    """How the chunks of a container are written.

    Attributes:
      header: of a chunk: its name and its size.
      first: where the first chunk is, from the start of the file.
      step: chunks begin at multiples of it.
      sound: the name of the chunk of sound.
      before_sound: bytes of that chunk that are none.
      counts_header: True if sizes include the header.
      marker: what a further file begins with.
    """

    header: struct.Struct
    first: int
    step: int
    sound: bytes
    before_sound: int
    marker: re.Pattern[bytes]
    counts_header: bool = False


@dataclasses.dataclass(frozen=True)
class _Chunk:
    name: bytes
    body: int
    size: int
    end: int


_WAV_MARKER = re.compile(rb"(?:RIFF|RF64).{4}WAVE", re.DOTALL)
_WAV = _Grammar(struct.Struct("<4sI"), 12, 2, b"data", 0, _WAV_MARKER)
_RIFX = dataclasses.replace(
    _WAV, header=struct.Struct(">4sI"), marker=re.compile(rb"RIFX.{4}WAVE", re.DOTALL)
)
_AIFF = _Grammar(
    struct.Struct(">4sI"), 12, 2, b"SSND", 8, re.compile(rb"FORM.{4}AIF[FC]", re.DOTALL)
)
_CAF = _Grammar(struct.Struct(">4sQ"), 8, 1, b"data", 4, re.compile(rb"caff\x00\x01\x00\x00"))
_W64 = _Grammar(
    struct.Struct("<4s12xQ"),
    40,
    8,
    b"data",
    0,
    re.compile(rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0"),
    counts_header=True,
)
_AU_MARKER = re.compile(rb"\.snd\0\0|dns\..{2}\0\0", re.DOTALL)


def riff(file: BinaryIO, start: int, size: int) -> Layout:
    """Inspects a WAV or RF64 file; what was written to a pipe has no size."""
    grammar = _RIFX if read_at(file, start, 4) == b"RIFX" else _WAV
    chunks, sound = _chunks_to_sound(grammar, file, start, size)
    if sound is None:
        return Layout()
    order = "big" if grammar is _RIFX else "little"
    claimed = int.from_bytes(read_at(file, start + 4, 4), order)
    wide = next((chunk for chunk in chunks if chunk.name == b"ds64"), None)
    if wide is not None:
        num_bytes = int.from_bytes(read_at(file, wide.body + 8, 8), "little")
        sound = dataclasses.replace(sound, size=num_bytes, end=sound.body + num_bytes)
        return _judge(grammar, file, sound, size)
    if sound.size == 0 and start + 8 + claimed != size:
        # libsndfile takes nought for the truth, and this for what it is.
        parts = ((0, sound.body - 4), b"\xff" * 4, (sound.body, size))
        return dataclasses.replace(_unknown(grammar, file, sound), parts=parts)
    near = claimed in _PLACEHOLDERS and 0 <= claimed - sound.size <= _LONGEST_HEADER
    if sound.size in _PLACEHOLDERS or near:
        return _unknown(grammar, file, sound)
    return _judge(grammar, file, sound, size)


def aiff(file: BinaryIO, start: int, size: int) -> Layout:
    """Inspects an AIFF or AIFF-C file; a size of nought stands for an unknown one."""
    return _inspect(_AIFF, file, start, size)


def caf(file: BinaryIO, start: int, size: int) -> Layout:
    """Inspects a Core Audio file; libsndfile refuses the size -1, which stands for the rest."""
    _, sound = _chunks_to_sound(_CAF, file, start, size)
    layout = _inspect(_CAF, file, start, size)
    if sound is None or sound.size < _UNKNOWN_64:
        return layout
    rest = (size - sound.body).to_bytes(8, "big")
    return dataclasses.replace(layout, parts=((0, sound.body - 8), rest, (sound.body, size)))


def w64(file: BinaryIO, start: int, size: int) -> Layout:
    """Inspects a Wave64 file."""
    return _inspect(_W64, file, start, size)


def au(file: BinaryIO, start: int, size: int) -> Layout:
    """Inspects an AU file, which has a header and no chunks."""
    header = read_at(file, start, 12)
    order = "little" if header[:4] == b"dns." else "big"
    body, num_bytes = (int.from_bytes(header[at : at + 4], order) for at in (4, 8))
    grammar = dataclasses.replace(_CAF, marker=_AU_MARKER, step=1)
    sound = _Chunk(b"", start + body, num_bytes, start + body + num_bytes)
    if num_bytes in _PLACEHOLDERS or num_bytes == 0:
        return _unknown(grammar, file, sound)
    return _judge(grammar, file, sound, size)


def _inspect(grammar: _Grammar, file: BinaryIO, start: int, size: int) -> Layout:
    _, sound = _chunks_to_sound(grammar, file, start, size)
    if sound is None:
        return Layout()
    if sound.size <= grammar.before_sound or sound.size >= _UNKNOWN_64:
        return _unknown(grammar, file, sound)
    return _judge(grammar, file, sound, size)


def _chunks_to_sound(
    grammar: _Grammar, file: BinaryIO, start: int, size: int
) -> tuple[list[_Chunk], _Chunk | None]:
    before = []
    for chunk in _chunks(grammar, file, start + grammar.first, size):
        if chunk.name == grammar.sound:
            return before, chunk
        before.append(chunk)
    return before, None


def _chunks(grammar: _Grammar, file: BinaryIO, position: int, size: int) -> Iterator[_Chunk]:
    """The chunks from `position` on; the last may promise more than there is."""
    header = grammar.header
    for _ in range(_MOST_CHUNKS):
        data = read_at(file, position, header.size)
        if len(data) < header.size:
            return
        name, num_bytes = header.unpack(data)
        if grammar.counts_header:
            num_bytes = max(0, num_bytes - header.size)
        body = position + header.size
        yield _Chunk(name, body, num_bytes, body + num_bytes)
        position = body + num_bytes + -num_bytes % grammar.step
        if position >= size:
            return


def _unknown(grammar: _Grammar, file: BinaryIO, sound: _Chunk) -> Layout:
    """The layout of a file whose sound ends where the file ends, unless another begins in it."""
    return Layout(joined="files" if holds(file, grammar.marker, sound.body) else None)


def _judge(grammar: _Grammar, file: BinaryIO, sound: _Chunk, size: int) -> Layout:
    padded = sound.end + -sound.size % grammar.step
    if any(grammar.marker.match(read_at(file, at, 32)) for at in (sound.end, padded)):
        return Layout(joined="files")
    behind = itertools.takewhile(
        lambda chunk: chunk.body <= size, _chunks(grammar, file, padded, size)
    )
    for chunk in behind:
        if chunk.name == grammar.sound:
            return Layout(joined="chunks of sound")
        if grammar.marker.match(read_at(file, chunk.end + -chunk.size % grammar.step, 32)):
            return Layout(joined="files")
    used = grammar.before_sound
    return Layout(
        promised=sound.size - used, held=min(sound.size, max(0, size - sound.body)) - used
    )
