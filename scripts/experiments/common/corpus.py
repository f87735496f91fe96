"""Songs whose stems are known: rendered by scripts/music/render_songs.py, or Slakh2100."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from lime_jax import storage
from lime_jax.errors import AudioError, StoreError
from lime_jax.runs import dataset_layouts
from lime_jax.separation import precomputed
from lime_jax.separation.precomputed import SLAKH_LISTING

FAMILIES = ("piano", "guitar", "bass", "drums", "strings")
SPLITS = ("train", "validation", "test")

# What Slakh2100 calls families that it counts twice.
_ALSO = {"strings (continued)": "strings"}
_DESCRIPTION = "song.json"
_FRAME_SECONDS, _GAP_SECONDS = 0.032, 1.0
_SILENCE = 1e-3  # -60 dB


@dataclasses.dataclass(frozen=True)
class Song:
    """A song and the files of its stems.

    Attributes:
      name: unique in its corpus.
      split: "train", "validation" or "test".
      stems: the files of every instrument family, which are summed.
    """

    name: str
    split: str
    stems: Mapping[str, tuple[Path, ...]]


def songs_of(folder: Path) -> list[Song]:
    """Returns all songs of a corpus that belong to a split, in the order of their names.

    Args:
      folder: that `scripts/music/render_songs.py` filled, or Slakh2100 with its folders train,
        validation and test.

    Raises:
      StoreError: if there are none.
    """
    is_slakh = next(folder.rglob(SLAKH_LISTING), None) is not None
    songs = _rendered(folder) if is_rendered(folder) else _slakh(folder) if is_slakh else []
    if not songs:
        raise StoreError(
            f"`{folder}` holds no songs with a split. Fill it with scripts/music/render_songs.py "
            "--composer band, or name the folder of Slakh2100 that holds train, validation and "
            "test."
        )
    return songs


def is_rendered(folder: Path) -> bool:
    """Returns whether a folder holds songs of `scripts/music/render_songs.py`."""
    return next(folder.glob(f"*/{_DESCRIPTION}"), None) is not None


def of_split(songs: Sequence[Song], split: str) -> list[Song]:
    """Returns the songs of a split."""
    return [song for song in songs if song.split == split]


def fingerprint(songs: Sequence[Song]) -> str:
    """SHA-256 of names, splits, and the sizes of all files."""
    lines = []
    for song in songs:
        files = {name: [p.stat().st_size for p in paths] for name, paths in song.stems.items()}
        lines.append(json.dumps([song.name, song.split, sorted(files.items())]))
    return storage.digest(*lines)


def load(
    song: Song, families: Sequence[str], sample_rate: int
) -> Float[np.ndarray, "num_families num_samples"]:
    """Returns the stems of a song, silent where it lacks a family.

    Args:
      song: of `songs_of`.
      families: names of stems.
      sample_rate: in Hz.

    Raises:
      AudioError: if the song has none of the families, or a file cannot be read.
    """
    files = {family: song.stems[family] for family in families if family in song.stems}
    if not files:
        raise AudioError(f"`{song.name}` has none of the stems {', '.join(families)}.")
    names, found = precomputed.load(files, sample_rate)
    stems = np.zeros((len(families), found.shape[1]), np.float32)
    for name, waveform in zip(names, found, strict=True):
        stems[list(families).index(name)] = waveform
    return stems


def sounding(
    stem: Float[np.ndarray, " num_samples"], sample_rate: int
) -> Bool[np.ndarray, " num_samples"]:
    """Where a stem plays: everything but silences, 60 dB below its peak, of more than a second."""
    size = round(_FRAME_SECONDS * sample_rate)
    frames = np.pad(np.abs(stem), (0, -len(stem) % size)).reshape(-1, size).max(axis=1)
    is_loud = frames > _SILENCE * max(float(frames.max()), 1e-12)
    reach = np.ones(2 * round(_GAP_SECONDS / _FRAME_SECONDS / 2) + 1)
    return np.repeat(np.convolve(is_loud, reach, mode="same") > 0.5, size)[: len(stem)]


def _rendered(folder: Path) -> list[Song]:
    songs = []
    for description in sorted(folder.glob(f"*/{_DESCRIPTION}")):
        try:
            split = json.loads(description.read_text(encoding="utf-8")).get("split")
        except (OSError, ValueError, AttributeError) as error:
            raise StoreError(f"`{description}` does not describe a song ({error}).") from error
        # A folder that is being rendered is hidden.
        if split in SPLITS and not description.parent.name.startswith("."):
            stems = precomputed.stem_files(description.parent)
            songs.append(Song(description.parent.name, split, stems))
    return songs


def _slakh(folder: Path) -> list[Song]:
    songs = []
    for item in dataset_layouts.items_of(str(folder), "slakh2100"):
        if item.group in SPLITS and isinstance(item.stems, dict):
            stems: dict[str, tuple[Path, ...]] = {}
            for name, files in item.stems.items():
                family = _ALSO.get(name, name)
                stems[family] = (*stems.get(family, ()), *files)
            songs.append(Song(item.id, item.group, stems))
    return songs
