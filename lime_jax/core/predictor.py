"""Any callable as a pytree whose arrays are leaves, so that new weights do not recompile."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

Predict = Callable[[Any], Any]


@jax.tree_util.register_pytree_node_class
class Predictor:
    """A callable as a pytree whose arrays are leaves.

    They are taken from it whenever the tree is flattened, so that weights are those of the moment.
    Pytrees such as an Equinox module may hold functions, numbers and settings beside their arrays,
    which become structure: a new value there recompiles. What plain functions close over is
    `lime_jax.core.lifting`'s business.
    """

    def __init__(self, predict: Predict):
        self._predict: Predict | None = predict
        self._apart: tuple[list[Any], Any] | None = None

    def __call__(self, inputs: Any) -> Any:
        return self.rebuild()(inputs)

    def rebuild(self) -> Predict:
        """Returns the callable."""
        if self._predict is not None:
            return self._predict
        assert self._apart is not None
        arrays, (rest, structure) = iter(self._apart[0]), self._apart[1]
        leaves = [next(arrays) if leaf is _ARRAY else leaf for leaf in rest]
        return jax.tree.unflatten(structure, leaves)

    @property
    def functions(self) -> list[Any]:
        """The functions in its structure, which may close over arrays."""
        rest, structure = self.tree_flatten()[1]
        return [leaf for leaf in rest if callable(leaf) and leaf is not _ARRAY] + [
            *_functions_in(structure)
        ]

    @property
    def classes(self) -> set[type]:
        """The classes in its structure whose calls are functions of some module, too."""
        found = _classes_in(self.tree_flatten()[1][1])
        return {kind for kind in found if any("__call__" in vars(base) for base in kind.__mro__)}

    def tree_flatten(self) -> tuple[tuple[list[Any]], Any]:
        """Takes the callable apart into arrays and everything else."""
        if self._apart is not None:
            return (self._apart[0],), self._apart[1]
        leaves, structure = jax.tree.flatten(self._predict)
        is_array = [isinstance(leaf, (jax.Array, np.ndarray, np.generic)) for leaf in leaves]
        arrays = [leaf for leaf, data in zip(leaves, is_array, strict=True) if data]
        rest = tuple(_ARRAY if data else leaf for leaf, data in zip(leaves, is_array, strict=True))
        return (arrays,), (rest, structure)

    @classmethod
    def tree_unflatten(cls, structure: Any, children: tuple[list[Any]]) -> "Predictor":
        """Puts it together; the callable is built when it is called."""
        predictor = cls.__new__(cls)
        predictor._predict, predictor._apart = None, (children[0], structure)
        return predictor


_ARRAY = type("ArrayLeaf", (), {})


def _functions_in(structure: Any) -> Iterator[Any]:
    """The functions among the static parts of a tree: of `Partial`, and of predictors inside."""
    if (data := structure.node_data()) is not None:
        kind, settings = data
        if kind is Predictor:
            rest, inner = settings
            yield from (leaf for leaf in rest if callable(leaf) and leaf is not _ARRAY)
            yield from _functions_in(inner)
        else:
            yield from _functions_among(settings)
    for child in structure.children():
        yield from _functions_in(child)


def _classes_in(structure: Any) -> Iterator[type]:
    """The classes of the nodes of a tree, of predictors inside as well."""
    if (data := structure.node_data()) is not None:
        kind, settings = data
        if kind is Predictor:
            yield from _classes_in(settings[1])
        elif isinstance(kind, type):
            yield kind
    for child in structure.children():
        yield from _classes_in(child)


def _functions_among(settings: Any) -> Iterator[Any]:
    if isinstance(settings, tuple | list):
        for setting in settings:
            yield from _functions_among(setting)
    elif callable(settings) and not isinstance(settings, type):
        yield settings


def as_predictor(predict: Predict) -> Predictor:
    """Returns a callable as a pytree; what it computes stays the same.

    Raises:
      ValueError: if `predict` cannot be called.
    """
    if isinstance(predict, Predictor):
        return predict
    check_predict(predict)
    return Predictor(predict)


def check_predict(predict: Any) -> None:
    """Refuses what is no model.

    Raises:
      ValueError: if `predict` cannot be called.
    """
    if not callable(predict):
        raise ValueError(
            f"`predict` must be callable, got {type(predict).__name__}. Pass a function of a batch "
            "of inputs, or a module in evaluation mode."
        )


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
    if shape[1] == 0:
        raise ValueError("`predict` must return one column per output, got none.")
    if jax.numpy.iscomplexobj(outputs):
        raise ValueError(
            "`predict` must return real numbers, got complex ones. Return their magnitude, or real "
            "and imaginary parts as two outputs."
        )
    outputs = jax.numpy.asarray(outputs)
    if not (outputs.dtype == bool or jax.numpy.issubdtype(outputs.dtype, jax.numpy.number)):
        raise ValueError(f"`predict` must return real numbers, got {outputs.dtype}.")
    return outputs.astype(jax.numpy.float32)
