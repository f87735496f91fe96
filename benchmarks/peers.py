# pyright: reportMissingImports=false
"""An explanation costs a fraction of what other libraries take per mask and output.

The cheap model (d = 40, 400 inputs, sigmoid of a matrix product), for which all time is the
explainer's own: lime, audioLIME's algorithm, captum, shap and shapiq with the same weights, the
same budget of masks and ridge 1 (or no penalty where they have none). What is not installed is
left out and named.
"""

import importlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lime_jax as lj
from benchmarks import cells, networks, timing
from lime_jax.machine import version

NUM_COMPONENTS, NUM_OUTPUTS = 40, 10
SEGMENT = 400 // NUM_COMPONENTS


def run(*, quick: bool) -> dict[str, Any]:
    """Returns seconds per explanation of every peer that is installed."""
    num_samples = 2_000 if quick else 70_000
    case = networks.cheap(NUM_OUTPUTS)
    weights = np.asarray(jax.tree.leaves(case.predict)[0])
    signal = np.asarray(case.signal)
    found, missing = {}, {}
    for name, (packages, prepare, num_outputs, limit) in PEERS.items():
        absent = [package for package in packages if not _installed(package)]
        if absent:
            missing[name] = f"not installed: {', '.join(absent)}"
            continue
        budget = min(num_samples, limit)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            work = prepare(weights, signal, budget)
            timed = timing.measure(work, repeats=2 if quick else 5)
        found[name] = {
            **timed,
            "num_samples": budget,
            "num_outputs": num_outputs,
            "us_per_mask": 1e6 * timed["median"] / budget,
            "us_per_mask_and_output": 1e6 * timed["median"] / budget / num_outputs,
            **({"version": version(packages[0])} if packages else {}),
        }
    own = found["lime_jax"]["us_per_mask_and_output"]
    for entry in found.values():
        entry["times_slower_per_mask_and_output"] = entry["us_per_mask_and_output"] / own
    plain = found["plain JAX scan"]["median"] / found["plain JAX scan"]["num_samples"]
    return {
        "num_components": NUM_COMPONENTS,
        "input_length": len(signal),
        "engines": found,
        "left_out": missing,
        "lime_jax_over_plain_scan": 1e-6 * found["lime_jax"]["us_per_mask"] / plain,
    }


def _installed(package: str) -> bool:
    try:
        importlib.import_module(package)
    except ImportError:
        return False
    return True


def _host_model(weights: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda batch: 1 / (1 + np.exp(-(batch @ weights)))


def _on_masks(weights: np.ndarray, signal: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The game that tabular explainers see: masks in, outputs out."""
    model = _host_model(weights)
    return lambda masks: model(np.repeat(np.asarray(masks, np.float32), SEGMENT, axis=1) * signal)


def _lime_jax(weights: np.ndarray, signal: np.ndarray, num_samples: int) -> Callable[[], Any]:
    case = networks.cheap(NUM_OUTPUTS)
    components = lj.from_labels(signal, lj.equal_segments(400, NUM_COMPONENTS), NUM_COMPONENTS)
    method, key = lj.lime(num_samples), jax.random.key(0)
    return lambda: lj.explain(case.predict, components, method, key=key)


def _plain_scan(weights: np.ndarray, signal: np.ndarray, num_samples: int) -> Callable[[], Any]:
    """Masks, model, Gram matrix and solve written down directly: the floor in JAX."""
    chunk = 1000

    @jax.jit
    def explain(weights: jax.Array, signal: jax.Array, key: jax.Array) -> jax.Array:
        def body(sums: Any, key: jax.Array) -> tuple[Any, None]:
            z = jax.random.bernoulli(key, 0.5, (chunk, NUM_COMPONENTS)).astype(jnp.float32)
            y = jax.nn.sigmoid((jnp.repeat(z, SEGMENT, axis=1) * signal) @ weights)
            near = jnp.exp(-jnp.square((1 - jnp.sqrt(z.mean(axis=1))) / 0.25) / 2)
            x = jnp.concatenate([jnp.ones((chunk, 1)), z], axis=1)
            weighted = (x * near[:, None]).T
            return (sums[0] + weighted @ x, sums[1] + weighted @ y), None

        size = NUM_COMPONENTS + 1
        nothing = (jnp.zeros((size, size)), jnp.zeros((size, NUM_OUTPUTS)))
        keys = jax.random.split(key, num_samples // chunk)
        (gram, cross), _ = jax.lax.scan(body, nothing, keys)
        penalty = jnp.diag(jnp.ones(size).at[0].set(0.0))
        return jnp.linalg.solve(gram + penalty, cross)

    arguments = jnp.asarray(weights), jnp.asarray(signal), jax.random.key(0)
    return lambda: explain(*arguments)


def _lime(weights: np.ndarray, signal: np.ndarray, num_samples: int) -> Callable[[], Any]:
    """LIME's image explainer on a picture of one row, all outputs."""
    from lime.lime_image import LimeImageExplainer

    model = _host_model(weights)
    picture = np.repeat(signal[None, :, None].astype(np.float64), 3, axis=2)
    labels = np.repeat(np.arange(NUM_COMPONENTS), SEGMENT)[None]
    explainer = LimeImageExplainer(random_state=0, verbose=False)
    return lambda: explainer.explain_instance(
        picture,
        lambda batch: model(np.asarray(batch)[:, 0, :, 0]),
        hide_color=0,
        top_labels=NUM_OUTPUTS,
        num_features=100_000,
        num_samples=num_samples,
        batch_size=1000,
        segmentation_fn=lambda image: labels,
    )


def _audiolime(weights: np.ndarray, signal: np.ndarray, num_samples: int) -> Callable[[], Any]:
    """The loop of audioLIME: a sum of kept stems per mask, batches of 10, a ridge per output."""
    from sklearn.linear_model import Ridge
    from sklearn.metrics import pairwise_distances

    model = _host_model(weights)
    labels = np.repeat(np.arange(NUM_COMPONENTS), SEGMENT)
    stems = [np.where(labels == j, signal, 0) for j in range(NUM_COMPONENTS)]

    def explain() -> list[Any]:
        masks = np.random.RandomState(0).randint(0, 2, (num_samples, NUM_COMPONENTS))
        masks[0] = 1
        outputs, batch = [], []
        for mask in masks:
            batch.append(sum(stems[j] for j in np.flatnonzero(mask)) + np.zeros(len(signal)))
            if len(batch) == 10:
                outputs.extend(model(np.array(batch)))
                batch = []
        if batch:
            outputs.extend(model(np.array(batch)))
        distances = pairwise_distances(masks, masks[:1], metric="cosine").ravel()
        near = np.exp(-(distances**2) / (2 * 0.25**2))
        columns = np.array(outputs).T
        return [Ridge(alpha=1.0).fit(masks, column, sample_weight=near).coef_ for column in columns]

    return explain


def _captum(weights: np.ndarray, signal: np.ndarray, kind: str, num_samples: int) -> Any:
    import captum.attr
    import torch
    from captum._utils.models.linear_model import SkLearnRidge

    matrix = torch.tensor(weights)

    def forward(batch):
        return torch.sigmoid(batch @ matrix)

    inputs = torch.tensor(signal)[None]
    labels = torch.arange(NUM_COMPONENTS).repeat_interleave(SEGMENT)[None]
    options = {"interpretable_model": SkLearnRidge(alpha=1.0)} if kind == "Lime" else {}
    explainer = getattr(captum.attr, kind)(forward, **options)

    def explain() -> Any:
        with torch.no_grad():
            return explainer.attribute(
                inputs,
                target=0,
                feature_mask=labels,
                n_samples=num_samples,
                perturbations_per_eval=1000,
            ).numpy()

    return explain


def _captum_lime(weights: np.ndarray, signal: np.ndarray, num_samples: int) -> Any:
    return _captum(weights, signal, "Lime", num_samples)


def _captum_shap(weights: np.ndarray, signal: np.ndarray, num_samples: int) -> Any:
    return _captum(weights, signal, "KernelShap", num_samples)


def _shap(weights: np.ndarray, signal: np.ndarray, num_samples: int) -> Callable[[], Any]:
    import shap

    explainer = shap.KernelExplainer(_on_masks(weights, signal), np.zeros((1, NUM_COMPONENTS)))
    ones = np.ones((1, NUM_COMPONENTS))
    return lambda: explainer.shap_values(ones, nsamples=num_samples, l1_reg=False, silent=True)


def _shapiq(weights: np.ndarray, signal: np.ndarray, num_samples: int) -> Callable[[], Any]:
    import shapiq

    game = _on_masks(weights, signal)

    def first(masks):
        return game(np.atleast_2d(masks))[:, 0]

    approximator = shapiq.KernelSHAP(n=NUM_COMPONENTS, random_state=0)
    return lambda: approximator.approximate(num_samples, first).values


# Packages, how to prepare the work, outputs explained by one call, and the most masks that are
# measured: the slow ones take a minute beyond that, and their cost per mask does not change.
PEERS: dict[str, tuple[tuple[str, ...], Any, int, int]] = {
    "lime_jax": ((), _lime_jax, NUM_OUTPUTS, 10**9),
    "plain JAX scan": ((), _plain_scan, NUM_OUTPUTS, 10**9),
    "lime (image)": (("lime", "skimage"), _lime, NUM_OUTPUTS, 10_000),
    "audioLIME's algorithm": (("sklearn",), _audiolime, NUM_OUTPUTS, 10_000),
    "captum Lime": (("captum", "torch", "sklearn"), _captum_lime, 1, 20_000),
    "captum KernelShap": (("captum", "torch", "sklearn"), _captum_shap, 1, 20_000),
    "shap KernelExplainer": (("shap",), _shap, NUM_OUTPUTS, 70_000),
    "shapiq KernelSHAP": (("shapiq",), _shapiq, 1, 70_000),
}


def rows(numbers: dict[str, Any]) -> Iterator[cells.Row]:
    """Yields the table of the stored numbers."""
    yield "engine", "version", "masks", "µs per mask", "µs per mask and output", "times slower"
    for name, one in numbers["engines"].items():
        yield (
            name,
            one.get("version") or "",
            f"{one['num_samples']:,}",
            cells.number(one["us_per_mask"]),
            cells.number(one["us_per_mask_and_output"]),
            f"{one['times_slower_per_mask_and_output']:.1f}",
        )
    for name, reason in numbers["left_out"].items():
        yield name, reason, "", "", "", ""


def headline(numbers: dict[str, Any]) -> str:
    """Returns what the README says was measured."""
    slower = ", ".join(
        f"{name} {entry['times_slower_per_mask_and_output']:.0f} ×"
        for name, entry in numbers["engines"].items()
        if name not in ("lime_jax", "plain JAX scan")
    )
    return f"slower: {slower}"
