"""The tracks that users send: checked, decoded in a process of its own, soon forgotten."""

import dataclasses
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np

from lime_jax import storage
from lime_jax.lemons import decode_worker
from lime_jax.lemons.http_error import HttpError
from lime_jax.separation.base import Stems

MAX_BYTES = 20 * 2**20
SUFFIXES = ("wav", "flac", "ogg", "mp3")

_MAX_TITLE = 80
_MAX_SECONDS = 40.0  # on the clock, for one file
_MAX_DECODERS = 2
_LONGEST_MESSAGE = 300
# The package as a folder alone: what its `__init__` loads takes seconds, and decoding needs none.
_DECODER = """
import sys, types
package = sys.modules["lime_jax"] = types.ModuleType("lime_jax")
package.__path__ = [sys.argv[1]]
from lime_jax.lemons import decode_worker
sys.exit(decode_worker.main(sys.argv[2:]))
"""


@dataclasses.dataclass(frozen=True, eq=False)
class Upload:
    """A track that a user sent.

    Attributes:
      id: random; who does not know it cannot hear the track.
      title: what its file was called, as text to show.
      mix: what was sent.
      stems: once it is separated; they add up to the mix.
      digest: SHA-256 of the samples.
      born: on a monotonic clock, in seconds.
    """

    id: str
    title: str
    mix: Stems
    stems: Stems | None
    digest: str
    born: float


class Uploads:
    """Holds the latest uploads: so many, and for so long.

    Args:
      num_kept: how many at most.
      seconds: how long at most.
    """

    def __init__(self, *, num_kept: int = 20, seconds: float = 3600.0) -> None:
        self._num_kept, self._seconds = num_kept, seconds
        self._uploads: OrderedDict[str, Upload] = OrderedDict()
        self._lock = threading.Lock()
        self._decoders = threading.BoundedSemaphore(_MAX_DECODERS)

    def add(self, body: bytes, name: str) -> Upload:
        """Decodes a file and remembers it.

        Args:
          body: of the file.
          name: of the file; only its suffix and, as text, its beginning matter.

        Raises:
          HttpError: 415 or 422 if it is no sound that can be used, 503 if too many are decoded.
        """
        suffix = check_type(body, name)
        if not self._decoders.acquire(timeout=_MAX_SECONDS):
            raise HttpError(503, "Too many songs are being read just now; try again in a minute.")
        try:
            waveform = decode_in_process(body, suffix)
        finally:
            self._decoders.release()
        mix = Stems(waveform[None], ("mix",), decode_worker.SAMPLE_RATE)
        digest = storage.digest(waveform.tobytes())
        upload = Upload(
            secrets.token_urlsafe(16), title_of(name), mix, None, digest, time.monotonic()
        )
        with self._lock:
            self._uploads[upload.id] = upload
            self._forget()
        return upload

    def get(self, upload_id: str) -> Upload | None:
        """Returns an upload by its id, unless it is forgotten."""
        with self._lock:
            self._forget()
            return self._uploads.get(upload_id)

    def ids(self) -> frozenset[str]:
        """Returns the ids of the uploads that are remembered."""
        with self._lock:
            self._forget()
            return frozenset(self._uploads)

    def add_stems(self, upload_id: str, stems: Stems) -> None:
        """Remembers the stems of an upload, unless it is forgotten."""
        with self._lock:
            if upload_id in self._uploads:
                upload = self._uploads[upload_id]
                self._uploads[upload_id] = dataclasses.replace(upload, stems=stems)

    def _forget(self) -> None:
        oldest = time.monotonic() - self._seconds
        for upload in [u for u in self._uploads.values() if u.born < oldest]:
            del self._uploads[upload.id]
        while len(self._uploads) > self._num_kept:
            self._uploads.popitem(last=False)


def title_of(name: str) -> str:
    """Returns a file name as text for people: no path, no control characters, not long.

    Example:
      >>> title_of("../../My Song.mp3")
      'My Song'
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    stem = last.rpartition(".")[0] or last
    # Among what is not printable are the signs that turn the direction of writing around.
    text = " ".join("".join(c for c in stem if c.isprintable()).split())
    return text[:_MAX_TITLE] or "your song"


def check_type(body: bytes, name: str) -> str:
    """Returns the suffix of a sound file, if its name and its first bytes agree on it.

    Raises:
      HttpError: 415 if they do not, or the type is unknown.
    """
    suffix = name.rpartition(".")[2].lower()
    if suffix not in SUFFIXES:
        raise HttpError(415, "Only WAV, FLAC, Ogg and MP3 files can be read.")
    if _type_of(body) != suffix:
        raise HttpError(415, f"The file does not begin like a file of type {suffix.upper()}.")
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


def decode_in_process(body: bytes, suffix: str) -> np.ndarray:
    """Decodes a sound in a process with limits on memory, time and files.

    Args:
      body: of the file.
      suffix: one of `SUFFIXES`.

    Returns:
      The samples, float32 `(num_samples,)`.

    Raises:
      HttpError: 422 if it cannot be decoded.
    """
    with tempfile.TemporaryDirectory(prefix="lime-jax-") as folder:
        sound, output = Path(folder, f"sound.{suffix}"), Path(folder, "samples.float32")
        sound.write_bytes(body)
        _run(sound, output)
        waveform = np.fromfile(output, np.float32)
    most = decode_worker.USED_SECONDS * decode_worker.SAMPLE_RATE
    if not (0 < len(waveform) <= most and np.isfinite(waveform).all()):
        raise HttpError(422, "The file gives no sound that can be used.")
    return waveform


def _run(sound: Path, output: Path) -> None:
    package = str(Path(__file__).parents[1])
    command = [sys.executable, "-P", "-c", _DECODER, package, str(sound), str(output)]
    try:
        done = subprocess.run(
            command, cwd=sound.parent, timeout=_MAX_SECONDS, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise HttpError(422, "The file takes too long to decode.") from None
    if done.returncode == decode_worker.REFUSED:
        raise HttpError(422, done.stdout.decode("utf-8", "replace")[:_LONGEST_MESSAGE])
    if done.returncode != 0 or not output.exists():
        raise HttpError(422, "The file cannot be decoded: it is damaged, or no song.")
