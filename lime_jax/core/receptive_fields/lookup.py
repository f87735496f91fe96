"""What was computed once for every combination of few components; a mask only picks from it."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lime_jax.core.pytree import pytree, static


@pytree
class Lookup:
    """What the backbone made of every window and combination; a mask picks one per window.

    Stands where `Components` do: its inputs are features `(num_windows, *features)`.

    Attributes:
      table: `(num_entries, *features)`.
      first: the first entry of every window, `(num_windows,)`.
      steps: what a component adds to the entry of a window, `(num_windows, num_components)`.
      num_components: how many components can be switched on and off.
    """

    table: Float[Array, "..."]
    first: Int[Array, "..."]
    steps: Int[Array, "..."]
    num_components: int = static()

    @property
    def num_items(self) -> int:
        """How many items there are along the leading axis."""
        return self.table.shape[0]

    def recomposed(self, mask: Bool[Array, " num_components"]) -> Float[Array, "windows ..."]:
        """Returns the features of all windows with only the components in `mask` on."""
        entries = self.first + jnp.where(mask[None], self.steps, 0).sum(axis=1)
        return self.table[entries]
