"""Models whose weights are constants of the program."""

from typing import Any

import jax

from lime_jax import models
from lime_jax.core.execution.host_model import HostModel

# Larger programs take long to compile and to keep on disk.
_MOST_CONSTANTS = 2**26


class FixedWeights:
    """A model without leaves; two are equal, and share programs, if model and weights are the same.

    Args:
      model: to call.
      origin: the model that it was made from, whose weights count.
    """

    def __init__(self, model: Any, origin: Any) -> None:
        from lime_jax.models import weights

        self.model, self.origin, self.weights = model, origin, weights.digest(origin)

    def __call__(self, waveforms: Any) -> Any:
        return self.model(waveforms)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FixedWeights):
            return NotImplemented
        return self.origin is other.origin and self.weights == other.weights

    def __hash__(self) -> int:
        return hash((id(self.origin), self.weights))

    @property
    def receptive_field(self) -> Any:
        """The receptive field that the model declares, or None."""
        return getattr(self.model, "receptive_field", None)


def fix_weights(model: Any, name: str) -> Any:
    """Returns a model with its name for messages, and weights that are constants if they are few.

    A run never changes the weights, and XLA lays out constants once: 5 to 25 % on CPUs.
    """
    named = models.wrap_errors(model, name)
    size = sum(getattr(leaf, "nbytes", 0) for leaf in jax.tree.leaves(model))
    is_fixed = not isinstance(model, HostModel) and size <= _MOST_CONSTANTS
    return FixedWeights(named, model) if is_fixed else named
