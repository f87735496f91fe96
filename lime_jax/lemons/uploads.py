"""Songs that users bring: checked, decoded in a process of its own, soon forgotten."""

import dataclasses
import hashlib
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np

from lime_jax.lemons import decode_worker
from lime_jax.lemons.http_error import Problem
from lime_jax.separation.base import Stems

MAX_BYTES = 20 * 2**20
SUFFIXES = ("wav", "flac", "ogg", "mp3")

_MAX_TITLE = 80
_SECONDS = 40.0  # on the clock, for one sound
_AT_A_TIME = 2
_TRUNCATED_MESSAGE = 300
# The package as a folder alone: what its `__init__` loads takes seconds, and decoding needs none.
_DECODER = """
import sys, types
package = sys.modules["lime_jax"] = types.ModuleType("lime_jax")
package.__path__ = [sys.argv[1]]
from lime_jax.lemons import decode_worker
sys.exit(decode_worker.main(sys.argv[2:]))
"""


@dataclasses.dataclass(frozen=True, eq=False)
class Song:
    """A song of a user.

    Attributes:
      id: random; who does not know it cannot hear the song.
      title: what its file was called, as text to show.
      mix: what was sent.
      stems: once somebody took it apart; they add up to the mix.
      digest: of the samples.
      born: on a monotonic clock, in seconds.
    """

    id: str
    title: str
    mix: Stems
    stems: Stems | None
    digest: str
    born: float


class Uploads:
    """The songs that are remembered: so many, and for so long."""

    def __init__(self, *, num_kept: int = 20, seconds: float = 3600.0) -> None:
        self._num_kept, self._seconds = num_kept, seconds
        self._songs: OrderedDict[str, Song] = OrderedDict()
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(_AT_A_TIME)

    def add(self, body: bytes, name: str) -> Song:
        """Decodes a sound and remembers it.

        Args:
          body: the file.
          name: what the user calls it; only its suffix and, as text, its beginning matter.

        Raises:
          Problem: if it is not a sound of a known type, or too many are being decoded.
        """
        suffix = checked_type(body, name)
        if not self._places.acquire(timeout=_SECONDS):
            raise Problem(503, "Too many songs are being read just now; try again in a minute.")
        try:
            waveform = decode_apart(body, suffix)
        finally:
            self._places.release()
        mix = Stems(waveform[None], ("mix",), decode_worker.SAMPLE_RATE)
        digest = hashlib.sha256(waveform.tobytes()).hexdigest()
        song = Song(secrets.token_urlsafe(16), title_of(name), mix, None, digest, time.monotonic())
        with self._lock:
            self._songs[song.id] = song
            self._forget()
        return song

    def get(self, song_id: str) -> Song | None:
        """A song by its id, unless it is forgotten."""
        with self._lock:
            self._forget()
            return self._songs.get(song_id)

    def ids(self) -> frozenset[str]:
        """Of the songs that are remembered."""
        with self._lock:
            self._forget()
            return frozenset(self._songs)

    def take_apart(self, song_id: str, stems: Stems) -> None:
        """Remembers the stems of a song, unless it is forgotten."""
        with self._lock:
            if song_id in self._songs:
                song = self._songs[song_id]
                self._songs[song_id] = dataclasses.replace(song, stems=stems)

    def _forget(self) -> None:
        oldest = time.monotonic() - self._seconds
        for song_id in [song.id for song in self._songs.values() if song.born < oldest]:
            del self._songs[song_id]
        while len(self._songs) > self._num_kept:
            self._songs.popitem(last=False)


def title_of(name: str) -> str:
    """A file name as text for people: no path, no control characters, not long.

    Example:
      >>> title_of("../../My Song.mp3")
      'My Song'
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    stem = last.rpartition(".")[0] or last
    # Among what is not printable are the signs that turn the direction of writing around.
    text = " ".join("".join(c for c in stem if c.isprintable()).split())
    return text[:_MAX_TITLE] or "your song"


def checked_type(body: bytes, name: str) -> str:
    """The suffix of a sound, if name and first bytes agree on it.

    Raises:
      Problem: 415.
    """
    suffix = name.rpartition(".")[2].lower()
    if suffix not in SUFFIXES:
        raise Problem(415, "Only WAV, FLAC, Ogg and MP3 files can be read.")
    if _type_of(body) != suffix:
        raise Problem(415, f"The file does not begin like a file of type {suffix.upper()}.")
    return suffix


def _type_of(body: bytes) -> str | None:
    if body[:4] in (b"RIFF", b"RF64") and body[8:12] == b"WAVE":
        return "wav"
    if body[:4] == b"fLaC":
        return "flac"
    if body[:4] == b"OggS":
        return "ogg"
    is_frame = len(body) > 2 and body[0] == 0xFF and body[1] & 0xE0 == 0xE0
    return "mp3" if is_frame or body[:3] == b"ID3" else None


def decode_apart(body: bytes, suffix: str) -> np.ndarray:
    """The samples of a sound, decoded in a process with limits on memory, time and files.

    Raises:
      Problem: 422 if it cannot be decoded.
    """
    with tempfile.TemporaryDirectory(prefix="lime-jax-") as folder:
        sound, output = Path(folder, f"sound.{suffix}"), Path(folder, "samples.npy")
        sound.write_bytes(body)
        _run(sound, output)
        waveform = np.load(output, allow_pickle=False)
    most = decode_worker.USED_SECONDS * decode_worker.SAMPLE_RATE
    if waveform.dtype != np.float32 or waveform.ndim != 1 or not 0 < len(waveform) <= most:
        raise Problem(422, "The file gives no sound that can be used.")
    return waveform


def _run(sound: Path, output: Path) -> None:
    package = str(Path(__file__).parents[1])
    command = [sys.executable, "-P", "-c", _DECODER, package, str(sound), str(output)]
    try:
        done = subprocess.run(
            command, cwd=sound.parent, timeout=_SECONDS, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Problem(422, "The file takes too long to decode.") from None
    if done.returncode == decode_worker.REFUSED:
        raise Problem(422, done.stdout.decode("utf-8", "replace")[:_TRUNCATED_MESSAGE])
    if done.returncode != 0 or not output.exists():
        raise Problem(422, "The file cannot be decoded: it is damaged, or no song.")
