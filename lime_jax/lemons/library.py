"""A library of tracks with their stems, as `scripts/music/render_library.py` writes it."""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeGuard

import numpy as np

from lime_jax import storage
from lime_jax.audio import decode, io
from lime_jax.errors import AudioError, StoreError, unknown_name
from lime_jax.separation.base import Stems

LISTING, PLAYS, PERSONAS = "library.json", "plays.tsv", "personas.json"

_AUDIO, _SUFFIXES = "audio", (".ogg", ".flac", ".wav")
# Names of folders and files are made of nothing else.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
_MOST_BYTES, _MOST_SOURCES, _LONGEST_TEXT = 2**26, 32, 500
_TEXTS = ("title", "artist", "album", "style", "split")
_RENDER = "Write the library again with scripts/music/render_library.py."


@dataclasses.dataclass(frozen=True)
class Track:
    """What is known of a track.

    Attributes:
      id: of the track, of lower-case letters, digits and hyphens.
      title: for readers, like artist and album.
      artist: made up.
      album: that it is from.
      style: such as "Piano Ballad".
      tempo: in beats per minute.
      duration: in seconds.
      sources: those that play.
      split: "train", "validation" or "test".
    """

    id: str
    title: str
    artist: str
    album: str
    style: str
    tempo: float
    duration: float
    sources: tuple[str, ...]
    split: str


@dataclasses.dataclass(frozen=True)
class Library:
    """Tracks with their audio.

    Attributes:
      folder: where `library.json` is.
      name: for readers.
      sample_rate: in Hz.
      sources: of which tracks are made, in their order.
      tracks: by id, in the order of the index.
    """

    folder: Path
    name: str
    sample_rate: int
    sources: tuple[str, ...]
    tracks: Mapping[str, Track]

    def stems(self, track_id: str) -> Stems:
        """Returns all sources of a track, mono; those that do not play are silent.

        Raises:
          AudioError: if a file is missing, damaged, or of another length than the index says.
          StoreError: for an unknown track.
        """
        track = self._track(track_id)
        num_samples = self._num_samples(track)
        waveforms = np.zeros((len(self.sources), num_samples), np.float32)
        for source, path in self._files(track):
            with decode.open_audio(path) as opened:
                waveform = decode.excerpt(opened, self.sample_rate, 0.0, None, "soxr")
            if abs(len(waveform) - num_samples) > io.STEM_TOLERANCE:
                raise AudioError(
                    f"`{path}` lasts {len(waveform) / self.sample_rate:.2f} s where "
                    f"`{self.folder / LISTING}` says {track.duration:.2f} s. {_RENDER}"
                )
            waveform = waveform[:num_samples]
            waveforms[self.sources.index(source), : len(waveform)] = waveform
        return Stems(waveforms, self.sources, self.sample_rate)

    def digest(self, track_id: str) -> str:
        """Returns the SHA-256 of everything that `stems` depends on.

        That is the names of all sources, the number of samples, the sample rate, and for sources
        that play the content of their files.

        Raises:
          AudioError: if a file is missing.
          StoreError: for an unknown track.
        """
        track = self._track(track_id)
        shape = f"{' '.join(self.sources)}\n{self._num_samples(track)} {self.sample_rate}\n"
        content: list[bytes | str] = [shape]
        for source, path in self._files(track):
            try:
                digest = storage.digest_of_file(path)
            except OSError as error:
                raise AudioError(
                    f"`{path}` cannot be read ({error.strerror}). {_RENDER}"
                ) from error
            content += [f"{source}\n", bytes.fromhex(digest)]
        return storage.digest(*content)

    def _num_samples(self, track: Track) -> int:
        return round(track.duration * self.sample_rate)

    def _track(self, track_id: str) -> Track:
        if track_id not in self.tracks:
            known = unknown_name("Track", str(track_id)[:80], list(self.tracks)[:20])
            raise StoreError(f"`{self.folder / LISTING}`: {known}")
        return self.tracks[track_id]

    def _files(self, track: Track) -> Iterator[tuple[str, Path]]:
        """Yields the sources of a track and their files, none of which lies outside the library."""
        folder = self.folder / _AUDIO / track.id
        for source in track.sources:
            paths = [folder / f"{source}{suffix}" for suffix in _SUFFIXES]
            path = next((path for path in paths if path.is_file()), None)
            if path is None:
                raise AudioError(f"`{paths[0]}` does not exist. {_RENDER}")
            if not path.resolve().is_relative_to(self.folder.resolve()):
                raise AudioError(
                    f"`{path}` leads out of `{self.folder}`. Copy the file instead of linking it."
                )
            yield source, path


def load_library(folder: Path) -> Library:
    """Reads the library in a folder: its tracks that have audio.

    Args:
      folder: with `library.json` and `audio/TRACK/SOURCE.ogg` (or .flac or .wav).

    Raises:
      StoreError: if there is no usable index, or no track with audio.
    """
    folder = Path(folder)
    path, content = _listing(folder)
    sources = _sources(path, content)
    has_audio = [entry.get("audio", True) is True for _, entry in _entries(path, content)]
    tracks = _tracks(path, content, sources)
    audible = {t.id: t for t, there in zip(tracks.values(), has_audio, strict=True) if there}
    if not audible:
        raise StoreError(f"`{path}` lists no track that has audio. {_RENDER}")
    rate = _sample_rate(path, content)
    name = _text(path, "the library", content, "name")
    return Library(folder, name, rate, sources, MappingProxyType(audible))


def load_catalogue(folder: Path) -> Mapping[str, Track]:
    """Reads all tracks of a library by id, also those whose audio is not there.

    Raises:
      StoreError: if there is no usable index.
    """
    path, content = _listing(Path(folder))
    return MappingProxyType(_tracks(path, content, _sources(path, content)))


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
      StoreError: if it is missing, too large or not JSON.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise StoreError(f"`{path}` is larger than {_MOST_BYTES} bytes. {_RENDER}")
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(
            f"`{path}` does not exist. Name the folder of a library, as "
            "scripts/music/render_library.py writes it."
        ) from None
    except OSError as error:
        raise StoreError(f"`{path}` cannot be read ({error.strerror}). {_RENDER}") from error
    except (ValueError, RecursionError) as error:
        raise _unusable_error(path, f"it is not JSON: {_shorten(str(error))}") from error


def is_name(value: object) -> bool:
    """Says whether something may be part of a path: lower-case letters, digits and hyphens."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def is_text(value: object) -> TypeGuard[str]:
    """Says whether something is a line to show: not empty, not endless, no control codes."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT and value.isprintable()


def _listing(folder: Path) -> tuple[Path, dict[str, Any]]:
    path = folder / LISTING
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("tracks"), list):
        raise _unusable_error(path, "it has no list of `tracks`")
    return path, content


def _sample_rate(path: Path, content: dict[str, Any]) -> int:
    rate = content.get("sample_rate")
    if not isinstance(rate, int) or not decode.MIN_SAMPLE_RATE <= rate <= decode.MAX_SAMPLE_RATE:
        raise _unusable_error(path, f"its `sample_rate` is {_shorten(rate)}")
    return rate


def _sources(path: Path, content: dict[str, Any]) -> tuple[str, ...]:
    sources = content.get("sources")
    if not (isinstance(sources, list) and 0 < len(sources) <= _MOST_SOURCES):
        raise _unusable_error(path, f"its `sources` are {_shorten(sources)}")
    if not all(map(is_name, sources)) or len(set(sources)) < len(sources):
        raise _unusable_error(path, f"its `sources` are {_shorten(sources)}")
    return tuple(sources)


def _entries(path: Path, content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields what errors call an entry, and the entry."""
    for number, entry in enumerate(content["tracks"], start=1):
        if not isinstance(entry, dict):
            raise _unusable_error(path, f"track {number} is {_shorten(entry)}")
        yield f"track {number}", entry


def _tracks(path: Path, content: dict[str, Any], sources: tuple[str, ...]) -> dict[str, Track]:
    tracks: dict[str, Track] = {}
    for where, entry in _entries(path, content):
        track = _track(path, where, entry, sources)
        if track.id in tracks:
            raise _unusable_error(path, f"it lists the track {track.id!r} twice")
        tracks[track.id] = track
    return tracks


def _track(path: Path, where: str, entry: dict[str, Any], sources: tuple[str, ...]) -> Track:
    if not is_name(entry.get("id")):
        raise _unusable_error(path, f"the `id` of {where} is {_shorten(entry.get('id'))}")
    plays = entry.get("sources")
    if not isinstance(plays, list) or not plays or any(name not in sources for name in plays):
        raise _unusable_error(path, f"the `sources` of {where} are {_shorten(plays)}")
    return Track(
        id=entry["id"],
        **{name: _text(path, where, entry, name) for name in _TEXTS},
        tempo=_number(path, where, entry, "tempo", 1000),
        duration=_number(path, where, entry, "duration", decode.MAX_SECONDS),
        sources=tuple(name for name in sources if name in plays),
    )


def _text(path: Path, where: str, entry: dict[str, Any], name: str) -> str:
    value = entry.get(name)
    if not is_text(value):
        raise _unusable_error(path, f"the `{name}` of {where} is {_shorten(value)}")
    return value


def _number(path: Path, where: str, entry: dict[str, Any], name: str, most: int) -> float:
    value = entry.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= most:
        raise _unusable_error(path, f"the `{name}` of {where} is {_shorten(value)}")
    return float(value)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}")


def _unusable_error(path: Path, why: str) -> StoreError:
    return StoreError(f"`{path}` cannot be used: {why}. {_RENDER}")


def _shorten(value: object) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
