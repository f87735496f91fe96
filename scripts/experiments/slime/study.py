"""What the network says to all masks of all excerpts, kept song by song."""

import dataclasses
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from lime_jax.errors import LimeJaxError
from lime_jax.models import singing_voice, singing_voice_weights
from lime_jax.models.singing_voice import SingingVoice
from lime_jax.models.singing_voice_front_end import NUM_FRAMES
from lime_jax.models.weights import digest
from scripts.experiments.common import command_line, results, vocals
from scripts.experiments.common.vocals import VocalSong
from scripts.experiments.slime import measures, neighbourhoods
from scripts.experiments.slime.measures import PLANTED_CONTENTS, Outputs, Rows

EXPERIMENTS = ("num-samples", "contents", "ground-truth")


NUM_TIMES, NUM_PLANTED, NUM_MIXES = 10, 3, 4  # in a song, segments of each, excerpts per time


THRESHOLD = 0.5


Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Size:
    """How much of the experiments is run."""

    num_songs: int | None
    excerpts_per_song: int
    planted_songs: int


SIZES = {"smoke": Size(4, 2, 1), "default": Size(None, 5, 50)}


@dataclasses.dataclass(frozen=True)
class Config:
    """What to run.

    Attributes:
      experiment: num-samples, contents, ground-truth, or all of them.
      songs: a folder that `render_songs.py --composer sung` filled, Jamendo or RWC; ccMixter for
        ground-truth, which needs voice and accompaniment.
      output_dir: where everything goes; experiments/slime if not given, with -smoke behind it.
      smoke: few songs, to see that all of it works.
      max_songs: of the test songs; all if not given.
      excerpts_per_song: 25 in the paper; 5 if not given, 2 for smoke.
      planted_songs: so many songs get 40 planted excerpts each; 50 if not given, 1 for smoke.
      weights: the published network instead of ours: the prefix of a TensorFlow checkpoint, or an
        .npz of Lasagne.
      mean_std: the statistics that belong to it.
      sign: of the components that count as top: positive as in the published code, or absolute;
        num-samples tells both.
      seed: of the masks.
    """

    experiment: Literal["all", "num-samples", "contents", "ground-truth"] = "all"
    songs: Path = Path("songs")
    output_dir: Path | None = None
    smoke: bool = False
    max_songs: int | None = None
    excerpts_per_song: int | None = None
    planted_songs: int | None = None
    weights: Path | None = None
    mean_std: Path | None = None
    sign: Literal["positive", "absolute"] = "positive"
    seed: int = 0

    @property
    def size(self) -> Size:
        """How much of the experiments is run."""
        size = command_line.chosen(SIZES, smoke=self.smoke, full=False)
        given = {
            "num_songs": self.max_songs,
            "excerpts_per_song": self.excerpts_per_song,
            "planted_songs": self.planted_songs,
        }
        return dataclasses.replace(size, **{k: v for k, v in given.items() if v is not None})

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        return command_line.folder("slime", self)


def detector(config: Config) -> SingingVoice:
    """Our network, or the published one.

    Raises:
      ModelError: if its files cannot be used.
      ValueError: if one of them is missing.
    """
    if (config.weights is None) != (config.mean_std is None):
        raise ValueError("`--weights` and `--mean-std` belong together. Name both, or none.")
    if config.weights is None or config.mean_std is None:
        return singing_voice.load_singing_voice().network
    is_lasagne = config.weights.suffix == ".npz"
    read = singing_voice_weights.from_lasagne if is_lasagne else None
    network = (read or singing_voice_weights.from_tensorflow)(config.weights)
    mean, std = singing_voice_weights.read_mean_std(config.mean_std)
    return SingingVoice(network, jnp.asarray(mean), jnp.asarray(std))


def check(config: Config) -> None:
    """Refuses what cannot be meant, before anything is read."""
    for name in ("max_songs", "excerpts_per_song", "planted_songs"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ValueError(f"`--{name.replace('_', '-')}` must be at least 1, got {value}.")


class Study:
    """The songs, the network, and what it said of excerpts: kept by song, made when asked for."""

    def __init__(self, config: Config) -> None:
        self.config, self.voice = config, detector(config)
        found = [song for song in vocals.open_corpus(config.songs) if song.split == "test"]
        self.songs = found[: config.size.num_songs]
        if not self.songs:
            raise LimeJaxError(f"`{config.songs}` holds no test songs. Render more.")
        self._last: dict[int, tuple[list[Any], Arrays]] = {}
        results.begin(config.folder, self.settings())

    def settings(self) -> dict[str, Any]:
        """Returns what the numbers depend on."""
        size = self.config.size
        return {
            "songs": vocals.fingerprint(self.songs),
            "network": digest(self.voice),
            "excerpts_per_song": size.excerpts_per_song,
            "seed": self.config.seed,
        }

    def kept(self, name: str, number: int, make: Callable[[], Arrays]) -> Arrays:
        """Arrays about a song, from disk or made now, with the seconds that took."""
        path = self.config.folder / "parts" / f"{name}-{number:03d}.npz"
        if not path.exists():
            start, buffer = time.perf_counter(), io.BytesIO()
            made = make()
            made["seconds"] = np.array(time.perf_counter() - start)
            np.savez(buffer, allow_pickle=False, **made)
            results.write_bytes(path, buffer.getvalue())
            told = f"{name}, song {number + 1} of {len(self.songs)}"
            print(f"{told}: {made['seconds']:.0f} s", flush=True)
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)

    def outputs(
        self, parts: tuple[tuple[str, str], ...], turn: int = 0
    ) -> tuple[Rows, Outputs, float]:
        """Excerpts, the outputs for all masks by segmentation and content, and seconds.

        Args:
          parts: segmentations and contents.
          turn: evaluations that are told apart by it are independent of each other.
        """
        which: Rows = []
        found: dict[tuple[str, str], list[np.ndarray]] = {part: [] for part in parts}
        seconds = 0.0
        for number, song in enumerate(self.songs):
            arrays: Arrays = {}
            for part in parts:
                name = "-".join((*part, *([f"again-{turn}"] if turn else [])))

                def make(number=number, part=part):
                    return self._of_song(number, *part)

                arrays = self.kept(name, number, make)
                found[part].append(arrays["outputs"])
                seconds += float(arrays["seconds"])
            which += _rows(song, arrays)
        return which, {part: np.concatenate(some) for part, some in found.items()}, seconds

    def _of_song(self, number: int, segmentation: str, content: str) -> Arrays:
        excerpts, arrays = self._excerpts(number)
        outputs = np.stack([self.said(one, segmentation, content) for one in excerpts])
        if "sung" not in arrays:
            arrays["sung"] = outputs[:, neighbourhoods.EVERYTHING] >= THRESHOLD
        return {**arrays, "outputs": outputs}

    def _excerpts(self, number: int) -> tuple[list[Any], Arrays]:
        """The excerpts of a song, their places, and what is sung where it is known."""
        # Segmentations and contents of a song come one after the other: it is decoded once.
        if number not in self._last:
            song = self.songs[number]
            frames = self.voice.frames_of(jnp.asarray(song.mix()))
            num_frames = len(frames) - NUM_FRAMES + 1
            indices = self._indices(number, num_frames, self.config.size.excerpts_per_song)
            arrays = {"indices": indices}
            if song.has_labels:
                arrays["sung"] = song.labels(num_frames)[indices]
            excerpts = [frames[index : index + NUM_FRAMES] for index in indices]
            self._last = {number: (excerpts, arrays)}
        excerpts, arrays = self._last[number]
        return excerpts, dict(arrays)

    def _indices(self, number: int, num_frames: int, num_excerpts: int) -> np.ndarray:
        try:
            return neighbourhoods.excerpt_indices(number, num_frames, num_excerpts)
        except ValueError as error:
            raise LimeJaxError(f"`{self.songs[number].name}` is too short: {error}") from error

    def said(self, excerpt: Any, segmentation: str, content: str) -> np.ndarray:
        """Returns what the network says to all masks of an excerpt."""
        excerpt = jnp.asarray(excerpt)
        fill = neighbourhoods.content(content, excerpt, self.voice)
        return neighbourhoods.outputs_of(self.voice, excerpt, segmentation, fill)

    def planted(self) -> tuple[Rows, dict[str, np.ndarray], int, float]:
        """Planted excerpts that the network hears a voice in, their outputs, all that were made."""
        made = 0
        which: Rows = []
        found: dict[str, list[np.ndarray]] = {content: [] for content in PLANTED_CONTENTS}
        seconds = 0.0
        for number, song in enumerate(self.songs[: self.config.size.planted_songs]):

            def make(song=song, number=number):
                return self._planted_in(number, song)

            arrays = self.kept("planted", number, make)
            made += int(arrays["made"])
            seconds += float(arrays["seconds"])
            which += _planted_rows(song, arrays)
            for content in PLANTED_CONTENTS:
                found[content].append(arrays[content])
        return which, {name: np.concatenate(some) for name, some in found.items()}, made, seconds

    def _planted_in(self, number: int, song: VocalSong) -> Arrays:
        parts = [self.voice.frames_of(jnp.asarray(x)) for x in (song.accompaniment(), song.voice())]
        num_frames = len(parts[0]) - NUM_FRAMES + 1
        rng = measures.generator(self.config.seed, 4, number)
        excerpts, indices, segments = [], [], []
        for index in self._indices(number, num_frames, NUM_TIMES):
            music, voice = (part[index : index + NUM_FRAMES] for part in parts)
            for _ in range(NUM_MIXES):
                chosen = np.sort(
                    rng.choice(neighbourhoods.NUM_SEGMENTS, NUM_PLANTED, replace=False)
                )
                excerpts.append(neighbourhoods.planted(music, voice, chosen.tolist()))
                indices.append(index)
                segments.append(chosen)
        told = np.asarray(self.voice.network(jnp.stack(excerpts)))[:, 0]
        heard = np.flatnonzero(told >= THRESHOLD)
        outputs = {
            content: np.stack(
                [self.said(excerpts[n], "temporal", content) for n in heard]
                or [np.zeros(neighbourhoods.NUM_MASKS, np.float32)]
            )[: len(heard)]
            for content in PLANTED_CONTENTS
        }
        of_heard = {"indices": np.array(indices)[heard], "segments": np.array(segments)[heard]}
        return {**outputs, **of_heard, "made": np.array(len(excerpts))}


def _rows(song: VocalSong, arrays: Arrays) -> Iterator[dict[str, Any]]:
    for n, index in enumerate(arrays["indices"]):
        yield {
            "song": song.name,
            "index": int(index),
            "probability": float(arrays["outputs"][n, neighbourhoods.EVERYTHING]),
            "sung": bool(arrays["sung"][n]),
        }


def _planted_rows(song: VocalSong, arrays: Arrays) -> Iterator[dict[str, Any]]:
    for n, index in enumerate(arrays["indices"]):
        probability = float(arrays[PLANTED_CONTENTS[0]][n, neighbourhoods.EVERYTHING])
        segments = arrays["segments"][n].tolist()
        yield {
            "song": song.name, "index": int(index), "probability": probability, "segments": segments
        }  # fmt: skip
