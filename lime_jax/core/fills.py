"""What stands in for a component that is off.

Every function looks at the input and returns what `from_labels(..., fill=...)` takes. A model never
met silence inside music, a mean spectrum or noise in the same way, so the fill is part of the
question that an explanation answers.

References:
  The content types of Mishra et al., Reliable Local Explanations for Machine Listening, 2020; the
    baselines of audioLIME's time-frequency factorisation.
"""

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from lime_jax.core import arguments
from lime_jax.core.keys import needed_single_key

Signal = Float[Array, "..."]


def zero(signal: Signal) -> Signal:
    """Zero: silence in a waveform or magnitude, the training mean in a standardised spectrogram."""
    signal = _checked(signal)
    return jnp.zeros((1,) * signal.ndim, signal.dtype)


def minimum(signal: Signal) -> Signal:
    """Returns the smallest value of the input, everywhere."""
    return jnp.min(_ordered(signal), keepdims=True)


def maximum(signal: Signal) -> Signal:
    """Returns the largest value of the input, everywhere."""
    return jnp.max(_ordered(signal), keepdims=True)


def uniform(signal: Signal, *, key: Key[Array, ""]) -> Signal:
    """Returns every element drawn evenly between zero and the largest value of the input.

    Args:
      signal: gives the shape.
      key: the same key gives the same values.
    """
    signal, key = _ordered(signal), needed_single_key(key)
    return jax.random.uniform(key, signal.shape, signal.dtype) * jnp.max(signal, keepdims=True)


def mean(signal: Signal) -> Signal:
    """Returns the arithmetic mean of the input, everywhere."""
    return jnp.mean(_checked(signal), keepdims=True)


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
    signal, key = _checked(signal), needed_single_key(key)
    offset, scale = _per_band("offset", offset, signal), _per_band("scale", scale, signal)
    if not isinstance(scale, jax.core.Tracer) and not np.all(np.asarray(scale)):
        raise ValueError("`scale` must not be zero, which noise cannot be divided by.")
    return (jax.random.normal(key, signal.shape, signal.dtype) - offset) / scale


def shuffle(signal: Signal, *, key: Key[Array, ""]) -> Signal:
    """Returns all elements of the input in random order."""
    signal, key = _checked(signal), needed_single_key(key)
    return jax.random.permutation(key, signal.ravel()).reshape(signal.shape)


def _checked(signal: Any) -> Any:
    signal = arguments.array("signal", signal)
    if not jnp.issubdtype(signal.dtype, jnp.inexact) or signal.size == 0:
        raise ValueError(
            f"`signal` must hold floating-point numbers, got {signal.dtype} of shape "
            f"{signal.shape}. Pass what `from_labels` takes."
        )
    return signal


def _ordered(signal: Any) -> Any:
    signal = _checked(signal)
    if jnp.iscomplexobj(signal):
        raise ValueError(f"`signal` must be real, got {signal.dtype}. Pass its magnitude.")
    return signal


def _per_band(name: str, values: Any, signal: Any) -> Any:
    given = arguments.array(name, values)
    is_complex = jnp.iscomplexobj(given) and not jnp.iscomplexobj(signal)
    try:
        fits = np.broadcast_shapes(given.shape, signal.shape) == signal.shape
    except ValueError:
        fits = False
    if is_complex or not fits or not jnp.issubdtype(given.dtype, jnp.number):
        raise ValueError(
            f"`{name}` must be a number or one per band, broadcastable to the signal of shape "
            f"{signal.shape}, got {given.dtype} of shape {given.shape}."
        )
    return given.astype(signal.dtype)
