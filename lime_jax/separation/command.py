"""Any separator that is a program: a WAV file in, a folder of stem files out."""

import dataclasses
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lime_jax import storage
from lime_jax.audio import decode, io
from lime_jax.audio.resampling import resample_frames
from lime_jax.errors import AudioError, LimeJaxError
from lime_jax.separation.base import Channels, Stems, StemStream, Stemwise, Waveform, gather_stems

AUDIO, OUTPUT_DIR = "{audio}", "{output_dir}"

# Programs resample to their own rate and pad to their own blocks, and back.
_TOLERANCE = 0.05  # seconds
_NUM_WORDS = 400  # characters of what a program says before it fails


@dataclasses.dataclass(frozen=True)
class Command:
    """A separator that runs a program, see `lime_jax.separation.Separator`.

    The program gets the track as a WAV file (32-bit float) and writes an audio file per stem,
    called like the stem, into one folder in or below the output folder. It is started without a
    shell.

    Attributes:
      arguments: the program and its arguments; "{audio}" and "{output_dir}" in them stand for the
        file and the folder.
    """

    arguments: tuple[str, ...]

    def __post_init__(self) -> None:
        for place in (AUDIO, OUTPUT_DIR):
            if not any(place in word for word in self.arguments[1:]):
                raise ValueError(
                    f"`separator_command` must hold {place} for "
                    f"{'the sound' if place == AUDIO else 'the folder of the stems'}, got "
                    f"{shlex.join(self.arguments)!r}."
                )

    @classmethod
    def from_line(cls, line: str) -> "Command":
        """Returns the separator of a command line, cut into words as shells do it.

        Raises:
          ValueError: if quotes do not match, or a place for the sound or the folder is missing.
        """
        try:
            return cls(tuple(shlex.split(line)))
        except ValueError as error:
            if str(error).startswith("`"):
                raise
            raise ValueError(f"`separator_command` is no command ({error}): {line!r}.") from error

    @property
    def name(self) -> str:
        """The name of the program."""
        return Path(self.arguments[0]).name

    @property
    def version(self) -> str:
        """A digest of the arguments and of the files among them, such as a script or weights."""
        parts = [[word, _content(Path(word))] for word in self.arguments]
        return storage.digest_of_json(parts)

    def __call__(self, waveform: Waveform, sample_rate: int) -> Stems:
        """Returns the stems of a track, as long and with as many channels.

        Args:
          waveform: `(num_samples,)` or `(num_channels, num_samples)`.
          sample_rate: in Hz.

        Raises:
          LimeJaxError: if the program fails.
          AudioError: if its stems cannot be read or are not as long as the track.
        """
        return gather_stems(self.stream, waveform, sample_rate)

    def stream(self, blocks: Iterator[Channels], sample_rate: int) -> StemStream:
        """Returns the stems block by block; the program runs before the first block comes."""
        steps = self._steps(blocks, sample_rate)
        return StemStream(next(steps), steps)

    def _steps(self, blocks: Iterator[Channels], sample_rate: int) -> Iterator[Any]:
        """The names of the stems and then their blocks, for as long as their files must be there.

        A generator that has begun also cleans up where nobody reads it to the end.
        """
        with tempfile.TemporaryDirectory() as scratch:
            audio, output = Path(scratch) / "audio.wav", Path(scratch) / "stems"
            output.mkdir()
            num_samples, num_channels = _write(audio, blocks, sample_rate)
            places = {AUDIO: str(audio), OUTPUT_DIR: str(output)}
            _run([_put_places(word, places) for word in self.arguments])
            files = _stem_files(output, self.name)
            yield tuple(path.stem for path in files)
            yield from _read(files, sample_rate, num_samples, num_channels)


def _put_places(word: str, places: Mapping[str, str]) -> str:
    for place, path in places.items():
        word = word.replace(place, path)
    return word


def _content(path: Path) -> str | None:
    # Unlike `Path.is_file`, it takes words that are too long for a name.
    return storage.digest_of_file(path) if os.path.isfile(path) else None


def _write(audio: Path, blocks: Iterator[Channels], sample_rate: int) -> tuple[int, int]:
    import soundfile

    first = next(blocks)
    num_samples = 0
    with soundfile.SoundFile(audio, "w", sample_rate, len(first), "FLOAT", format="WAV") as sound:
        block: Channels | None = first
        while block is not None:
            sound.write(block.T)
            num_samples += block.shape[1]
            block = next(blocks, None)
    return num_samples, len(first)


def _run(arguments: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
    except OSError as error:
        raise LimeJaxError(
            f"`{arguments[0]}` cannot be started ({error.strerror or error}). Check "
            "`separator_command`."
        ) from error
    if done.returncode:
        said = " ".join((done.stderr.strip() or done.stdout.strip()).split())[-_NUM_WORDS:]
        raise LimeJaxError(
            f"`{shlex.join(arguments)}` ended with code {done.returncode}: {said or 'no message'}"
        )


def _stem_files(output: Path, name: str) -> list[Path]:
    """The audio files of the only folder that holds some."""
    files = sorted(
        path
        for path in output.rglob("*")
        if path.suffix.lower() in io.AUDIO_SUFFIXES and not path.name.startswith(".")
    )
    stems = [path for path in files if path.stem.lower() not in ("mix", "mixture")]
    folders = {path.parent for path in stems}
    if len(folders) == 1:
        return stems
    problem = "wrote no stems" if not folders else f"wrote stems into {len(folders)} folders"
    raise AudioError(
        f"`{name}` {problem}. It must write an audio file per stem into one folder in or below "
        f"{OUTPUT_DIR}."
    )


def _read(
    files: Sequence[Path], sample_rate: int, num_samples: int, num_channels: int
) -> Iterator[Stemwise]:
    """Stems block by block."""
    readers = [_fit_length(path, sample_rate, num_samples, num_channels) for path in files]
    waiting = [np.zeros((num_channels, 0), np.float32) for _ in files]
    done = 0
    while done < num_samples:
        for index, reader in enumerate(readers):
            if waiting[index].shape[1] == 0:
                waiting[index] = next(reader)
        size = min(block.shape[1] for block in waiting)
        yield np.stack([block[:, :size] for block in waiting])
        waiting = [block[:, size:] for block in waiting]
        done += size
    for reader in readers:
        next(reader, None)  # where a stem goes on, or ends in broken samples, it says so


def _fit_length(
    path: Path, sample_rate: int, num_samples: int, num_channels: int
) -> Iterator[Channels]:
    """A stem at the rate and with the channels of the track, and exactly as long."""
    with decode.open_audio(path) as source:
        rate, channels = source.sound.samplerate, source.sound.channels
        if channels not in (1, num_channels) and num_channels != 1:
            raise AudioError(
                f"the stem `{path.name}` has {channels} channels, the sound {num_channels}."
            )
        frames = decode.channel_blocks(source, 0.0, None)
        done = 0
        for block in resample_frames(frames, rate, sample_rate, channels):
            block = block.mean(axis=1, keepdims=True) if num_channels == 1 else block
            block = np.broadcast_to(block, (len(block), num_channels))
            done += len(block)
            block = block[: max(0, len(block) - max(0, done - num_samples))]
            if len(block):
                yield block.T
    if abs(done - num_samples) > _TOLERANCE * sample_rate:
        raise AudioError(
            f"the stem `{path.name}` has {done / sample_rate:.3f} s, the sound "
            f"{num_samples / sample_rate:.3f} s. A separator must keep the length."
        )
    if done < num_samples:
        yield np.zeros((num_channels, num_samples - done), np.float32)
