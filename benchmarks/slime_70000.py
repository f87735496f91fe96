"""Explaining one SLIME excerpt with 70 000 samples costs 1024 forward passes, not 70 000.

The published job: the SVDNet architecture on 115 × 80 log-mel frames, 10 temporal components, l2
distance, kernel width 0.25, ridge 1. All ways get the same masks and must find the same
coefficients.
"""

import time
from collections.abc import Callable, Iterator, Sequence
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
    """Returns every mask evaluated, distinct masks only, exhaustive, and the NumPy reference."""
    question = Question(*((64, 6) if quick else (70_000, 10)))
    best = best_batch_size(
        question.predict, question.excerpt, REFERENCE_BATCH_SIZES[: 1 if quick else None]
    )
    # The reference's forward passes are compiled before.
    for size in {16, best}:
        question.reference(size, 4 * size)
    ways = question.ways()
    coefficients, times = {}, {}
    for name, way in ways.items():
        coefficients[name], times[name] = _measure(name, way, repeats=1 if quick else 5)
    error = {name: _difference(coefficients[name], coefficients["distinct masks"]) for name in ways}
    _check(coefficients, error, np.asarray(question.explain(question.slime).std_error))
    base = times["numpy reference, batches of 16"]["median"]
    # Its time is proportional to the masks; a fifth of them is enough.
    start = time.perf_counter()
    question.reference(best, question.num_samples // 5)
    in_best_batches = 5 * (time.perf_counter() - start)
    return {
        "num_samples": question.num_samples,
        "num_components": question.num_components,
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
        "largest_coefficient": float(np.abs(coefficients["distinct masks"]).max()),
    }


class Question:
    """One excerpt and the masks that all ways of explaining it share."""

    def __init__(self, num_samples: int, num_components: int) -> None:
        self.num_samples, self.num_components = num_samples, num_components
        case = networks.singing_voice()
        self.case, self.network = case, case.predict.args[0]
        labels = lj.equal_segments(115, num_components)[:, None]
        self.components = lj.from_labels(case.signal, labels, num_components)
        self.key = jax.random.key(0)
        self.slime = lj.slime(num_samples)
        sampler = Bernoulli(num_samples, distinct=False)
        self.rows = lj.Method(sampler, self.slime.kernel, self.slime.surrogate)
        self.masks = np.asarray(sampler(self.key, num_components).masks)
        self.excerpt, self.labels = np.asarray(case.signal), np.asarray(labels)
        self._forward = jax.jit(case.predict)

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """Returns the outputs of a NumPy batch, by the compiled network."""
        return np.asarray(self._forward(jnp.asarray(batch)))

    def explain(self, method: lj.Method) -> lj.Explanation:
        """Explains the network, whose receptive field is not declared."""
        return lj.explain(self.case.predict, self.components, method, key=self.key)

    def reference(self, batch_size: int, num_masks: int) -> Any:
        """Returns the coefficients of the NumPy way, from the first masks."""
        masks = self.masks[:num_masks]
        return numpy_reference.explain(
            self.predict, self.excerpt, self.labels, masks, batch_size=batch_size
        )[0]

    def ways(self) -> dict[str, Callable[[], Any]]:
        """Returns all ways to the coefficients, by name."""
        limit = lj.exhaustive(equivalent_num_samples=self.num_samples).sampler
        exhaustive = lj.Method(limit, self.slime.kernel, self.slime.surrogate)
        auto = lj.slime(lj.auto(equivalent_num_samples=self.num_samples))
        return {
            "numpy reference, batches of 16": lambda: self.reference(16, self.num_samples),
            "every mask evaluated": lambda: self.explain(self.rows).coefficients,
            "distinct masks": lambda: self.explain(self.slime).coefficients,
            "exhaustive": lambda: self.explain(exhaustive).coefficients,
            "distinct masks, receptive field declared": lambda: (
                lj.explain(self.network, self.components, self.slime, key=self.key).coefficients
            ),
            "auto": lambda: self.explain(auto).coefficients,
        }


def _measure(name: str, way: Callable[[], Any], repeats: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Returns the coefficients of a way, and its seconds."""
    if not name.startswith(("distinct", *LIMITS)):
        # Minutes each: once, what little compilation takes included.
        start = time.perf_counter()
        coefficients = np.asarray(way())
        return coefficients, timing.spread([time.perf_counter() - start])
    coefficients = np.asarray(way())
    return coefficients, timing.spread([timing.seconds(way) for _ in range(repeats)])


def _check(coefficients: dict[str, np.ndarray], error: dict[str, float], noise: np.ndarray) -> None:
    """Refuses ways that do not agree: sampled ones with each other, limits with each other."""
    largest = np.abs(coefficients["distinct masks"]).max()
    sampled = [name for name in coefficients if name not in LIMITS]
    assert max(error[name] for name in sampled) < _tolerance() * largest, error
    for name in LIMITS:
        bound = _tolerance() * np.abs(coefficients[name]).max()
        assert _difference(coefficients[name], coefficients["exhaustive"]) < bound
    limits = np.abs(coefficients["exhaustive"] - coefficients["distinct masks"])
    assert limits.max() < 5 * noise.max(), (limits, noise)


def best_batch_size(predict: Any, excerpt: np.ndarray, sizes: Sequence[int]) -> int:
    """Returns the batch size of some in which the reference is fastest."""

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
