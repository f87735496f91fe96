"""Variants of spectrograms for training: faster or slower, higher or lower, filtered.

References:
  Schlüter and Grill, Exploring Data Augmentation for Improved Singing Voice Detection with Neural
  Networks, 2015.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from lime_jax.core.pytree import pytree

MOST_STRETCH = MOST_SHIFT = 0.3
MOST_DECIBELS = 10.0
_LOWEST_HZ, _HIGHEST_HZ = 150.0, 8000.0
_SEMITONES = (5.0, 7.0)


@pytree
class Variant:
    """How one excerpt is changed.

    Attributes:
      speed: source frames per frame.
      pitch: by which frequencies are multiplied.
      decibels: at the peak of the filter.
      centre: of the filter, in Hz.
      width: of the filter, a standard deviation in semitones.
    """

    speed: Float[Array, "..."]
    pitch: Float[Array, "..."]
    decibels: Float[Array, "..."]
    centre: Float[Array, "..."]
    width: Float[Array, "..."]


def draw(key: Key[Array, ""]) -> Variant:
    """Speed and pitch within 30 %, a Gaussian filter of 10 dB at most."""
    keys = jax.random.split(key, 5)

    def between(index, low, high):
        return jax.random.uniform(keys[index], (), minval=low, maxval=high)

    return Variant(
        between(0, 1 - MOST_STRETCH, 1 + MOST_STRETCH),
        between(1, 1 - MOST_SHIFT, 1 + MOST_SHIFT),
        between(2, -MOST_DECIBELS, MOST_DECIBELS),
        jnp.exp(between(3, np.log(_LOWEST_HZ), np.log(_HIGHEST_HZ))),
        between(4, *_SEMITONES),
    )


def warped(
    magnitudes: Float[Array, "num_frames num_bins"], variant: Variant, num_frames: int
) -> Float[Array, "frames num_bins"]:
    """Another speed and pitch, by linear interpolation of magnitudes.

    Args:
      magnitudes: from the frame on that becomes the first one.
      variant: of which filters are ignored.
      num_frames: of the result; it needs `num_frames * speed` source frames, and repeats the last
        one beyond them.

    Returns:
      `(num_frames, num_bins)`; silence above the highest bin that is known.
    """
    times = jnp.arange(num_frames, dtype=jnp.float32) * variant.speed
    num_bins = magnitudes.shape[1]
    bins = jnp.arange(num_bins, dtype=jnp.float32) / variant.pitch
    found = _between(_between(magnitudes, times, 0), bins, 1)
    return jnp.where(bins[None] <= num_bins - 1, found, 0)


def filtered(
    bands: Float[Array, "num_frames num_bands"],
    variant: Variant,
    centres: Float[np.ndarray, " num_bands"],
) -> Float[Array, "num_frames num_bands"]:
    """Bands through the variant's filter.

    Args:
      bands: magnitudes, not decibels.
      variant: its filter is used.
      centres: of the bands, in Hz.
    """
    semitones = 12 * jnp.log2(jnp.asarray(centres, jnp.float32) / variant.centre)
    response = variant.decibels * jnp.exp(-0.5 * jnp.square(semitones / variant.width))
    return bands * 10 ** (response[None] / 20)


def _between(values: Array, places: Float[Array, " places"], axis: int) -> Array:
    """The values at fractional places along an axis, by linear interpolation."""
    last = values.shape[axis] - 1
    places = jnp.minimum(places, last)
    whole = jnp.floor(places)
    share = jnp.expand_dims(places - whole, 1 - axis)
    below = whole.astype(jnp.int32)
    low, high = (jnp.take(values, i, axis) for i in (below, jnp.minimum(below + 1, last)))
    return low + share * (high - low)
