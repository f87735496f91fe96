"""Keys, checked where they come in."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

MaybeKey = Key[Array, "..."] | None

_THREEFRY = "threefry2x32"


def single_key(key: Any) -> Any:
    """Returns the key, or None.

    Raises:
      ValueError: if it is anything but a single typed key.
    """
    key = check_key(key)
    if key is not None and key.ndim:
        raise ValueError(f"`key` must be a single key, got {key.shape} keys. Pass one of them.")
    return key


def needed_single_key(key: Any) -> Any:
    """Returns the key, as it is.

    Raises:
      ValueError: if there is none, or it is anything but a single typed key.
    """
    if key is None:
        raise ValueError("`key` is None, but this draws at random. Pass `jax.random.key(seed)`.")
    single_key(key)
    return key


def keys_per_item(key: Any, num_items: int) -> Any:
    """Returns one key per item, split from a single one where there is one; or None.

    Raises:
      ValueError: if there are more or fewer keys than items.
    """
    key = check_key(key)
    if key is None or key.ndim == 0:
        return None if key is None else jax.random.split(key, num_items)
    if key.shape != (num_items,):
        raise ValueError(f"`key` must be one key or one per item, ({num_items},), got {key.shape}.")
    return key


def check_key(key: Any) -> Any:
    """Returns the keys, or None.

    Raises:
      ValueError: if they are not typed.
    """
    dtype = getattr(key, "dtype", np.dtype(object))
    if key is not None and not jnp.issubdtype(dtype, jax.dtypes.prng_key):
        raise ValueError(
            f"`key` must be a typed key, got {type(key).__name__}. Pass `jax.random.key(seed)`."
        )
    return key if key is None else as_threefry(key)


def as_threefry(key: Key[Array, "..."]) -> Key[Array, "..."]:
    """Returns keys of JAX's default kind, whatever kind they are of.

    Keys of other kinds, such as "rbg", draw the same numbers for all of a batch of them where
    `vmap` maps over keys; a mask must depend on its key and place alone.
    """
    if jax.random.key_impl(key) == _THREEFRY:
        return key
    words = jax.random.key_data(key)
    first = jax.random.wrap_key_data(words[..., :2], impl=_THREEFRY)
    for place in range(2, words.shape[-1]):
        first = _fold_in(first, words[..., place])
    return first


@functools.partial(jnp.vectorize, signature="(),()->()")
def _fold_in(key: Any, word: Any) -> Any:
    return jax.random.fold_in(key, word)
