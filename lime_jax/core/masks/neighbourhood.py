"""Neighbourhoods of an input: which masks are evaluated, and how often each one counts."""

import dataclasses
import functools
import numbers
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from lime_jax.core.pytree import pytree, static
from lime_jax.core.surrogates import kernels

Masks = Bool[Array, "num_rows num_components"]
Rows = Int[Array, " num_rows"]
MaybeKey = Key[Array, ""] | None

# Enough blocks for a t interval with 15 degrees of freedom, few enough to cost nothing.
_NUM_BLOCKS = 16
_LARGEST_CUBE = 20
_HISTOGRAM_ROWS = 16_384
# Rows are numbered in int32.
_MOST_SAMPLES = 2**31 - 2 * _HISTOGRAM_ROWS


@pytree
class Neighbourhood:
    """Masks around an input, the unperturbed one first; drawn row by row when asked for.

    A row depends on the key and its index alone, so that neither chunking nor the number of
    devices changes it and a million rows take no memory.

    Attributes:
      key: what the rows are drawn from.
      table: `(num_masks, num_blocks)`, how often each mask occurs in each block. None: every row
        counts once, and row `i` belongs to block `i % num_blocks`.
      draw: `(key, rows, num_components) -> masks`.
      num_samples: the size asked for; more than `num_masks` where masks repeat.
      num_components: entries of a mask.
      num_masks: how many rows there are.
      num_blocks: independent parts, compared to estimate errors.
      num_counted: rows from there on are evaluated but do not count; None counts all.
      is_exact: whether there is no sampling error.
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

    def rows(self, index: Rows) -> Masks:
        """The masks with these indices, bool `(len(index), num_components)`."""
        return self.draw(self.key, index, self.num_components)

    @property
    def masks(self) -> Masks:
        """All masks, bool `(num_masks, num_components)`."""
        return self.rows(jnp.arange(self.num_masks))

    @property
    def counts(self) -> Float[Array, " num_masks"]:
        """How often each mask counts, float32 `(num_masks,)`."""
        if self.table is not None:
            return self.table.sum(axis=1)
        num_counted = self.num_masks if self.num_counted is None else self.num_counted
        return (jnp.arange(self.num_masks) < num_counted).astype(jnp.float32)


@runtime_checkable
class Sampler(Protocol):
    """Draws a neighbourhood."""

    def __call__(self, key: MaybeKey, num_components: int) -> Neighbourhood:
        """Returns a neighbourhood of `num_components` components, the unperturbed input first."""
        ...


@pytree
class Bernoulli:
    """Every component is on with probability one half; row 0 is the unperturbed input.

    With `distinct`, and when there are no more than `num_samples` different masks, each different
    mask is one row that counts as often as it was drawn: the same sums from fewer evaluations.

    References:
      The sampler of LIME's image explainer and of audioLIME.
    """

    num_samples: int = static()
    distinct: bool = static(default=True)

    def __call__(self, key: MaybeKey, num_components: int) -> Neighbourhood:
        check_num_samples(self.num_samples)
        key = needed_key(key)
        num_blocks = min(_NUM_BLOCKS, self.num_samples)
        few = num_components <= _LARGEST_CUBE and 2**num_components <= self.num_samples
        if self.distinct and few:
            table = _histogram(key, self.num_samples, num_components, num_blocks)
            draw, num_masks = _cube_rows, 2**num_components
        else:
            table, draw, num_masks = None, bernoulli_rows, self.num_samples
        return Neighbourhood(
            key, table, draw, self.num_samples, num_components, num_masks, num_blocks
        )


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
        _check_cube(num_components)
        num_masks = 2**num_components
        num_samples = self.equivalent_num_samples or num_masks
        table = jnp.full((num_masks, 1), num_samples / num_masks, jnp.float32)
        return Neighbourhood(
            None, table, _cube_rows, num_samples, num_components, num_masks, 1, is_exact=True
        )


@pytree
class KernelShap:
    """Masks drawn by the Shapley kernel and their complements; all on and all off included.

    Enumerates all masks, weighted by the kernel, when there are no more than `num_samples`. The
    last masks lack their complements unless `num_samples` is a multiple of 32.

    References:
      Covert and Lee, Improving KernelSHAP, 2021 (paired sampling).
    """

    num_samples: int = static()

    def __call__(self, key: MaybeKey, num_components: int) -> Neighbourhood:
        check_num_samples(self.num_samples)
        if num_components <= _LARGEST_CUBE and 2**num_components <= self.num_samples:
            num_masks = 2**num_components
            masks = _cube_rows(None, jnp.arange(num_masks), num_components)
            table = kernels.Shapley()(masks)[:, None]
            return Neighbourhood(
                None,
                table,
                _cube_rows,
                self.num_samples,
                num_components,
                num_masks,
                1,
                is_exact=True,
            )
        if self.num_samples < 4:
            raise ValueError(
                f"`num_samples` must be at least 4 for {num_components} components, got "
                f"{self.num_samples}. Pairs of masks are compared to estimate errors."
            )
        num_blocks = min(_NUM_BLOCKS, self.num_samples // 2)
        draw = _paired_rows(num_blocks)
        key = needed_key(key)
        return Neighbourhood(
            key, None, draw, self.num_samples, num_components, self.num_samples, num_blocks
        )


@dataclasses.dataclass(frozen=True)
class Size:
    """How large a neighbourhood is; see `Neighbourhood`."""

    num_masks: int
    num_counted: int
    num_blocks: int
    has_table: bool

    @property
    def dealt(self) -> int:
        """Rows that belong to the blocks in turn; those of a table tell their blocks themselves."""
        return 1 if self.has_table else self.num_blocks


def size_of(sampler: Sampler, num_components: int, key: Any = "any") -> Size:
    """The size of a neighbourhood, without drawing it.

    Args:
      sampler: which would draw it.
      num_components: of the input.
      key: what it would draw from, where it matters whether there is any.
    """
    found = []
    if isinstance(key, str):
        key = jax.eval_shape(lambda: jax.random.key(0))

    def note(key: MaybeKey) -> None:
        drawn = sampler(key, num_components)
        num_counted = drawn.num_counted or drawn.num_masks
        has_table = drawn.table is not None
        found.append(Size(drawn.num_masks, num_counted, drawn.num_blocks, has_table))

    jax.eval_shape(note, key)
    return found[0]


def needed_key(key: MaybeKey) -> Key[Array, ""]:
    """The key of a method that draws.

    Raises:
      ValueError: if there is none.
    """
    if key is None:
        raise ValueError("`key` is None, but this method draws masks. Pass `jax.random.key(seed)`.")
    return key


def check_num_samples(num_samples: int) -> None:
    """Refuses a number of samples that cannot be drawn.

    Raises:
      ValueError: if it is no whole number, or too small or large.
    """
    if isinstance(num_samples, bool) or not isinstance(num_samples, numbers.Integral):
        raise ValueError(
            f"`num_samples` must be a whole number, got {num_samples!r}. To use all masks, take "
            "`exhaustive()`."
        )
    if num_samples > _MOST_SAMPLES:
        raise ValueError(
            f"`num_samples` must be at most {_MOST_SAMPLES:,}, got {num_samples:,}. Standard "
            "errors tell how few are enough; for few components use `exhaustive()`."
        )
    if num_samples < 2:
        raise ValueError(
            f"`num_samples` must be at least 2, got {num_samples}. A surrogate needs perturbed "
            "inputs beside the unperturbed one."
        )


def _check_cube(num_components: int) -> None:
    if num_components > _LARGEST_CUBE:
        raise ValueError(
            f"`num_components` = {num_components} means {2**num_components:,} masks, too many to "
            f"evaluate all (at most {_LARGEST_CUBE} components, {2**_LARGEST_CUBE:,} masks). Use "
            "`lime(num_samples=…)`, or fewer components."
        )


def _cube_rows(key: MaybeKey, rows: Rows, num_components: int) -> Masks:
    """Row r of the cube: the bits of `2**d - 1 - r`, first component most significant."""
    del key
    shifts = jnp.arange(num_components - 1, -1, -1, dtype=rows.dtype)
    return (rows[:, None] >> shifts[None, :]) & 1 == 0


def bernoulli_rows(key: MaybeKey, rows: Rows, num_components: int) -> Masks:
    """Fair coins; row 0 is the unperturbed input."""
    words = -(-num_components // 32)

    def row(index: Int[Array, ""]) -> Bool[Array, " bits"]:
        bits = jax.random.bits(jax.random.fold_in(needed_key(key), index), (words, 1), jnp.uint32)
        return ((bits >> jnp.arange(32, dtype=jnp.uint32)[None, :]) & 1 == 1).ravel()

    masks = jax.vmap(row)(rows)[:, :num_components]
    return masks | (rows == 0)[:, None]


def _histogram(
    key: MaybeKey, num_samples: int, num_components: int, num_blocks: int
) -> Float[Array, "num_masks num_blocks"]:
    """How often each mask of the cube is drawn in each block, without holding the draws."""
    powers = 2 ** jnp.arange(num_components - 1, -1, -1)

    def add(step: Int[Array, ""], table: Float[Array, "..."]) -> Float[Array, "..."]:
        rows = step * _HISTOGRAM_ROWS + jnp.arange(_HISTOGRAM_ROWS)
        masks = bernoulli_rows(key, rows, num_components)
        index = 2**num_components - 1 - jnp.where(masks, powers[None, :], 0).sum(axis=1)
        return table.at[index, rows % num_blocks].add(jnp.where(rows < num_samples, 1.0, 0.0))

    table = jnp.zeros((2**num_components, num_blocks), jnp.float32)
    return jax.lax.fori_loop(0, -(-num_samples // _HISTOGRAM_ROWS), add, table)


@functools.cache
def _paired_rows(num_blocks: int) -> Callable[[MaybeKey, Rows, int], Masks]:
    """The same function for the same `num_blocks`, because jit compares functions by identity."""
    return functools.partial(_shapley_rows, num_blocks)


def _shapley_rows(num_blocks: int, key: MaybeKey, rows: Rows, num_components: int) -> Masks:
    """Rows `i` and `i + num_blocks` are complements: pairs stay inside a block."""
    shares = jnp.asarray(np.cumsum(kernels.shapley_sizes(num_components)), jnp.float32)
    pair = rows // (2 * num_blocks) * num_blocks + rows % num_blocks
    complement = rows // num_blocks % 2 == 1

    def draw(index: Int[Array, ""]) -> Bool[Array, " num_components"]:
        key_size, key_order = jax.random.split(jax.random.fold_in(needed_key(key), index))
        size = jnp.searchsorted(shares, jax.random.uniform(key_size), side="right")
        size = jnp.clip(size, 1, num_components - 1)
        return jax.random.permutation(key_order, num_components) < size

    masks = jax.vmap(draw)(pair) | (pair == 0)[:, None]
    return masks ^ complement[:, None]
