"""Neighbourhoods of an input: which masks are evaluated, and how often each one counts."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from lime_jax.core.arguments import whole_number
from lime_jax.core.keys import as_threefry
from lime_jax.core.pytree import pytree, static

Masks = Bool[Array, "num_rows num_components"]


Rows = Int[Array, " num_rows"]


MaybeKey = Key[Array, ""] | None


Distribution = Literal["lime", "uniform", "pairs", "other"]


# Enough blocks for a t interval with 15 degrees of freedom, few enough to cost nothing.
NUM_BLOCKS = 16


HISTOGRAM_ROWS = 16_384


# Rows are numbered in int32.
_MOST_SAMPLES = 2**31 - 2 * HISTOGRAM_ROWS


@pytree
class Neighbourhood:
    """Masks around an input, the unperturbed one first; drawn row by row when asked for.

    A row depends on the key and its index alone, so that neither chunking nor the number of
    devices changes it and a million rows take no memory.

    Attributes:
      key: what the rows are drawn from.
      table: `(num_masks, num_blocks)`, how often each mask occurs in each block; or, if
        `is_replicated`, how often it occurs, and how often if drawn again. None: every row counts
        once, and row `i` belongs to block `i % num_blocks`.
      draw: `(key, rows, num_components) -> masks`.
      num_samples: the size asked for; more than `num_masks` where masks repeat.
      num_components: entries of a mask.
      num_masks: how many rows there are.
      num_blocks: independent parts, compared to estimate errors.
      num_counted: rows from there on are evaluated but do not count; None counts all.
      is_exact: whether there is no sampling error.
      is_replicated: whether the columns of the table behind the first are whole neighbourhoods
        drawn again, between which estimates differ as they do between keys.
      distribution: of the masks that count: LIME's own; uniform, if every mask is as likely as any
        other, so that LIME's own estimate the same; pairs of a mask and its complement, drawn by
        the Shapley kernel; or other.
    """

    key: Key[Array, "..."] | None
    table: Float[Array, "..."] | None
    draw: Callable[[MaybeKey, Rows, int], Masks] = static()
    num_samples: int = static()
    num_components: int = static()
    num_masks: int = static()
    num_blocks: int = static()
    num_counted: int | None = static(default=None)
    is_exact: bool = static(default=False)
    is_replicated: bool = static(default=False)
    distribution: Distribution = static(default="other")

    def rows(self, index: Rows) -> Masks:
        """Returns the masks with these indices, bool `(len(index), num_components)`."""
        return self.draw(self.key, index, self.num_components)

    @property
    def masks(self) -> Masks:
        """All masks, bool `(num_masks, num_components)`."""
        return _all_rows(self)

    @property
    def counts(self) -> Float[Array, " num_masks"]:
        """How often each mask counts, float32 `(num_masks,)`."""
        if self.table is not None:
            return self.table[:, 0] if self.is_replicated else _sum_blocks(self.table)
        num_counted = self.num_masks if self.num_counted is None else self.num_counted
        return jnp.asarray((np.arange(self.num_masks) < num_counted).astype(np.float32))


@jax.jit
def _all_rows(neighbourhood: Neighbourhood) -> Masks:
    return neighbourhood.rows(jnp.arange(neighbourhood.num_masks, dtype=jnp.int32))


@jax.jit
def _sum_blocks(table: Float[Array, "num_masks num_blocks"]) -> Float[Array, " num_masks"]:
    return table.sum(axis=1)


@runtime_checkable
class Sampler(Protocol):
    """Draws a neighbourhood."""

    def __call__(self, key: MaybeKey, num_components: int) -> Neighbourhood:
        """Returns a neighbourhood of `num_components` components.

        The unperturbed input comes first, or behind all that counts. `draw` must be the same
        function for the same settings, because jit compares functions by identity.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Size:
    """How large a neighbourhood is; see `Neighbourhood`."""

    num_masks: int
    num_counted: int
    num_blocks: int
    has_table: bool
    is_exact: bool
    distribution: Distribution

    @property
    def round_size(self) -> int:
        """Rows that belong to the blocks in turn; those of a table tell their blocks themselves."""
        return 1 if self.has_table else self.num_blocks


def size_of(sampler: Sampler, num_components: int, key: Any = "any") -> Size:
    """Returns the size of a neighbourhood, without drawing it.

    Args:
      sampler: which would draw it.
      num_components: of the input.
      key: what it would draw from, where it matters whether there is any.
    """
    sizes = []
    if isinstance(key, str):
        key = jax.eval_shape(lambda: jax.random.key(0))

    def note(key: MaybeKey) -> None:
        drawn = sampler(key, num_components)
        num_counted = drawn.num_counted or drawn.num_masks
        has_table = drawn.table is not None
        sizes.append(
            Size(
                drawn.num_masks,
                num_counted,
                drawn.num_blocks,
                has_table,
                drawn.is_exact,
                drawn.distribution,
            )
        )

    jax.eval_shape(note, key)
    return sizes[0]


def needed_key(key: MaybeKey) -> Key[Array, ""]:
    """Returns the key of a method that draws.

    Raises:
      ValueError: if there is none.
    """
    if key is None:
        raise ValueError("`key` is None, but this method draws masks. Pass `jax.random.key(seed)`.")
    return as_threefry(key)


def check_num_samples(num_samples: Any) -> int:
    """Returns a number of samples that can be drawn.

    Raises:
      ValueError: if it is no whole number, or too small or large.
    """
    hint = "A surrogate needs perturbed inputs beside the unperturbed one; `exhaustive()` has all."
    num_samples = whole_number("num_samples", num_samples, 2, hint)
    if num_samples > _MOST_SAMPLES:
        raise ValueError(
            f"`num_samples` must be at most {_MOST_SAMPLES:,}, got {num_samples:,}. Standard "
            "errors tell how few are enough; for few components use `exhaustive()`."
        )
    return num_samples
