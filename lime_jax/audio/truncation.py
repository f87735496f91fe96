"""Files that hold less sound than their headers promise; decoders read them without complaint.

Every function returns what is wrong, as the rest of a sentence about the file, or None.
"""

import re
from typing import BinaryIO

# What libsndfile notes while opening, such as "data : 44100 (should be 22028)". It also notes wrong
# sizes of a RIFF or FORM file as a whole, which many writers get wrong around complete sound.
_SHORT_CHUNK = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE
)

_LONGEST_OGG_PAGE = 27 + 255 + 255 * 255

# Flags (the lowest two announce what follows), number of frames, number of bytes.
_MP3_SIZE = re.compile(rb"(?:Xing|Info)\0\0\0[\x03\x07\x0b\x0f].{4}(.{4})", re.DOTALL)

# MPEG audio, layer III: kbit/s and Hz by the indices in a frame header.
_KBPS = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HZ = (44_100, 48_000, 32_000)


def log_shortfall(log: str) -> str | None:
    """Judges a file by libsndfile's log of opening it."""
    for promised, held in _SHORT_CHUNK.findall(log):
        if int(promised) > int(held):
            return _describe_truncation(int(promised), int(held))
    return None


def ogg_shortfall(file: BinaryIO, size: int) -> str | None:
    """Judges an Ogg file of `size` bytes by its last whole page, which must end the stream."""
    file.seek(0)
    if file.read(4) != b"OggS":
        return None
    file.seek(max(0, size - 2 * _LONGEST_OGG_PAGE))
    tail = file.read(2 * _LONGEST_OGG_PAGE)
    pages = [match.start() for match in re.finditer(b"OggS", tail)]
    whole = [page for page in pages if page + _page_length(tail[page : page + 282]) <= len(tail)]
    ends = bool(whole) and bool(tail[whole[-1] + 5] & 4)
    return None if ends else "is truncated: its last page is missing"


def mp3_shortfall(file: BinaryIO, size: int) -> str | None:
    """Judges an MP3 file of `size` bytes by its length header.

    Without one, the decoder takes the first frame's bit rate for that of the whole file and stops
    at a length computed from it.
    """
    start = _first_frame(file)
    file.seek(start)
    if _frame_length(file.read(4)) is None:
        return None
    promised = _promised_bytes(file, start)
    if promised is None:
        return _walk_shortfall(file, start)
    # The size in the header may include tags that were taken off since.
    return None if size - start >= 0.99 * promised else _describe_truncation(promised, size - start)


def has_mp3_length(file: BinaryIO) -> bool:
    """Tests whether a file has the header that spares a decoder of MP3 to estimate its length."""
    return _promised_bytes(file, _first_frame(file)) is not None


def _describe_truncation(promised: int, held: int) -> str:
    return f"is truncated: its header promises {promised} bytes of sound, it holds {held}"


def _page_length(header: bytes) -> int:
    """Bytes of an Ogg page; more than any page has if the header is cut."""
    num_segments = header[26] if len(header) > 26 else 255
    table = header[27 : 27 + num_segments]
    return 27 + num_segments + sum(table) if len(table) == num_segments else 2 * _LONGEST_OGG_PAGE


def _first_frame(file: BinaryIO) -> int:
    """The offset behind an ID3v2 tag, whose size is four times seven bits."""
    file.seek(0)
    head = file.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    high, upper, lower, low = head[6:]
    return 10 + (high << 21 | upper << 14 | lower << 7 | low)


def _promised_bytes(file: BinaryIO, start: int) -> int | None:
    """The stream size in the Xing or Info header inside the first frame."""
    file.seek(start)
    match = _MP3_SIZE.search(file.read(200))
    return None if match is None else int.from_bytes(match[1], "big")


def _walk_shortfall(file: BinaryIO, start: int) -> str | None:
    """Judges an MP3 file without a length header by all its frames."""
    file.seek(start)
    data = file.read()
    bit_rates, position = set(), 0
    while (length := _frame_length(data[position : position + 4])) is not None:
        bit_rates.add(data[position + 2] >> 4)
        position += length
    if len(bit_rates) > 1:
        return "has a varying bit rate but no header that says how long it is"
    return "is truncated: its last frame is cut" if position > len(data) else None


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
