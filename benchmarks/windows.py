"""A model that declares how little it sees is explained exactly, for a fraction of its price.

Trunk and head: SVDNet from windows instead of whole excerpts. Sums: a tagger of a 30-second song
in 3-second snippets, 5 stems × 10 segments, exactly although there are 2⁵⁰ masks.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lime_jax as lj
from benchmarks import cells, networks, timing
from lime_jax.core.receptive_fields import windows

SNIPPET_SECONDS, NUM_SNIPPETS = 3, 10
SAMPLED = 70_000


def run(*, quick: bool) -> dict[str, Any]:
    """Both kinds of receptive field."""
    numbers: dict[str, Any] = {"backbone_and_head": trunk_and_head(quick)}
    try:
        numbers["sums"] = sums(quick)
    except ImportError as error:
        numbers["left_out"] = {"sums": f"not installed: {error.name}"}
    return numbers


def trunk_and_head(quick: bool) -> dict[str, Any]:
    """Returns all 1024 masks of SVDNet over 10 times: outputs alike, and how much faster."""
    case = networks.singing_voice()
    network = case.predict.args[0]
    num_components = 7 if quick else 10
    labels = lj.equal_segments(115, num_components)[:, None]
    components = lj.from_labels(case.signal, labels, num_components)
    method = lj.exhaustive(equivalent_num_samples=70_000, distance="l2")
    ways = {
        "whole excerpts": lambda: lj.explain(case.predict, components, method).coefficients,
        "windows": lambda: lj.explain(network, components, method).coefficients,
    }
    times = timing.compare(ways, "whole excerpts", repeats=1 if quick else 5)
    masks = method.sampler(None, num_components).masks
    model = network.receptive_field
    layout = windows.layout_of(model, components, len(masks))
    assert layout is not None
    looked_up = jax.jit(_from_windows)(model, components, layout.arrays, masks)
    outputs = lj.predict_neighbourhood(case.predict, components, masks, batch_size=64)[1]
    return {
        "num_masks": len(masks),
        "num_windows": layout.num_entries,
        "ways": times,
        "difference_of_outputs": float(jnp.abs(looked_up - outputs).max()),
    }


def _from_windows(model: Any, components: lj.Components, layout: Any, masks: jax.Array) -> Any:
    lookup = windows.look_up(model, components, *layout, batch_size=len(layout[1]))
    return model.head(jax.vmap(lookup.recomposed)(masks))


def sums(quick: bool) -> dict[str, Any]:
    """Fifty components of a song: the exact answers, brute force where it can, and sampling."""
    from lime_jax import models

    name = "msd-musicnn"
    if quick or not models.is_fetched(name):
        name = "instrument-tagger"
    model = models.load(name)
    stems, what = _stems(model.sample_rate)
    size = SNIPPET_SECONDS * model.sample_rate
    predict = models.Snippets(model, size)
    components = _cut(stems, size, NUM_SNIPPETS)
    methods = {
        "LIME": lj.exhaustive(equivalent_num_samples=1000),
        "Shapley": lj.shapley(),
        "Banzhaf": lj.banzhaf(),
    }
    answers = {}
    for key, method in methods.items():
        explanation, seconds = _timed(lambda m=method: lj.explain(predict, components, m))
        answers[key] = {
            "s": seconds,
            "num_evaluations": int(explanation.num_evaluations),
            "num_components": components.num_components,
        }
    exact = lj.explain(predict, components, lj.exhaustive(equivalent_num_samples=SAMPLED))
    sampled, seconds = _timed(
        lambda: lj.explain(predict, components, lj.lime(SAMPLED), key=jax.random.key(0))
    )
    off = np.abs(np.asarray(sampled.coefficients) - np.asarray(exact.coefficients))
    low, high = lj.confidence_interval(sampled)
    inside = np.asarray((low <= exact.coefficients) & (exact.coefficients <= high))
    return {
        "model": name,
        "song": what,
        "answers": answers,
        "sampled": {
            "num_samples": SAMPLED,
            "s": seconds,
            "inside_95_percent_intervals": float(inside.mean()),
            "largest_error_in_standard_errors": float((off / np.asarray(sampled.std_error)).max()),
        },
        "brute_force": _brute_force(predict, stems, size, methods),
    }


def _brute_force(
    predict: Any, stems: np.ndarray, size: int, methods: dict[str, lj.Method]
) -> dict[str, Any]:
    """Two snippets of five stems: 1024 masks of the whole model."""
    components = _cut(stems, size, 2)

    def whole(waveforms):
        return predict(waveforms)

    differences = {}
    for name, method in methods.items():
        short = lj.explain(predict, components, method)
        long = lj.explain(whole, components, method, batch_size=16)
        differences[name] = float(jnp.abs(short.coefficients - long.coefficients).max())
    return {"num_components": components.num_components, "differences": differences}


def _cut(stems: np.ndarray, size: int, number: int) -> lj.Components:
    labels = lj.equal_segments(number * size, number)
    return lj.cross(lj.from_stems(stems[:, : number * size]), labels, number)


def _stems(sample_rate: int) -> tuple[np.ndarray, str]:
    """Five stems of thirty seconds: a folder of the user's, or the shipped song three times."""
    from lime_jax import examples
    from lime_jax.audio import io

    length = NUM_SNIPPETS * SNIPPET_SECONDS * sample_rate
    if folder := os.environ.get("LIME_JAX_STEMS"):
        return np.asarray(io.load_stems(folder, sample_rate)[1])[:, :length], "own"
    song = examples.song()
    assert song.sample_rate == sample_rate
    # Every stem later than the one before, so that no two snippets are alike.
    times = -(-length // song.stems.shape[1])
    shifted = [np.roll(np.tile(stem, times), i * 4321) for i, stem in enumerate(song.stems)]
    return np.stack(shifted)[:, :length], "the shipped song, three times"


def _timed(explain: Callable[[], lj.Explanation]) -> tuple[lj.Explanation, float]:
    """The explanation, and the seconds it takes once it is compiled."""
    jax.block_until_ready(explain().coefficients)
    start = time.perf_counter()
    explanation = jax.block_until_ready(explain())
    return explanation, time.perf_counter() - start


def rows(numbers: dict[str, Any]) -> Iterator[cells.Row]:
    """Yields what windows save, and that nothing is lost."""
    yield "what", "evaluations", "seconds", "times faster", "largest difference"
    local = numbers["backbone_and_head"]
    whole, windows = (local["ways"][name] for name in ("whole excerpts", "windows"))
    masks = f"{local['num_masks']:,} masks"
    yield f"SVDNet, {masks}, whole excerpts", masks, f"{whole['median']:.3g}", "1", ""
    low, high = windows["ratio"]["quartiles"]
    yield (
        f"SVDNet, {masks}, windows",
        f"{local['num_windows']} windows",
        f"{windows['median']:.3g}",
        f"{windows['ratio']['median']:.1f} [{low:.1f}, {high:.1f}]",
        f"{local['difference_of_outputs']:.1e} (outputs)",
    )
    for name, reason in numbers.get("left_out", {}).items():
        yield name, reason, "", "", ""
    if "sums" not in numbers:
        return
    sums = numbers["sums"]
    brute = sums["brute_force"]
    for name, answer in sums["answers"].items():
        yield (
            f"{sums['model']}, 30 s, {answer['num_components']} components, exact {name}",
            f"{answer['num_evaluations']} snippets",
            f"{answer['s']:.3g}",
            "",
            f"{brute['differences'][name]:.1e} (all masks of {brute['num_components']} components)",
        )
    sampled = sums["sampled"]
    yield (
        f"the same, LIME with {sampled['num_samples']:,} samples, looked up",
        "320 snippets",
        f"{sampled['s']:.3g}",
        "",
        f"{sampled['largest_error_in_standard_errors']:.1f} standard errors; "
        f"{sampled['inside_95_percent_intervals']:.0%} inside 95 % intervals",
    )


def headline(numbers: dict[str, Any]) -> str:
    """Returns what the README says was measured."""
    faster = numbers["backbone_and_head"]["ways"]["windows"]["ratio"]["median"]
    text = f"{faster:.0f} × the whole network, the same outputs"
    if "sums" not in numbers:
        return text
    lime = numbers["sums"]["answers"]["LIME"]
    return (
        f"{text}; {lime['num_components']} components of a 30 s song from "
        f"{lime['num_evaluations']} evaluations in {lime['s']:.1f} s"
    )
