"""Masks drawn by the Shapley kernel, each with its complement."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from lime_jax.core.masks import shapley_sizes
from lime_jax.core.masks.exhaustive import MOST_COMPONENTS, all_mask_rows
from lime_jax.core.masks.neighbourhood import (
    NUM_BLOCKS,
    Masks,
    MaybeKey,
    Neighbourhood,
    Rows,
    check_num_samples,
    needed_key,
)
from lime_jax.core.pytree import pytree, static


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
        if num_components <= MOST_COMPONENTS and 2**num_components <= self.num_samples:
            num_masks = 2**num_components
            masks = all_mask_rows(None, jnp.arange(num_masks, dtype=jnp.int32), num_components)
            table = shapley_sizes.shapley_weights(masks)[:, None]
            return Neighbourhood(
                None,
                table,
                all_mask_rows,
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
        num_blocks = min(NUM_BLOCKS, self.num_samples // 2)
        draw = _paired_rows(num_blocks)
        key = needed_key(key)
        return Neighbourhood(
            key,
            None,
            draw,
            self.num_samples,
            num_components,
            self.num_samples,
            num_blocks,
            distribution="pairs",
        )


@functools.cache
def _paired_rows(num_blocks: int) -> Callable[[MaybeKey, Rows, int], Masks]:
    """The same function for the same `num_blocks`, because jit compares functions by identity."""
    return functools.partial(_shapley_rows, num_blocks)


def _shapley_rows(num_blocks: int, key: MaybeKey, rows: Rows, num_components: int) -> Masks:
    """Rows `i` and `i + num_blocks` are complements: pairs stay inside a block."""
    shares = jnp.asarray(np.cumsum(shapley_sizes.shapley_sizes(num_components)), jnp.float32)
    pair = rows // (2 * num_blocks) * num_blocks + rows % num_blocks
    complement = rows // num_blocks % 2 == 1

    def draw(index: Int[Array, ""]) -> Bool[Array, " num_components"]:
        key_size, key_order = jax.random.split(jax.random.fold_in(needed_key(key), index))
        size = jnp.searchsorted(
            shares, jax.random.uniform(key_size, dtype=jnp.float32), side="right"
        )
        size = jnp.clip(size, 1, num_components - 1)
        return jax.random.permutation(key_order, num_components) < size

    masks = jax.vmap(draw)(pair) | (pair == 0)[:, None]
    return masks ^ complement[:, None]
