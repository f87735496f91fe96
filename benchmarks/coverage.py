"""Intervals hold the truth as often as they say, and what stops early has met its target.

400 runs of every sampler on three synthetic models and a real network whose outputs for all masks
were computed once, so that every run is compared with the exact answer.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lime_jax as lj
from benchmarks import cells

NUM_COMPONENTS = 12
NUM_SAMPLES = 512
LEVEL = 0.95
# As a share of the largest coefficient.
TARGETS = (0.1, 0.02)
CONFIDENCE = 0.95


def run(*, quick: bool) -> dict[str, Any]:
    """Returns all models."""
    num_runs = 10 if quick else 400
    found, left_out = {}, {}
    for name, make in MODELS.items():
        if quick and name != "mild":
            continue
        try:
            what, predict = make()
        except ImportError as error:
            left_out[name] = f"not installed: {error.name}"
            continue
        found[name] = {
            "model": what,
            "coverage": coverage(predict, num_runs),
            "stopping": stopping(predict, num_runs),
        }
    return {
        "num_components": NUM_COMPONENTS,
        "num_runs": num_runs,
        "level": LEVEL,
        "models": found,
        "left_out": left_out,
    }


def coverage(predict: Any, num_runs: int) -> dict[str, Any]:
    """Returns how often intervals hold the exact coefficient, by sampler."""

    def limit(number):
        return lj.exhaustive(equivalent_num_samples=number)

    cases = {
        f"Bernoulli, {NUM_SAMPLES}": (lj.lime(NUM_SAMPLES), limit(NUM_SAMPLES)),
        f"KernelShap, {NUM_SAMPLES}": (lj.kernel_shap(NUM_SAMPLES), lj.shapley()),
        "orthogonal arrays, 4": (lj.lime("auto"), limit(1000)),
        "orthogonal arrays, 8": (_arrays(8), limit(1000)),
        "orthogonal arrays, 16": (_arrays(16), limit(1000)),
    }
    found = {}
    for name, (method, exact) in cases.items():
        target = np.asarray(lj.explain(predict, _inputs(), exact).coefficients)
        runs = _explain(predict, method, num_runs)
        low, high = (np.asarray(end) for end in lj.confidence_interval(runs, level=LEVEL))
        # Where a coefficient has no error but rounding, an interval has no width worth testing.
        scale = np.abs(target).max(axis=1, keepdims=True)
        judged = np.asarray(runs.std_error).mean(axis=0) > 1e-6 * scale
        inside = ((low <= target[None]) & (target[None] <= high)).mean(axis=0)[judged]
        off = np.sqrt(np.square(np.asarray(runs.coefficients) - target[None]).mean())
        found[name] = {
            "coverage": float(inside.mean()),
            "range_over_coefficients": [float(inside.min()), float(inside.max())],
            "num_coefficients": int(judged.sum()),
            "rms_error": float(off),
            "num_evaluations": float(np.asarray(runs.num_evaluations, np.float64).mean()),
        }
    return found


def stopping(predict: Any, num_runs: int) -> dict[str, Any]:
    """Returns how often the promise of a target is kept, and for how many evaluations."""
    exact = lj.explain(predict, _inputs(), lj.exhaustive(equivalent_num_samples=1000))
    target = np.asarray(exact.coefficients)
    found = {}
    for share in TARGETS:
        error = share * float(np.abs(target).max())
        runs = _explain(predict, lj.lime(lj.auto(std_error=error)), num_runs)
        off = np.abs(np.asarray(runs.coefficients) - target[None])
        within = off <= 1.96 * error
        found[f"standard error, {share:.0%} of the largest weight"] = {
            "met": float(within.mean(axis=0).min()),
            "met_by_all_coefficients": float(within.all(axis=(1, 2)).mean()),
            **_cost(runs),
        }
    runs = _explain(predict, lj.lime(lj.auto(top_k=3, confidence=CONFIDENCE)), num_runs)
    right = _top_sets(np.asarray(runs.coefficients)) == _top_sets(target)[None]
    sure = np.asarray(lj.top_k_confidence(runs, 3)) >= CONFIDENCE
    found[f"top 3 right with {CONFIDENCE:.0%}"] = {
        "met": float(right[sure].mean()) if sure.any() else None,
        "met_by_all_coefficients": None,
        "share_sure": float(sure.mean()),
        **_cost(runs),
    }
    return found


def _cost(runs: lj.Explanation) -> dict[str, Any]:
    evaluations = np.asarray(runs.num_evaluations, np.float64)
    as_lime = np.asarray(runs.num_lime_samples).min(axis=1)
    return {
        "num_evaluations": float(evaluations.mean()),
        "range": [float(evaluations.min()), float(evaluations.max())],
        "saved_against_70_000": float(1 - evaluations.mean() / 70_000),
        "num_lime_samples": float(np.median(as_lime[np.isfinite(as_lime)])),
    }


def _top_sets(coefficients: np.ndarray) -> np.ndarray:
    """The three strongest of `(..., d)` as one number each."""
    top = np.argsort(-coefficients, axis=-1, kind="stable")[..., :3]
    return (1 << top.astype(np.int64)).sum(axis=-1)


def _arrays(number: int) -> lj.Method:
    from lime_jax.core.masks.orthogonal_array import OrthogonalArray

    lime = lj.lime(alpha=NUM_SAMPLES * number / 1000)  # as strong as 1000 samples have it
    return lj.Method(OrthogonalArray(NUM_SAMPLES * number), lime.kernel, lime.surrogate)


def _explain(predict: Any, method: lj.Method, num_runs: int) -> lj.Explanation:
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), jnp.arange(num_runs))
    many = jax.tree.map(lambda x: jnp.stack([x] * num_runs), _inputs())
    return lj.explain_batch(predict, many, method, key=keys)


def _inputs() -> lj.Components:
    """The masks themselves."""
    return lj.from_stems(jnp.eye(NUM_COMPONENTS))


def _saturated() -> tuple[str, Any]:
    weights = jax.random.normal(jax.random.key(1), (NUM_COMPONENTS, 3))

    def model(weights, masks):
        return jax.nn.sigmoid(4 * (masks @ weights) + 2)

    return "a sigmoid of a wide linear function", jax.tree_util.Partial(model, weights)


def _mild() -> tuple[str, Any]:
    weights = jax.random.normal(jax.random.key(2), (NUM_COMPONENTS, 3)) / 2

    def model(weights, masks):
        return jax.nn.sigmoid(masks @ weights + masks[:, :3] * masks[:, 3:6])

    return "a sigmoid of a linear function and products", jax.tree_util.Partial(model, weights)


def _sparse() -> tuple[str, Any]:
    def model(masks):
        return jnp.stack(
            [
                masks[:, 0] * masks[:, 1] * masks[:, 2],
                jnp.maximum(masks[:, 3], masks[:, 4]),
                masks[:, 5] * (1 - masks[:, 6]),
            ],
            axis=1,
        )

    return "and, or and not of two or three components", model


def _network() -> tuple[str, Any]:
    """A tagger over the times of the shipped song, from a table of all masks."""
    from lime_jax import examples, models

    name = "msd-musicnn" if models.is_fetched("msd-musicnn") else "instrument-tagger"
    model = models.load(name)
    excerpt = jnp.asarray(examples.song().waveform[: model.patch_num_samples])
    labels = lj.equal_segments(len(excerpt), NUM_COMPONENTS)
    components = lj.from_labels(excerpt, labels, NUM_COMPONENTS)
    masks = lj.exhaustive().sampler(None, NUM_COMPONENTS).masks
    outputs = lj.predict_neighbourhood(model, components, masks, batch_size=16)[1]
    table = outputs[:, jnp.argsort(-outputs[0])[:5]]
    powers = jnp.asarray(2.0 ** np.arange(NUM_COMPONENTS - 1, -1, -1), jnp.float32)

    def look_up(table: jax.Array, masks: jax.Array) -> jax.Array:
        return table[(len(table) - 1 - masks @ powers).astype(jnp.int32)]

    what = f"{name}, five highest tags, {NUM_COMPONENTS} times of the shipped song"
    return what, jax.tree_util.Partial(look_up, table)


MODELS = {"saturated": _saturated, "mild": _mild, "sparse": _sparse, "network": _network}


def rows(numbers: dict[str, Any]) -> Iterator[cells.Row]:
    """Yields how often intervals hold, and promises."""
    yield "model", "what", "holds", "least and most, by coefficient", "evaluations", "as LIME"
    for name, one in numbers["models"].items():
        for sampler, found in one["coverage"].items():
            low, high = found["range_over_coefficients"]
            yield (
                name,
                f"95 % intervals, {sampler}",
                f"{found['coverage']:.1%}",
                f"{low:.1%} to {high:.1%}",
                f"{found['num_evaluations']:,.0f}",
                "",
            )
        for target, found in one["stopping"].items():
            met, everywhere = found["met"], found["met_by_all_coefficients"]
            sure = found.get("share_sure")
            yield (
                name,
                f"stopped at {target}",
                "never sure" if met is None else f"{met:.1%}",
                f"sure in {sure:.0%} of outputs and runs"
                if everywhere is None
                else f"all coefficients at once: {everywhere:.1%}",
                f"{found['num_evaluations']:,.0f}",
                f"{found['num_lime_samples']:,.0f}",
            )
    for name, reason in numbers["left_out"].items():
        yield name, reason, "", "", "", ""


def headline(numbers: dict[str, Any]) -> str:
    """Returns what the README says was measured."""
    shares = [
        sampler["coverage"]
        for model in numbers["models"].values()
        for sampler in model["coverage"].values()
    ]
    return f"95 % intervals hold in {min(shares):.1%} to {max(shares):.1%} of runs"
