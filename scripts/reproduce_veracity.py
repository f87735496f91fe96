"""Do explanations find the part of the input that an adversary changed?

Repeats, with a detector of instruments instead of one of singing voices: Verena Praher, Katharina
Prinz, Arthur Flexer, Gerhard Widmer: On the Veracity of Local, Model-agnostic Explanations in Audio
Classification: Targeted Investigations with Adversarial Examples, ISMIR 2021.

    uv run --script scripts/render_songs.py --composer band --num-songs 400 --duration 30
    uv run scripts/reproduce_veracity.py --songs songs        # about 3 min, two cores

Test songs are cut into excerpts in which a family of instruments plays, or from which its stem is
left out. Adversaries change what the network hears, as waveform or as spectrogram, until it takes
one for the other. LIME explains the changed excerpt, and four measures compare what it finds with
what was changed: flip counts, subsets of the change, fidelity, and marks drawn by hand. The folder
`--output-dir` then holds a table and a picture of each, and `summary.json` with the paper's numbers
beside these. The same command goes on where it was stopped.
"""

import dataclasses
import functools
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lime_jax as lj
from lime_jax.errors import unknown_name
from lime_jax.experiments import adversaries, corpus, results, script
from lime_jax.experiments.adversaries import Attack, Detector
from lime_jax.experiments.results import where
from lime_jax.models.base import Tagger
from lime_jax.models.instrument_tagger import load_instrument_tagger
from lime_jax.report import look

DOMAINS = ("waveform", "spectrogram")
DIRECTIONS = {"rests to plays": True, "plays to rests": False}  # and the target
PARTS = tuple(itertools.product(DOMAINS, DIRECTIONS))
TABLES = ("adversaries", "flips", "subsets", "fidelity")
GRID = (5, 4)
NUM_COMPONENTS = math.prod(GRID)
SUBSETS = (1, 3, 5)
AMPLITUDES = (0.25, 0.5, 1.0, 1.5)

# Their numbers, in the order of `PARTS`.
TABLE_1 = (53, 21, 41, 32)
TABLE_2 = {"lime": (86, 49, 91, 44), "energy": (99, 74, 98, 55)}
MEDIANS = {"waveform": (0.71, 0.68), "spectrogram": (0.74, 0.67)}

Row = dict[str, Any]
Rows = list[Row]


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
        moves the logit of this network by about one, as a step on the waveform does; with smaller
        ones adversaries stop at the very boundary, where nothing but the whole change flips it.
      spectrogram_alpha: see `spectrogram_rate`.
      spectrogram_epsilon: see `spectrogram_rate`.
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

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        return script.folder("veracity", self)


@dataclasses.dataclass(frozen=True)
class Excerpts:
    """Excerpts about which the network is right; `which` holds the song and the start of each."""

    which: Rows
    waveforms: np.ndarray


@dataclasses.dataclass(frozen=True)
class Cases:
    """Adversaries that reached their target: whose they are, and patches before and after."""

    which: Rows
    target: bool
    clean: jax.Array
    changed: jax.Array

    @property
    def labels(self) -> jax.Array:
        """The component of every element of a patch."""
        return lj.grid(GRID, self.clean.shape[1:])

    @property
    def energies(self) -> jax.Array:
        """Of the change, in every component."""
        return adversaries.energies(self.changed - self.clean, self.labels, NUM_COMPONENTS)

    def towards(self, coefficients: jax.Array) -> jax.Array:
        """How much components speak for the target."""
        return coefficients if self.target else -coefficients

    def reached(self, detector: Detector, masks: jax.Array) -> np.ndarray:
        """Whether the label flips where only the components of a mask are changed."""
        says_yes = adversaries.says_yes(detector, self.clean, self.changed, self.labels, masks)
        return np.asarray(says_yes) == self.target


def size_of(config: Config) -> Size:
    """How much a configuration asks for."""
    size = script.chosen(SIZES, smoke=config.smoke, full=config.full)
    if config.num_songs is None:
        return size
    return dataclasses.replace(size, num_songs=config.num_songs)


def attack_of(config: Config, size: Size, domain: str) -> Attack:
    """How adversaries search in a domain."""
    numbers = {
        "waveform": (config.waveform_rate, config.waveform_alpha, config.waveform_epsilon),
        "spectrogram": (
            config.spectrogram_rate, config.spectrogram_alpha, config.spectrogram_epsilon
        ),
    }  # fmt: skip
    return Attack(*numbers[domain], num_steps=size.num_steps)


def in_batches(function: Callable[..., Any], *arrays: Any, size: int = 64) -> Any:
    """Calls a function on batches of one shape, the last filled up, and joins what it returns."""
    num = len(arrays[0])
    size = min(size, num)
    rows = np.minimum(np.arange(num + -num % size), num - 1).reshape(-1, size)
    found = [function(*(jnp.asarray(array[some]) for array in arrays)) for some in rows]
    return jax.tree.map(lambda *pieces: jnp.concatenate(pieces)[:num], *found)


def patches_of(detector: Detector, waveforms: Any) -> jax.Array:
    """What the network sees of excerpts."""
    return in_batches(functools.partial(_patches, detector), waveforms)


_patches = jax.jit(Detector.patches)
_logits = jax.jit(Detector.logits)


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
    """The excerpts about which the network is right before anything is changed."""
    target, right = DIRECTIONS[direction], np.zeros(0, bool)
    if which:
        patches = patches_of(detector, np.stack(waveforms))
        right = np.asarray(in_batches(functools.partial(_logits, detector), patches) > 0) != target
    if not right.any():
        raise ValueError(
            f"`songs` has no test excerpt for {direction!r} about which the network is right. Use "
            "more songs, or another `output`."
        )
    kept = np.flatnonzero(right)
    return Excerpts([which[n] for n in kept], np.stack([waveforms[n] for n in kept]))


def explained(
    detector: Detector, patches: jax.Array, num_samples: int, key: jax.Array
) -> tuple[jax.Array, np.ndarray]:
    """Weights `(num_patches, num_components)` and fidelity of the explanation of every patch."""
    if not len(patches):
        return jnp.zeros((0, NUM_COMPONENTS)), np.zeros(0)
    labels = lj.grid(GRID, patches.shape[1:])
    cut = lambda patch: lj.from_labels(patch, labels, NUM_COMPONENTS, lj.fills.mean(patch))
    found = lj.explain_batch(detector, jax.vmap(cut)(patches), lj.lime(num_samples), key=key)
    return found.coefficients[:, 0], np.asarray(found.fidelity[:, 0])


def attacked(
    detector: Detector, excerpts: Excerpts, domain: str, target: bool, settings: Attack
) -> tuple[Rows, Cases]:
    """A row about every adversary, and those that reached their target in several steps."""
    clean = patches_of(detector, excerpts.waveforms)
    is_waveform = domain == "waveform"
    inputs = jnp.asarray(excerpts.waveforms) if is_waveform else clean
    model = adversaries.Hearing(detector) if is_waveform else detector
    found = in_batches(lambda x: adversaries.attack(model, x, target, settings), inputs)
    changed = inputs + found.delta
    changed = patches_of(detector, changed) if is_waveform else changed
    noise = np.asarray(adversaries.signal_to_noise(inputs, found.delta))
    rows = [
        {**which, "success": bool(success), "steps": int(steps), "snr_db": float(decibels)}
        for which, success, steps, decibels in zip(
            excerpts.which, found.success, found.num_steps, noise, strict=True
        )
    ]
    # A single step moves every element equally far: nothing then ranks components by energy.
    kept = np.flatnonzero(found.success & (found.num_steps > 1))
    cases = Cases([excerpts.which[n] for n in kept], target, clean[kept], changed[kept])
    return rows, cases


def flips_of(detector: Detector, cases: Cases, coefficients: jax.Array) -> Rows:
    """Which labels flip when only the top components of the change are added, for every number."""
    strength = cases.towards(coefficients)
    num_right = np.asarray((strength > 0).sum(axis=1)).tolist()
    rows = []
    for selection, ranked_by in {"lime": strength, "energy": cases.energies}.items():
        flipped = cases.reached(detector, adversaries.strongest(ranked_by))
        for which, right, flips in zip(cases.which, num_right, flipped, strict=True):
            rows += [
                {
                    **which,
                    "selection": selection,
                    "k": k,
                    "flipped": bool(flip),
                    "right_sign": k == right,
                }
                for k, flip in enumerate(flips, start=1)
            ]
    return rows


def subsets_of(detector: Detector, cases: Cases, num_samples: int, key: jax.Array) -> Rows:
    """How many of the only components that are changed an explanation finds, where that flips."""
    masks = adversaries.strongest(cases.energies)[:, jnp.array(SUBSETS) - 1]
    who, subset = np.nonzero(cases.reached(detector, masks))
    masks = masks[who, subset]
    patches = adversaries.transplanted(cases.clean[who], cases.changed[who], cases.labels, masks)
    coefficients, fidelity = explained(detector, patches, num_samples, key)
    ranked = adversaries.strongest(cases.towards(coefficients))
    top = ranked[np.arange(len(who)), np.array(SUBSETS)[subset] - 1]
    hits = np.asarray((top & masks).sum(axis=1))
    return [
        {**cases.which[n], "k": SUBSETS[s], "hits": int(hit), "r2": float(r2)}
        for n, s, hit, r2 in zip(who, subset, hits, fidelity, strict=True)
    ]


def measured(
    detector: Detector, excerpts: Excerpts, part: tuple[str, str], settings: Attack, size: Size,
    key: jax.Array,
) -> dict[str, Rows]:  # fmt: skip
    """All tables about one domain and direction."""
    domain, direction = part
    key_all, key_subsets = jax.random.split(key)
    rows, cases = attacked(detector, excerpts, domain, DIRECTIONS[direction], settings)
    flips, subsets = [], []
    if cases.which:
        coefficients, _ = explained(detector, cases.changed, size.num_samples, key_all)
        flips = flips_of(detector, cases, coefficients)
        subsets = subsets_of(detector, cases, size.num_samples, key_subsets)
    single = [row for row in subsets if row["k"] == 1]
    columns = ("song", "start", "r2")
    fidelity = [{**{c: row[c] for c in columns}, "hit": row["hits"] == 1} for row in single]
    tables = zip(TABLES, (rows, flips, subsets, fidelity), strict=True)
    here = {"domain": domain, "direction": direction}
    return {name: [{**here, **row} for row in table] for name, table in tables}


@jax.jit
def marked_probabilities(detector: Detector, clean: jax.Array, drawings: jax.Array) -> jax.Array:
    """What the detector says of every patch with every drawing, `(num_patches, num_drawings)`."""
    return jax.lax.map(lambda patch: detector(patch[None] + drawings)[:, 0], clean)


def horses_of(
    detector: Detector, excerpts: Excerpts, num_samples: int, key: jax.Array
) -> dict[str, Rows]:
    """For every excerpt the faintest mark that makes the family play, and what explains it."""
    clean = patches_of(detector, excerpts.waveforms)
    marks = adversaries.marks(GRID, clean.shape[1:])
    drawings = jnp.asarray(np.stack([mark.drawing for mark in marks]))
    probabilities = np.stack(
        [np.asarray(marked_probabilities(detector, clean, a * drawings)) for a in AMPLITUDES], 1
    )
    faintest, best = adversaries.faintest(probabilities)
    flipped = np.flatnonzero(faintest < len(AMPLITUDES))
    amplitudes = np.float32(AMPLITUDES)[faintest[flipped]]
    patches = clean[flipped] + amplitudes[:, None, None] * drawings[best[flipped]]
    coefficients, fidelity = explained(detector, patches, num_samples, key)
    before = np.asarray(in_batches(detector, clean))[:, 0]
    rows = [
        {**which, "before": float(p), "flipped": False}
        | dict.fromkeys(("mark", "covers", "amplitude", "after", "top", "hit", "r2", "weights"))
        for which, p in zip(excerpts.which, before, strict=True)
    ]
    for n, weights, r2 in zip(flipped, np.asarray(coefficients), fidelity, strict=True):
        mark, top = marks[best[n]], int(weights.argmax())
        rows[n] |= {
            "flipped": True, "mark": mark.shape, "covers": list(mark.components),
            "amplitude": AMPLITUDES[faintest[n]],
            "after": float(probabilities[n, faintest[n], best[n]]), "top": top,
            "hit": top in mark.components, "r2": float(r2), "weights": weights.tolist(),
        }  # fmt: skip
    return {"horses": rows}


def stored(folder: Path, make: Callable[[], Mapping[str, Rows]]) -> dict[str, Rows]:
    """The tables of a part, made if they are not all there yet."""
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
    """How long the parts took that are there already."""
    markers = (config.folder / "parts").glob("*/minutes.json")
    return math.fsum(json.loads(path.read_text(encoding="utf-8")) for path in markers)


def tables_of(
    config: Config, size: Size, detector: Detector, excerpts: Mapping[str, Excerpts]
) -> dict[str, Rows]:
    """All tables, from parts that are stored one by one."""
    parts, keys = config.folder / "parts", jax.random.split(jax.random.key(config.seed), 5)
    tables: dict[str, Rows] = {name: [] for name in TABLES}
    for part, key in zip(PARTS, keys, strict=False):
        settings = attack_of(config, size, part[0])
        here = excerpts[part[1]]
        make = functools.partial(measured, detector, here, part, settings, size, key)
        found = stored(parts / "-".join(part).replace(" ", "-"), make)
        for name in TABLES:
            tables[name] += found[name]
    rests = excerpts["rests to plays"]
    make = functools.partial(horses_of, detector, rests, size.num_samples, keys[-1])
    tables |= stored(parts / "horses", make)
    for name, rows in tables.items():
        results.write_table(config.folder / f"{name}.parquet", rows)
    return tables


def column(rows: Rows, name: str) -> list:
    return [row[name] for row in rows]


def median(values: Sequence[float], unit: str = "") -> str:
    return f"{np.median(values):.2f}{unit}" if len(values) else "none"


def figures_of(tables: Mapping[str, Rows]) -> list[results.Figure]:
    """The paper's numbers and these."""
    return [
        *adversary_figures(tables["adversaries"]),
        *flip_figures(tables["flips"]),
        *subset_figures(tables["subsets"]),
        *fidelity_figures(tables["fidelity"]),
        *horse_figures(tables["horses"]),
    ]


def adversary_figures(rows: Rows) -> list[results.Figure]:
    figures = []
    for part in PARTS:
        here = where(rows, domain=part[0], direction=part[1])
        found = where(here, success=True)
        told = f"{results.percent(len(found), len(here))}, {median(column(found, 'snr_db'), ' dB')}"
        name = f"successful adversaries and their median SNR, {', '.join(part)}"
        figures.append(results.Figure(name, None, told))
    return figures


def flip_figures(rows: Rows) -> list[results.Figure]:
    figures = []
    for number, part in enumerate(PARTS):
        here, named = where(rows, domain=part[0], direction=part[1]), ", ".join(part)
        three = {s: column(where(here, k=3, selection=s), "flipped") for s in TABLE_2}
        num = len(three["lime"])
        told = {s: results.percent(sum(flips), num) for s, flips in three.items()}
        holds = sum(three["energy"]) >= sum(three["lime"]) if num else None
        wish = "energy at least as good as LIME"
        paper = f"{TABLE_1[number]} %"
        figures += [
            results.Figure(f"flips by the 3 top components of LIME, {named}", paper, told["lime"]),
            results.Figure(f"the same by energy, {named}", None, told["energy"], wish, holds),
        ]
        for selection, values in TABLE_2.items():
            flips = sum(column(where(here, right_sign=True, selection=selection), "flipped"))
            by = "LIME" if selection == "lime" else "energy, as many"
            name = f"flips by all components of the right sign, {by}, {named}"
            figures.append(results.Figure(name, f"{values[number]} %", results.percent(flips, num)))
    last = column(where(rows, k=NUM_COMPONENTS), "flipped")
    told, wish = results.percent(sum(last), len(last)), "all flip"
    holds = all(last) if last else None
    return [*figures, results.Figure("flips by all components", "100 %", told, wish, holds)]


def subset_figures(rows: Rows) -> list[results.Figure]:
    figures = []
    papers = {3: "mostly 1 or 2", 5: "mostly 2 or 3"}
    for part, k in itertools.product(PARTS, SUBSETS):
        hits = column(where(rows, domain=part[0], direction=part[1], k=k), "hits")
        paper = papers.get(k, "10 %" if part == ("waveform", "plays to rests") else "40 to 50 %")
        told = f"{np.mean(hits):.2f} on average of {len(hits)}" if hits else "none"
        told = results.percent(sum(hits), len(hits)) if k == 1 else told
        name = f"found of the {k} changed components" if k > 1 else "found the changed component"
        figures.append(results.Figure(f"{name}, {', '.join(part)}", paper, told))
    return figures


def fidelity_figures(rows: Rows) -> list[results.Figure]:
    figures = []
    for domain, paper in MEDIANS.items():
        hit, missed = (column(where(rows, domain=domain, hit=hit), "r2") for hit in (True, False))
        both = bool(hit and missed)
        apart = abs(np.median(hit) - np.median(missed)) if both else None
        figures.append(
            results.Figure(
                f"median R² of explanations that hit | that miss, {domain}",
                f"{paper[0]:.2f} | {paper[1]:.2f}",
                f"{median(hit)} | {median(missed)}",
                "less than 0.1 apart",
                bool(apart < 0.1) if both else None,
            )
        )
    return figures


def horse_figures(rows: Rows) -> list[results.Figure]:
    found = where(rows, flipped=True)
    hits, chance = sum(column(found, "hit")), np.sum([len(row["covers"]) for row in found])
    told = f"{results.percent(hits, len(found))}"
    if found:
        told += f" (by chance {100 * chance / len(found) / NUM_COMPONENTS:.0f} %)"
    wish = "more than half"
    return [
        results.Figure("rests that a mark turns into plays", "3 shown",
                       results.percent(len(found), len(rows))),
        results.Figure("explanations whose top component the mark covers", "3 of 3", told, wish,
                       2 * hits > len(found) if found else None),
        results.Figure("median R² of these explanations", "0.68, 0.74 and 0.96",
                       median(column(found, "r2"))),
    ]  # fmt: skip


def draw_flips(rows: Rows) -> Any:
    """The share of labels that flip over the number of components, as Figure 2 of the paper."""
    figure = look.figure(6.4)
    panels = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
    styles = {
        "energy": (look.AGAINST, "o", "energy of the change"),
        "lime": (look.FOR, "s", "LIME"),
    }
    counts = range(1, NUM_COMPONENTS + 1)
    for axes, part in zip(panels, PARTS, strict=True):
        here = where(rows, domain=part[0], direction=part[1])
        for selection, (colour, marker, label) in styles.items():
            chosen = [column(where(here, selection=selection, k=k), "flipped") for k in counts]
            shares = [100 * np.mean(flips) if flips else np.nan for flips in chosen]
            axes.plot(counts, shares, color=colour, marker=marker, markersize=4, label=label)
        told = f"{', '.join(part)} ({len(here) // (2 * NUM_COMPONENTS)})"
        axes.set_title(told, fontsize=look.SMALL, color=look.INK)
        axes.set_xticks([1, 3, 5, 10, 15, 20])
        look.dress(axes)
    panels[0].legend(loc="lower right", fontsize=look.SMALL, frameon=False)
    figure.supxlabel("components of the change that are added", fontsize=look.TEXT)
    figure.supylabel("labels that flip (%)", fontsize=look.TEXT)
    return figure


def draw_subsets(rows: Rows) -> Any:
    """How many of the changed components were found, as Figure 3 of the paper."""
    figure = look.figure(8.2)
    panels = figure.subplots(len(PARTS), len(SUBSETS), sharey=True, width_ratios=(2, 4, 6))
    for (part, k), axes in zip(itertools.product(PARTS, SUBSETS), panels.ravel(), strict=True):
        hits = column(where(rows, domain=part[0], direction=part[1], k=k), "hits")
        shares = np.bincount(hits, minlength=k + 1) / max(len(hits), 1)
        axes.bar(range(k + 1), 100 * shares, color=look.FOR, width=0.7, label="LIME")
        axes.plot(
            range(k + 1), [100 * p for p in by_chance(k)], color=look.INK, marker="_",
            markersize=16, markeredgewidth=2, linestyle="none", label="by chance",
        )  # fmt: skip
        axes.set_xticks(range(k + 1))
        axes.set_title(f"{k} changed, {len(hits)} flip", fontsize=look.SMALL, color=look.INK)
        look.dress(axes)
    for axes, part in zip(panels[:, 0], PARTS, strict=True):
        axes.set_ylabel(f"{part[0]},\n{part[1]} (%)", fontsize=look.SMALL)
    panels[0, -1].legend(loc="upper right", fontsize=look.SMALL, frameon=False)
    figure.supxlabel("of them among as many top components", fontsize=look.TEXT)
    return figure


def by_chance(k: int) -> list[float]:
    """How likely `k` components drawn blindly are to hold 0, 1, … of the `k` changed ones."""
    others = NUM_COMPONENTS - k
    return [
        math.comb(k, hits) * math.comb(others, k - hits) / math.comb(NUM_COMPONENTS, k)
        for hits in range(k + 1)
    ]


def draw_fidelity(rows: Rows) -> Any:
    """Fidelity of explanations that hit and of those that miss, as Figure 4 of the paper."""
    figure = look.figure(3.8)
    panels = figure.subplots(1, len(PARTS), sharey=True)
    for axes, part in zip(panels, PARTS, strict=True):
        here = where(rows, domain=part[0], direction=part[1])
        values = [column(where(here, hit=hit), "r2") for hit in (True, False)]
        names = [f"{n}\n({len(v)})" for n, v in zip(("hit", "miss"), values, strict=True)]
        drawn = axes.boxplot(values, widths=0.5, patch_artist=True, medianprops={"color": look.INK})
        for box, colour in zip(drawn["boxes"], (look.FOR, look.AGAINST), strict=True):
            box.set_facecolor(colour)
            box.set_alpha(0.6)
        axes.set_xticks([1, 2], names)
        axes.set_title("\n".join(part), fontsize=look.SMALL, color=look.INK)
        look.dress(axes)
    panels[0].set_ylim(0, 1.02)
    panels[0].set_ylabel("fidelity (R²)")
    return figure


def draw_horses(rows: Rows, detector: Detector, excerpts: Excerpts) -> Any:
    """The excerpt that a mark flips furthest: as it was, marked, and its explanation."""
    figure = look.figure(3.6)
    number = max(range(len(rows)), key=lambda n: rows[n]["after"] or 0.0)
    row = rows[number]
    clean = np.asarray(patches_of(detector, excerpts.waveforms[number : number + 1]))[0]
    if not row["flipped"]:
        told = "No mark of the grid makes the network hear the family."
        figure.text(0.5, 0.5, told, ha="center", **look.plain_text())
        return figure
    marks = adversaries.marks(GRID, clean.shape)
    named = (row["mark"], tuple(row["covers"]))
    mark = next(mark for mark in marks if (mark.shape, mark.components) == named)
    patch = clean + np.float32(row["amplitude"]) * mark.drawing
    weights = np.asarray(row["weights"])[np.asarray(lj.grid(GRID, clean.shape))]
    panels = figure.subplots(1, 3, sharey=True)
    titles = (
        f"clean: p = {row['before']:.2f}",
        f"marked: p = {row['after']:.2f}",
        f"LIME's weights: R² = {row['r2']:.2f}",
    )
    for axes, values, told in zip(panels, (clean, patch, weights), titles, strict=True):
        of_weights = {"cmap": look.colormap(), "norm": look.norm(weights)}
        style = of_weights if values is weights else {"cmap": "viridis", "vmax": patch.max()}
        shown = axes.imshow(values.T, origin="lower", aspect="auto", **style)
        axes.set_title(told, fontsize=look.SMALL, color=look.INK)
        axes.set_xlabel("frame")
        look.dress(axes)
    panels[-1].contour(mark.drawing.T, levels=[0.5], colors=look.INK, linewidths=0.8)
    figure.colorbar(shown, ax=panels[-1], pad=0.02)
    panels[0].set_ylabel("mel band")
    return figure


def pictures_of(
    config: Config, tables: Mapping[str, Rows], detector: Detector, excerpts: Excerpts
) -> list[results.Picture]:
    """Draws and stores all pictures."""
    drawn = {
        "flips": (draw_flips(tables["flips"]), "Labels that flip when only the top components of "
                  "the change are added, chosen by LIME or by energy"),
        "subsets": (draw_subsets(tables["subsets"]), "How many of the changed components LIME "
                    "finds, where no others were changed"),
        "fidelity": (draw_fidelity(tables["fidelity"]), "Fidelity of explanations that find the "
                     "changed component and of those that do not"),
        "horses": (draw_horses(tables["horses"], detector, excerpts), "A mark drawn on the "
                   f"spectrogram makes the network hear {config.output}"),
    }  # fmt: skip
    for name, (figure, caption) in drawn.items():
        figure.suptitle(caption, x=0.01, ha="left", fontsize=look.TEXT, **look.plain_text())
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
    results.begin(config.folder, {**settings, "songs": corpus.fingerprint(songs)})
    excerpts = excerpts_of(config, size, songs, tagger, detector)
    tables = tables_of(config, size, detector, excerpts)
    pictures = pictures_of(config, tables, detector, excerpts["rests to plays"])
    summary = results.Summary(
        title="Veracity: do explanations find what an adversary changed?",
        paper="Praher, Prinz, Flexer, Widmer: On the Veracity of Local, Model-agnostic "
        "Explanations in Audio Classification: Targeted Investigations with Adversarial Examples, "
        "ISMIR 2021",
        claim="Explanations often miss the parts of the input that an adversary changed, and "
        "their fidelity does not tell when.",
        command=script.command(__file__, config),
        figures=figures_of(tables),
        differences=differences(config, size),
        pictures=pictures,
        minutes=round(earlier + (time.perf_counter() - start) / 60, 2),
        config=results.plain(config) | {"size": results.plain(size)},
    )
    results.write(config.folder, summary)
    return summary


if __name__ == "__main__":
    sys.exit(script.main(run, Config))
