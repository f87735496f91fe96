"""What recommenders are trained on: a library of tracks in memory, and who listened to them."""

import concurrent.futures
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from lime_jax.errors import StoreError
from lime_jax.models.recommender import SAMPLE_RATE
from scripts.experiments.common import results
from scripts.experiments.common.corpus import SPLITS
from scripts.experiments.lemons import play_counts
from scripts.experiments.lemons.play_counts import Example


@dataclasses.dataclass(frozen=True)
class Config:
    """What to train on, and how.

    Attributes:
      library: a folder with audio, plays.tsv and library.json, in place of the next two.
      audio: a folder with a file, or a folder of stems, per track.
      triplets: lines of user, track and count with tabs between, as in the Taste Profile.
      users: whose networks to train; all if not given.
      output_dir: for USER.npz and scores.json.
      epochs: over all training tracks of a user.
      batch_size: crops per step.
      learning_rate: of Adam.
      weight_decay: added to the gradient.
      seed: of everything at random.
      validate_every: so many epochs.
      best: which weights are kept, those of the lowest validation loss, or of the highest sum of
        AUC and MAP.
      precision: of products while training, default or float32; scores on tests are float32.
      time_limit: in seconds, from the start of the script; training stops before.
      evaluate: only scores the networks in `output_dir` on the test tracks, and writes that down.
      export_mixes: only writes the library with one Ogg file per track to this folder, without test
        tracks.
      compression: of the exported files, from 0 to 1.
      smoke: two users and epochs.
    """

    library: Path | None = None
    audio: Path | None = None
    triplets: Path | None = None
    users: tuple[str, ...] = ()
    output_dir: Path = Path("experiments/recommenders")
    epochs: int = 1000
    batch_size: int = 20
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    seed: int = 1930289
    validate_every: int = 5
    best: Literal["loss", "auc-map"] = "loss"
    precision: Literal["default", "float32"] = "default"
    time_limit: float | None = None
    evaluate: bool = False
    export_mixes: Path | None = None
    compression: float = 0.75
    smoke: bool = False


def purpose_key(config: Config, purpose: int) -> Key[Array, ""]:
    return jax.random.fold_in(jax.random.key(config.seed), purpose)


CROP = SAMPLE_RATE


FULL_SCALE = 32767


TRACKS_AT_ONCE = 8


_BLOCK = 2**16


PLACES = ("library", "audio", "triplets", "output_dir", "export_mixes")


@dataclasses.dataclass(frozen=True)
class Data:
    """What all users share.

    Attributes:
      files: the audio of every track.
      plays: counts by user and track.
      splits: by track, or None.
    """

    files: Mapping[str, Path]
    plays: play_counts.Plays
    splits: Mapping[str, str] | None

    def examples(self, user: str, seed: int) -> dict[str, list[Example]]:
        """Of a user by split; where tracks have one, each has as many negatives as positives."""
        plays = self.plays[user]
        if self.splits is None:
            return play_counts.split(play_counts.examples_of(plays, self.files, seed), seed)
        return {part: play_counts.examples_of(plays, self._tracks(part), seed) for part in SPLITS}

    def _tracks(self, part: str) -> list[str]:
        return [t for t in self.files if self.splits is not None and self.splits.get(t) == part]


@dataclasses.dataclass(frozen=True)
class Tracks:
    """All tracks in memory.

    Attributes:
      samples: 16 bit, zeros behind the end of a track.
      lengths: of the tracks in samples.
      rows: by the id of a track.
    """

    samples: Int[Array | np.ndarray, "tracks samples"]
    lengths: Int[np.ndarray, " tracks"]
    rows: Mapping[str, int]


def open_data(config: Config) -> Data:
    """Finds audio, plays and splits.

    Raises:
      StoreError: if they are missing or do not fit together.
    """
    audio, triplets, splits = config.audio, config.triplets, None
    if config.library is not None:
        audio = audio or config.library / play_counts.AUDIO
        triplets = triplets or config.library / play_counts.PLAYS
        splits = play_counts.read_splits(config.library / play_counts.LISTING)
    if audio is None or triplets is None:
        raise ValueError("`library`, or `audio` and `triplets`, must be given.")
    plays = play_counts.read_triplets(triplets)
    if unknown := [user for user in config.users if user not in plays]:
        raise StoreError(f"`{triplets}` holds no plays of {', '.join(unknown)}.")
    return Data(play_counts.audio_files(audio), plays, splits)


def users_of(config: Config, data: Data) -> tuple[str, ...]:
    users = config.users or tuple(data.plays)
    return users[:2] if config.smoke else users


def read_tracks(files: Mapping[str, Path], wanted: Sequence[str]) -> Tracks:
    """Decodes tracks side by side.

    Raises:
      AudioError: if one cannot be read.
      StoreError: if one is shorter than a second.
    """
    with concurrent.futures.ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda track: sixteen_bit(files[track]), wanted))
    lengths = np.array([len(samples) for samples in found], np.int32)
    if (short := int(lengths.argmin())) is not None and lengths[short] < CROP:
        raise StoreError(f"`{files[wanted[short]]}` is shorter than a second. Leave it out.")
    together = np.zeros((len(found), lengths.max()), np.int16)
    for row, samples in zip(together, found, strict=True):
        row[: len(samples)] = samples
    return Tracks(together, lengths, {track: row for row, track in enumerate(wanted)})


def sixteen_bit(path: Path) -> Int[np.ndarray, " num_samples"]:
    waveform = play_counts.load_track(path, SAMPLE_RATE)
    return np.round(np.clip(waveform, -1, 1) * FULL_SCALE).astype(np.int16)


def crops(
    samples: Int[Array, "tracks samples"],
    lengths: Int[Array, " tracks"],
    rows: Int[Array, " batch"],
    key: Key[Array, ""],
) -> Float[Array, "batch 16000"]:
    """Returns a second of each of these tracks, from anywhere in it."""
    starts = jax.random.randint(key, rows.shape, 0, lengths[rows] - CROP + 1)

    def cut(row, start):
        return jax.lax.dynamic_slice(samples, (row, start), (1, CROP))[0]

    return jax.vmap(cut)(rows, starts).astype(jnp.float32) / FULL_SCALE


def batches(number: int, size: int, rng: np.random.Generator) -> Int[np.ndarray, "steps size"]:
    """Places of the items of every step in an epoch; the last one goes on at the beginning."""
    num_steps = -(-number // size)
    return np.resize(rng.permutation(number), (num_steps, size))


def export_mixes(config: Config, data: Data, folder: Path) -> None:
    """Writes a library with an Ogg file per track, small enough to travel."""
    import soundfile

    (folder / play_counts.AUDIO).mkdir(parents=True, exist_ok=True)
    total, number = 0, 0
    for track, path in data.files.items():
        if data.splits is not None and data.splits.get(track) == "test":
            continue
        target = folder / play_counts.AUDIO / f"{track}.ogg"
        samples = sixteen_bit(path)
        with soundfile.SoundFile(
            target, "w", SAMPLE_RATE, 1, "VORBIS", compression_level=config.compression
        ) as sound:
            # libsndfile overflows its stack on long Vorbis waveforms in one piece.
            for block in np.split(samples, range(_BLOCK, len(samples), _BLOCK)):
                sound.write(block)
        total, number = total + target.stat().st_size, number + 1
    if config.library is not None:
        for name in (play_counts.PLAYS, play_counts.LISTING):
            results.write_bytes(folder / name, (config.library / name).read_bytes())
    print(f"{number} mixes in {folder}, {total / 2**20:.1f} MiB")
