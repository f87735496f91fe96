"""When rounds of masks have been enough."""

from jaxtyping import Array, Float

from lime_jax.core.pytree import pytree, static


@pytree
class Targets:
    """What an answer must reach.

    Attributes:
      std_error: for the largest standard error, widened for few rounds (see `auto`); None is no
        such target.
      confidence: that the `top_k` strongest components are the right ones.
      top_k: how many; None means no such target.
      sign: positive, negative or absolute.
      outputs: indices of the outputs whose targets count, or how many of the highest predictions;
        None means all.
    """

    std_error: Float[Array, ""] | float | None
    confidence: Float[Array, ""] | float
    top_k: int | None = static(default=None)
    sign: str = static(default="positive")
    outputs: tuple[int, ...] | int | None = static(default=None)

    @property
    def are_none(self) -> bool:
        """Whether there is nothing to reach."""
        return self.std_error is None and self.top_k is None


@pytree
class StoppingRule:
    """Masks come in rounds until the targets are met; see `lime_jax.core.masks.sequential.auto`.

    Attributes:
      targets: of the outputs that count.
      equivalent_num_samples: the ridge is as strong as `lime` has it at this many samples.
      most_rounds: where rounds end in any case.
      num_slots: how many independent parts errors are estimated from; later rounds share them.
      num_groups: the outputs come in so many groups of one size, of which only the first counts.
    """

    targets: Targets
    equivalent_num_samples: int = static()
    most_rounds: int = static()
    num_slots: int = static()
    num_groups: int = static()
