r"""Finds the drums: the confounder experiment of the audioLIME paper, section 4.

A network learns to tell guitar from piano on mixtures in which drums always play with guitar and
never with piano. It judges by the drums: right where they still play with guitar (t_dr-gtr), wrong
where they play with piano (t_dr-pno). Explanations must say so, with the stems that the mixture was
made of and with those of separators, and must not say so of networks that have learnt nothing.

    # 3 min
    uv run --group music python -m scripts.music.render_songs \
        --composer band --num-songs 400 --duration 30
    # 10 min
    uv run python -m scripts.training.separator --songs songs
    # 10 seeds, an hour, two cores
    uv run python -m scripts.experiments.confounder.reproduce --songs songs
    # two minutes
    uv run python -m scripts.experiments.confounder.reproduce --songs songs --smoke
    # the paper's sizes; a GPU
    uv run python -m scripts.experiments.confounder.reproduce --songs slakh2100 --full

Expected: accuracy of at least 97 % on t_dr-gtr, at most 25 % on t_dr-pno; drums on top in at least
98 % of the explanations of guitar on t_dr-pno. Writes Table 2, Table 3, Figures 2 and 3 as Parquet
and pictures; killed, the same command goes on after the last network that was finished.

References:
  Haunschmid, Manilow, Widmer, Towards Musically Meaningful Explanations Using Source Separation,
    2020.
"""

import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lime_jax as lj
from lime_jax import separation, storage
from lime_jax.report import summary_plots
from lime_jax.separation import one_vs_all
from scripts.experiments.common import command_line, corpus, early_stopping, results
from scripts.experiments.common.results import Picture, where
from scripts.experiments.confounder import classifier
from scripts.experiments.confounder import excerpts as confounder
from scripts.experiments.confounder.classifier import OUTPUT_NAMES, SAMPLE_RATE, Clips
from scripts.experiments.confounder.excerpts import TEST_SETS, VARIANTS, Excerpts
from scripts.experiments.confounder.tables import (
    ORACLE,
    RESIDUAL,
    accuracies,
    cells_of,
    figures_of,
    table_2,
    table_3,
)
from scripts.training import separator as train_separator

BATCH_SIZE = 64
SPLEETER = "spleeter:5stems"
Components = dict[str, tuple[tuple[str, ...], np.ndarray]]  # names and stems, by separator
Test = tuple[Excerpts, Components]


@dataclasses.dataclass(frozen=True)
class Size:
    """How much of the experiment is run."""

    num_seeds: int
    max_songs: int | None
    training: classifier.Training


SIZES = {
    "smoke": Size(1, 24, classifier.Training(8, 64, num_epochs=2, num_snippets=8)),
    "default": Size(
        10, None, classifier.Training(8, 128, num_epochs=16, num_snippets=4, patience=5)
    ),
    "full": Size(10, None, classifier.Training()),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """What to run.

    Attributes:
      songs: a folder that `render_songs.py` filled, or Slakh2100.
      output_dir: where weights, tables and pictures go; experiments/confounder if not given, with
        -smoke or -full behind it.
      smoke: few songs, one seed and a tiny network, to see that all of it works.
      full: the published network and training, for an accelerator.
      num_seeds: networks of every variant; 10 if not given, 1 for smoke.
      max_songs: of every split; what the size says if not given.
      variants: gpdb, mixtures with a bass, and gpdbs, with strings too; one process may do the one
        and another the other.
      separators: beside the stems themselves; if not given, one-vs-all, and spleeter:5stems where
        its weights were fetched.
      seed: of the excerpts, and of the first network.
    """

    songs: Path = Path("songs")
    output_dir: Path | None = None
    smoke: bool = False
    full: bool = False
    num_seeds: int | None = None
    max_songs: int | None = None
    variants: tuple[str, ...] = tuple(VARIANTS)
    separators: tuple[str, ...] | None = None
    seed: int = 0

    @property
    def size(self) -> Size:
        """How much of the experiment is run."""
        size = command_line.chosen(SIZES, smoke=self.smoke, full=self.full)
        number = size.num_seeds if self.num_seeds is None else self.num_seeds
        return dataclasses.replace(
            size, num_seeds=number, max_songs=self.max_songs or size.max_songs
        )

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        return command_line.folder("confounder", self)


def check(config: Config) -> None:
    """Refuses what cannot be meant, before anything is read."""
    if not config.variants or not set(config.variants) <= set(VARIANTS):
        given = " ".join(config.variants) or "none"
        raise ValueError(f"`--variants` must be of {', '.join(VARIANTS)}, got {given}.")
    if config.size.num_seeds < 1:
        raise ValueError(f"`--num-seeds` must be at least 1, got {config.size.num_seeds}.")
    for name in config.separators or ():
        separation.card(name)


def separators_of(config: Config) -> dict[str, separation.Separator]:
    """Returns the separators asked for, or those that can be had.

    Raises:
      ModelError: if the weights of one are not here.
    """
    names = config.separators
    if names is None:
        names = (one_vs_all.NAME, *([SPLEETER] if separation.is_fetched(SPLEETER) else []))
    return {name: separator_of(config, name) for name in names}


def separator_of(config: Config, name: str) -> separation.Separator:
    if name != one_vs_all.NAME or not config.smoke:
        return separation.load(name)
    return train_separator.quickly(config.songs, config.folder / "separator")


def stems_by_separator(
    excerpts: Excerpts, variant: str, separators: dict[str, separation.Separator]
) -> Components:
    """Returns names and waveforms of the components of every excerpt, for every way to get them."""
    found = {ORACLE: (confounder.stem_names(variant), excerpts.stems)}
    mixes = excerpts.stems.sum(axis=1)
    for name, separator in separators.items():
        separated = [separator(mix, SAMPLE_RATE) for mix in mixes]
        names, stems = separated[0].names, np.stack([one.waveforms for one in separated])
        residual = mixes - stems.sum(axis=1)
        found[name] = (names, stems)
        found[name + RESIDUAL] = (
            (*names, "residual"),
            np.concatenate([stems, residual[:, None]], axis=1),
        )
    return found


def explain(predict: Any, stems: np.ndarray) -> lj.Explanation:
    """Returns LIME on all masks, as in the paper."""
    components = jax.vmap(lj.from_stems)(jnp.asarray(stems))
    # A batch size that was found by timing could be another one, and round otherwise, next time.
    return lj.explain_batch(predict, components, lj.exhaustive(), batch_size=BATCH_SIZE)


def rows_of(predict: Any, excerpts: Excerpts, components: Components) -> Iterator[dict[str, Any]]:
    """Yields the explanation of the predicted class, for every excerpt and separator."""
    probabilities = np.asarray(predict(jnp.asarray(excerpts.stems.sum(axis=1))))
    predicted = probabilities.argmax(axis=1)
    for separator, (names, stems) in components.items():
        found = explain(predict, stems)
        coefficients, fidelity = np.asarray(found.coefficients), np.asarray(found.fidelity)
        for item, output in enumerate(predicted):
            weights = coefficients[item, output]
            top = int(weights.argmax())
            yield {
                "separator": separator,
                "song": excerpts.songs[item],
                "label": excerpts.labels[item],
                "predicted": OUTPUT_NAMES[output],
                "probability": float(probabilities[item, output]),
                "top": names[top] if weights[top] > 0 else None,
                "components": list(names),
                "weights": weights.tolist(),
                "fidelity": float(fidelity[item, output]),
            }


def trained(config: Config, variant: str, seed: int, data: "Data") -> classifier.GuitarOrPiano:
    """Returns the network of a seed, from disk or trained now."""
    folder = config.folder / "weights" / f"{variant}-{seed}"
    how = config.size.training
    if (arrays := early_stopping.kept(folder)) is None:
        train, validation = data.clips(variant)
        arrays = classifier.train(how, train, validation, seed=seed)
        early_stopping.keep(folder, arrays, origin="scripts/experiments/confounder/reproduce.py")
    return classifier.from_arrays(how.network, arrays, source=str(folder))


class Data:
    """Clips and excerpts of the variant in hand, read when they are needed."""

    def __init__(self, config: Config) -> None:
        self.songs, self.separators = corpus.songs_of(config.songs), separators_of(config)
        self._config = config
        self._clips: dict[str, list[Clips]] = {}
        self._tests: dict[str, dict[str, Test]] = {}

    def clips(self, variant: str) -> list[Clips]:
        """To train and validate with."""
        if variant not in self._clips:
            songs = [self._of(variant, split) for split in ("train", "validation")]
            self._clips = {variant: [confounder.clips_of(some, variant) for some in songs]}
        return self._clips[variant]

    def excerpts(self, variant: str) -> dict[str, Excerpts]:
        """By test set."""
        songs = self._of(variant, "test")
        return confounder.excerpts_of(songs, variant, seed=self._config.seed)

    def tests(self, variant: str) -> dict[str, Test]:
        """Excerpts and their components, by test set."""
        if variant not in self._tests:

            def split(one):
                return stems_by_separator(one, variant, self.separators)

            found = self.excerpts(variant)
            self._tests = {variant: {name: (one, split(one)) for name, one in found.items()}}
        return self._tests[variant]

    def settings(self) -> dict[str, Any]:
        """Returns what the numbers depend on."""
        size = self._config.size
        versions = {name: separator.version for name, separator in self.separators.items()}
        return {
            "songs": corpus.fingerprint(self.songs),
            "max_songs": size.max_songs,
            "training": size.training,
            "separators": versions,
            "seed": self._config.seed,
        }

    def _of(self, variant: str, split: str) -> list[corpus.Song]:
        return confounder.songs_for(self.songs, variant, split, self._config.size.max_songs)


def unit_of(config: Config, variant: str, seed: int, is_trained: bool, data: Data) -> list[dict]:
    """Returns all explanations of one network, from disk or made now."""
    path = config.folder / "parts" / f"{'' if is_trained else 'untrained-'}{variant}-{seed}.parquet"
    if not path.exists():
        start = time.perf_counter()
        if is_trained:
            predict, sets = trained(config, variant, seed, data), data.tests(variant)
        else:
            predict = classifier.untrained(config.size.training.network, 1000 + seed)
            sets = {"t_dr-pno": one_per_song(data.tests(variant)["t_dr-pno"], seed)}
        common = {"variant": variant, "seed": seed, "trained": is_trained}
        rows = [
            {**common, "test_set": test_set, **row}
            for test_set, (excerpts, components) in sets.items()
            for row in rows_of(predict, excerpts, components)
        ]
        seconds = time.perf_counter() - start
        results.write_table(path, [{**row, "seconds": seconds} for row in rows])
        kind = "trained" if is_trained else "untrained"
        print(f"{variant}, seed {seed}, {kind}: {accuracies(rows)}, {seconds:.0f} s", flush=True)
    return results.read_table(path)


def one_per_song(test: Test, seed: int) -> Test:
    """Returns one random excerpt of every song, with its components."""
    excerpts, components = test
    chosen = confounder.one_per_song(excerpts, seed=seed)
    few = Excerpts(
        excerpts.stems[chosen],
        tuple(excerpts.labels[n] for n in chosen),
        tuple(excerpts.songs[n] for n in chosen),
    )
    return few, {name: (names, stems[chosen]) for name, (names, stems) in components.items()}


def repeats(config: Config, rows: Sequence[dict], data: Data) -> bool:
    """Whether the explanations of the first network are the same bit for bit, made again."""
    first = config.variants[0]
    excerpts = data.excerpts(first)["t_dr-pno"]
    components = {ORACLE: (confounder.stem_names(first), excerpts.stems)}
    again = rows_of(trained(config, first, config.seed, data), excerpts, components)
    stored = where(rows, variant=first, seed=config.seed, test_set="t_dr-pno", separator=ORACLE)
    return [row["weights"] for row in again] == [row["weights"] for row in stored]


def pictures_of(config: Config, cells: Sequence[dict]) -> list[Picture]:
    """Figures 2 and 3, with the one-vs-all separator if it is there."""
    separators = {cell["separator"] for cell in cells}
    last = config.variants[-1]
    chosen = one_vs_all.NAME if one_vs_all.NAME in separators else ORACLE
    pictures = []
    for test_set in TEST_SETS:
        some = where(cells, trained=True, separator=chosen, test_set=test_set, variant=last)
        pictures.append(
            picture(config, f"figure-2-{test_set}.png", some,
                    f"Figure 2, {test_set}: the most important component of trained networks "
                    f"({last}, {chosen}), by label and prediction.")
        )  # fmt: skip
    some = where(cells, trained=False, separator=chosen)
    caption = f"Figure 3: the same for untrained networks ({last}, {chosen}) on t_dr-pno."
    return [*pictures, picture(config, "figure-3.png", some, caption)]


def picture(config: Config, file: str, cells: Sequence[dict], caption: str) -> Picture:
    results.write_bytes(config.folder / file, summary_plots.cells_picture(cells))
    return Picture(file, caption)


def differences(config: Config, rows: Sequence[dict]) -> list[str]:
    how = config.size.training
    number = len({row["song"] for row in rows})
    lines = [
        f"The songs of `{config.songs.name}`, {number} of them for tests with an excerpt per class "
        "and test set, instead of Slakh2100.",
        f"VGG16 with {how.width} filters in its first layer and {how.num_units} hidden units "
        f"(published: 64 and 4096), at most {how.num_epochs} epochs, patience {how.patience}.",
        "Silence of more than a second in the target, or in drums that belong to it, is cut out.",
        "Table 3 is about misclassifications, as the paper's text says, and once more about all "
        "predictions of guitar, as its caption can be read: some are right, of guitar without "
        "drums, and drums that do not play cannot be on top.",
        "The separator has a stem for strings in gpdb too, where none play.",
        "The imperfect separator is ours (scripts/training/separator.py), not Cerberus or the "
        "published one-vs-all networks.",
        "Predictions of piano are made where no drums play, so there is nothing for drums to "
        "explain: the share of drums in those cells is reported without a condition. What a true "
        "but silent stem gets there is what LIME's ridge takes from the others.",
    ]
    if not any(row["separator"] == SPLEETER for row in rows):
        lines.append(f"Without {SPLEETER}, whose weights were not there.")
    return lines


def run(config: Config) -> results.Summary:
    """Trains, explains, counts and draws."""
    check(config)
    start, data = time.perf_counter(), Data(config)
    results.begin(config.folder, data.settings())
    seeds = range(config.seed, config.seed + config.size.num_seeds)
    rows = [
        row
        for variant in config.variants
        for seed in seeds
        for row in unit_of(config, variant, seed, True, data)
    ]
    last = config.variants[-1]
    untrained = [row for seed in seeds for row in unit_of(config, last, seed, False, data)]
    folder, cells = config.folder, cells_of([*rows, *untrained])
    results.write_table(folder / "explanations.parquet", [*rows, *untrained])
    results.write_table(folder / "table-2.parquet", table_2(rows))
    results.write_table(folder / "table-3.parquet", table_3(rows))
    results.write_table(folder / "cells.parquet", cells)
    is_same = repeats(config, rows, data)
    made = {(r["variant"], r["seed"], r["trained"]): r["seconds"] for r in [*rows, *untrained]}
    summary = results.Summary(
        title="Find the drums",
        paper="Haunschmid, Manilow, Widmer: Towards Musically Meaningful Explanations Using Source "
        "Separation, 2020, section 4",
        claim="Explanations find the confounder that a network judges by, whether it is right or "
        "wrong, with true stems and with imperfect ones; untrained networks give no such picture.",
        command=command_line.command(__file__, config),
        figures=figures_of(rows, untrained, is_same),
        differences=differences(config, rows),
        pictures=pictures_of(config, cells),
        minutes=max(sum(made.values()), time.perf_counter() - start) / 60,
        config=storage.plain(config),
    )
    results.write(folder, summary)
    return summary


if __name__ == "__main__":
    sys.exit(command_line.main(run, Config))
