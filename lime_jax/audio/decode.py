"""One excerpt of one audio file, decoded, checked and resampled without holding the whole file."""

import contextlib
import dataclasses
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float

from lime_jax.audio import containers
from lime_jax.audio.resampling import resample
from lime_jax.audio.waveform import Waveform, known_rate
from lime_jax.core.arguments import real_number
from lime_jax.errors import AudioError

MAX_SECONDS = 3600
"""The longest excerpt that is decoded, in seconds."""

MAX_CHANNELS = 32

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1_000, 768_000

_CONTAINERS = frozenset("WAV WAVEX RF64 W64 AIFF CAF AU FLAC OGG MP3".split())
# What one sample takes where it stands on its own; the frames of all others are built on earlier
# ones: after a seek, Opus came out wrong for 0.7 s and MP3 for some 10 ms. libsndfile refuses to
# seek in some of them, even to where it is.
_SAMPLE_BYTES = {
    "PCM_S8": 1,
    "PCM_U8": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
    "ULAW": 1,
    "ALAW": 1,
}
_SEEKABLE = frozenset({*_SAMPLE_BYTES, "VORBIS"})
_LOUDEST = 2.0**31
# 32 unrelated channels still average to 18 % of their level.
_CANCELLED = 0.01
_UNKNOWN_LENGTH = 2**62
_BLOCK = 2**16


@dataclasses.dataclass(frozen=True)
class Source:
    """An open audio file with a plausible header.

    Attributes:
      path: of the file.
      sound: a `soundfile.SoundFile`.
      file: that it reads.
      layout: how the file is built.
    """

    path: Path
    sound: Any
    file: BinaryIO
    layout: containers.Layout


@contextlib.contextmanager
def open_audio(path: Path, max_channels: int = MAX_CHANNELS) -> Iterator[Source]:
    """Opens an audio file for `excerpt`.

    Raises:
      AudioError: if it is missing, empty, not a regular file, not audio or visibly truncated.
    """
    import soundfile

    size = _size_of_regular_file(path)
    with _binary(path) as file:
        layout = containers.inspect(file, size)
        _refuse(path, layout.problem)
        _refuse_joined(path, layout.joined)
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        # Given a name, libsndfile hands whatever is called .mp3 to mpg123, which writes to
        # stderr; a descriptor makes it judge by content.
        target = containers.open_parts(file, layout.parts) if layout.parts else file.fileno()
        try:
            sound = soundfile.SoundFile(target, closefd=False)
        except soundfile.LibsndfileError as error:
            raise _not_audio(path, _reason(error)) from error
        with sound:
            _check_header(sound, path, max_channels)
            # A last sample that was not written whole is none.
            frame_bytes = _SAMPLE_BYTES.get(sound.subtype, 1) * sound.channels
            _refuse(path, layout.shortfall(tolerance=frame_bytes - 1))
            yield Source(path, sound, file, layout)


def excerpt(
    source: Source, sample_rate: int, start: float, duration: float | None, resampler: str
) -> Waveform:
    """Decodes the channel mean at `sample_rate`; `round(duration * sample_rate)` samples if given.

    Raises:
      AudioError: if the file is shorter than the excerpt, the excerpt too long, or the sound
        damaged, truncated, NaN or infinite.
      ValueError: for an impossible `sample_rate`, `start` or `duration`.
    """
    _check_arguments(sample_rate, start, duration)
    first, count = _span(source, start, duration, sample_rate)
    blocks = _mono_blocks(source, first, count)
    rate = source.sound.samplerate
    waveform = np.concatenate(list(resample(blocks, rate, sample_rate, resampler)))
    if duration is not None:
        waveform = _with_length(waveform, round(duration * sample_rate))
    if len(waveform) == 0:
        raise AudioError(
            f"`{source.path}` gives not even one sample at {sample_rate} Hz. Use a longer excerpt."
        )
    return waveform


def _size_of_regular_file(path: Path) -> int:
    """Looks before opening: opening a FIFO would wait for ever."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise AudioError(f"`{path}` does not exist. Check the path.") from None
    except OSError as error:
        raise AudioError(f"`{path}` cannot be read ({error.strerror}). Check the path.") from error
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"`{path}` is a folder. Name one audio file in it.")
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(f"`{path}` is not a regular file. Save its sound to a file first.")
    if status.st_size == 0:
        raise AudioError(f"`{path}` is empty (0 bytes). Copy or export it again.")
    return status.st_size


def _binary(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise AudioError(f"`{path}` cannot be read ({error.strerror}). Check the path.") from error


def _check_header(sound: Any, path: Path, max_channels: int) -> None:
    if sound.format not in _CONTAINERS:
        raise _not_audio(path, f"its type is {sound.format}")
    if not MIN_SAMPLE_RATE <= sound.samplerate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"`{path}` claims a sample rate of {sound.samplerate} Hz, outside {MIN_SAMPLE_RATE} to "
            f"{MAX_SAMPLE_RATE}. Its header is damaged; export it again."
        )
    if sound.channels > max_channels:
        raise AudioError(
            f"`{path}` claims {sound.channels} channels, more than {max_channels}. Mix them down "
            "first."
        )
    _refuse(path, "holds no samples" if sound.frames == 0 else None)
    _refuse(path, "does not say how long it is" if sound.frames >= _UNKNOWN_LENGTH else None)


def _check_arguments(sample_rate: float | int, start: float, duration: float | None) -> None:
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise ValueError(
            f"`sample_rate` must lie between {MIN_SAMPLE_RATE} and {MAX_SAMPLE_RATE} Hz, got "
            f"{sample_rate}. Take the rate the model expects."
        )
    check_excerpt(start, duration)


def check_span(sample_rate: Any, start: Any, duration: Any) -> tuple[Any, float, float | None]:
    """Returns what `excerpt` takes, as numbers of Python.

    Raises:
      ValueError: for what is none, or impossible.
    """
    sample_rate = known_rate(sample_rate)
    start = float(real_number("start", start, "be in seconds", lambda _: True))
    if duration is not None:
        duration = float(real_number("duration", duration, "be in seconds", lambda _: True))
    _check_arguments(sample_rate, start, duration)
    return sample_rate, start, duration


def check_excerpt(start: float, duration: float | None) -> None:
    """Refuses an excerpt that no file can have.

    Raises:
      ValueError: if its start is negative, its length not positive, or either no finite number.
    """
    if not 0 <= start < math.inf or (duration is not None and not 0 < duration < math.inf):
        raise ValueError(
            f"`start` must be at least 0 s and `duration` above 0 s, got {start} and {duration}. "
            "Leave them out to read the whole file."
        )


def _with_length(waveform: Waveform, num_samples: int) -> Float[np.ndarray, " at_most"]:
    """Cuts what is too long; holds the last sample, if there is one, where `_span` was lenient."""
    if 0 < len(waveform) < num_samples:
        return np.pad(waveform, (0, num_samples - len(waveform)), mode="edge")
    return waveform[:num_samples]


def _span(
    source: Source, start: float, duration: float | None, sample_rate: int
) -> tuple[int, int]:
    """The first frame and the number of frames, outward to whole frames of the file.

    Clips are often cut by rounding down, at their own rate or at one that they had before: an
    excerpt may end behind the file by a sample, of the file or of the result.
    """
    rate, num_frames = source.sound.samplerate, source.sound.frames
    first = math.floor(start * rate + 1e-6)
    count = num_frames - first if duration is None else math.ceil(duration * rate - 1e-6)
    if first + count >= num_frames and containers.holds_another(source.file, source.layout):
        _refuse_joined(source.path, "files")
    num_tolerated = max(1, rate // sample_rate)
    if num_frames < first + count <= num_frames + num_tolerated:
        count = num_frames - first
    if first >= num_frames or first + count > num_frames:
        wanted = f"{start:g} s on" if duration is None else f"{start:g} to {start + duration:g} s"
        digits = 6 if 0 < first + count - num_frames < rate / 100 else 2
        raise AudioError(
            f"`{source.path}` is {num_frames / rate:.{digits}f} s long, the excerpt asked for goes "
            f"from {wanted}. Choose `start` and `duration` within the file."
        )
    if count > MAX_SECONDS * rate:
        raise AudioError(
            f"`{source.path}` would give {count / rate:.0f} s of sound, more than {MAX_SECONDS} s. "
            "Choose an excerpt with `start` and `duration`."
        )
    return first, count


def channel_blocks(
    source: Source, start: float, duration: float | None
) -> Iterator[Float[np.ndarray, "num_frames num_channels"]]:
    """Yields the excerpt as it is in the file: its own rate and channels, block by block.

    Raises:
      AudioError: see `excerpt`; for broken samples behind the last block.
      ValueError: for an impossible `start` or `duration`.
    """
    _check_arguments(source.sound.samplerate, start, duration)
    rate = source.sound.samplerate
    yield from _sound_blocks(source, *_span(source, start, duration, rate))


def num_frames(source: Source, start: float, duration: float | None) -> int:
    """Returns how many frames `channel_blocks` gives, as far as the header is right.

    Raises:
      AudioError: if the file is shorter than the excerpt, or the excerpt too long.
      ValueError: for an impossible `start` or `duration`.
    """
    _check_arguments(source.sound.samplerate, start, duration)
    return _span(source, start, duration, source.sound.samplerate)[1]


def _mono_blocks(source: Source, first: int, count: int) -> Iterator[Waveform]:
    energy, energy_of_mean = 0.0, 0.0
    for block in _sound_blocks(source, first, count):
        if block.shape[1] == 1:
            yield block[:, 0]
            continue
        channels = block.T.astype(np.float64)
        mean = channels.mean(axis=0)
        energy += float(np.square(channels).mean(axis=0).sum())
        energy_of_mean += float(np.square(mean).sum())
        yield mean.astype(np.float32)
    if energy_of_mean < _CANCELLED**2 * energy:
        raise AudioError(
            f"`{source.path}` has {source.sound.channels} channels that cancel when mixed to mono, "
            "as in opposite phase. Export one of them, or turn the phase of one around."
        )


def _sound_blocks(
    source: Source, first: int, count: int
) -> Iterator[Float[np.ndarray, "num_frames num_channels"]]:
    """The frames from `first` on; what is no number becomes zero, and an error at the end."""
    done, num_broken, first_broken = 0, 0, 0
    for block in _blocks(source, first, count):
        usable = np.all(np.abs(block) < _LOUDEST, axis=1)
        if not usable.all():
            first_broken = first_broken if num_broken else first + done + int(usable.argmin())
            num_broken += int((~usable).sum())
            block = np.where(usable[:, None], block, np.float32(0.0))
        done += len(block)
        yield block
    if num_broken:
        broken = "1 sample that is" if num_broken == 1 else f"{num_broken} samples that are"
        raise AudioError(
            f"`{source.path}` holds {broken} NaN, infinite or absurdly large, the first at index "
            f"{first_broken}. Export it again, or choose another excerpt."
        )


def _blocks(
    source: Source, first: int, count: int
) -> Iterator[Float[np.ndarray, "num_frames num_channels"]]:
    """The frames from `first` on, decoded from the very beginning where the format needs it."""
    import soundfile

    sound, position, end = source.sound, 0, first + count
    try:
        if first and sound.subtype in _SEEKABLE:
            position = sound.seek(first)
        # Otherwise soundfile seeks after every read, which costs those formats the next frames.
        sound.seekable = lambda: False
        while position < end:
            size = min(_BLOCK, (first if position < first else end) - position)
            block = sound.read(size, dtype="float32", always_2d=True)
            if len(block) == 0:
                break
            if position >= first:
                yield block
            position += len(block)
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"`{source.path}` cannot be decoded beyond {position / sound.samplerate:.2f} s "
            f"({_reason(error)}): it is truncated or damaged. Copy or export it again."
        ) from error
    if position < end and source.layout.is_length_exact:
        promised = f"its header promises {sound.frames} samples"
        _refuse(source.path, f"is truncated: {promised}, decoding ends at {position}")


def _refuse(path: Path, problem: str | None) -> None:
    if problem is not None:
        raise AudioError(f"`{path}` {problem}. Copy or export it again.")


def _refuse_joined(path: Path, joined: str | None) -> None:
    if joined is not None:
        raise AudioError(
            f"`{path}` is several {joined} joined to one, of which decoders read the first alone. "
            "Split it, or open it in an audio editor and export it anew."
        )


def _not_audio(path: Path, reason: str) -> AudioError:
    return AudioError(
        f"`{path}` is not audio that can be read ({reason}). Check the file, or convert it to WAV."
    )


def _reason(error: Any) -> str:
    return error.error_string.removeprefix("Error : ").strip().rstrip(".")
