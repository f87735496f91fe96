"""Songs with a voice, and where it sings: rendered ones, Jamendo, RWC Popular and ccMixter.

References:
  Ramona, Richard, David, Vocal Detection in Music with Support Vector Machines, 2008 (Jamendo).
  Goto et al., RWC Music Database: Popular, Classical, and Jazz Music Databases, 2002.
  Liutkus, Fitzgerald, Rafii, Scalable Audio Separation with Light Kernel Additive Modelling, 2015
    (ccMixter).
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from lime_jax.audio import io
from lime_jax.errors import StoreError
from lime_jax.models.singing_voice_front_end import HOP_LENGTH, N_FFT, SAMPLE_RATE
from lime_jax.runs import dataset_layouts, manifest
from scripts.experiments.common import corpus

_SING, _NO_SING = "sing", "nosing"
_SPLITS = {"train": "train", "valid": "validation", "validation": "validation", "test": "test"}


@dataclasses.dataclass(frozen=True)
class VocalSong:
    """A song and its files, which are read when something of them is asked for.

    Attributes:
      name: unique in its corpus.
      split: "train", "validation" or "test".
      files: whose sum is the mix.
      voice_files: those of `files` that are the voice; empty if the corpus has no stems.
      label_file: lines of start and end in seconds and "sing" or "nosing"; None if there is none.
    """

    name: str
    split: str
    files: tuple[Path, ...]
    voice_files: tuple[Path, ...] = ()
    label_file: Path | None = None

    @property
    def has_labels(self) -> bool:
        """Whether it is known where the voice sings."""
        return self.label_file is not None

    @property
    def has_stems(self) -> bool:
        """Whether voice and accompaniment are known."""
        return bool(self.voice_files)

    def mix(self) -> Float[np.ndarray, " num_samples"]:
        """The song, mono at `SAMPLE_RATE`: the sum of voice and accompaniment, if it has stems.

        Raises:
          AudioError: if a file cannot be used, see `lime_jax.audio.io.load`.
        """
        if self.has_stems:
            return self._stems().sum(axis=0)
        (file,) = self.files
        return io.load(file, SAMPLE_RATE)

    def voice(self) -> Float[np.ndarray, " num_samples"]:
        """Returns the voice, as long as the mix.

        Raises:
          StoreError: if the corpus has no stems.
          AudioError: if a file cannot be used, see `lime_jax.audio.io.load_stems`.
        """
        return self._stems()[0]

    def accompaniment(self) -> Float[np.ndarray, " num_samples"]:
        """Returns all but the voice, as long as the mix.

        Raises:
          StoreError: if the corpus has no stems.
          AudioError: if a file cannot be used, see `lime_jax.audio.io.load_stems`.
        """
        return self._stems()[1]

    def labels(self, num_frames: int) -> Bool[np.ndarray, " num_frames"]:
        """Returns whether someone sings at the centre of a frame, (frame * 315 + 512) / 22 050 s.

        Nobody does where the labels say nothing.

        Raises:
          StoreError: if the song has no labels, or they are malformed or overlap.
        """
        if self.label_file is None:
            raise StoreError(
                f"It is not known where {self.name!r} is sung. Take a song that has labels, or put "
                "a label file of the same name, ending in .lab, beside its sound."
            )
        centres = (np.arange(num_frames) * HOP_LENGTH + N_FFT // 2) / SAMPLE_RATE
        is_sung = np.zeros(num_frames, bool)
        for start, end in _sung(self.label_file):
            is_sung |= (start <= centres) & (centres < end)
        return is_sung

    def _stems(self) -> Float[np.ndarray, "2 num_samples"]:
        if not self.has_stems:
            raise StoreError(
                f"Voice and accompaniment of {self.name!r} are not known apart. Take ccMixter or "
                "songs of scripts/music/render_songs.py --composer sung, which have stems."
            )
        others = tuple(file for file in self.files if file not in self.voice_files)
        stems = {"voice": self.voice_files, "accompaniment": others}
        return io.load_stems(stems, SAMPLE_RATE)[1]


def open_corpus(folder: Path) -> tuple[VocalSong, ...]:
    """Returns the songs of a corpus in the order of their names; its layout is found out.

    Args:
      folder: one of
        that `scripts/music/render_songs.py --composer sung` filled;
        Jamendo: `audio/SPLIT/NAME.ogg`, or `audio/NAME.ogg` listed in `filelists/SPLIT`, with
          `labels/NAME.lab`, for the splits train, valid and test;
        ccMixter: folders with source-01 (accompaniment) and source-02 (voice), all for tests;
        RWC Popular: sounds in folders with "rwc" in the name, all for tests, with a .lab file
          beside each of them, or in `labels` under the same name as in `audio`, or without.

    Raises:
      StoreError: if it is none of them, or a label file, a listed sound or a stem is missing.
    """
    readers = (_rendered, _ccmixter, _jamendo, _rwc)
    songs = next((songs for read in readers if (songs := read(folder))), [])
    if not songs:
        raise StoreError(
            f"`{folder}` holds no songs with a voice in a known layout. Fill it with "
            "scripts/music/render_songs.py --composer sung, or name the folder of Jamendo (with "
            "audio, labels and filelists), of ccMixter, or of RWC Popular (with rwc in its name)."
        )
    by_name = {song.name: song for song in songs}
    if len(by_name) < len(songs):
        twice = next(song.name for song in songs if song is not by_name[song.name])
        raise StoreError(f"`{folder}` holds the song {twice!r} twice. Keep one sound of it.")
    return tuple(by_name[name] for name in sorted(by_name))


def fingerprint(songs: Sequence[VocalSong]) -> str:
    """SHA-256 of names, splits, and the sizes of all files."""

    def files(song):
        return {"sound": song.files, "labels": (song.label_file,)}

    def known(song):
        return {name: paths for name, paths in files(song).items() if None not in paths}

    return corpus.fingerprint([corpus.Song(s.name, s.split, known(s)) for s in songs])


def _rendered(folder: Path) -> list[VocalSong]:
    songs = []
    for song in corpus.songs_of(folder) if corpus.is_rendered(folder) else ():
        voice = song.stems.get("voice", ())
        files = tuple(file for together in song.stems.values() for file in together)
        if not 0 < len(voice) < len(files):
            raise StoreError(
                f"`{folder / song.name}` has no stem called voice beside others. Render songs with "
                "--composer sung."
            )
        labels = _needed(voice[0].with_suffix(".lab"))
        songs.append(VocalSong(song.name, song.split, files, voice, labels))
    return songs


def _ccmixter(folder: Path) -> list[VocalSong]:
    songs = []
    for item in dataset_layouts.from_ccmixter(folder):
        stems = item.stems
        assert isinstance(stems, dict)
        if missing := {"accompaniment", "vocals"} - set(stems):
            raise StoreError(
                f"`{folder / item.id}` lacks the {', '.join(missing)}. Put source-01 "
                "(accompaniment) and source-02 (voice) into it."
            )
        files = (*stems["accompaniment"], *stems["vocals"])
        songs.append(VocalSong(item.id, "test", files, stems["vocals"]))
    return songs


def _jamendo(folder: Path) -> list[VocalSong]:
    audio, lists = folder / "audio", dataset_layouts.jamendo_lists(folder)
    sounds = manifest.sound_files(audio)
    if missing := sorted(set(lists) - {path.name for path in sounds}):
        raise StoreError(
            f"`{lists[missing[0]]}` lists {missing[0]!r}, which is not in `{audio}`. Copy it there "
            "or take it off the list."
        )
    songs = []
    for path in sounds:
        name = lists[path.name].stem if path.name in lists else path.parent.name
        if split := _SPLITS.get(name):
            labels = _needed(folder / "labels" / f"{path.stem}.lab")
            songs.append(VocalSong(path.stem, split, (path,), label_file=labels))
    return songs


def _rwc(folder: Path) -> list[VocalSong]:
    songs = []
    for path in manifest.sound_files(folder):
        relative = path.relative_to(folder)
        if "rwc" not in str(folder.absolute().name / relative).lower():
            continue
        if relative.parts[0] == "audio":
            relative = relative.relative_to("audio")
        beside, apart = path.with_suffix(".lab"), folder / "labels" / relative.with_suffix(".lab")
        labels = next((file for file in (beside, apart) if file.is_file()), None)
        name = manifest.printable(relative.with_suffix(""))
        songs.append(VocalSong(name, "test", (path,), label_file=labels))
    return songs


def _needed(labels: Path) -> Path:
    if not labels.is_file():
        raise StoreError(f"`{labels}` does not exist. Put the labels of that song there.")
    return labels


def _sung(labels: Path) -> Iterator[tuple[float, float]]:
    """Start and end in seconds of what is sung."""
    end = 0.0
    for passage in dataset_layouts.passages(labels):
        where = f"`{labels}`, line {passage.line}"
        if passage.label not in (_SING, _NO_SING):
            raise StoreError(f"{where} is neither {_SING} nor {_NO_SING} but {passage.label!r}.")
        if passage.start < end:
            raise StoreError(
                f"{where} starts at {passage.start:g} s, before the line above ends at {end:g} s. "
                "Mend the times."
            )
        end = passage.end
        if passage.label == _SING:
            yield passage.start, end
