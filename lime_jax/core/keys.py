"""Keys, checked where they come in."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

MaybeKey = Key[Array, "..."] | None


def single_key(key: Any) -> Any:
    """Returns the key, or None.

    Raises:
      ValueError: if it is anything but a single typed key.
    """
    key = check_key(key)
    if key is not None and key.ndim:
        raise ValueError(f"`key` must be a single key, got {key.shape} keys. Pass one of them.")
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
    return key
