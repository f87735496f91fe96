"""Any callable as a pytree whose arrays are leaves, so that new weights do not recompile."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from lime_jax.core.pytree import pytree, static

Predict = Callable[[Any], Any]


@pytree
class Predictor:
    """A callable taken apart into arrays and everything else.

    Plain functions have no arrays; pytrees such as an Equinox module may hold functions, numbers
    and settings beside their arrays, which become structure: a new value there recompiles.
    """

    arrays: list[Any]
    rest: tuple[Any, ...] = static()
    treedef: Any = static()

    def __call__(self, inputs: Any) -> Any:
        return self.rebuild()(inputs)

    def rebuild(self) -> Predict:
        """Returns the callable that was taken apart."""
        arrays = iter(self.arrays)
        leaves = [next(arrays) if leaf is _ARRAY else leaf for leaf in self.rest]
        return jax.tree.unflatten(self.treedef, leaves)


_ARRAY = type("ArrayLeaf", (), {})


def as_predictor(predict: Predict) -> Predictor:
    """Takes a callable apart; what it computes stays the same.

    Raises:
      ValueError: if `predict` cannot be called.
    """
    if not callable(predict):
        raise ValueError(
            f"`predict` must be callable, got {type(predict).__name__}. Pass a function of a batch "
            "of inputs, or a module in evaluation mode."
        )
    leaves, treedef = jax.tree.flatten(predict)
    is_array = [isinstance(leaf, (jax.Array, np.ndarray, np.generic)) for leaf in leaves]
    arrays = [leaf for leaf, data in zip(leaves, is_array, strict=True) if data]
    rest = tuple(_ARRAY if data else leaf for leaf, data in zip(leaves, is_array, strict=True))
    return Predictor(arrays, rest, treedef)


def check_outputs(outputs: Any, batch: int) -> Float[Array, "batch num_outputs"]:
    """Returns the outputs as float32 `(batch, num_outputs)`.

    Raises:
      ValueError: if the model returned anything else.
    """
    shape = getattr(outputs, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != batch:
        got = f"shape {shape}" if shape is not None else type(outputs).__name__
        raise ValueError(
            f"`predict` must map a batch of {batch} inputs to an array ({batch}, num_outputs), got "
            f"{got}. Keep the batch axis first and one column per output."
        )
    if jax.numpy.iscomplexobj(outputs):
        raise ValueError(
            "`predict` must return real numbers, got complex ones. Return their magnitude, or real "
            "and imaginary parts as two outputs."
        )
    return jax.numpy.asarray(outputs).astype(jax.numpy.float32)
