"""An explanation evaluates as many samples per second as the bare jitted network.

Masks, recomposition, statistics and the surrogate together against `jit(network)` on inputs that
are ready, at the same chunk size, in turn.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

import lime_jax as lj
from benchmarks import cells, networks, timing
from lime_jax.core.execution.precision import products
from lime_jax.core.masks.bernoulli import Bernoulli

NUM_COMPONENTS = (10, 25, 64, 256)


def run(*, quick: bool) -> dict[str, Any]:
    """Returns all networks × numbers of components × numbers of outputs."""
    return {"cases": [measure(case, d, quick) for case, d in cases(quick)]}


def cases(quick: bool) -> list[tuple[networks.Case, int]]:
    """Returns what is measured; the quick choice has every network once."""
    if quick:
        light = [(networks.singing_voice(), 10), (networks.musicnn(50), 25)]
        return [*light, (networks.cheap(10), 40)]
    heavy = [(networks.singing_voice(), d) for d in (10, 256)]
    heavy += [(networks.musicnn(50), d) for d in (10, 25, 64, 256)]
    heavy += [(networks.musicnn(527), 25)]
    heavy += [(networks.vgg16(outputs), 25) for outputs in (1, 50, 527)]
    cheap = [(networks.cheap(k), d) for k in (1, 50, 527) for d in NUM_COMPONENTS]
    return [*heavy, (networks.cheap(10), 40), *cheap]


def measure(case: networks.Case, num_components: int, quick: bool) -> dict[str, Any]:
    """Returns one explanation against as many bare forward passes."""
    num_batches = case.num_batches // 4 if quick else case.num_batches
    num_samples = num_batches * case.batch_size
    labels = segments(case.signal.shape, num_components)
    components = lj.from_labels(case.signal, labels, num_components)
    lime = lj.lime(num_samples)
    method = lj.Method(Bernoulli(num_samples, distinct=False), lime.kernel, lime.surrogate)
    key = jax.random.key(0)
    predict = case.predict
    # The forward's weights are arguments here as they are in `explain`: constants that are
    # folded into the program would be another program.
    weights, forward = jax.tree.leaves(predict), _forward(predict)
    batch = jnp.stack([case.signal] * case.batch_size)

    def bare() -> Any:
        with products():
            return [forward(weights, batch) for _ in range(num_batches)]

    def explain() -> Any:
        return lj.explain(predict, components, method, key=key, batch_size=case.batch_size)

    times = timing.compare({"bare": bare, "explain": explain}, "bare", repeats=1 if quick else 5)
    with products():
        cost = forward.lower(weights, batch).compile().cost_analysis()
    return {
        "model": case.name,
        "num_components": num_components,
        "batch_size": case.batch_size,
        "num_samples": num_samples,
        "bare_samples_per_s": num_samples / times["bare"]["median"],
        "explain_samples_per_s": num_samples / times["explain"]["median"],
        "explain_over_bare": times["explain"]["ratio"],
        "us_per_sample": 1e6 * times["explain"]["median"] / num_samples,
        "compile_s": times["explain"]["first_s"] - times["explain"]["median"],
        "flop_per_sample": cost.get("flops", 0) / case.batch_size,
        "bytes_per_sample": cost.get("bytes accessed", 0) / case.batch_size,
    }


def _forward(predict: Any) -> Any:
    structure = jax.tree.structure(predict)
    return jax.jit(lambda weights, batch: jax.tree.unflatten(structure, weights)(batch))


def segments(shape: tuple[int, ...], num_components: int) -> jax.Array:
    """Runs of time where there are enough frames, a grid where there are not."""
    if len(shape) == 1:
        return lj.equal_segments(shape[0], num_components)
    if num_components <= 25:
        return lj.equal_segments(shape[0], num_components)[:, None]
    side = round(num_components**0.5)
    return lj.grid((side, side), (shape[0], shape[1]))


def rows(numbers: dict[str, Any]) -> Iterator[cells.Row]:
    """Yields the table of the stored numbers."""
    yield "model", "components", "chunk", "bare, samples/s", "explain, samples/s", "explain / bare"
    for case in numbers["cases"]:
        yield (
            case["model"],
            str(case["num_components"]),
            str(case["batch_size"]),
            cells.number(case["bare_samples_per_s"]),
            cells.number(case["explain_samples_per_s"]),
            cells.ratio(case["explain_over_bare"]),
        )


def headline(numbers: dict[str, Any]) -> str:
    """Returns what the README says was measured."""
    cases = [case for case in numbers["cases"] if not case["model"].startswith("cheap")]
    ratios = [case["explain_over_bare"]["median"] for case in cases]
    return f"{min(ratios):.2f} to {max(ratios):.2f} of it"
