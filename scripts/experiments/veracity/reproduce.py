r"""Do explanations find the part of the input that an adversary changed?

Repeats, with a detector of instruments instead of one of singing voices: Verena Praher, Katharina
Prinz, Arthur Flexer, Gerhard Widmer: On the Veracity of Local, Model-agnostic Explanations in Audio
Classification: Targeted Investigations with Adversarial Examples, ISMIR 2021.

    uv run --group music python -m scripts.music.render_songs \
        --composer band --num-songs 400 --duration 30
    # about 10 min, two cores
    uv run python -m scripts.experiments.veracity.reproduce --songs songs

Test songs are cut into excerpts in which a family of instruments plays, or from which its stem is
left out. Adversaries change what the network hears, as waveform or as spectrogram, until it takes
one for the other. LIME explains the changed excerpt, and four measures compare what it finds with
what was changed: flip counts, subsets of the change, fidelity, and marks drawn by hand. The folder
`--output-dir` then holds a table and a picture of each, and `summary.json` with the paper's numbers
beside these. The same command goes on where it was stopped.
"""

import dataclasses
import functools
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from lime_jax import storage
from lime_jax.errors import unknown_name
from lime_jax.models.base import Tagger
from lime_jax.models.instrument_tagger import load_instrument_tagger
from lime_jax.report import style
from scripts.experiments.common import command_line, corpus, results
from scripts.experiments.veracity.adversaries import Attack, Detector
from scripts.experiments.veracity.figures import (
    draw_fidelity,
    draw_flips,
    draw_horses,
    draw_subsets,
    figures_of,
)
from scripts.experiments.veracity.measures import (
    DIRECTIONS,
    PARTS,
    TABLES,
    Excerpts,
    Rows,
    horses_of,
    in_batches,
    logits,
    measured,
    patches_of,
)


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
      num_songs: test songs in which the family plays; None takes all.
      excerpts_per_song: adversaries of a song in each domain and direction.
      num_samples: masks of an explanation.
      num_steps: of an adversary, at most.
    """

    num_songs: int | None
    excerpts_per_song: int
    num_samples: int
    num_steps: int


SIZES = {
    "smoke": Size(10, 1, 256, 100),
    "default": Size(None, 2, 1024, 300),
    "full": Size(None, 10, 8192, 1000),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """What is repeated, and on which songs.

    Attributes:
      songs: the folder that `render_songs.py` filled, or that of Slakh2100.
      output_dir: where tables, pictures and the summary go; experiments/veracity if not given, with
        -smoke or -full behind it.
      output: the family that the network is to hear.
      smoke: a minute's work, to see that it runs.
      full: the paper's sizes; some two hours on two cores.
      num_songs: test songs in which the family plays; None leaves it to the size.
      seed: of excerpts and masks.
      waveform_rate: learning rate of adversaries that change waveforms.
      waveform_alpha: how much the target counts against the energy of the change.
      waveform_epsilon: the largest change of a sample.
      spectrogram_rate: the same three for log-mel patches. Ten times the paper's, so that a step
        moves the logit of this network by about one, as a step on the waveform does.
      spectrogram_alpha: see `spectrogram_rate`.
      spectrogram_epsilon: see `spectrogram_rate`.
      margin: how far beyond the boundary adversaries go, in logits; 2 is a probability of 0.88.
        At the boundary itself nothing but the whole change flips a label.
    """

    songs: Path = Path("songs")
    output_dir: Path | None = None
    output: str = "strings"
    smoke: bool = False
    full: bool = False
    num_songs: int | None = None
    seed: int = 0
    waveform_rate: float = 3e-4
    waveform_alpha: float = 2.0
    waveform_epsilon: float = 0.01
    spectrogram_rate: float = 5e-3
    spectrogram_alpha: float = 15.0
    spectrogram_epsilon: float = 0.1
    margin: float = 2.0

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        return command_line.folder("veracity", self)


def size_of(config: Config) -> Size:
    """Returns how much a configuration asks for."""
    size = command_line.chosen(SIZES, smoke=config.smoke, full=config.full)
    if config.num_songs is None:
        return size
    return dataclasses.replace(size, num_songs=config.num_songs)


def attack_of(config: Config, size: Size, domain: str) -> Attack:
    """Returns how adversaries search in a domain."""
    numbers = {
        "waveform": (config.waveform_rate, config.waveform_alpha, config.waveform_epsilon),
        "spectrogram": (
            config.spectrogram_rate, config.spectrogram_alpha, config.spectrogram_epsilon
        ),
    }  # fmt: skip
    return Attack(*numbers[domain], num_steps=size.num_steps, margin=config.margin)


def starts_in(
    stem: np.ndarray, sample_rate: int, length: int, num: int, rng: np.random.Generator
) -> np.ndarray:
    """Random starts of excerpts that do not overlap, and throughout which a stem sounds."""
    quiet = np.cumsum([0, *~corpus.sounding(stem, sample_rate)])
    starts = np.arange(rng.integers(length), len(stem) - length + 1, length)
    starts = starts[quiet[starts + length] == quiet[starts]]
    return rng.permutation(starts)[:num]


def excerpts_of(
    config: Config, size: Size, songs: Sequence[corpus.Song], tagger: Tagger, detector: Detector
) -> dict[str, Excerpts]:
    """By direction: excerpts that the family rests in, and the same in which it plays."""
    which, plays, rests = [], [], []
    songs = corpus.of_split(songs, "test")
    songs = [song for song in songs if config.output in song.stems][: size.num_songs]
    length = tagger.patch_num_samples
    for number, song in enumerate(songs):
        stems = corpus.load(song, tagger.output_names, tagger.sample_rate)
        rng = np.random.default_rng((config.seed, number))
        stem = stems[detector.output]
        for start in starts_in(stem, tagger.sample_rate, length, size.excerpts_per_song, rng):
            parts = stems[:, start : start + length]
            which.append({"song": song.name, "start": start / tagger.sample_rate})
            plays.append(parts.sum(axis=0))
            rests.append(np.delete(parts, detector.output, axis=0).sum(axis=0))
    mixes = {"rests to plays": rests, "plays to rests": plays}
    return {name: rightly_judged(detector, which, mixes[name], name) for name in DIRECTIONS}


def rightly_judged(
    detector: Detector, which: Rows, waveforms: Sequence[np.ndarray], direction: str
) -> Excerpts:
    """Returns the excerpts about which the network is right before anything is changed."""
    target, right = DIRECTIONS[direction], np.zeros(0, bool)
    if which:
        patches = patches_of(detector, np.stack(waveforms))
        right = np.asarray(in_batches(functools.partial(logits, detector), patches) > 0) != target
    if not right.any():
        raise ValueError(
            f"`--songs` has no test excerpt for {direction!r} about which the network is right. "
            "Use more songs, or another `--output`."
        )
    kept = np.flatnonzero(right)
    return Excerpts([which[n] for n in kept], np.stack([waveforms[n] for n in kept]))


def stored(folder: Path, make: Callable[[], Mapping[str, Rows]]) -> dict[str, Rows]:
    """Returns the tables of a part, made if they are not all there yet."""
    marker = folder / "minutes.json"
    if not marker.exists():
        start = time.perf_counter()
        for name, rows in make().items():
            results.write_table(folder / f"{name}.parquet", rows)
        minutes = (time.perf_counter() - start) / 60
        results.write_text(marker, json.dumps(minutes) + "\n")
        print(f"{folder.name}: {minutes:.1f} min", flush=True)
    return {path.stem: results.read_table(path) for path in sorted(folder.glob("*.parquet"))}


def minutes_stored(config: Config) -> float:
    """Returns how long the parts took that are there already."""
    markers = (config.folder / "parts").glob("*/minutes.json")
    return math.fsum(json.loads(path.read_text(encoding="utf-8")) for path in markers)


def tables_of(
    config: Config, size: Size, detector: Detector, excerpts: Mapping[str, Excerpts]
) -> dict[str, Rows]:
    """Returns all tables, from parts that are stored one by one."""
    parts, keys = config.folder / "parts", jax.random.split(jax.random.key(config.seed), 5)
    tables: dict[str, Rows] = {name: [] for name in TABLES}
    for part, key in zip(PARTS, keys, strict=False):
        settings = attack_of(config, size, part[0])
        here = excerpts[part[1]]
        make = functools.partial(measured, detector, here, part, settings, size.num_samples, key)
        found = stored(parts / "-".join(part).replace(" ", "-"), make)
        for name in TABLES:
            tables[name] += found[name]
    rests = excerpts["rests to plays"]
    make = functools.partial(horses_of, detector, rests, size.num_samples, keys[-1])
    tables |= stored(parts / "horses", make)
    for name, rows in tables.items():
        results.write_table(config.folder / f"{name}.parquet", rows)
    return tables


def pictures_of(
    config: Config, tables: Mapping[str, Rows], detector: Detector, excerpts: Excerpts
) -> list[results.Picture]:
    """Draws and stores all pictures."""
    clean = patches_of(detector, excerpts.waveforms)
    drawn = {
        "flips": (draw_flips(tables["flips"]), "Labels that flip when only the top components of "
                  "the change are added, chosen by LIME or by energy"),
        "subsets": (draw_subsets(tables["subsets"]), "How many of the changed components LIME "
                    "finds, where no others were changed"),
        "fidelity": (draw_fidelity(tables["fidelity"]), "Fidelity of explanations that find the "
                     "changed component and of those that do not"),
        "horses": (draw_horses(tables["horses"], clean), "A mark drawn on the "
                   f"spectrogram makes the network hear {config.output}"),
    }  # fmt: skip
    for name, (figure, caption) in drawn.items():
        figure.suptitle(caption, x=0.01, ha="left", fontsize=style.TEXT, **style.plain_text())
        results.write_picture(config.folder / f"{name}.png", figure)
    return [results.Picture(f"{name}.png", caption) for name, (_, caption) in drawn.items()]


def differences(config: Config, size: Size) -> list[str]:
    """Between the paper and this, a sentence each."""
    return [
        f"The paper's singing voice detector is our instrument tagger's output {config.output!r}; "
        "its classes sing and no-sing are plays and rests.",
        "Jamendo's songs are test songs whose stems are known; where the family rests, its stem "
        "was left out of the very excerpt in which it plays.",
        "Excerpts of 2.5 s with 80 frames and 64 mel bands, cut into 16 frames by 16 bands; in the "
        "paper 115 frames of 70 per second and 80 bands, cut into 23 by 20.",
        "The learning rate of adversaries on spectrograms is ten times the paper's, so that a step "
        "moves the label as far as one on the waveform; the paper's patches have unit variance, "
        "ours a standard deviation of 0.36.",
        f"Adversaries stop {config.margin:g} logits beyond the boundary; how far the paper's went "
        "is not told.",
        "Adversaries that need a single step, which moves every element equally far, are counted "
        "but not measured: the energy of their change does not rank components.",
        "The paper's marks were drawn by hand; ours are lines and crosses in every component, and "
        "the faintest that flips the label is taken.",
        f"{size.num_samples} masks per explanation (paper: 8192), at most {size.num_steps} steps "
        f"per adversary (1000), {size.excerpts_per_song} per song and direction (10).",
    ]


def run(config: Config) -> results.Summary:
    """Makes what is not stored yet, tables, pictures and the summary; returns the summary."""
    earlier, start = minutes_stored(config), time.perf_counter()
    places = ("output_dir", "songs", "smoke", "full", "num_songs")
    size, tagger = size_of(config), load_instrument_tagger()
    if config.output not in tagger.output_names:
        raise ValueError(unknown_name("`output`", config.output, tagger.output_names))
    detector = Detector(tagger.network, tagger.output_names.index(config.output))
    settings = {k: v for k, v in vars(config).items() if k not in places} | {"size": size}
    songs = corpus.songs_of(config.songs)
    excerpts = excerpts_of(config, size, songs, tagger, detector)
    results.begin(config.folder, {**settings, "songs": corpus.fingerprint(songs)})
    tables = tables_of(config, size, detector, excerpts)
    pictures = pictures_of(config, tables, detector, excerpts["rests to plays"])
    summary = results.Summary(
        title="Veracity: do explanations find what an adversary changed?",
        paper="Praher, Prinz, Flexer, Widmer: On the Veracity of Local, Model-agnostic "
        "Explanations in Audio Classification: Targeted Investigations with Adversarial Examples, "
        "ISMIR 2021",
        claim="Explanations often miss the parts of the input that an adversary changed, and "
        "their fidelity does not tell when.",
        command=command_line.command(__file__, config),
        figures=figures_of(tables),
        differences=differences(config, size),
        pictures=pictures,
        minutes=round(earlier + (time.perf_counter() - start) / 60, 2),
        config=storage.plain(config) | {"size": storage.plain(size)},
    )
    results.write(config.folder, summary)
    return summary


if __name__ == "__main__":
    sys.exit(command_line.main(run, Config))
