"""A data set is explained at the rate of the bare network, whatever the size of one explanation.

Explanations per hour of clips that come as a stream, in the three published sizes.
"""

import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import lime_jax as lj
from benchmarks import cells, networks, timing
from lime_jax.models.musicnn import Musicnn


def run(*, quick: bool) -> dict[str, Any]:
    """audioLIME, LEMONS and SLIME size."""
    on_cpu = jax.devices()[0].platform == "cpu"
    # Two cores take hours for 2¹⁰ clips; a few seconds of them have the same rate.
    num_clips = {"audioLIME": 16, "LEMONS": 1, "SLIME": 4} if on_cpu else dict.fromkeys(SIZES, 1024)
    if quick:
        num_clips = {"audioLIME": 2}
    return {"sizes": {name: measure(name, num_clips[name], quick) for name in num_clips}}


def measure(name: str, num_clips: int, quick: bool) -> dict[str, Any]:
    """The clips of one size as a stream, after a first one that compiles and finds batch sizes."""
    text, network, make, method = SIZES[name]()
    num_masks = method.sampler(jax.random.key(0), make(0).num_components).num_masks
    num_items = max(1, min(num_clips, 512 // num_masks))

    def explain(count):
        return list(
            lj.explain_stream(
                network, map(make, range(count)), method, key=jax.random.key(1), num_items=num_items
            )
        )

    start = time.perf_counter()
    # Twice: the first may find a better batch size for the second.
    jax.block_until_ready((explain(num_items), explain(num_items)))
    warm_up = time.perf_counter() - start
    timed = [timing.seconds(lambda: explain(num_clips)) for _ in range(1 if quick else 3)]
    per_clip = timing.spread([each / num_clips for each in timed])
    return {
        "what": text,
        "num_clips": num_clips,
        "evaluations_per_clip": num_masks,
        "warm_up_s": warm_up,
        "s_per_clip": per_clip,
        "explanations_per_hour": 3600 / per_clip["median"],
        "evaluations_per_s": num_masks / per_clip["median"],
    }


def _audiolime() -> tuple[str, Any, Any, lj.Method]:
    network = Waveforms(rngs=nnx.Rngs(0))

    def make(i):
        return lj.from_stems(_stems(i, 48_000))

    return "musicnn on 3 s, 5 stems, all 32 masks", network, make, lj.exhaustive()


def _lemons() -> tuple[str, Any, Any, lj.Method]:
    network = Waveforms(rngs=nnx.Rngs(0))
    labels = lj.equal_segments(48_000, 5)

    def make(i):
        return lj.cross(lj.from_stems(_stems(i, 48_000)), labels, 5)

    return "musicnn on 3 s, 5 stems × 5 segments, 2048 masks", network, make, lj.lime(2048)


def _slime() -> tuple[str, Any, Any, lj.Method]:
    case = networks.singing_voice()
    labels = lj.equal_segments(115, 10)[:, None]

    def make(i):
        return lj.from_labels(case.signal * (1 + i / 1000), labels, 10)

    text = "SVDNet, 10 segments, 70 000 samples as 1024 masks"
    return text, case.predict, make, lj.slime(70_000)


SIZES = {"audioLIME": _audiolime, "LEMONS": _lemons, "SLIME": _slime}


class Waveforms(nnx.Module):
    """Untrained musicnn on waveforms of one patch."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.network = Musicnn(rngs=rngs)

    def __call__(self, waveforms: jax.Array) -> jax.Array:
        padded = jnp.pad(waveforms, ((0, 0), (0, 256)))
        return jax.nn.sigmoid(self.network(self.network.front_end(padded)[:, 0]))


def _stems(index: int, num_samples: int) -> jax.Array:
    return jax.random.normal(jax.random.key(index), (5, num_samples)) / 10


def rows(numbers: dict[str, Any]) -> Iterator[cells.Row]:
    """Yields the table of the stored numbers."""
    yield "size", "evaluations per clip", "explanations per hour", "evaluations per second"
    for size in numbers["sizes"].values():
        yield (
            size["what"],
            str(size["evaluations_per_clip"]),
            cells.number(size["explanations_per_hour"]),
            cells.number(size["evaluations_per_s"]),
        )
