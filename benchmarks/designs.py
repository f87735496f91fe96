"""Orthogonal arrays need a tenth of the masks of fair coins for the same error.

Errors are distances to the exact answer, so no network needs to be evaluated for a run: all masks
(or, for songs made of snippets, all combinations within each snippet) are evaluated once per
network, and every sampler looks its outputs up. All have the ridge of LIME from 1000 samples.
"""

import dataclasses
import functools
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lime_jax as lj
from benchmarks import networks
from benchmarks.sampling_table import rows as rows
from lime_jax.core.masks.bernoulli import Bernoulli
from lime_jax.core.masks.orthogonal_array import OrthogonalArray, array_size
from lime_jax.core.masks.shapley_pairs import KernelShap
from lime_jax.core.pytree import pytree

COINS, ARRAYS, KERNEL_SHAP = "fair coins", "orthogonal arrays", "kernel SHAP"
Sampler = Bernoulli | OrthogonalArray | KernelShap
TAGGERS = ("msd-musicnn", "mtt-vgg", "instrument-tagger")
SVDNET = "SVDNet"
NUM_STEMS, SNIPPET_SECONDS = 5, 3.0
NUM_OUTPUTS, NUM_STRONGEST = 5, 3
EQUIVALENT_NUM_SAMPLES = 1000
SIZES = {
    10: (256, 512, 1024, 2048, 4096),
    14: (256, 512, 1024, 2048, 4096),
    25: (512, 2048, 4096, 8192),
    50: (2048, 8192, 16_384, 32_768),
}
REPEATS = {10: 60, 14: 60, 25: 20, 50: 10}
_NUM_RESAMPLES = 1000


@pytree
class Lookup:
    """The mean of parts that have all been evaluated; outputs for masks without the network.

    Attributes:
      tables: `(parts, 2**size, num_outputs)`, in the order of `lj.exhaustive()`.
      sets: the components of each part, `(parts, size)`.
    """

    tables: Any
    sets: Any

    def __call__(self, masks: jax.Array) -> jax.Array:
        powers = 2 ** jnp.arange(self.sets.shape[1] - 1, -1, -1)

        def add(total: jax.Array, part: Any) -> tuple[jax.Array, None]:
            table, some = part
            on = jnp.where(masks[:, some], powers[None, :], 0).sum(axis=1)
            return total + table[len(table) - 1 - on], None

        nothing = jnp.zeros((len(masks), self.tables.shape[2]), jnp.float32)
        total, _ = jax.lax.scan(add, nothing, (self.tables, self.sets))
        return total / len(self.tables)


@dataclasses.dataclass(frozen=True)
class Case:
    """A network at one input.

    Attributes:
      network: its name.
      num_components: of the input.
      outputs: the names of the outputs that are explained.
      lookup: what it says.
      exact: the coefficients that samplers should find, by recipe, `(outputs, num_components)`.
      num_evaluations: of the network, for all of this.
    """

    network: str
    num_components: int
    outputs: tuple[str, ...]
    lookup: Lookup
    exact: dict[str, jax.Array]
    num_evaluations: int


@dataclasses.dataclass(frozen=True)
class Network:
    """What is explained.

    Attributes:
      name: see `TAGGERS` and `SVDNET`.
      predict: flat inputs `(batch, num_samples)` to `(batch, num_outputs)`.
      excerpt: one input, whose time is cut into segments of `step` samples at least.
      stems: `(NUM_STEMS, num_snippets * snippet)`, a song of snippets.
      snippet: samples of a snippet.
      step: samples of the smallest piece of time, one frame of a spectrogram.
      output_names: one per output.
      batch_size: of its evaluations.
      weights: "trained" or "random".
    """

    name: str
    predict: Any
    excerpt: np.ndarray
    stems: np.ndarray
    snippet: int
    step: int
    output_names: tuple[str, ...]
    batch_size: int
    weights: str


def run(*, quick: bool) -> dict[str, Any]:
    """Errors of all samplers on all networks that this machine has."""
    numbers = (10,) if quick else tuple(SIZES)
    repeats = {d: 4 if quick else REPEATS[d] for d in numbers}
    names = TAGGERS[-1:] if quick else (*TAGGERS, SVDNET)
    cases, left_out = [], {}
    for name in names:
        try:
            network = network_of(name)
        except ImportError as error:
            left_out[name] = f"not installed: {error.name or error}"
            continue
        if network is None:
            left_out[name] = "its weights are not here; `lime-jax models fetch musicnn`"
            continue
        for d in numbers:
            print(f"  {name}, {d} components", flush=True)
            case = on_time(network, d) if d <= 16 else on_snippets(network, d // NUM_STEMS)
            cases.append({"weights": network.weights, **measure(case, repeats[d])})
    return {
        "clip": "own" if os.environ.get("LIME_JAX_CLIP") else "shipped song",
        "error": "RMS over repeats, outputs and components / RMS of the exact values, not centred",
        "equivalent_num_samples": EQUIVALENT_NUM_SAMPLES,
        "cases": cases,
        "left_out": left_out,
    }


def network_of(name: str) -> Network | None:
    """Returns a network and its input; None if its weights are not on this machine."""
    if name == SVDNET:
        return _svdnet()
    if not lj.models.is_fetched(name):
        return None
    model, song = lj.models.load(name), lj.examples.song()
    assert song.sample_rate == model.sample_rate
    mix = np.asarray(song.stems).sum(axis=0)
    if clip := os.environ.get("LIME_JAX_CLIP"):
        path = Path(clip).expanduser()
        mix = lj.audio.io.load(path, model.sample_rate, resampler=model.resampler)
    snippet = round(SNIPPET_SECONDS * model.sample_rate)
    return Network(
        name,
        model,
        np.asarray(mix[: model.patch_num_samples], np.float32),
        _long(np.asarray(song.stems), max(SIZES) // NUM_STEMS * snippet),
        snippet,
        1,
        model.output_names,
        16 if "musicnn" in name else 64,
        "trained",
    )


def on_time(network: Network, num_components: int) -> Case:
    """Equal segments of time; every mask is evaluated."""
    frames = len(network.excerpt) // network.step
    labels = np.repeat(np.asarray(lj.equal_segments(frames, num_components)), network.step)
    components = lj.from_labels(network.excerpt, labels, num_components)
    table = _all_outputs(network, components)
    chosen = np.argsort(-table[0])[:NUM_OUTPUTS]
    table = jnp.asarray(table[:, chosen])
    masks = _all_masks(num_components)
    counts = jnp.full(len(masks), EQUIVALENT_NUM_SAMPLES / len(masks))
    exact = {
        "lime": lj.fit_surrogate(masks, table, lj.lime(), counts=counts).coefficients,
        "shapley": lj.fit_surrogate(masks, table, lj.shapley()).coefficients,
    }
    lookup = Lookup(table[None], jnp.arange(num_components)[None])
    names = tuple(network.output_names[i] for i in chosen)
    return Case(network.name, num_components, names, lookup, exact, len(masks))


def on_snippets(network: Network, num_snippets: int) -> Case:
    """Stems of every snippet of a song; exact through what `Snippets` declares."""
    size = network.snippet
    stems = network.stems[:, : num_snippets * size]
    snippets = lj.models.Snippets(network.predict, size)
    labels = lj.equal_segments(num_snippets * size, num_snippets)
    components = lj.cross(lj.from_stems(stems), labels, num_snippets)
    explain = functools.partial(lj.explain, snippets, components, batch_size=network.batch_size)
    lime = explain(lj.exhaustive(equivalent_num_samples=EQUIVALENT_NUM_SAMPLES))
    chosen = np.argsort(-np.asarray(lime.prediction))[:NUM_OUTPUTS]
    exact = {"lime": lime.coefficients[chosen], "shapley": explain(lj.shapley()).coefficients}
    exact["shapley"] = exact["shapley"][chosen]
    parts = np.split(stems, num_snippets, axis=1)
    tables = [_all_outputs(network, lj.from_stems(part))[:, chosen] for part in parts]
    d = components.num_components
    lookup = Lookup(jnp.asarray(np.stack(tables)), jnp.arange(d).reshape(num_snippets, -1))
    names = tuple(network.output_names[i] for i in chosen)
    return Case(network.name, d, names, lookup, exact, int(lime.num_evaluations))


def measure(case: Case, repeats: int) -> dict[str, Any]:
    """Returns the error of every sampler at every size, and how many coins do what arrays do."""
    squares, points = {}, []
    for name, sampler, recipe in samplers_of(case.num_components):
        exact = np.asarray(case.exact[recipe], np.float64)
        found = _estimates(case, name, sampler, recipe, repeats)
        squares[name, sampler.num_samples] = square = np.square(found - exact).mean(axis=2)
        points.append(
            {
                "sampler": name,
                "num_samples": sampler.num_samples,
                "relative_error": float(np.sqrt(square.mean() / np.square(exact).mean())),
                "top_3_right": float(_strongest_agree(found, exact).mean()),
            }
        )
    return {
        "network": case.network,
        "num_components": case.num_components,
        "outputs": list(case.outputs),
        "network_evaluations": case.num_evaluations,
        "repeats": repeats,
        "points": points,
        "coins_per_array_mask": [
            {"num_samples": size, **_times_fewer(case, size, squares[COINS, size], square)}
            for (name, size), square in squares.items()
            if name == ARRAYS
        ],
    }


def samplers_of(num_components: int) -> Iterator[tuple[str, Sampler, str]]:
    """Yields name, sampler and the recipe whose exact answer it approaches."""
    for size in SIZES[num_components]:
        yield COINS, Bernoulli(size, distinct=False), "lime"
        if size % array_size(num_components) == 0:
            yield ARRAYS, OrthogonalArray(size), "lime"
        # With so many samples it takes all masks.
        if size < 2**num_components:
            yield KERNEL_SHAP, KernelShap(size), "shapley"


def _estimates(case: Case, name: str, sampler: Sampler, recipe: str, repeats: int) -> np.ndarray:
    """Coefficients of independent runs, float64 `(repeats, outputs, num_components)`."""
    method = lj.lime() if recipe == "lime" else lj.kernel_shap()
    key = _key_of(case, name, sampler.num_samples)
    found = _sampled(sampler, method, case.lookup, jax.random.split(key, repeats))
    return np.asarray(found, np.float64)


@functools.partial(jax.jit, static_argnames="sampler")
def _sampled(sampler: Sampler, method: lj.Method, lookup: Lookup, keys: jax.Array) -> jax.Array:
    num_components = lookup.sets.size

    def one(key: jax.Array) -> jax.Array:
        drawn = sampler(key, num_components)
        masks, counts = drawn.masks, drawn.counts
        # The ridge is as strong as from so many samples, however many there are.
        counts = counts * (EQUIVALENT_NUM_SAMPLES / counts.sum())
        return lj.fit_surrogate(masks, lookup(masks), method, counts=counts).coefficients

    return jax.lax.map(one, keys)


def _strongest_agree(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    def strongest(x):
        return np.sort(np.argsort(-x, axis=-1)[..., :NUM_STRONGEST], axis=-1)

    return (strongest(found) == strongest(exact)[None]).all(axis=-1)


def _times_fewer(case: Case, size: int, coins: np.ndarray, arrays: np.ndarray) -> dict[str, Any]:
    """Variances of coins over those of arrays; quartiles from drawing the repeats again."""
    rng = np.random.default_rng(zlib.crc32(f"{case.network} {case.num_components}".encode()))

    def mean(x):
        return x.mean(axis=1)[rng.integers(len(x), size=(_NUM_RESAMPLES, len(x)))].mean(1)

    low, high = np.quantile(mean(coins) / mean(arrays), [0.25, 0.75])
    per_output = coins.mean(axis=0) / arrays.mean(axis=0)
    return {
        "ratio": float(coins.mean() / arrays.mean()),
        "quartiles": [float(low), float(high)],
        "per_output": [float(value) for value in per_output],
    }


def _key_of(case: Case, name: str, size: int) -> jax.Array:
    """Of the names alone, so that no run depends on which others there are."""
    text = f"{case.network}, {case.num_components}, {name}, {size}"
    return jax.random.fold_in(jax.random.key(0), np.uint32(zlib.crc32(text.encode())))


def _all_masks(num_components: int) -> jax.Array:
    return lj.exhaustive().sampler(None, num_components).masks


def _all_outputs(network: Network, components: lj.Components) -> np.ndarray:
    """Chunk by chunk from here: inside one program CPUs run heavy networks slower."""
    masks, size = _all_masks(components.num_components), network.batch_size
    size = min(size, len(masks))
    chunks = [
        lj.predict_neighbourhood(network.predict, components, some, batch_size=size)[1]
        for some in jnp.split(masks, len(masks) // size)
    ]
    return np.concatenate([np.asarray(chunk) for chunk in chunks])


def _svdnet() -> Network:
    """On noise, five stems of it in a song; its spectrograms are flat here."""
    case = networks.singing_voice()
    num_frames, num_mels = case.signal.shape
    network = case.predict.args[0]
    predict = jax.tree_util.Partial(_unflattened, network)
    size = num_frames * num_mels
    shape = (NUM_STEMS, max(SIZES) // NUM_STEMS * size)
    key = jax.random.fold_in(jax.random.key(0), zlib.crc32(SVDNET.encode()) & 0x7FFFFFFF)
    stems = jax.random.normal(key, shape, jnp.float32) / NUM_STEMS**0.5
    excerpt = np.asarray(case.signal).ravel()
    outputs = ("singing voice",)
    return Network(
        SVDNET, predict, excerpt, np.asarray(stems), size, num_mels, outputs, 64, "random"
    )


def _unflattened(network: Any, spectrograms: jax.Array) -> jax.Array:
    from lime_jax.models.singing_voice_front_end import NUM_FRAMES, NUM_MELS

    return network(spectrograms.reshape(-1, NUM_FRAMES, NUM_MELS))


def _long(stems: np.ndarray, num_samples: int) -> np.ndarray:
    """The song again and again, every stem from somewhere else, so that no two snippets agree."""
    length = stems.shape[1]
    repeated = np.tile(stems, (1, -(-num_samples // length)))[:, :num_samples]
    shifted = [np.roll(stem, k * length // len(stems)) for k, stem in enumerate(repeated)]
    return np.asarray(shifted, np.float32)


def headline(numbers: dict[str, Any]) -> str:
    """Returns what the README says was measured."""
    cases = [case for case in numbers["cases"] if case["weights"] != "random"]
    ratios = [case["coins_per_array_mask"][0]["ratio"] for case in cases]
    return f"{min(ratios):.0f} to {max(ratios):.0f} × fewer masks for the same error"
