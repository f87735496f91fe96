"""Fills by name: what a waveform or a complex spectrogram has where a component is off."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Complex, Float, Inexact, Key

from lime_jax.core import fills
from lime_jax.errors import unknown_name

FILLS = ("zero", "minimum", "maximum", "mean", "uniform", "noise", "shuffle")

WAVEFORM_FILLS = ("zero", "mean", "uniform", "noise", "shuffle")
"""The lowest and highest sample of a waveform are no level: they are offsets at full swing."""

_FIXED = {
    "zero": fills.zero,
    "minimum": fills.minimum,
    "maximum": fills.maximum,
    "mean": fills.mean,
}


def fill_of(
    name: str, signal: Inexact[Array, "..."], key: Key[Array, ""] | None = None
) -> Inexact[Array, "..."]:
    """The named fill of what components are cut from: a waveform, or a complex spectrogram.

    Args:
      name: one of `FILLS`; for a waveform of `WAVEFORM_FILLS`.
      signal: `audio.components.sources[0]` of a sound that is cut in time or frequency.
      key: for uniform, noise and shuffle.

    Raises:
      ValueError: for an unknown name, or a random fill without a key.

    Example:
      >>> import jax.numpy as jnp, lime_jax as lj
      >>> audio = lj.audio.segment.by_time(jnp.array([1.0, 3.0, 2.0, 6.0]), 2, 2)
      >>> fill_of("mean", audio.components.sources[0]).tolist()
      [3.0]
    """
    of = spectrogram_fill if jnp.iscomplexobj(signal) else waveform_fill
    return of(name, signal, key)


def waveform_fill(
    name: str, waveform: Float[Array, " num_samples"], key: Key[Array, ""] | None
) -> Float[Array, " broadcastable"]:
    """The named fill of a waveform.

    Noise is white, Gaussian and as loud (RMS) as the waveform; uniform is white, drawn evenly
    within its peak on both sides of zero.

    Raises:
      ValueError: for an unknown name, "minimum", "maximum", or a random fill without a key.
    """
    check_waveform_fill(name)
    if name == "uniform":
        peak = jnp.max(jnp.abs(waveform))
        return peak * jax.random.uniform(_needed(key, name), waveform.shape, minval=-1.0)
    if name == "noise":
        level = jnp.sqrt(jnp.mean(jnp.square(waveform)))
        return level * fills.noise(waveform, key=_needed(key, name))
    return _common_fill(name, waveform, key)


def check_waveform_fill(name: str, argument: str = "`fill`") -> None:
    """Refuses fills that mean nothing for a waveform.

    Args:
      name: of the fill.
      argument: what the message calls it.

    Raises:
      ValueError: for an unknown name, "minimum" or "maximum".
    """
    if name in ("minimum", "maximum"):
        raise ValueError(
            f"{argument} must be zero, mean, uniform, noise or shuffle for a waveform cut in time, "
            f"got {name!r}, which suits spectrograms: frequency, grid and superpixels."
        )
    if name not in FILLS:
        raise ValueError(unknown_name(argument, name, WAVEFORM_FILLS))


def spectrogram_fill(
    name: str, spectrogram: Complex[Array, "num_bins num_frames"], key: Key[Array, ""] | None
) -> Complex[Array, "broadcastable_bins broadcastable_frames"]:
    """The named fill of a complex spectrogram: other magnitudes under the original phase.

    Minimum, maximum, mean and shuffle are those of all magnitudes, and uniform is drawn evenly
    between zero and the maximum. Noise is Gaussian with each frequency bin's own mean and standard
    deviation, without its sign.

    Raises:
      ValueError: for an unknown name, or a random fill without a key.
    """
    if name == "zero":
        return jnp.zeros((1, 1), spectrogram.dtype)
    magnitude, phase = jnp.abs(spectrogram), jnp.angle(spectrogram)
    if name == "noise":
        mean, deviation = (
            magnitude.mean(axis=1, keepdims=True),
            magnitude.std(axis=1, keepdims=True),
        )
        filling = jnp.abs(mean + deviation * fills.noise(magnitude, key=_needed(key, name)))
    else:
        filling = _common_fill(name, magnitude, key)
    return lax.complex(filling * jnp.cos(phase), filling * jnp.sin(phase))


def _common_fill(
    name: str, signal: Float[Array, "..."], key: Key[Array, ""] | None
) -> Float[Array, "..."]:
    if name not in FILLS:
        raise ValueError(unknown_name("`fill`", name, FILLS))
    if name == "shuffle":
        return fills.shuffle(signal, key=_needed(key, name))
    if name == "uniform":
        return fills.uniform(signal, key=_needed(key, name))
    return _FIXED[name](signal)


def _needed(key: Key[Array, ""] | None, name: str) -> Key[Array, ""]:
    if key is None:
        raise ValueError(
            f"`key` is missing, but the fill {name!r} is drawn at random. Pass for example "
            "jax.random.key(0)."
        )
    return key
