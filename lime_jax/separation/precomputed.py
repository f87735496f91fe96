"""Stems that are there already: of a session, a data set, or separated earlier."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from lime_jax import storage
from lime_jax.audio import io
from lime_jax.audio.io import AUDIO_SUFFIXES
from lime_jax.errors import AudioError
from lime_jax.separation import musdb_mp4, stem_cache
from lime_jax.separation.base import Stems, Waveform

SLAKH_LISTING = "metadata.yaml"
"""What a track of Slakh2100 describes its stems in."""

_SLAKH_STEMS = "stems"


@dataclasses.dataclass(frozen=True)
class Precomputed:
    """Stems from files in place of a separator, see `lime_jax.separation.Separator`.

    With the stems of a session it is the oracle that separators are compared with.

    Attributes:
      path: see `load`.
      start: where in the files the track starts, in seconds.
    """

    path: Path
    start: float = 0.0

    @property
    def name(self) -> str:
        """The name of the folder or file."""
        return self.path.name

    @property
    def version(self) -> str:
        """A digest of the content of the files."""
        content: list[bytes | str] = [repr(float(self.start))]
        files = (
            {self.path.name: (self.path,)}
            if musdb_mp4.is_stem_mp4(self.path)
            else stem_files(self.path)
        )
        for name, paths in files.items():
            content.append(name.encode(errors="surrogateescape"))
            content.extend(bytes.fromhex(storage.digest_of_file(path)) for path in paths)
        return storage.digest(*content)

    def __call__(self, waveform: Waveform, sample_rate: int) -> Stems:
        """Returns the stems of as many samples as `waveform` has.

        Args:
          waveform: `(num_samples,)` or `(1, num_samples)`, mono.
          sample_rate: in Hz; stems at other rates are resampled.

        Raises:
          AudioError: if the stems cannot be read or are shorter.
          ValueError: for a waveform with channels.
        """
        *channels, num_samples = np.shape(waveform)
        if channels not in ([], [1]):
            raise ValueError(
                f"`waveform` must be mono for stems from files, got shape {np.shape(waveform)}."
            )
        names, stems = load(self.path, sample_rate, start=self.start)
        missing = num_samples - stems.shape[1]
        if missing > io.STEM_TOLERANCE:
            raise AudioError(
                f"`{self.path}` ends {missing / sample_rate:.2f} s before the sound. Take stems of "
                "the same session, or another `start`."
            )
        # Resamplers end a sample early or late.
        stems = np.pad(stems[:, :num_samples], ((0, 0), (0, max(0, missing))))
        return Stems(stems.reshape(len(names), *channels, num_samples), names, sample_rate)


def load(
    path: str | os.PathLike[str] | Mapping[str, Sequence[str | os.PathLike[str]]],
    sample_rate: int,
    *,
    start: float = 0.0,
    duration: float | None = None,
    resampler: str = "soxr",
    max_channels: int | None = None,
) -> tuple[tuple[str, ...], Float[np.ndarray, "num_stems num_samples"]]:
    """Reads the names and mono waveforms of stems.

    Args:
      path: a folder with an audio file per stem; one that `lime-jax separate` wrote; a track of
        Slakh2100, whose stems are summed by instrument family; a track of MUSDB18, .stem.mp4; or
        the files of every stem by its name.
      sample_rate: in Hz.
      start: see `lime_jax.audio.io.load`.
      duration: see `lime_jax.audio.io.load`.
      resampler: see `lime_jax.audio.io.load`.
      max_channels: see `lime_jax.audio.io.load`.

    Raises:
      AudioError: if there are no stems that go together.
    """
    excerpt = {"start": start, "duration": duration}
    if isinstance(path, Mapping):
        files = path
    elif musdb_mp4.is_stem_mp4(Path(path)):
        stems, names = musdb_mp4.load_stems(Path(path), sample_rate, resampler=resampler, **excerpt)
        return names, stems
    else:
        files = stem_files(Path(path))
    if max_channels is not None:
        excerpt["max_channels"] = max_channels
    return io.load_stems(files, sample_rate, resampler=resampler, **excerpt)


def is_stems(path: Path) -> bool:
    """Returns whether `load` takes a path: that of a folder or of a track of MUSDB18."""
    return path.is_dir() or musdb_mp4.is_stem_mp4(path)


def stem_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Returns the files of every stem in a folder, by its name.

    In the order of the separator where `lime-jax separate` wrote them, else of the names.

    Raises:
      AudioError: if it holds none, or several of one name.
    """
    is_slakh = (folder / SLAKH_LISTING).is_file() and (folder / _SLAKH_STEMS).is_dir()
    if is_slakh and (stems := slakh_stems(folder)):
        return stems
    if (folder / stem_cache.LISTING).is_file():
        return stem_cache.listed_files(folder)
    return {path.stem: (path,) for path in io.stem_files(folder)}


def slakh_stems(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Returns the files of a track of Slakh2100 by instrument family; empty if none are there.

    Raises:
      AudioError: if it is not described as Slakh2100 does.
    """
    import yaml

    described = folder / SLAKH_LISTING
    try:
        tracks = yaml.safe_load(described.read_text(encoding="utf-8"))["stems"]
        stems: dict[str, tuple[Path, ...]] = {}
        for number, track in sorted(tracks.items()):
            if file := audio_file(folder / _SLAKH_STEMS, (number,)):
                name = str(track["inst_class"]).lower()
                stems[name] = (*stems.get(name, ()), file)
    except (yaml.YAMLError, ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        raise AudioError(f"`{described}` does not describe a track of Slakh ({error}).") from error
    return dict(sorted(stems.items()))


def audio_file(folder: Path, stems: tuple[str, ...]) -> Path | None:
    """Returns the audio file whose name without suffix is one of `stems`, or None."""
    files = {
        path.stem.lower(): path
        for path in sorted(folder.glob("*"))
        if path.suffix.lower() in AUDIO_SUFFIXES
    }
    return next((files[stem.lower()] for stem in stems if stem.lower() in files), None)
