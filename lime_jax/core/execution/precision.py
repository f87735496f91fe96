"""How exactly a model's products are computed."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax

PRECISIONS = ("float32", "default")


@contextlib.contextmanager
def products(precision: str | None = None) -> Iterator[None]:
    """Computes matrix products and convolutions inside with this precision.

    Products that name their own precision keep it.

    Args:
      precision: float32; or default, which is what the device does by itself: tf32 on NVIDIA GPUs,
        bf16 on TPUs, float32 on CPUs. None is float32, unless `jax.default_matmul_precision` says
        something else already.

    Raises:
      ValueError: if the name is another.
    """
    check_precision(precision)
    if precision is None:
        set_already = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
        chosen = set_already or "float32"
    else:
        # jax calls the default products of any device by this name, too.
        chosen = {"float32": "float32", "default": "bfloat16"}[precision]
    with jax.default_matmul_precision(chosen):
        yield


def check_precision(precision: Any) -> None:
    """Refuses what is no precision.

    Raises:
      ValueError: if the name is another.
    """
    if precision is not None and not (isinstance(precision, str) and precision in PRECISIONS):
        raise ValueError(
            f"`precision` must be one of {', '.join(PRECISIONS)}, got {precision!r:.60}."
        )
