"""The process that decodes one sound that a stranger sent, and cannot do much.

`uploads.py` starts it without the rest of the package, which would bring JAX. It ends with 0; or
with 3 and a sentence on its output; or however a hostile file made it end.
"""

import sys
from pathlib import Path

try:
    import resource
except ImportError:  # on Windows
    resource = None

import numpy as np

from lime_jax.audio import decode
from lime_jax.audio.waveform import Waveform
from lime_jax.errors import AudioError

SAMPLE_RATE = 16_000
MAX_DECLARED_SECONDS, USED_SECONDS, MIN_SECONDS = 600, 60, 5
REFUSED = 3

# Of the codecs that libsndfile knows, those that people have songs in; its rarer ones had holes.
_SUBTYPES = frozenset(
    "PCM_S8 PCM_U8 PCM_16 PCM_24 PCM_32 FLOAT DOUBLE VORBIS OPUS MPEG_LAYER_III".split()
)
_MAX_CHANNELS = 8
_SILENCE = 2 * 10 ** (-90 / 20)  # between the extremes
_MEMORY = 2**30  # bytes beyond what the libraries take
_CPU_SECONDS = 20
_LARGEST_OUTPUT = 2**23


def main(arguments: list[str]) -> int:
    """Decodes a sound; the arguments are its file and where its samples go."""
    sound, output = map(Path, arguments)
    if resource is None:
        sys.stdout.write(
            "Own songs cannot be read on this system, as it cannot limit what decoding takes. "
            "Run the server on Linux or macOS."
        )
        return REFUSED
    _limit()
    try:
        waveform = decode_excerpt(sound)
    except AudioError as error:
        sys.stdout.write(str(error).replace(f"`{sound}`", "The file"))
        return REFUSED
    np.asarray(waveform, np.float32).tofile(output)
    return 0


def decode_excerpt(path: Path) -> Waveform:
    """Returns up to a minute from the start, mono at 16 kHz, in whole seconds.

    Few lengths mean few programs to compile.

    Raises:
      AudioError: if it is not a sound of a usual type, shorter than 5 s or longer than 10 minutes.
    """
    with decode.open_audio(path, _MAX_CHANNELS) as source:
        sound = source.sound
        if sound.subtype not in _SUBTYPES:
            raise AudioError(f"`{path}` uses the rare codec {sound.subtype}. Convert it to FLAC.")
        seconds = sound.frames / sound.samplerate
        if seconds > MAX_DECLARED_SECONDS:
            raise AudioError(f"`{path}` is longer than 10 minutes. Send a shorter excerpt.")
        if seconds < MIN_SECONDS:
            raise AudioError(f"`{path}` is shorter than {MIN_SECONDS} seconds. Send more of it.")
        used = min(USED_SECONDS, int(seconds))
        waveform = decode.excerpt(source, SAMPLE_RATE, 0.0, float(used), "soxr")
    if np.ptp(waveform) < _SILENCE:
        raise AudioError(f"`{path}` is silent in its first {used} seconds.")
    return waveform


def _limit() -> None:
    """Gives up what a decoder does not need, before it sees the first byte."""
    assert resource is not None
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if _has_proc() else 0
    if pages:
        memory = pages * resource.getpagesize() + _MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_OUTPUT, _LARGEST_OUTPUT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _has_proc() -> bool:
    return Path("/proc/self/statm").exists()
