"""All tracks that can be heard: those of the libraries, and those that users sent."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lime_jax.audio.waveform import Waveform
from lime_jax.errors import StoreError
from lime_jax.lemons.http_error import HttpError
from lime_jax.lemons.library import Library, Track, load_library
from lime_jax.lemons.memory_cache import MemoryCache
from lime_jax.lemons.relevance import Readers
from lime_jax.lemons.track_audio import TrackAudio
from lime_jax.lemons.uploads import Uploads
from lime_jax.models import recommender
from lime_jax.separation.base import Stems
from lime_jax.storage import slug

OWN = "own"
"""What addresses call the library of the tracks that users send."""

_RESERVED = (OWN, "explanations")
_NUM_DIGESTS = 4096


class Tracks:
    """The tracks of several libraries and of users; the audio heard last stays in memory.

    Attributes:
      libraries: by what addresses call them, in the order of their folders.
      uploads: the tracks of users.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.libraries = _by_name([_load(folder) for folder in folders])
        self.uploads = Uploads()
        self._stems: MemoryCache[Stems] = MemoryCache(lambda stems: stems.waveforms.nbytes)
        self._digest = functools.lru_cache(_NUM_DIGESTS)(self._compute_digest)

    def library(self, library: str) -> Library:
        """Returns a library.

        Raises:
          HttpError: 404 if there is none of that name.
        """
        if library not in self.libraries:
            raise HttpError(404, "There is no such library.")
        return self.libraries[library]

    def track(self, library: str, track: str) -> Track:
        """Returns what is known of a track of a library.

        Raises:
          HttpError: 404 if there is no such track.
        """
        tracks = self.library(library).tracks
        if track not in tracks:
            raise HttpError(404, "There is no such track.")
        return tracks[track]

    def digest(self, library: str, track: str) -> str:
        """Returns the digest of what a track of a library sounds like."""
        return self._digest(library, track)

    def audio(self, library: str, track: str) -> TrackAudio:
        """Returns the audio of a track of a library, or of an upload.

        Raises:
          HttpError: 404 if there is no such track, or it is forgotten.
        """
        if library == OWN:
            upload = self.uploads.get(track)
            if upload is None:
                raise HttpError(404, "That song is not here any more; send it again.")
            return TrackAudio.from_upload(upload)
        title = self.track(library, track).title
        read = functools.partial(self._read_stems, library, track)
        stems = self._stems.get((library, track), read)
        return TrackAudio(self._digest(library, track), stems.names, None, title, stems, stems)

    def audio_of(self, explanation: Mapping[str, Any]) -> TrackAudio:
        """Returns the audio that an explanation is about.

        Args:
          explanation: as it is stored, with the `owner` of an upload or the digest of its `sound`.

        Raises:
          HttpError: 404 if the track is not here any more.
        """
        if (owner := explanation.get("owner")) is not None:
            return self.audio(OWN, owner)
        for name, library in self.libraries.items():
            for track in library.tracks:
                if self._digest(name, track) == explanation["sound"]:
                    return self.audio(name, track)
        raise HttpError(404, "The track of that explanation is not here any more.")

    def readers(self, library: str) -> Readers:
        """Returns what reads the mix of each track of a library, by digest."""
        return {
            self._digest(library, track): functools.partial(self._read_mix, library, track)
            for track in self.library(library).tracks
        }

    def _read_mix(self, library: str, track: str) -> Waveform:
        return self._read_stems(library, track).waveforms.sum(axis=0)

    def _read_stems(self, library: str, track: str) -> Stems:
        return self.libraries[library].stems(track)

    def _compute_digest(self, library: str, track: str) -> str:
        return self.libraries[library].digest(track)


def _load(folder: Path) -> Library:
    library = load_library(folder)
    if library.sample_rate != recommender.SAMPLE_RATE:
        raise StoreError(
            f"`{folder}` has a sample rate of {library.sample_rate} Hz; the recommenders hear "
            f"{recommender.SAMPLE_RATE} Hz. Write the library again at that rate."
        )
    return library


def _by_name(libraries: Sequence[Library]) -> Mapping[str, Library]:
    """Returns libraries by a name for addresses; another of the same name gets a number."""
    named: dict[str, Library] = {}
    for library in libraries:
        name = slug(library.name)
        is_taken = name in named or name in _RESERVED
        named[f"{name}-{len(named) + 1}" if is_taken else name] = library
    return named
