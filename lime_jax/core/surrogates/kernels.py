"""How much a perturbed input counts: a weight for every mask."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lime_jax.core.masks.shapley_sizes import shapley_per_mask, shapley_weights
from lime_jax.core.pytree import pytree, static

_MOST_COUNTED = 500


Masks = Bool[Array, "num_masks num_components"]


Weights = Float[Array, " num_masks"]


@runtime_checkable
class Kernel(Protocol):
    """Weighs masks by their distance from the unperturbed input, which is the mask of all ones."""

    def __call__(self, masks: Masks) -> Weights:
        """Weights, float32 `(num_masks,)`, of masks `(num_masks, num_components)`."""
        ...


@pytree
class Flat:
    """Every mask counts the same."""

    def __call__(self, masks: Masks) -> Weights:
        return jnp.ones(masks.shape[0], jnp.float32)


@pytree
class Exponential:
    """`exp(-distance² / (2 width²))`, the kernel of LIME.

    Attributes:
      width: in units of the distance.
      distance: one of the functions of this module.
    """

    width: Float[Array, ""] | float | int | np.floating | np.integer
    distance: Callable[[Masks], Weights] = static()

    def __call__(self, masks: Masks) -> Weights:
        return jnp.exp(-jnp.square(self.distance(masks) / self.width) / 2)


@pytree
class Shapley:
    """The Shapley kernel, scaled to sum to one over all masks; zero at all on and all off.

    Those two masks would weigh infinitely: `surrogates.Shapley` meets them as constraints.
    """

    def __call__(self, masks: Masks) -> Weights:
        return shapley_weights(masks)


def weights_by_zeros(kernel: Kernel, num_components: int) -> np.ndarray | None:
    """Returns the weight of masks with 0, 1, … `num_components` zeros, float64.

    Every kernel here has one. None for a kernel of the user that tells components apart, for one
    that is traced and has no numbers yet, and for more components than float64 can count masks of.
    """
    is_traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(kernel))
    if is_traced or num_components > _MOST_COUNTED:
        return None
    if isinstance(kernel, Shapley):
        # In float32 a single one of very many masks weighs nothing.
        return shapley_per_mask(num_components)[::-1]
    staircase = np.arange(num_components)[None] >= np.arange(num_components + 1)[:, None]
    if isinstance(kernel, Exponential):
        distance = _on_masks(kernel.distance, staircase)
        return np.exp(-np.square(distance / float(kernel.width)) / 2)
    # Few components have orders that change nothing; the reverse is none of them.
    forwards = np.arange(num_components)
    orders = forwards[::-1], np.roll(forwards, 1), np.random.default_rng(0).permutation(forwards)
    weights, *shuffled = (
        _on_masks(kernel, masks) for masks in (staircase, *(staircase[:, i] for i in orders))
    )
    same = all(np.allclose(other, weights, rtol=1e-5, atol=0) for other in shuffled)
    return weights if same else None


def _on_masks(function: Callable[[Masks], Weights], masks: np.ndarray) -> np.ndarray:
    """Numbers, inside jit too."""
    with jax.ensure_compile_time_eval():
        return np.asarray(function(jnp.asarray(masks)), np.float64)


@jax.jit
def cosine(masks: Masks) -> Weights:
    """Returns cosine distance, `1 - √(ones / num_components)`; 1 for the empty mask."""
    return 1 - jnp.sqrt(_num_on(masks) / masks.shape[1])


@jax.jit
def l2(masks: Masks) -> Weights:
    """Returns Euclidean distance: the square root of the number of zeros."""
    return jnp.sqrt(masks.shape[1] - _num_on(masks))


@jax.jit
def hamming(masks: Masks) -> Weights:
    """Returns share of components that are off."""
    return 1 - _num_on(masks) / masks.shape[1]


DISTANCES = {"cosine": cosine, "l2": l2, "hamming": hamming}


def _num_on(masks: Masks) -> Weights:
    return masks.sum(axis=1, dtype=jnp.int32).astype(jnp.float32)
