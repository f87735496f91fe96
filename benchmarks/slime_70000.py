"""Explaining one SLIME excerpt with 70 000 samples costs 1024 forward passes, not 70 000.

The published job: the SVDNet architecture on 115 × 80 log-mel frames, 10 temporal components, l2
distance, kernel width 0.25, ridge 1. All ways get the same masks and must find the same
coefficients.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lime_jax as lj
from benchmarks import cells, networks, numpy_reference, timing
from lime_jax.core.masks.bernoulli import Bernoulli

# What sampled ways scatter around.
LIMITS = ("exhaustive", "auto")
REFERENCE_BATCH_SIZES = (16, 64, 256)


def run(*, quick: bool) -> dict[str, Any]:
    """Every mask evaluated, distinct masks only, exhaustive, and the NumPy reference."""
    num_samples, num_components = (64, 6) if quick else (70_000, 10)
    case = networks.singing_voice()
    network = case.predict.args[0]
    labels = lj.equal_segments(115, num_components)[:, None]
    components = lj.from_labels(case.signal, labels, num_components)
    key = jax.random.key(0)
    slime = lj.slime(num_samples)
    rows = lj.Method(Bernoulli(num_samples, distinct=False), slime.kernel, slime.surrogate)
    limit = lj.Method(
        lj.exhaustive(equivalent_num_samples=num_samples).sampler, slime.kernel, slime.surrogate
    )
    masks = np.asarray(rows.sampler(key, num_components).masks)
    forward = jax.jit(case.predict)
    predict = lambda batch: np.asarray(forward(jnp.asarray(batch)))
    excerpt, host_labels = np.asarray(case.signal), np.asarray(labels)

    sizes = REFERENCE_BATCH_SIZES[: 1 if quick else None]
    best = best_batch_size(predict, excerpt, sizes)
    explain = lambda method: lj.explain(case.predict, components, method, key=key)
    reference = lambda size, masks: numpy_reference.explain(
        predict, excerpt, host_labels, masks, batch_size=size
    )[0]
    ways = {
        "numpy reference, batches of 16": lambda: reference(16, masks),
        "every mask evaluated": lambda: explain(rows).coefficients,
        "distinct masks": lambda: explain(slime).coefficients,
        "exhaustive": lambda: explain(limit).coefficients,
        "distinct masks, locality declared": lambda: (
            lj.explain(network, components, slime, key=key).coefficients
        ),
        "auto": lambda: explain(lj.slime(lj.auto(equivalent_num_samples=num_samples))).coefficients,
    }
    # The reference's forward passes are compiled before.
    for size in {16, best}:
        reference(size, masks[: 4 * size])
    found, times = {}, {}
    for name, way in ways.items():
        long = not name.startswith(("distinct", *LIMITS))
        if long:
            # Minutes each: once, what little compilation takes included.
            start = time.perf_counter()
            found[name] = np.asarray(way())
            times[name] = timing.spread([time.perf_counter() - start])
        else:
            found[name] = np.asarray(way())
            times[name] = timing.spread([timing.seconds(way) for _ in range(1 if quick else 5)])
    error = {name: _difference(found[name], found["distinct masks"]) for name in ways}
    limits = np.abs(found["exhaustive"] - found["distinct masks"])
    noise = np.asarray(explain(slime).std_error)
    sampled = [name for name in ways if name not in LIMITS]
    largest = np.abs(found["distinct masks"]).max()
    assert max(error[name] for name in sampled) < _tolerance() * largest, error
    for name in LIMITS:
        bound = _tolerance() * np.abs(found[name]).max()
        assert _difference(found[name], found["exhaustive"]) < bound
    assert limits.max() < 5 * noise.max(), (limits, noise)
    base = times["numpy reference, batches of 16"]["median"]
    # Its time is proportional to the masks; a fifth of them is enough.
    start = time.perf_counter()
    reference(best, masks[: num_samples // 5])
    in_best_batches = 5 * (time.perf_counter() - start)
    return {
        "num_samples": num_samples,
        "num_components": num_components,
        "ways": {
            name: {
                **times[name],
                "times_faster": base / times[name]["median"],
                "difference_of_coefficients": error[name],
            }
            for name in ways
        },
        "reference_best_batch_size": best,
        "reference_in_best_batches_s": in_best_batches,
        "largest_coefficient": float(largest),
    }


def best_batch_size(predict: Any, excerpt: np.ndarray, sizes: Sequence[int]) -> int:
    """The batch size of some in which the reference is fastest."""

    def per_input(size: int) -> float:
        batch = np.repeat(excerpt[None], size, axis=0)
        return timing.measure(lambda: predict(batch), repeats=3)["median"] / size

    return min(sizes, key=per_input)


def _tolerance() -> float:
    """Of coefficients; accelerators add up in another order for every size of batch."""
    return 1e-4 if jax.devices()[0].platform == "cpu" else 1e-2


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())


def rows(numbers: dict[str, Any]) -> Iterator[cells.Row]:
    """Yields the table of the stored numbers."""
    yield "way", "seconds", "times faster", "difference of coefficients"
    for name, way in numbers["ways"].items():
        faster = f"{way['times_faster']:.1f}"
        yield name, cells.number(way["median"]), faster, f"{way['difference_of_coefficients']:.1e}"
    best, seconds = numbers["reference_best_batch_size"], numbers["reference_in_best_batches_s"]
    faster = numbers["ways"]["numpy reference, batches of 16"]["median"] / seconds
    name = f"numpy reference, its best batches ({best}), from a fifth of the masks"
    yield name, cells.number(seconds), f"{faster:.1f}", ""
    yield "(largest coefficient)", "", "", f"{numbers['largest_coefficient']:.1e}"


def headline(numbers: dict[str, Any]) -> str:
    """Returns what the README says was measured."""
    faster = numbers["ways"]["distinct masks"]["times_faster"]
    return f"{faster:.0f} × the NumPy reference"
