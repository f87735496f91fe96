"""Keys of the snippets of a batch."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from lime_jax import storage
from lime_jax.audio import fills
from lime_jax.runs.reader import Snippet


def snippet_keys(seed: int, batch: Sequence[Snippet]) -> jax.Array:
    """Returns keys that depend on seed, item and snippet alone, `(num_snippets,)`.

    So neither order, batch, resume nor process can change a number.
    """
    digests = [storage.digest(snippet.item.id) for snippet in batch]
    names = np.array([int(digest[:8], 16) for digest in digests], np.uint32)
    indices = np.array([snippet.index for snippet in batch], np.uint32)
    return _fold_in(jax.random.key(seed), names, indices)


@functools.partial(jax.jit, static_argnames="fill")
def fill_keys(keys: jax.Array, fill: str) -> jax.Array:
    """Returns the keys of random fills, one per snippet."""
    return jax.vmap(lambda key: fills.fill_key(key, fill))(keys)


@jax.jit
def _fold_in(key: Any, names: Any, indices: Any) -> jax.Array:
    fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    return jax.vmap(jax.random.fold_in)(fold(key, names), indices)
