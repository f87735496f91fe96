"""Fair coins: the sampler of LIME, and what it draws of few masks in a histogram."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lime_jax.core.masks.exhaustive import MOST_COMPONENTS, all_mask_rows
from lime_jax.core.masks.neighbourhood import (
    HISTOGRAM_ROWS,
    NUM_BLOCKS,
    Masks,
    MaybeKey,
    Neighbourhood,
    Rows,
    check_num_samples,
    needed_key,
)
from lime_jax.core.pytree import pytree, static, varying_like

# No row has this number.
_AGAIN = 2**31 - 1


@pytree
class Bernoulli:
    """Every component is on with probability one half; row 0 is the unperturbed input.

    With `distinct`, and when there are no more than `num_samples` different masks, each different
    mask is one row that counts as often as it was drawn: the same sums from fewer evaluations. As
    all outputs are known then, how far chance moves the estimate is told by drawing again.

    References:
      The sampler of LIME's image explainer and of audioLIME.
    """

    num_samples: int = static()
    distinct: bool = static(default=True)

    def __call__(self, key: MaybeKey, num_components: int) -> Neighbourhood:
        check_num_samples(self.num_samples)
        key = needed_key(key)
        few = num_components <= MOST_COMPONENTS and 2**num_components <= self.num_samples
        if self.distinct and few:
            table = _histograms(key, self.num_samples, num_components)
            draw, num_masks, num_blocks = all_mask_rows, 2**num_components, 1 + NUM_BLOCKS
        else:
            table, draw, num_masks = None, bernoulli_rows, self.num_samples
            num_blocks = min(NUM_BLOCKS, self.num_samples)
        return Neighbourhood(
            key,
            table,
            draw,
            self.num_samples,
            num_components,
            num_masks,
            num_blocks,
            is_replicated=table is not None,
            distribution="lime",
        )


@pytree
class BernoulliBlocks:
    """Fair coins in blocks of one size; the unperturbed input is behind them and does not count.

    Attributes:
      num_samples: a multiple of the number of blocks, 16.
    """

    num_samples: int = static()

    def __call__(self, key: MaybeKey, num_components: int) -> Neighbourhood:
        check_num_samples(self.num_samples)
        if self.num_samples % NUM_BLOCKS:
            raise ValueError(
                f"`num_samples` must be a multiple of {NUM_BLOCKS}, got {self.num_samples}."
            )
        return Neighbourhood(
            needed_key(key),
            None,
            _rows_before_full(self.num_samples),
            self.num_samples,
            num_components,
            self.num_samples + 1,
            NUM_BLOCKS,
            self.num_samples,
            distribution="uniform",
        )


@functools.cache
def _rows_before_full(num_counted: int) -> Callable[..., Any]:
    """The same function for the same number, because jit compares functions by identity."""
    return functools.partial(_coins_then_full, num_counted)


def _coins_then_full(num_counted: int, key: MaybeKey, rows: Rows, num_components: int) -> Masks:
    # Row 0 of the drawn ones is the unperturbed input, which must count no more than others.
    return bernoulli_rows(key, rows + 1, num_components) | (rows == num_counted)[:, None]


def bernoulli_rows(key: MaybeKey, rows: Rows, num_components: int) -> Masks:
    """Returns fair coins; row 0 is the unperturbed input."""
    words = -(-num_components // 32)

    def row(index: Int[Array, ""]) -> Bool[Array, " bits"]:
        bits = jax.random.bits(jax.random.fold_in(needed_key(key), index), (words, 1), jnp.uint32)
        return ((bits >> jnp.arange(32, dtype=jnp.uint32)[None, :]) & 1 == 1).ravel()

    masks = jax.vmap(row)(rows)[:, :num_components]
    return masks | (rows == 0)[:, None]


@functools.partial(jax.jit, static_argnums=(1, 2))
def _histograms(
    key: MaybeKey, num_samples: int, num_components: int
) -> Float[Array, "num_masks num_blocks"]:
    """How often each mask of the cube is drawn, and if drawn again, without holding the draws."""
    powers = 2 ** jnp.arange(num_components - 1, -1, -1, dtype=jnp.int32)
    again = jax.random.fold_in(needed_key(key), _AGAIN)
    columns = jnp.arange(1 + NUM_BLOCKS, dtype=jnp.int32)
    at_once = min(HISTOGRAM_ROWS, num_samples)

    def add(step: Int[Array, ""], table: Int[Array, "..."]) -> Int[Array, "..."]:
        rows = step * at_once + jnp.arange(at_once, dtype=jnp.int32)
        masks = bernoulli_rows(key, rows, num_components)
        index = 2**num_components - 1 - jnp.where(masks, powers[None, :], 0).sum(axis=1)
        bits = jax.random.bits(jax.random.fold_in(again, step), (at_once, NUM_BLOCKS), jnp.uint32)
        others = (bits & (2**num_components - 1)).astype(jnp.int32)
        # Everything is on in row 0, which comes first.
        others = jnp.where(rows[:, None] == 0, 0, others)
        index = jnp.concatenate([index[:, None], others], axis=1)
        real = (rows < num_samples).astype(jnp.int32)
        return table.at[index, columns[None]].add(real[:, None])

    # Whole numbers: float32 stops counting at 2**24.
    table = varying_like(jnp.zeros((2**num_components, len(columns)), jnp.int32), key)
    return jax.lax.fori_loop(0, -(-num_samples // at_once), add, table).astype(jnp.float32)
