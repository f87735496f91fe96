"""Every mask once."""

import jax.numpy as jnp
import numpy as np

from lime_jax.core.masks.neighbourhood import Masks, MaybeKey, Neighbourhood, Rows
from lime_jax.core.pytree import pytree, static

MOST_COMPONENTS = 20


@pytree
class Exhaustive:
    """Every mask once, from all on to all off.

    Attributes:
      equivalent_num_samples: scales the counts to this many samples in total, so that a penalised
        surrogate is the limit which Bernoulli neighbourhoods of that size scatter around.
    """

    equivalent_num_samples: int | None = static(default=None)

    def __call__(self, key: MaybeKey, num_components: int) -> Neighbourhood:
        del key
        check_all_masks(num_components)
        num_masks = 2**num_components
        num_samples = self.equivalent_num_samples or num_masks
        table = jnp.asarray(np.full((num_masks, 1), num_samples / num_masks, np.float32))
        return Neighbourhood(
            None, table, all_mask_rows, num_samples, num_components, num_masks, 1, is_exact=True
        )


def check_all_masks(num_components: int) -> None:
    """Refuses more components than all masks can be evaluated of.

    Raises:
      ValueError: if there are too many.
    """
    if num_components > MOST_COMPONENTS:
        raise ValueError(
            f"`num_components` = {num_components} means {2**num_components:,} masks, too many to "
            f"evaluate all (at most {MOST_COMPONENTS} components, {2**MOST_COMPONENTS:,} masks). "
            "Use `lime(num_samples=…)`, or fewer components."
        )


def all_mask_rows(key: MaybeKey, rows: Rows, num_components: int) -> Masks:
    """Returns row r of the cube: the bits of `2**d - 1 - r`, first component most significant."""
    del key
    shifts = jnp.arange(num_components - 1, -1, -1, dtype=rows.dtype)
    return (rows[:, None] >> shifts[None, :]) & 1 == 0
