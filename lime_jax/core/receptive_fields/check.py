"""Whether a model sees as little as it declares."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from lime_jax.core.arguments import array
from lime_jax.core.components import Components
from lime_jax.core.execution.signature_cache import SameArrays, SignatureCache, signature
from lime_jax.core.receptive_fields.declaration import Declaration, declaration
from lime_jax.core.receptive_fields.layers import Layerwise
from lime_jax.core.receptive_fields.lookup import Lookup
from lime_jax.core.receptive_fields.windows import Windowed

# Rounding of convolutions that are computed in another order.
_TOLERANCE = 3e-4
# Of an output in float32, after sums in another order.
_ROUNDING = 3e-6


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
    inputs = _floating(inputs)
    lifted = model.lift_arrays(jax.ShapeDtypeStruct(inputs.shape, inputs.dtype))
    compare(model, *_both_ways(lifted, inputs))


def _floating(given: Any) -> Inexact[Array, "batch *input"]:
    inputs = array("inputs", given)
    if not jnp.issubdtype(inputs.dtype, jnp.inexact) or inputs.ndim < 2 or len(inputs) < 1:
        raise ValueError(
            "`inputs` must be floating-point numbers of shape (batch, *input), got "
            f"{inputs.dtype} of shape {inputs.shape}."
        )
    return inputs


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
    alike = np.array_equal(got[~finite], wanted[~finite], equal_nan=True)
    # What an explanation tells is how outputs vary: an offset hides nothing but its own rounding.
    size, spread = np.abs(numbers).max(axis=0), np.ptp(numbers, axis=0)
    allowed = _TOLERANCE * np.maximum(spread, 1e-3 * spread.max())
    allowed += _ROUNDING * np.maximum(size, 1e-1 * size.max()) + 1e-12
    if not (alike and (error <= allowed).all()):
        worst = int(np.nan_to_num(error / allowed, nan=np.inf).argmax())
        raise ValueError(
            f"`backbone` and `head` differ from `whole` by {error[worst]:.2g}, where outputs vary "
            f"by {spread[worst]:.2g}. Check {model.parameters}, and that nothing else links the "
            "windows."
        )


@jax.jit
def _both_ways(model: Declaration, inputs: Inexact[Array, "batch *input"]) -> tuple[Array, Array]:
    return model.whole(inputs), model.predict_by_parts(inputs)


# By shapes: the arrays of the model that was checked last.
_checked: SignatureCache[SameArrays] = SignatureCache()


def check_windows_once(model: Windowed, components: Components) -> None:
    """Checks a declaration on noise and on the first item of all weights and shapes.

    Again on the next item, as long as nothing that it saw moved the outputs.

    Raises:
      ValueError: if the declaration is wrong.
    """
    shapes = signature(model, components)
    if (checked := _checked.get(shapes)) is not None and checked.are_in(model):
        return
    choose_masks = few_masks if model.is_tested else pairwise_masks
    masks = choose_masks(components.num_components)
    inputs = np.asarray(_inputs(components, masks))
    noise = np.random.default_rng(0).standard_normal((2, *inputs.shape[1:]))
    both = jnp.asarray(np.concatenate([inputs, noise.astype(inputs.dtype)]))
    expected, computed = map(np.asarray, _both_ways(model, both))
    compare(model, expected[: len(inputs)], computed[: len(inputs)])
    compare(model, expected[len(inputs) :], computed[len(inputs) :])
    _remember(shapes, model, expected[: len(inputs)])


def check_columns_once(model: Layerwise, components: Components, lookup: Lookup) -> None:
    """Checks the layers of a model on the first item of all weights and shapes, and on noise.

    Noise has no silent ends, whose padding nobody would see. Again on the next item, as long as
    nothing that was switched off moved the outputs.

    Raises:
      ValueError: if the declaration is wrong.
    """
    shapes = signature(model, components)
    if (checked := _checked.get(shapes)) is not None and checked.are_in(model):
        return
    d = components.num_components
    masks = np.arange(d)[None] % np.array([[1], [2]]) == 0
    if not model.is_tested:
        masks = pairwise_masks(d)
        shape = (2, *components.sources.shape[1:])
        noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        compare(model, *_both_ways(model, jnp.asarray(noise)))
    expected = np.asarray(_whole(model, components, masks))
    compare(model, expected, _above(model, lookup, masks))
    _remember(shapes, model, expected)


def _remember(shapes: Any, model: Declaration, outputs: np.ndarray) -> None:
    """Remembers a check, unless nothing moved: that proves nothing."""
    if np.ptp(outputs[np.isfinite(outputs).all(axis=1)], axis=0).any():
        _checked.put(shapes, SameArrays(model))


def few_masks(num_components: int) -> np.ndarray:
    """Returns four masks of which one is all on."""
    masks = np.arange(4)[:, None] % (np.arange(num_components)[None] % 3 + 2) > 0
    masks[1] = True
    return masks


def pairwise_masks(num_components: int) -> np.ndarray:
    """Returns masks in which any two components take all four combinations, and a few at random.

    What links two windows is seen only where one of them changes and the other does not.
    """
    numbers = np.arange(num_components)
    bits = numbers[None] >> np.arange(max(1, (num_components - 1).bit_length()))[:, None] & 1 == 1
    ends = np.array([[True], [False]]) & np.ones(num_components, bool)
    rest = np.random.default_rng(0).random((4, num_components)) < 0.5
    return np.concatenate([ends, bits, ~bits, rest])


@jax.jit
def _inputs(components: Components, masks: Any) -> Any:
    return jax.vmap(components.recomposed)(masks)


@jax.jit
def _whole(model: Layerwise, components: Components, masks: Any) -> Any:
    return model.whole(jax.vmap(components.recomposed)(jnp.asarray(masks)))


@jax.jit
def _above(model: Layerwise, lookup: Lookup, masks: Any) -> Any:
    return model.head(jax.vmap(lookup.recomposed)(jnp.asarray(masks)))
