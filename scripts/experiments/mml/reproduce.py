r"""Do the best components of an explanation carry the decision? Stems against bands against chance.

V. Haunschmid, E. Manilow and G. Widmer, "audioLIME: Listenable Explanations Using Source
Separation", MML 2020: only the k strongest positive components of the explanation of a tagger's top
tag are kept, k = 3, 5, 7, 9, 11, and it is counted how often that tag stays on top.

    uv run --group music python -m scripts.music.render_songs \
        --composer band --num-songs 400 --duration 30
    uv run lime-jax models fetch musicnn                     # 29 MB, once
    # about 15 min on two cores
    uv run python -m scripts.experiments.mml.reproduce --songs songs
    # less than a minute, nothing fetched
    uv run python -m scripts.experiments.mml.reproduce --songs songs --smoke
    # the paper's samples; a GPU
    uv run python -m scripts.experiments.mml.reproduce --songs slakh2100 --full

Components are five stems (audioLIME) or five frequency bands (SLIME), each cut in time: a "song" of
ten snippets of 3 s has ten segments, for the paper's FCN, which hears 29 s; a "snippet" has nine,
for its SampleCNN, which hears 3.7 s. "random" keeps k positive components of audioLIME that are not
among the best k, 32 times. An explanation with fewer than k of those is left out at that k.

The folder of results holds `clips.parquet` (every clip), `curves.parquet` and `curves.png` (shares
of clips beside the paper's) and `summary.json`. Killed at any moment, the same command goes on.
"""

import dataclasses
import math
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import lime_jax as lj
from lime_jax.errors import AudioError, StoreError
from scripts.experiments.common import command_line, corpus, results
from scripts.experiments.mml.figures import DIFFERENCES, curves_of, figures_of, picture
from scripts.experiments.mml.questions import (
    AUDIOLIME,
    KS,
    NUM_RANDOM,
    NUM_SNIPPETS,
    QUESTIONS,
    RANDOM,
    SLIME,
    SNIPPET_SECONDS,
    Question,
    Row,
    bands,
    unchanged,
)


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is computed.

    Attributes:
      num_songs: of the test songs, in a random order; None means all.
      num_samples: of the explanations of snippets. The ridge of all explanations is as strong as
        LIME has it at this number.
    """

    num_songs: int | None
    num_samples: int


SIZES = {"smoke": Size(8, 256), "default": Size(20, 512), "full": Size(None, 16_384)}


@dataclasses.dataclass(frozen=True)
class Config:
    """What to explain.

    Attributes:
      songs: a folder of songs with stems: of `render_songs.py`, or Slakh2100.
      output_dir: where the results go; experiments/mml if not given, with -smoke or -full behind
        it.
      model: a name of `lime-jax models` or `package.module:factory`; msd-musicnn if None, or
        instrument-tagger with `smoke`.
      smoke: only shows that everything works.
      full: all test songs and as many samples as the paper.
      num_songs: how many songs, whatever the size says.
      seed: of the choice of songs, excerpts, samples and random components.
    """

    songs: Path = Path("songs")
    output_dir: Path | None = None
    model: str | None = None
    smoke: bool = False
    full: bool = False
    num_songs: int | None = None
    seed: int = 0

    @property
    def size(self) -> Size:
        """With `num_songs` as it was asked for."""
        if self.num_songs is not None and self.num_songs < 1:
            raise ValueError(f"`num_songs` must be at least 1, got {self.num_songs}.")
        size = command_line.chosen(SIZES, smoke=self.smoke, full=self.full)
        return (
            size if self.num_songs is None else dataclasses.replace(size, num_songs=self.num_songs)
        )

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        return command_line.folder("mml", self)

    @property
    def origin(self) -> Row:
        """What every result depends on, apart from the clip."""
        model = self.model or ("instrument-tagger" if self.smoke else "msd-musicnn")
        return {"model": model, "num_samples": self.size.num_samples, "seed": self.seed}


def judge(question: Question, kind: str, key: jax.Array, rng: np.random.Generator) -> list[Row]:
    """Explains the top output and counts how often it stays on top; a row per kind and k."""
    explanation = lj.explain(question.predict, question.components, question.method, key=key)
    label = int(explanation.prediction.argmax())
    num_components = question.components.num_components
    positive = np.asarray(lj.top_k(explanation, label, num_components)[0])
    positive = positive[question.sounds[positive]]
    num_random = NUM_RANDOM if kind == AUDIOLIME else 0
    same = unchanged(question.outputs_of, positive, label, num_components, num_random, rng)
    shared = {"label": label, "num_positive": len(positive)}
    rows = [{"kind": kind, "k": k, "unchanged": share_of(same, k, slice(1)), **shared} for k in KS]
    if num_random:
        rest = slice(1, None)
        rows += [
            {**row, "kind": RANDOM, "unchanged": share_of(same, row["k"], rest)} for row in rows
        ]
    return [{**row, "skipped": row["unchanged"] is None} for row in rows]


def share_of(same: dict[int, np.ndarray], k: int, some: slice) -> float | None:
    """Returns the mean of some of the answers at k; None if it was skipped."""
    return float(same[k][some].mean()) if k in same else None


def excerpt(song: corpus.Song, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Stems of ten snippets from anywhere in the song, `(num_families, num_samples)`."""
    stems = corpus.load(song, corpus.FAMILIES, sample_rate)
    size = NUM_SNIPPETS * SNIPPET_SECONDS * sample_rate
    if stems.shape[1] < size:
        raise AudioError(
            f"`{song.name}` lasts {stems.shape[1] / sample_rate:.1f} s. Use songs of at least "
            f"{NUM_SNIPPETS * SNIPPET_SECONDS} s."
        )
    start = rng.integers(stems.shape[1] - size, endpoint=True)
    return stems[:, start : start + size]


def judge_song(song: corpus.Song, tagger: Any, num_samples: int, seed: int) -> list[Row]:
    """Returns all rows of a song; they depend on its name and the seed, not on other songs."""
    number = zlib.crc32(song.name.encode())
    rng = np.random.default_rng((seed, 1, number))
    key = jax.random.fold_in(jax.random.key(seed), number)
    stems = excerpt(song, tagger.sample_rate, rng)
    snippet = np.split(stems, NUM_SNIPPETS, axis=1)[rng.integers(NUM_SNIPPETS)]
    rows = []
    for setting, sound in {"song": stems, "snippet": snippet}.items():
        for kind, sources in {AUDIOLIME: sound, SLIME: bands(sound.sum(axis=0))}.items():
            start = time.perf_counter()
            question = QUESTIONS[setting](tagger, sources, num_samples)
            found = judge(question, kind, key, rng)
            shared = {"setting": setting, "clip": song.name, "seconds": time.perf_counter() - start}
            rows += [{**shared, **row} for row in found]
    return rows


def chosen_songs(config: Config, songs: Sequence[corpus.Song]) -> list[corpus.Song]:
    """Test songs in a random order; more songs begin with the same ones."""
    some = corpus.of_split(songs, "test")
    if not some:
        raise StoreError(f"`{config.songs}` holds no test songs. Render more songs.")
    order = np.random.default_rng((config.seed, 0)).permutation(len(some))
    return [some[index] for index in order[: config.size.num_songs]]


def collect(config: Config) -> list[Row]:
    """Returns the rows of all chosen songs, stored song by song."""
    everything, path = corpus.songs_of(config.songs), config.folder / "clips.parquet"
    songs = chosen_songs(config, everything)
    tagger = lj.models.resolve(config.origin["model"])
    results.begin(config.folder, {**config.origin, "songs": corpus.fingerprint(everything)})
    rows = results.read_table(path) if path.exists() else []
    done = {row["clip"] for row in rows}
    pending = [song for song in songs if song.name not in done]
    for number, song in enumerate(pending, start=len(songs) - len(pending) + 1):
        try:
            found = judge_song(song, tagger, config.size.num_samples, config.seed)
        except AudioError as error:
            print(f"left out: {error}", flush=True)
            continue
        rows += [{**row, **config.origin} for row in found]
        results.write_table(path, rows)
        print(f"{number} of {len(songs)} songs", flush=True)
    names = {song.name for song in songs}
    return [row for row in rows if row["clip"] in names]


def summary_of(config: Config, rows: Sequence[Row], curves: Sequence[Row]) -> results.Summary:
    seconds = [row["seconds"] for row in rows if row["kind"] != RANDOM and row["k"] == KS[0]]
    caption = (
        "Share of clips whose top tag stays when the k best components are kept, with standard "
        "errors; the paper's dashed."
    )
    return results.Summary(
        title="Stems against bands: do the best components carry the decision?",
        paper="Haunschmid, Manilow, Widmer: audioLIME: Listenable Explanations Using Source "
        "Separation, MML 2020",
        claim="The best stem components of an explanation keep a tagger's top tag more often than "
        "the best frequency bands, and both more often than random components.",
        command=command_line.command(__file__, config),
        figures=figures_of(curves),
        differences=DIFFERENCES,
        pictures=[results.Picture("curves.png", caption)],
        minutes=math.fsum(seconds) / 60,
        config={**dataclasses.asdict(config), **config.origin},
    )


def run(config: Config) -> results.Summary:
    """Explains what is not explained yet, and writes tables, picture and summary."""
    rows = collect(config)
    curves = curves_of(rows)
    results.write_table(config.folder / "curves.parquet", curves)
    results.write_picture(config.folder / "curves.png", picture(curves))
    summary = summary_of(config, rows, curves)
    results.write(config.folder, summary)
    return summary


if __name__ == "__main__":
    sys.exit(command_line.main(run, Config))
