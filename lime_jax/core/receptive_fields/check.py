"""Whether a model sees as little as it declares."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from lime_jax.core.components import Components
from lime_jax.core.execution.signature_cache import SignatureCache, signature
from lime_jax.core.receptive_fields.declaration import Declaration, declaration
from lime_jax.core.receptive_fields.layers import Layerwise
from lime_jax.core.receptive_fields.lookup import Lookup
from lime_jax.core.receptive_fields.windows import Windowed

# Rounding of convolutions that are computed in another order.
_TOLERANCE = 1e-4


def check_receptive_field(
    predict: Any, inputs: Inexact[Array, "batch *input"] | None = None
) -> None:
    """Compares a model with its backbone and head on some inputs.

    Args:
      predict: from `windowed`, or a model with such an attribute `receptive_field`, as networks
        here have.
      inputs: `(batch, *input)`; every input proves more. None means noise, of a length that three
        windows cover; only for models of waveforms.

    Raises:
      ValueError: if they differ by more than rounding, or nothing is declared.

    Example:
      >>> import jax, jax.numpy as jnp, lime_jax as lj
      >>> wrong = lj.receptive_fields.windowed(
      ...     lambda x: jnp.cumsum(x, axis=1)[:, -1:],
      ...     backbone=lambda x: x.max(axis=1),
      ...     head=lambda x: x.sum(axis=1, keepdims=True),
      ...     window=2,
      ...     stride=2,
      ... )
      >>> inputs = jax.random.normal(jax.random.key(0), (4, 8))
      >>> lj.receptive_fields.check_receptive_field(wrong, inputs)
      Traceback (most recent call last):
      ValueError: `backbone` and `head` differ from `whole` ...
    """
    if (model := declaration(predict, Declaration)) is None:
        raise ValueError(
            "`predict` declares no receptive field. Make one with `lj.receptive_fields.windowed`, "
            "or set its `receptive_field`."
        )
    if inputs is None:
        noise = np.random.default_rng(0).standard_normal((2, model.example_size))
        inputs = jnp.asarray(noise.astype(np.float32))
    lifted = model.lifted(jax.ShapeDtypeStruct(inputs.shape, inputs.dtype))
    compare(model, *_both_ways(lifted, inputs))


def compare(
    model: Declaration,
    expected: Float[Array | np.ndarray, "..."],
    computed: Float[Array | np.ndarray, "..."],
) -> None:
    """Refuses outputs that differ from those of the whole model by more than rounding.

    Args:
      model: with its declaration.
      expected: of the whole model, `(batch, num_outputs)`.
      computed: by way of what it declares.

    Raises:
      ValueError: naming the declaration.
    """
    if computed.shape != expected.shape:
        raise ValueError(
            f"`backbone` and `head` differ from `whole`: outputs of shape {computed.shape} and "
            f"{expected.shape}. Check {model.parameters}."
        )
    wanted, got = np.asarray(expected), np.asarray(computed)
    finite = np.isfinite(wanted)
    numbers = np.where(finite, wanted, 0)
    error = np.abs(np.where(finite, got, 0) - numbers).max(axis=0)
    size = np.abs(numbers).max(axis=0)
    alike = np.array_equal(got[~finite], wanted[~finite], equal_nan=True)
    # An output that stays small must be right by its own measure, down to rounding of the largest.
    if not (alike and (error <= _TOLERANCE * np.maximum(size, 1e-3 * size.max() + 1e-9)).all()):
        worst = int(np.nan_to_num(error, nan=np.inf).argmax())
        raise ValueError(
            f"`backbone` and `head` differ from `whole` by {error[worst]:.2g}, where outputs are "
            f"up to {size[worst]:.2g}. Check {model.parameters}, and that nothing else links the "
            "windows."
        )


@jax.jit
def _both_ways(model: Declaration, inputs: Inexact[Array, "batch *input"]) -> tuple[Array, Array]:
    return model.whole(inputs), model.predict_by_parts(inputs)


_checked: SignatureCache[bool] = SignatureCache()


def check_windows_once(model: Windowed, components: Components) -> None:
    """Checks a declaration on noise and on the first item of every model and shape.

    Again on the next item, as long as nothing that it saw moved the outputs.

    Raises:
      ValueError: if the declaration is wrong.
    """
    shapes = signature(model, components)
    if _checked.get(shapes):
        return
    d = components.num_components
    masks = np.arange(4)[:, None] % (np.arange(d)[None] % 3 + 2) > 0
    masks[1] = True
    inputs = np.asarray(_inputs(components, masks))
    noise = np.random.default_rng(0).standard_normal((2, *inputs.shape[1:]))
    inputs = jnp.asarray(np.concatenate([inputs, noise.astype(inputs.dtype)]))
    expected, computed = _both_ways(model, inputs)
    compare(model, expected, computed)
    outputs = np.asarray(expected)
    if np.ptp(outputs[np.isfinite(outputs).all(axis=1)], axis=0).any():
        _checked.put(shapes, True)


def check_columns_once(model: Layerwise, components: Components, lookup: Lookup) -> None:
    """Checks the layers of a model on the first item of every shape: all on, and half of it.

    Again on the next item, as long as nothing that was switched off moved the outputs.

    Raises:
      ValueError: if the declaration is wrong.
    """
    shapes = signature(model, components)
    if _checked.get(shapes):
        return
    masks = np.arange(components.num_components)[None] % np.array([[1], [2]]) == 0
    expected = np.asarray(_whole(model, components, masks))
    compare(model, expected, _above(model, lookup, masks))
    # What nothing moved proves nothing.
    if np.ptp(expected, axis=0).any():
        _checked.put(shapes, True)


@jax.jit
def _inputs(components: Components, masks: Any) -> Any:
    return jax.vmap(components.recomposed)(masks)


@jax.jit
def _whole(model: Layerwise, components: Components, masks: Any) -> Any:
    return model.whole(jax.vmap(components.recomposed)(jnp.asarray(masks)))


@jax.jit
def _above(model: Layerwise, lookup: Lookup, masks: Any) -> Any:
    return model.head(jax.vmap(lookup.recomposed)(jnp.asarray(masks)))
