"""Sound as Ogg Vorbis whose bytes depend on the sound alone."""

import io
import zlib
from collections.abc import Mapping

import numpy as np

from scripts.music.composers import SAMPLE_RATE
from scripts.music.library_songs import COMPRESSION

_BLOCK = 2**15


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def encoded(stems: Mapping[str, np.ndarray]) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """Returns the files of all sources, and what they sound like when decoded.

    The codec may lift peaks; then all sources are made softer.
    """
    gain = 1.0
    while True:
        files = {
            name: vorbis(stem * gain, zlib.crc32(name.encode())) for name, stem in stems.items()
        }
        heard = {name: decoded(file) for name, file in files.items()}
        if np.abs(np.stack(list(heard.values()))).sum(axis=0).max() <= 1.0:
            return files, heard
        gain *= 0.95


def vorbis(waveform: np.ndarray, serial: int) -> bytes:
    """Returns an Ogg Vorbis file."""
    import soundfile

    target = io.BytesIO()
    with soundfile.SoundFile(
        target, "w", SAMPLE_RATE, 1, "VORBIS", format="OGG", compression_level=COMPRESSION
    ) as sound:
        # libsndfile overflows its stack on long Vorbis waveforms in one piece.
        for first in range(0, len(waveform), _BLOCK):
            sound.write(waveform[first : first + _BLOCK])
    return with_serial(target.getvalue(), serial)


def with_serial(ogg: bytes, serial: int) -> bytes:
    """The file with the serial number that libsndfile draws at random, so that files repeat."""
    pages, start = [], 0
    while start < len(ogg):
        num_segments = ogg[start + 26]
        body = sum(ogg[start + 27 : start + 27 + num_segments])
        end = start + 27 + num_segments + body
        page = bytearray(ogg[start:end])
        page[14:18], page[22:26] = serial.to_bytes(4, "little"), bytes(4)
        page[22:26] = ogg_checksum(bytes(page)).to_bytes(4, "little")
        pages.append(bytes(page))
        start = end
    return b"".join(pages)


def ogg_checksum(page: bytes) -> int:
    """Ogg's CRC is that of zlib without its reflections and inversions."""
    mirrored = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def decoded(file: bytes) -> np.ndarray:
    import soundfile

    return soundfile.read(io.BytesIO(file), dtype="float32")[0]
