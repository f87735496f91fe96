"""What is measured in reproduce.py: adversaries, and what explanations find of them."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import lime_jax as lj
from scripts.experiments.veracity import adversaries
from scripts.experiments.veracity.adversaries import Attack, Detector

DOMAINS = ("waveform", "spectrogram")
DIRECTIONS = {"rests to plays": True, "plays to rests": False}  # and the target
PARTS = tuple(itertools.product(DOMAINS, DIRECTIONS))
TABLES = ("adversaries", "flips", "subsets", "fidelity")
GRID = (5, 4)
NUM_COMPONENTS = math.prod(GRID)
SUBSETS = (1, 3, 5)
AMPLITUDES = (0.25, 0.5, 1.0, 1.5)

Row = dict[str, Any]
Rows = list[Row]


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
    clean: np.ndarray
    changed: np.ndarray

    @property
    def labels(self) -> jax.Array:
        """The component of every element of a patch."""
        return lj.grid(GRID, self.clean.shape[1:])

    @property
    def energies(self) -> jax.Array:
        """Of the change, in every component."""
        return adversaries.energies(self.changed - self.clean, self.labels, NUM_COMPONENTS)

    def towards(self, coefficients: np.ndarray) -> np.ndarray:
        """Returns how much components speak for the target."""
        return coefficients if self.target else -coefficients

    def reached(self, detector: Detector, masks: np.ndarray) -> np.ndarray:
        """Returns whether the label flips where only the components of a mask are changed."""
        says_yes = adversaries.says_yes(detector, self.clean, self.changed, self.labels, masks)
        return np.asarray(says_yes) == self.target


def in_batches(function: Callable[..., Any], *arrays: Any, size: int = 64) -> Any:
    """Calls a function on batches of one shape, the last filled up, and joins what it returns."""
    num = len(arrays[0])
    size = min(size, num)
    rows = np.minimum(np.arange(num + -num % size), num - 1).reshape(-1, size)
    arrays = tuple(np.asarray(array) for array in arrays)
    batches = [function(*(array[some] for array in arrays)) for some in rows]
    return jax.tree.map(lambda *pieces: np.concatenate(pieces)[:num], *batches)


def patches_of(detector: Detector, waveforms: Any) -> np.ndarray:
    """Returns what the network sees of excerpts."""
    return in_batches(functools.partial(_patches, detector), waveforms)


_patches = jax.jit(Detector.patches)
_probabilities = jax.jit(Detector.__call__)
logits = jax.jit(Detector.logits)


def explained(
    detector: Detector, patches: np.ndarray, num_samples: int, key: jax.Array
) -> tuple[np.ndarray, np.ndarray]:
    """Weights `(num_patches, num_components)` and fidelity of the explanation of every patch."""
    if not len(patches):
        return np.zeros((0, NUM_COMPONENTS), np.float32), np.zeros(0)
    explanations = lj.explain_batch(detector, _cut(patches), lj.lime(num_samples), key=key)
    return np.asarray(explanations.coefficients)[:, 0], np.asarray(explanations.fidelity)[:, 0]


@jax.jit
def _cut(patches: jax.Array) -> lj.Components:
    labels = lj.grid(GRID, patches.shape[1:])

    def cut(patch):
        return lj.from_labels(patch, labels, NUM_COMPONENTS, lj.fills.mean(patch))

    return jax.vmap(cut)(patches)


def attacked(
    detector: Detector, excerpts: Excerpts, domain: str, target: bool, settings: Attack
) -> tuple[Rows, Cases]:
    """Returns a row about every adversary, and those that reached their target in several steps."""
    clean = patches_of(detector, excerpts.waveforms)
    is_waveform = domain == "waveform"
    inputs = excerpts.waveforms if is_waveform else clean
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


def flips_of(detector: Detector, cases: Cases, coefficients: np.ndarray) -> Rows:
    """Which labels flip when only the top components of the change are added, for every number."""
    strength = cases.towards(coefficients)
    num_right = (strength > 0).sum(axis=1).tolist()
    rows = []
    for selection, ranked_by in {"lime": strength, "energy": cases.energies}.items():
        flipped = cases.reached(detector, np.asarray(adversaries.strongest(ranked_by)))
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
    masks = np.asarray(adversaries.strongest(cases.energies))[:, np.array(SUBSETS) - 1]
    who, subset = np.nonzero(cases.reached(detector, masks))
    masks = masks[who, subset]
    patches = adversaries.transplanted(cases.clean[who], cases.changed[who], cases.labels, masks)
    coefficients, fidelity = explained(detector, np.asarray(patches), num_samples, key)
    ranked = np.asarray(adversaries.strongest(cases.towards(coefficients)))
    top = ranked[np.arange(len(who)), np.array(SUBSETS)[subset] - 1]
    hits = (top & masks).sum(axis=1)
    return [
        {**cases.which[n], "k": SUBSETS[s], "hits": int(hit), "r2": float(r2)}
        for n, s, hit, r2 in zip(who, subset, hits, fidelity, strict=True)
    ]


def measured(
    detector: Detector, excerpts: Excerpts, part: tuple[str, str], settings: Attack,
    num_samples: int, key: jax.Array,
) -> dict[str, Rows]:  # fmt: skip
    """Returns all tables about one domain and direction."""
    domain, direction = part
    key_all, key_subsets = jax.random.split(key)
    rows, cases = attacked(detector, excerpts, domain, DIRECTIONS[direction], settings)
    flips, subsets = [], []
    if cases.which:
        coefficients, _ = explained(detector, cases.changed, num_samples, key_all)
        flips = flips_of(detector, cases, coefficients)
        subsets = subsets_of(detector, cases, num_samples, key_subsets)
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
    drawings = np.stack([mark.drawing for mark in marks])
    probabilities = np.stack(
        [np.asarray(marked_probabilities(detector, clean, a * drawings)) for a in AMPLITUDES], 1
    )
    faintest, best = adversaries.faintest(probabilities)
    flipped = np.flatnonzero(faintest < len(AMPLITUDES))
    amplitudes = np.float32(AMPLITUDES)[faintest[flipped]]
    patches = clean[flipped] + amplitudes[:, None, None] * drawings[best[flipped]]
    coefficients, fidelity = explained(detector, patches, num_samples, key)
    before = in_batches(functools.partial(_probabilities, detector), clean)[:, 0]
    rows = [
        {**which, "before": float(p), "flipped": False}
        | dict.fromkeys(("mark", "covers", "amplitude", "after", "top", "hit", "r2", "weights"))
        for which, p in zip(excerpts.which, before, strict=True)
    ]
    for n, weights, r2 in zip(flipped, coefficients, fidelity, strict=True):
        mark, top = marks[best[n]], int(weights.argmax())
        rows[n] |= {
            "flipped": True, "mark": mark.shape, "covers": list(mark.components),
            "amplitude": AMPLITUDES[faintest[n]],
            "after": float(probabilities[n, faintest[n], best[n]]), "top": top,
            "hit": top in mark.components, "r2": float(r2), "weights": weights.tolist(),
        }  # fmt: skip
    return {"horses": rows}
