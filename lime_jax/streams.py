"""Keys of what is drawn beside the masks, which are drawn from the key itself."""

from typing import Any

import jax

from lime_jax.audio import fills

# Masks fold the numbers of their rows or rounds into the key; none is as large as this one.
_BESIDE = 2**32 - 1

_FILL, _REPEAT = 1, 2


def fill_key(key: Any, fill: str) -> Any:
    """The key of a fill that is drawn at random, another one for every name of a fill.

    With one key, normal and uniform numbers would rise and fall together.

    Args:
      key: of the masks.
      fill: one of `lime_jax.audio.fills.FILLS`.
    """
    return jax.random.fold_in(_beside(key, _FILL), fills.FILLS.index(fill))


def repeat_key(key: Any, number: int) -> Any:
    """The key of the masks of a repeat; the first one, 0, has the key itself."""
    return jax.random.fold_in(_beside(key, _REPEAT), number) if number else key


def _beside(key: Any, purpose: int) -> Any:
    return jax.random.fold_in(jax.random.fold_in(key, _BESIDE), purpose)
