"""Spleeter's mask extension: the stems' shares of what lies above the bins its networks see."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lime_jax.errors import unknown_name

MASK_EXTENSIONS = ("zeros", "average")

_EPSILON = 1e-10


def check_mask_extension(mask_extension: str) -> None:
    """Raises a `ValueError` for a name that is none of `MASK_EXTENSIONS`."""
    if mask_extension not in MASK_EXTENSIONS:
        raise ValueError(unknown_name("`mask_extension`", mask_extension, MASK_EXTENSIONS))


def masks_of(
    magnitudes: Float[Array, "num_stems num_frames num_bins num_channels"],
    num_bins: int,
    mask_extension: str,
) -> Float[Array, "num_stems num_frames {num_bins} num_channels"]:
    """Returns every stem's share of each element, from estimated magnitudes of the lower bins.

    Shares sum to one there.

    Args:
      magnitudes: of every stem, as a network estimates them.
      num_bins: of the whole spectrum.
      mask_extension: what every stem gets of the bins above: "zeros", nothing; or "average", the
        mean of its shares below.
    """
    energies = jnp.square(magnitudes)
    total = energies.sum(axis=0, keepdims=True) + _EPSILON
    masks = (energies + _EPSILON / len(energies)) / total
    shape = (*masks.shape[:2], num_bins - masks.shape[2], masks.shape[3])
    mean = masks.mean(axis=2, keepdims=True)
    above = jnp.zeros_like(mean) if mask_extension == "zeros" else mean
    return jnp.concatenate([masks, jnp.broadcast_to(above, shape)], axis=2)
