"""Items of data sets that are laid out as they were published."""

import dataclasses
import glob
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path
from typing import Any

from lime_jax.audio.io import AUDIO_SUFFIXES
from lime_jax.core.arguments import file_path
from lime_jax.errors import AudioError, StoreError, unknown_name
from lime_jax.runs import manifest
from lime_jax.runs.items import Item, check_items
from lime_jax.separation import musdb_mp4
from lime_jax.separation.precomputed import SLAKH_LISTING, audio_file, slakh_stems

MIXES = ("mix", "mixture")

_CCMIXTER = {"accompaniment": "source-01", "vocals": "source-02"}
# Beside the lists may lie what made them.
_LIST_SUFFIXES = ("", ".txt")


@dataclasses.dataclass(frozen=True)
class Passage:
    """A line of a label file: its number, start and end in seconds, and the label."""

    line: int
    start: float
    end: float
    label: str


def items_of(source: str, layout: str) -> list[Item]:
    """Returns the items that a folder, a glob or a manifest stands for, in the order of their ids.

    Args:
      source: a folder, a pattern such as "songs/**/*.flac", or a .csv or .parquet file.
      layout: how a folder is laid out; one of `LAYOUTS`.

    Raises:
      StoreError: if there is nothing of that kind.
    """
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise StoreError(unknown_name("layout", layout, LAYOUTS))
    path = file_path("source", source)
    source = str(source)
    if path.is_dir():
        return check_items(LAYOUTS[layout](path), f"`{source}` as {layout}")
    if path.is_file() and path.suffix.lower() in manifest.SUFFIXES:
        return manifest.read_manifest(path)
    if path.is_file() and path.suffix.lower() in AUDIO_SUFFIXES:
        return check_items([Item(path.name, path)], f"`{source}`")
    if glob.has_magic(source):
        return manifest.from_glob(source)
    problem = "is no audio, .csv or .parquet file" if path.is_file() else "does not exist"
    raise StoreError(f"`{source}` {problem}. Name a folder, a glob or a manifest.")


def from_stem_folders(root: Path) -> Iterator[Item]:
    """Yields an item per folder with audio files, which are its stems; `mix` is their mixture.

    MUSDB18-HQ, ccMixter and the songs of scripts/music/render_songs.py are laid out so.
    """
    for folder in {path.parent for path in manifest.sound_files(root)}:
        relative = folder.relative_to(root)
        yield Item(
            manifest.printable(relative),
            audio_file(folder, MIXES),
            stems=folder,
            group=relative.parts[0] if len(relative.parts) > 1 else None,
        )


def from_musdb18(root: Path) -> Iterator[Item]:
    """Yields MUSDB18 as .stem.mp4 files or folders of wav files (-HQ); groups are train and test.

    Raises:
      StoreError: if the package musdb or ffmpeg is missing.
    """
    try:
        import musdb
    except (ImportError, RuntimeError) as error:  # the latter if there is no ffmpeg
        raise StoreError(
            f"`{root}`: the package `musdb` cannot be loaded ({error}). Install "
            "lime-jax[musdb] and ffmpeg, or use the layout stems for wav files."
        ) from error
    is_wav = not any(root.rglob(f"*{musdb_mp4.SUFFIX}"))
    for track in musdb.DB(root=str(root), is_wav=is_wav, subsets=["train", "test"]).tracks:
        sources: dict[str, Any] = track.sources
        stems = {name: (Path(sources[name].path),) for name in sorted(sources)} if is_wav else None
        yield Item(
            f"{track.subset}/{track.name}", Path(track.path), stems=stems, group=track.subset
        )


def from_slakh2100(root: Path) -> Iterator[Item]:
    """Yields Slakh2100: a stem per instrument class, summed of tracks; groups are its splits."""
    for described in root.rglob(SLAKH_LISTING):
        folder = described.parent
        try:
            stems = slakh_stems(folder)
        except AudioError as error:
            raise StoreError(str(error)) from error
        relative = folder.relative_to(root)
        group = relative.parts[0] if len(relative.parts) > 1 else None
        yield Item(
            manifest.printable(relative),
            audio_file(folder, MIXES),
            stems=stems or folder / "stems",
            group=group,
        )


def from_jamendo(root: Path) -> Iterator[Item]:
    """Yields the Jamendo singing voice corpus: an item per labelled passage, groups are its splits.

    `audio/NAME.ogg` (in a folder of the split, or listed in `filelists/SPLIT`) with
    `labels/NAME.lab`, lines of start, end and label. Without labels an item is a whole file.
    """
    lists = jamendo_lists(root)
    for item in manifest.from_folder(root):
        path = item.path
        assert path is not None
        parts = path.relative_to(root).parts
        of_folder = parts[1] if len(parts) > 2 and parts[0] == "audio" else None
        split = lists[path.name].stem if path.name in lists else of_folder
        labels = root / "labels" / f"{path.stem}.lab"
        if not labels.is_file():
            yield Item(item.id, path, group=split)
            continue
        for number, passage in enumerate(passages(labels)):
            id = f"{item.id}#{number:04d}"
            seconds = passage.end - passage.start
            yield Item(id, path, passage.start, seconds, label=passage.label, group=split)


def from_ccmixter(root: Path) -> Iterator[Item]:
    """Yields ccMixter: folders with mix, source-01 (accompaniment) and source-02 (vocals)."""
    for folder in sorted(path for path in root.rglob("*") if path.is_dir()):
        files = {name: audio_file(folder, (stem,)) for name, stem in _CCMIXTER.items()}
        if stems := {name: (file,) for name, file in files.items() if file is not None}:
            mix = audio_file(folder, MIXES)
            yield Item(manifest.printable(folder.relative_to(root)), mix, stems=stems)


def jamendo_lists(root: Path) -> dict[str, Path]:
    """Returns the file of the split, `filelists/SPLIT`, that lists a sound, by the sound's name."""
    return {
        name.strip(): listing
        for listing in sorted((root / "filelists").glob("[!.]*"))
        if listing.suffix in _LIST_SUFFIXES
        for name in _lines(listing)
        if name.strip()
    }


def passages(labels: Path) -> Iterator[Passage]:
    """Yields what the lines of a label file say; empty ones are left out.

    Raises:
      StoreError: if it cannot be read, or a line is not start, end and label.
    """
    for number, line in enumerate(_lines(labels), start=1):
        if not line.strip():
            continue
        try:
            start, end, label = line.split(maxsplit=2)
            passage = Passage(number, float(start), float(end), label.strip())
            if not 0 <= passage.start < passage.end < inf:
                raise ValueError("no length")
        except ValueError as error:
            raise StoreError(
                f"`{labels}`, line {number} is not start, end and label: {line!r}."
            ) from error
        yield passage


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"`{path}` is not text that can be read ({error}).") from error


LAYOUTS: dict[str, Callable[[Path], Any]] = {
    "files": manifest.from_folder,
    "stems": from_stem_folders,
    "musdb18": from_musdb18,
    "slakh2100": from_slakh2100,
    "jamendo": from_jamendo,
    "ccmixter": from_ccmixter,
}
