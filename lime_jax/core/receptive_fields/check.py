"""Whether a model is as local as it declares."""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from lime_jax.core.predictor import Predictor

# Rounding of convolutions that are computed in another order.
_TOLERANCE = 1e-4


@runtime_checkable
class Declaration(Protocol):
    """How local a model is: a `Local`, or a `Layered`."""

    @property
    def whole(self) -> Predictor:
        """The model, `(batch, *input)` to `(batch, num_outputs)`."""
        ...

    @property
    def parameters(self) -> str:
        """What to look at where the declaration turns out to be wrong."""
        ...

    @property
    def example_size(self) -> int:
        """Elements of an input that is long enough for a check."""
        ...

    def in_parts(self, inputs: Inexact[Array, "batch *input"]) -> Float[Array, "batch outputs"]:
        """The outputs by way of what is declared."""
        ...


def declaration(predict: Any) -> Declaration | None:
    """What a model says of itself: it is one, or its attribute `locality` is; None if nothing."""
    found = predict if isinstance(predict, Declaration) else getattr(predict, "locality", None)
    return found if isinstance(found, Declaration) else None


def check_locality(predict: Any, inputs: Inexact[Array, "batch *input"] | None = None) -> None:
    """Compares a model with its trunk and head on some inputs.

    Args:
      predict: from `local`, or a model with such an attribute `locality`, as networks here have.
      inputs: `(batch, *input)`; every input proves more. None means noise, of a length that three
        windows cover; only for models of waveforms.

    Raises:
      ValueError: if they differ by more than rounding, or nothing is declared.

    Example:
      >>> import jax, jax.numpy as jnp, lime_jax as lj
      >>> wrong = lj.local(
      ...     lambda x: jnp.cumsum(x, axis=1)[:, -1:],
      ...     trunk=lambda x: x.max(axis=1),
      ...     head=lambda x: x.sum(axis=1, keepdims=True),
      ...     window=2,
      ...     stride=2,
      ... )
      >>> lj.check_locality(wrong, jax.random.normal(jax.random.key(0), (4, 8)))
      Traceback (most recent call last):
      ValueError: `trunk` and `head` differ from `whole` ...
    """
    if (model := declaration(predict)) is None:
        raise ValueError(
            "`predict` declares no locality. Make one with `lj.local`, or set its `locality`."
        )
    if inputs is None:
        noise = np.random.default_rng(0).standard_normal((2, model.example_size))
        inputs = jnp.asarray(noise.astype(np.float32))
    compare(model, *_both_ways(model, inputs))


def compare(
    model: Declaration,
    expected: Float[Array | np.ndarray, "..."],
    found: Float[Array | np.ndarray, "..."],
) -> None:
    """Refuses outputs that differ from those of the whole model by more than rounding.

    Args:
      model: with its declaration.
      expected: of the whole model, `(batch, num_outputs)`.
      found: by way of what it declares.

    Raises:
      ValueError: naming the declaration.
    """
    if found.shape != expected.shape:
        raise ValueError(
            f"`trunk` and `head` differ from `whole`: outputs of shape {found.shape} and "
            f"{expected.shape}. Check {model.parameters}."
        )
    wanted, got = np.asarray(expected), np.asarray(found)
    finite = np.isfinite(wanted)
    numbers = np.where(finite, wanted, 0)
    error = np.abs(np.where(finite, got, 0) - numbers).max(axis=0)
    size = np.abs(numbers).max(axis=0)
    alike = np.array_equal(got[~finite], wanted[~finite], equal_nan=True)
    # An output that stays small must be right by its own measure, down to rounding of the largest.
    if not (alike and (error <= _TOLERANCE * np.maximum(size, 1e-3 * size.max() + 1e-9)).all()):
        worst = int(np.nan_to_num(error, nan=np.inf).argmax())
        raise ValueError(
            f"`trunk` and `head` differ from `whole` by {error[worst]:.2g}, where outputs are up "
            f"to {size[worst]:.2g}. Check {model.parameters}, and that nothing else links the "
            "windows."
        )


@jax.jit
def _both_ways(model: Declaration, inputs: Inexact[Array, "batch *input"]) -> tuple[Array, Array]:
    return model.whole(inputs), model.in_parts(inputs)
