"""What the device can do at most: products per second and bytes per second, measured.

The other results divide by these: a share near one is at the roofline.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import cells, timing
from lime_jax.core.execution.precision import products

_REPEATS_INSIDE = 8


def run(*, quick: bool) -> dict[str, Any]:
    """Large matrix products at each precision, and a large copy."""
    on_cpu = jax.devices()[0].platform == "cpu"
    size = 2048 if on_cpu or quick else 8192
    found = {}
    for precision in ("float32", "default"):
        found[precision] = _products_per_s(size, precision)
    return {
        "matrix_size": size,
        "float32_tflops": found["float32"] / 1e12,
        "fastest_tflops": found["default"] / 1e12,
        "copy_gb_per_s": _copy(1 << (26 if on_cpu or quick else 30)) / 1e9,
    }


def _products_per_s(size: int, precision: str) -> float:
    matrix = jax.random.normal(jax.random.key(0), (size, size)) / size**0.5

    @jax.jit
    def multiply(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, _REPEATS_INSIDE, lambda _, y: y @ x, x)

    with products(precision):
        seconds = timing.measure(lambda: multiply(matrix))["median"]
    return _REPEATS_INSIDE * 2 * size**3 / seconds


def _copy(num_bytes: int) -> float:
    x = jnp.ones(num_bytes // 4, jnp.float32)
    add = jax.jit(lambda x: x + 1)
    return 2 * num_bytes / timing.measure(lambda: add(x))["median"]


def rows(numbers: dict[str, Any]) -> Iterator[cells.Row]:
    """Yields the table of the stored numbers."""
    yield "float32 products, TFLOP/s", "fastest products, TFLOP/s", "copy, GB/s"
    names = ("float32_tflops", "fastest_tflops", "copy_gb_per_s")
    yield tuple(cells.number(numbers[name]) for name in names)
