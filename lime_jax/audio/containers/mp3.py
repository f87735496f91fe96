"""MPEG audio, layer III, by the headers of all its frames."""

import dataclasses
import re
from typing import BinaryIO

from lime_jax.audio.containers.layout import Layout, read_at
from lime_jax.audio.containers.parts import Part
from lime_jax.audio.containers.tags import skip_tags

# kbit/s and Hz by the indices in a frame header.
_KBPS = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HZ = (44_100, 48_000, 32_000)

# The header that says how long the file is, in a first frame whose side information is empty.
_LENGTH_HEADER = re.compile(
    rb".{4}(?:..)??\0{9,32}(?:(?:Xing|Info)\0\0\0(?P<flags>.)(?P<frames>.{4})|VBRI)", re.DOTALL
)
_LENGTH_HEADER_BYTES = 4 + 2 + 32 + 12
_SYNC = re.compile(rb"\xff[\xe2-\xff]")
# Chance makes two bytes look like a frame, but hardly four frames of one kind that fit together.
_ENOUGH_FRAMES = 4
# How far behind tags and zeros the first frame may lie: a cover in a tag of a wrong size.
_MOST_RUBBISH = 2**16
# How far behind the last frame others are searched for.
_MOST_GAP = 2**20


@dataclasses.dataclass(frozen=True)
class _Frame:
    """One frame.

    Attributes:
      length: in bytes.
      bit_rate: its index.
      kind: what all frames of a stream have in common.
      length_header: the match of `_LENGTH_HEADER`, or None.
    """

    length: int
    bit_rate: int
    kind: tuple[int, bool]
    length_header: re.Match[bytes] | None


@dataclasses.dataclass
class _Walk:
    """The frames up to where they end, and the ranges of bytes in which they lie gapless."""

    num_frames: int = 0
    bit_rates: set[int] = dataclasses.field(default_factory=set)
    ranges: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    problem: str | None = None
    is_joined: bool = False

    def add(self, position: int, frame: _Frame) -> None:
        length = frame.length
        self.num_frames += 1
        self.bit_rates.add(frame.bit_rate)
        if self.ranges and self.ranges[-1][1] == position:
            self.ranges[-1] = (self.ranges[-1][0], position + length)
        else:
            self.ranges.append((position, position + length))


def inspect(file: BinaryIO, start: int, size: int) -> Layout:
    """Counts all frames.

    Without a length header, a decoder takes the bit rate of the first frame for that of the whole
    file and stops at a length computed from it. Where bit rates differ it is shown one that we
    make; it then leaves out its own delay, the first 529 samples.
    """
    position = _first_frame(file, start, size)
    first = None if position is None else _frame_at(file, position)
    if position is None or first is None:
        return Layout(is_length_exact=False)
    header = first.length_header
    walk = _walk(file, position + (first.length if header else 0), size, first.kind)
    promised = _num_promised(header)
    if walk.is_joined or (promised is not None and walk.num_frames > promised + 1):
        return Layout(joined="MP3 files")
    if walk.problem is not None:
        return Layout(problem=walk.problem)
    if promised is not None:
        return _with_length_header(walk, promised, (position, position + first.length), start)
    if walk.num_frames == 0:
        return Layout(problem="holds no samples")
    if len(walk.bit_rates) == 1:
        is_plain = len(walk.ranges) == 1 and walk.ranges[0][0] == start
        return Layout(parts=None if is_plain else tuple(walk.ranges), is_length_exact=False)
    made = _made_length_header(read_at(file, position, 4), walk.num_frames)
    return Layout(parts=(made, *walk.ranges))


def _with_length_header(walk: _Walk, promised: int, header: tuple[int, int], start: int) -> Layout:
    if walk.num_frames < promised - 1:
        held = f"its header promises {promised} frames, it holds {walk.num_frames}"
        return Layout(problem=f"is truncated: {held}")
    is_plain = header[0] == start and len(walk.ranges) == 1 and walk.ranges[0][0] == header[1]
    parts: tuple[Part, ...] = (header, *walk.ranges)
    return Layout(parts=None if is_plain else parts)


def _num_promised(header: re.Match[bytes] | None) -> int | None:
    if header is None or header["flags"] is None or not header["flags"][0] & 1:
        return None
    return int.from_bytes(header["frames"], "big")


def _walk(file: BinaryIO, position: int, size: int, kind: tuple[int, bool]) -> _Walk:
    walk = _Walk()
    while position < size:
        frame = _frame_at(file, position)
        if frame is None:
            behind = skip_tags(file, position, size)
            after = _next_frames(file, behind, size, _MOST_GAP)
            if after is not None and after > behind:
                walk.problem = f"is damaged: its bytes {behind} to {after - 1} are no sound"
            if after is None or after > behind:
                return walk
            position = after
        elif frame.length_header or frame.kind != kind:
            walk.is_joined = True
            return walk
        elif position + frame.length > size:
            walk.problem = "is truncated: its last frame is cut"
            return walk
        else:
            walk.add(position, frame)
            position += frame.length
    return walk


def _first_frame(file: BinaryIO, start: int, size: int) -> int | None:
    if _are_frames(file, start, size):
        return start
    first = _next_frames(file, skip_tags(file, start, size), size, _MOST_RUBBISH)
    # A file may be so short, or cut so early, that there is no second frame.
    return start if first is None and _frame_at(file, start) else first


def _next_frames(file: BinaryIO, position: int, size: int, reach: int) -> int | None:
    """Where several frames in a row begin, at most `reach` bytes further on."""
    data = read_at(file, position, reach)
    for match in _SYNC.finditer(data):
        if _are_frames(file, position + match.start(), size):
            return position + match.start()
    return None


def _are_frames(file: BinaryIO, position: int, size: int) -> bool:
    kinds = set()
    for _ in range(_ENOUGH_FRAMES):
        frame = _frame_at(file, position)
        if frame is None or len(kinds | {frame.kind}) > 1:
            return False
        kinds.add(frame.kind)
        position += frame.length
        if position == size:
            return True
    return True


def _frame_at(file: BinaryIO, position: int) -> _Frame | None:
    data = read_at(file, position, _LENGTH_HEADER_BYTES)
    length = _frame_length(data[:4])
    if length is None:
        return None
    word = int.from_bytes(data[:4], "big")
    kind = (word & 0xFFFE0C00, data[3] >> 6 == 3)
    return _Frame(length, data[2] >> 4, kind, _LENGTH_HEADER.match(data))


def _frame_length(header: bytes) -> int | None:
    """Bytes of a layer III frame with this four-byte header; None if it is none."""
    word = int.from_bytes(header, "big")
    version = {3: 1, 2: 2, 0: 2.5}.get(word >> 19 & 3)
    bit_rate, sample_rate = word >> 12 & 15, word >> 10 & 3
    is_layer_three = word >> 21 == 0x7FF and word >> 17 & 3 == 1
    if not is_layer_three or version is None or bit_rate in (0, 15) or sample_rate == 3:
        return None
    hz = _HZ[sample_rate] / {1: 1, 2: 2, 2.5: 4}[version]
    num_samples = 1152 if version == 1 else 576
    num_bytes = num_samples * 125 * _KBPS[min(int(version), 2)][bit_rate] / hz
    return int(num_bytes) + (word >> 9 & 1)


def _made_length_header(header: bytes, num_frames: int) -> bytes:
    """A frame of silence like those with this header, that says how many follow."""
    is_version_one, is_mono = header[1] >> 3 & 3 == 3, header[3] >> 6 == 3
    side_bytes = (17 if is_mono else 32) if is_version_one else (9 if is_mono else 17)
    content = bytes(side_bytes) + b"Info\0\0\0\1" + num_frames.to_bytes(4, "big")
    for bit_rate in range(1, 15):
        # Without check sum and padding.
        start = bytes([0xFF, header[1] | 1, bit_rate << 4 | header[2] & 0x0C, header[3]])
        length = _frame_length(start)
        if length is not None and length >= _LENGTH_HEADER_BYTES:
            return (start + content).ljust(length, b"\0")
    raise AssertionError("no frame is so short at the highest bit rate")
