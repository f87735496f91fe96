"""A deep network is explained layer by layer, for a fraction of what its masks cost one by one.

LEMONS' recommender on a song of 16 s, times × sources, 2048 masks: what is computed layer by layer
against the whole network on every mask, of which a few batches are timed.
"""

import functools
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import lime_jax as lj
from benchmarks import cells, timing
from lime_jax.core.receptive_fields import layer_columns
from lime_jax.models.recommender import SAMPLE_RATE, Recommender
from lime_jax.models.recommender_network import Network

NUM_SAMPLES, NUM_SEGMENTS, NUM_SOURCES, SECONDS = 2048, 5, 5, 16
BATCH = {"cpu": 4, "gpu": 32}


def run(*, quick: bool) -> dict[str, Any]:
    """By the number of sources that play."""
    network = Network(rngs=nnx.Rngs(0))
    network.eval()
    # As training would find them: otherwise every output is one or zero.
    network.norm.mean[...], network.norm.var[...] = jnp.full(1, -8.0), jnp.full(1, 900.0)
    recommender = Recommender(network)
    playing = (2,) if quick else (2, 3, 4, 5)
    return {
        "num_masks": NUM_SAMPLES,
        "cases": [_case(recommender, number, 1 if quick else 3) for number in playing],
    }


def _case(recommender: Recommender, num_playing: int, repeats: int) -> dict[str, Any]:
    components = _song(num_playing)
    columns = layer_columns.plan_columns(recommender.receptive_field, components, NUM_SAMPLES)
    explain = functools.partial(
        lj.explain, recommender, components, lj.lime(NUM_SAMPLES), key=jax.random.key(0)
    )
    _, first = _timed(explain)
    batch = BATCH.get(jax.devices()[0].platform, 32)
    masks = jax.random.bernoulli(jax.random.key(1), 0.5, (batch, components.num_components))
    whole = functools.partial(_whole, recommender, components, masks)
    jax.block_until_ready(whole())
    times = [(_timed(explain)[1], _timed(whole)[1]) for _ in range(repeats)]
    by_layers = [one for one, _ in times]
    by_masks = [NUM_SAMPLES / batch * other for _, other in times]
    assert columns is not None
    lookup = layer_columns.look_up_columns(recommender.receptive_field, components, columns)
    found = recommender.receptive_field.head(jax.vmap(lookup.recomposed)(masks))
    return {
        "num_playing": num_playing,
        "first_s": first,
        "layers_s": timing.spread(by_layers),
        "masks_s": timing.spread(by_masks),
        "ratio": timing.spread([b / a for a, b in zip(by_layers, by_masks, strict=True)]),
        "passes": [some.num_evaluations for some in columns],
        "outputs": [float(x) for x in (whole().min(), whole().max())],
        "difference_of_outputs": float(jnp.abs(found - whole()).max()),
    }


def _song(num_playing: int) -> lj.Components:
    size = SECONDS * SAMPLE_RATE
    stems = np.zeros((NUM_SOURCES, size), np.float32)
    noise = np.random.default_rng(0).standard_normal((num_playing, size))
    stems[:num_playing] = 0.1 * noise
    return lj.cross(lj.from_stems(stems), lj.equal_segments(size, NUM_SEGMENTS), NUM_SEGMENTS)


@jax.jit
def _whole(recommender: Recommender, components: lj.Components, masks: jax.Array) -> jax.Array:
    return recommender(jax.vmap(components.recomposed)(masks))


def _timed(function: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    result = jax.block_until_ready(function())
    return result, time.perf_counter() - start


def rows(numbers: dict[str, Any]) -> Iterator[cells.Row]:
    """Yields what is computed layer by layer, by the number of sources that play."""
    yield (
        "sources that play", "passes of first to last layer", "seconds", "mask by mask, seconds",
        "times faster", "largest difference of outputs",
    )  # fmt: skip
    for case in numbers["cases"]:
        low, high = case["ratio"]["quartiles"]
        passes = ", ".join(f"{one:.0f}" for one in case["passes"])
        yield (
            str(case["num_playing"]),
            passes,
            f"{case['layers_s']['median']:.3g}",
            f"{case['masks_s']['median']:.3g}",
            f"{case['ratio']['median']:.0f} [{low:.0f}, {high:.0f}]",
            f"{case['difference_of_outputs']:.1e}",
        )


def headline(numbers: dict[str, Any]) -> str:
    """Returns what the README says was measured."""
    ratios = [case["ratio"]["median"] for case in numbers["cases"]]
    return f"{min(ratios):.0f} to {max(ratios):.0f} × faster, times × sources of a song"
