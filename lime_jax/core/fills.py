"""What stands in for a component that is off.

Every function looks at the input and returns what `from_labels(..., fill=...)` takes. A model never
met silence inside music, a mean spectrum or noise in the same way, so the fill is part of the
question that an explanation answers.

References:
  The content types of Mishra et al., Reliable Local Explanations for Machine Listening, 2020; the
    baselines of audioLIME's time-frequency factorisation.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

Signal = Float[Array, "..."]


def zero(signal: Signal) -> Signal:
    """Zero: silence in a waveform or magnitude, the training mean in a standardised spectrogram."""
    return jnp.zeros((1,) * signal.ndim, signal.dtype)


def minimum(signal: Signal) -> Signal:
    """Returns the smallest value of the input, everywhere."""
    return jnp.min(signal, keepdims=True)


def maximum(signal: Signal) -> Signal:
    """Returns the largest value of the input, everywhere."""
    return jnp.max(signal, keepdims=True)


def uniform(signal: Signal, *, key: Key[Array, ""]) -> Signal:
    """Returns every element drawn evenly between zero and the largest value of the input.

    Args:
      signal: gives the shape.
      key: the same key gives the same values.
    """
    return jax.random.uniform(key, signal.shape, signal.dtype) * jnp.max(signal, keepdims=True)


def mean(signal: Signal) -> Signal:
    """Returns the arithmetic mean of the input, everywhere."""
    return jnp.mean(signal, keepdims=True)


def noise(
    signal: Signal,
    *,
    key: Key[Array, ""],
    offset: Signal | float = 0.0,
    scale: Signal | float = 1.0,
) -> Signal:
    """Gaussian noise standardised per band as the data were: `(noise - offset) / scale`.

    Args:
      signal: gives the shape.
      key: the same key gives the same noise.
      offset: mean of the data per band, broadcastable to `signal`.
      scale: standard deviation of the data per band, broadcastable to `signal`.
    """
    drawn = jax.random.normal(key, signal.shape, signal.dtype)
    return (drawn - jnp.asarray(offset, signal.dtype)) / jnp.asarray(scale, signal.dtype)


def shuffle(signal: Signal, *, key: Key[Array, ""]) -> Signal:
    """Returns all elements of the input in random order."""
    return jax.random.permutation(key, signal.ravel()).reshape(signal.shape)
