"""Fills by name: what a waveform or a complex spectrogram has where a component is off."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Complex, Float, Inexact, Key

from lime_jax.core import fills
from lime_jax.core.arguments import array, one_of
from lime_jax.core.keys import needed_single_key
from lime_jax.errors import unknown_name

FILLS = ("zero", "minimum", "maximum", "mean", "uniform", "noise", "shuffle")

WAVEFORM_FILLS = ("zero", "mean", "uniform", "noise", "shuffle")
"""The lowest and highest sample of a waveform are no level: they are offsets at full swing."""

# Masks fold the numbers of their rows or rounds into the key; none is as large as this one.
_BESIDE_MASKS = 2**32 - 1
_FILL = 1

_FIXED = {
    "zero": fills.zero,
    "minimum": fills.minimum,
    "maximum": fills.maximum,
    "mean": fills.mean,
}


def fill_of(
    name: str, signal: Inexact[Array, "..."], key: Key[Array, ""] | None = None
) -> Inexact[Array, "..."]:
    """Returns the named fill of what components are cut from: a waveform, or a complex spectrogram.

    Args:
      name: one of `FILLS`; for a waveform of `WAVEFORM_FILLS`.
      signal: `audio.components.sources[0]` of audio that is cut in time or frequency.
      key: for uniform, noise and shuffle.

    Raises:
      ValueError: for an unknown name, or a random fill without a key.

    Example:
      >>> import jax.numpy as jnp, lime_jax as lj
      >>> audio = lj.audio.segment.by_time(jnp.array([1.0, 3.0, 2.0, 6.0]), 2, 2)
      >>> fill_of("mean", audio.components.sources[0]).tolist()
      [3.0]
    """
    name = one_of("name", name, FILLS)
    signal = array("signal", signal)
    if not jnp.issubdtype(signal.dtype, jnp.inexact) or signal.size == 0:
        raise ValueError(
            f"`signal` must hold floating-point numbers, got {signal.dtype} of shape "
            f"{signal.shape}."
        )
    draw = spectrogram_fill if jnp.iscomplexobj(signal) else waveform_fill
    return draw(name, signal, key)


def waveform_fill(
    name: str, waveform: Float[Array, " num_samples"], key: Key[Array, ""] | None
) -> Float[Array, " broadcastable"]:
    """Returns the named fill of a waveform.

    Noise is white, Gaussian and as loud (RMS) as the waveform; uniform is white, drawn evenly
    within its peak on both sides of zero.

    Raises:
      ValueError: for an unknown name, "minimum", "maximum", or a random fill without a key.
    """
    check_waveform_fill(name)
    if name == "uniform":
        peak = jnp.max(jnp.abs(waveform))
        return peak * jax.random.uniform(_require_key(key, name), waveform.shape, minval=-1.0)
    if name == "noise":
        level = jnp.sqrt(jnp.mean(jnp.square(waveform)))
        return level * fills.noise(waveform, key=_require_key(key, name))
    return _common_fill(name, waveform, key)


def check_waveform_fill(name: str, argument: str = "`fill`") -> None:
    """Refuses fills that mean nothing for a waveform.

    Args:
      name: of the fill.
      argument: what the message calls it.

    Raises:
      ValueError: for an unknown name, "minimum" or "maximum".
    """
    if isinstance(name, str) and name in ("minimum", "maximum"):
        raise ValueError(
            f"{argument} must be zero, mean, uniform, noise or shuffle for a waveform cut in time, "
            f"got {name!r}, which suits spectrograms: frequency, grid and superpixels."
        )
    if not isinstance(name, str) or name not in FILLS:
        raise ValueError(unknown_name(argument, name, WAVEFORM_FILLS))


def spectrogram_fill(
    name: str, spectrogram: Complex[Array, "num_bins num_frames"], key: Key[Array, ""] | None
) -> Complex[Array, "broadcastable_bins broadcastable_frames"]:
    """Returns the named fill of a complex spectrogram: other magnitudes under the original phase.

    Minimum, maximum, mean and shuffle are those of all magnitudes, and uniform is drawn evenly
    between zero and the maximum. Noise is Gaussian with each frequency bin's own mean and standard
    deviation, without its sign.

    Raises:
      ValueError: for an unknown name, or a random fill without a key.
    """
    name = one_of("fill", name, FILLS)
    if name == "zero":
        return jnp.zeros((1, 1), spectrogram.dtype)
    magnitude, phase = jnp.abs(spectrogram), jnp.angle(spectrogram)
    if name == "noise":
        mean = magnitude.mean(axis=1, keepdims=True)
        deviation = magnitude.std(axis=1, keepdims=True)
        level = jnp.abs(mean + deviation * fills.noise(magnitude, key=_require_key(key, name)))
    else:
        level = _common_fill(name, magnitude, key)
    return lax.complex(level * jnp.cos(phase), level * jnp.sin(phase))


def fill_key(key: Key[Array, ""], fill: str) -> Key[Array, ""]:
    """Returns the key of a fill that is drawn at random, another one for every name of a fill.

    With one key, normal and uniform numbers would rise and fall together.

    Args:
      key: of the masks, which are drawn from the key itself.
      fill: one of `FILLS`.
    """
    return jax.random.fold_in(fold_in_beside_masks(key, _FILL), FILLS.index(fill))


def fold_in_beside_masks(key: Key[Array, ""], purpose: int) -> Key[Array, ""]:
    """Returns a key for something other than the masks that `key` draws: fills 1, repeats 2."""
    return jax.random.fold_in(jax.random.fold_in(key, _BESIDE_MASKS), purpose)


def _common_fill(
    name: str, signal: Float[Array, "..."], key: Key[Array, ""] | None
) -> Float[Array, "..."]:
    name = one_of("fill", name, FILLS)
    if name == "shuffle":
        return fills.shuffle(signal, key=_require_key(key, name))
    if name == "uniform":
        return fills.uniform(signal, key=_require_key(key, name))
    return _FIXED[name](signal)


def _require_key(key: Key[Array, ""] | None, name: str) -> Key[Array, ""]:
    if key is None:
        raise ValueError(
            f"`key` is missing, but the fill {name!r} is drawn at random. Pass for example "
            "jax.random.key(0)."
        )
    return needed_single_key(key)
