"""Every mask with few components off: all that a narrow kernel sees."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from lime_jax.core.masks.neighbourhood import Neighbourhood
from lime_jax.core.pytree import pytree, static


@pytree
class Nearest:
    """Every mask with few components off, once: all that a narrow kernel sees.

    Attributes:
      most_off: how many components are off at most.
      equivalent_num_samples: counts are those of so many fair-coin masks, as in `Exhaustive`.
    """

    most_off: int = static()
    equivalent_num_samples: int = static()

    def __call__(self, key: Key[Array, ""] | None, num_components: int) -> Neighbourhood:
        del key
        num_masks = num_nearest(num_components, self.most_off)
        # Exact in floating point as far as 2**-126; there nothing is narrow any more.
        count = self.equivalent_num_samples * 2.0**-num_components
        return Neighbourhood(
            None, jnp.full((num_masks, 1), count, jnp.float32), _nearest(self.most_off),
            self.equivalent_num_samples, num_components, num_masks, 1, is_exact=True,
        )  # fmt: skip


def num_nearest(num_components: int, most_off: int) -> int:
    """Returns how many masks have at most so many components off."""
    return sum(math.comb(num_components, off) for off in range(most_off + 1))


@functools.cache
def _nearest(most_off: int) -> Callable[..., Any]:
    """The same function for the same number, because jit compares functions by identity."""
    return functools.partial(_nearest_rows, most_off)


def _nearest_rows(
    most_off: int, key: Key[Array, ""] | None, rows: Int[Array, " num_rows"], num_components: int
) -> Bool[Array, "num_rows num_components"]:
    del key
    return jnp.asarray(_nearest_table(most_off, num_components))[rows]


@functools.cache
def _nearest_table(most_off: int, num_components: int) -> np.ndarray:
    table = np.ones((num_nearest(num_components, most_off), num_components), bool)
    sets = (
        some
        for off in range(most_off + 1)
        for some in itertools.combinations(range(num_components), off)
    )
    for row, some in zip(table, sets, strict=True):
        row[list(some)] = False
    return table
