"""Which reader knows how a file is built, by its first bytes."""

import io
from typing import BinaryIO

from lime_jax.audio.containers import chunks, flac, mp3, ogg
from lime_jax.audio.containers.layout import Layout, read_at
from lime_jax.audio.containers.tags import skip_id3

_READERS = {
    b"RIFF": chunks.riff,
    b"RIFX": chunks.riff,
    b"RF64": chunks.riff,
    b"FORM": chunks.aiff,
    b"caff": chunks.caf,
    b"riff": chunks.w64,
    b".snd": chunks.au,
    b"dns.": chunks.au,
    b"fLaC": flac.inspect,
    b"OggS": ogg.inspect,
}


def inspect(file: BinaryIO, size: int) -> Layout:
    """Reads how a file of `size` bytes is built; an empty `Layout` for what nobody here knows.

    Args:
      file: unbuffered; where it stands afterwards is not defined.
      size: in bytes.
    """
    buffered = io.BufferedReader(file, 2**16)  # pyright: ignore[reportArgumentType]
    try:
        start = skip_id3(buffered, 0)
        read = _READERS.get(read_at(buffered, start, 4), mp3.inspect)
        return read(buffered, start, size)
    finally:
        buffered.detach()
