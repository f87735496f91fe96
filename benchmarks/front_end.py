"""A linear front end costs one pass over the components instead of one per mask.

An STFT in front of a light network, computed for every mask and hoisted with `lj.map_linear`.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lime_jax as lj
from benchmarks import cells, timing

NUM_SAMPLES_OF_CLIP, N_FFT, HOP = 48_000, 1024, 256


def run(*, quick: bool) -> dict[str, Any]:
    """Returns seconds of both ways, and how far their coefficients are apart."""
    stems = jax.random.normal(jax.random.key(0), (5, NUM_SAMPLES_OF_CLIP))
    components = lj.from_stems(stems)
    matrix = jax.random.normal(jax.random.key(1), (N_FFT // 2 + 1, 10)) / 20
    network = jax.tree_util.Partial(after, matrix)
    whole = jax.tree_util.Partial(lambda matrix, x: after(matrix, stft(x)), matrix)
    method = lj.kernel_shap(32)
    count = 2 if quick else 8

    def per_mask():
        return [lj.explain(whole, components, method, batch_size=32) for _ in range(count)]

    hoist = jax.jit(lambda components: lj.map_linear(stft, components))

    def hoisted():
        return [lj.explain(network, hoist(components), method, batch_size=32) for _ in range(count)]

    difference = np.abs(per_mask()[0].coefficients - np.asarray(hoisted()[0].coefficients)).max()
    times = timing.compare({"per mask": per_mask, "hoisted": hoisted}, "per mask")
    return {"ways": times, "difference_of_coefficients": float(difference)}


def stft(waveforms: jax.Array) -> jax.Array:
    """Complex spectra `(batch, frames, bins)`."""
    starts = np.arange(0, NUM_SAMPLES_OF_CLIP - N_FFT + 1, HOP)
    frames = waveforms[:, starts[:, None] + np.arange(N_FFT)[None]]
    return jnp.fft.rfft(frames * jnp.asarray(np.hanning(N_FFT), jnp.float32)[None, None])


def after(matrix: jax.Array, spectra: jax.Array) -> jax.Array:
    """Log magnitudes, averaged over time, and a layer."""
    return jax.nn.sigmoid(jnp.log1p(jnp.abs(spectra)).mean(axis=1) @ matrix)


def rows(numbers: dict[str, Any]) -> Iterator[cells.Row]:
    """Yields the table of the stored numbers."""
    yield "front end", "seconds", "times faster"
    for name, way in numbers["ways"].items():
        yield name, cells.number(way["median"]), cells.ratio(way["ratio"])
