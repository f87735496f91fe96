"""A model that starts with a linear map: apply it to the components once, not to every mask."""

from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from lime_jax.core.arguments import function
from lime_jax.core.components import Components, check_one_item, recompose

# Rounding of long sums in float32; what is not linear is off by far more.
_TOLERANCE = 1e-3


def map_linear(
    linear: Callable[[Inexact[Array, "batch *input"]], Inexact[Array, "batch *output"]],
    components: Components,
) -> Components:
    """Maps components by what is linear in a model; explain the rest of the model with them.

    `linear(recompose(components, mask))` equals `recompose(map_linear(linear, components),
    mask)` for every mask, so the explanations are the same and the map is computed once per
    component instead of once per mask. Every component is held whole: `num_components`
    times the output.

    Args:
      linear: maps `(batch, *input)` to `(batch, *output)`: resampling, an STFT, a filter bank
        before any magnitude. It must be linear: sums go to sums.
      components: the input taken apart.

    Raises:
      ValueError: if `linear` turns out not to be linear on these components (not checked inside
        jit).

    Example:
      >>> import jax.numpy as jnp, lime_jax as lj
      >>> components = lj.from_labels(jnp.arange(8.0), lj.equal_segments(8, 2), 2)
      >>> halved = lj.map_linear(lambda x: x[:, ::2] + x[:, 1::2], components)
      >>> lj.recompose(halved, jnp.array([False, True])).tolist()
      [0.0, 0.0, 9.0, 13.0]
    """
    function("linear", linear)
    check_one_item(components)
    num_components = components.num_components
    on = jnp.eye(num_components, dtype=bool)
    none = jnp.zeros((1, num_components), bool)
    inputs = jax.vmap(recompose, in_axes=(None, 0))(components, jnp.concatenate([none, on]))
    # Switching one component on adds its own sound and takes its share of the fill away.
    mapped = _checked(linear(inputs), 1 + num_components)
    steps = mapped[1:] - mapped[:1]
    fill = mapped[:1] / num_components
    result = Components(
        sources=steps + fill,
        labels=jnp.zeros((1,) * (mapped.ndim - 1), jnp.int32),
        fill=jnp.broadcast_to(fill, steps.shape),
        num_sources=num_components,
        num_segments=1,
        input_ndim=mapped.ndim - 1,
    )
    if not isinstance(mapped, jax.core.Tracer):
        _check_linear(linear, components, result)
    return result


def _checked(mapped: Any, batch: int) -> Any:
    shape, dtype = getattr(mapped, "shape", None), getattr(mapped, "dtype", object)
    if not shape or shape[0] != batch or not jnp.issubdtype(dtype, jnp.inexact):
        raise ValueError(
            f"`linear` must map a batch of {batch} inputs to floating-point numbers ({batch}, "
            f"*output), got {type(mapped).__name__} of {dtype} and shape {shape}."
        )
    return mapped


def _check_linear(linear: Any, components: Components, result: Components) -> None:
    everything = jnp.ones(components.num_components, bool)
    whole = recompose(components, everything)
    plus, minus, zero = linear(jnp.stack([whole, -whole, jnp.zeros_like(whole)]))
    summed = recompose(result, everything)
    size = max(float(np.abs(x).max()) for x in (plus, minus, zero, 1e-30))
    odd = float(np.abs(plus + minus - 2 * zero).max())
    apart = float(np.abs(plus - summed).max())
    if not max(odd, apart) <= _TOLERANCE * size:
        raise ValueError(
            f"`linear` is not linear: on these components it is off by {max(odd, apart) / size:.1%}"
            " of its largest value. Stop before magnitudes, powers and logarithms."
        )
