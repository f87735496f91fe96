"""How the Shapley kernel shares its weight among masks, by the number of components that are on."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float


def shapley_weights(
    masks: Bool[Array, "num_masks num_components"],
) -> Float[Array, " num_masks"]:
    """Returns the Shapley kernel of masks, which sums to one over all masks."""
    per_mask = shapley_per_mask(masks.shape[1]).astype(np.float32)
    return jnp.asarray(per_mask)[masks.sum(axis=1, dtype=jnp.int32)]


def shapley_per_mask(num_components: int) -> np.ndarray:
    """Returns the Shapley kernel of one mask with 0, 1, … `num_components` ones."""
    sizes = shapley_sizes(num_components)
    return np.array([share / math.comb(num_components, k) for k, share in enumerate(sizes)])


def shapley_sizes(num_components: int) -> np.ndarray:
    """The share of the Shapley kernel that falls on masks with 0, 1, … `num_components` ones."""
    if num_components == 1:
        return np.array([0.5, 0.5])  # nothing lies between; the surrogate's constraint says it all
    size = np.arange(num_components + 1)
    weight = 1 / np.maximum(size * (num_components - size), 1) * (size % num_components > 0)
    return weight / max(weight.sum(), 1e-30)
