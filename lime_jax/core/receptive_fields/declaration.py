"""What a model declares of how little it sees at a time."""

import dataclasses
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
from jaxtyping import Array, Float, Inexact

from lime_jax.core.predictor import Predictor


@runtime_checkable
class Declaration(Protocol):
    """How little a model sees at a time: a `Windowed`, or a `Layerwise`."""

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

    def lift_arrays(self, example: jax.ShapeDtypeStruct) -> "Declaration":
        """Returns the same with the arrays that its parts close over as leaves.

        Args:
          example: shape and dtype of a batch of inputs.
        """
        ...

    def predict_by_parts(
        self, inputs: Inexact[Array, "batch *input"]
    ) -> Float[Array, "batch outputs"]:
        """Returns the outputs by way of what is declared."""
        ...


Kind = TypeVar("Kind")


def declare_tested(model: Kind) -> Kind:
    """Returns a declaration that tests of the model prove: few inputs are checked beside."""
    return dataclasses.replace(model, is_tested=True)  # pyright: ignore[reportArgumentType,reportCallIssue]


def declaration(predict: Any, kind: type[Kind]) -> Kind | None:
    """Returns what a model declares: itself, or its attribute `receptive_field`.

    Args:
      predict: the model.
      kind: of declaration, `Declaration` for any.

    Returns:
      None if there is no declaration of that kind.
    """
    declared = predict if isinstance(predict, kind) else getattr(predict, "receptive_field", None)
    return declared if isinstance(declared, kind) else None
