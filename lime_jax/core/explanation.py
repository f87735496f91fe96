"""What an explanation holds, and what may be wrong with it."""

import enum
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Int

from lime_jax.core.arguments import instance
from lime_jax.core.pytree import pytree, static
from lime_jax.errors import ExplanationError, ExplanationWarning, warn


class Status(enum.IntEnum):
    """Why the coefficients of an output may be meaningless. Stored as int32, one per output."""

    OK = 0
    CONSTANT_OUTPUT = 1
    NONFINITE_OUTPUT = 2
    NO_WEIGHT = 3
    NOT_SOLVED = 4
    NOT_DETERMINED = 5
    NOT_A_FUNCTION = 6

    @property
    def advice(self) -> str:
        """The cause and the cure, in one sentence."""
        return _ADVICE[self]


_ADVICE = {
    Status.OK: "the output could be explained.",
    Status.CONSTANT_OUTPUT: "the model returned the same value for every perturbation; check that "
    "`fill` really removes a component and that the output is not saturated.",
    Status.NONFINITE_OUTPUT: "the model returned NaN or infinity for some perturbation; check the "
    "model on the input with components removed.",
    Status.NO_WEIGHT: "the kernel gives next to no weight to any perturbed input; use a larger "
    "`kernel_width` or the cosine distance, or more masks near the input.",
    Status.NOT_SOLVED: "the coefficients are no finite numbers; check `kernel_width` and `alpha`, "
    "and that outputs are no larger than float32 can hold.",
    Status.NOT_DETERMINED: "the masks do not tell the components apart, so other coefficients fit "
    "as well; take more samples, fewer components or a larger `alpha`.",
    Status.NOT_A_FUNCTION: "the output for an input depends on the others of its batch, or differs "
    "when it is asked for again; put the model into evaluation mode, without dropout, statistics "
    "of the batch or noise.",
}


@pytree
class Explanation:
    """Linear surrogates of a model around an input, one per output.

    `explain_batch` returns one with a leading axis over items on every array;
    `jax.tree.map(lambda x: x[i], explanations)` is the explanation of item `i`.

    Attributes:
      coefficients: `(num_outputs, num_components)`, the weight of every component.
      intercept: `(num_outputs,)`.
      fidelity: weighted R² of the surrogate on its neighbourhood, `(num_outputs,)`.
      local_prediction: the surrogate at the unperturbed input, `(num_outputs,)`.
      prediction: the model at the unperturbed input, `(num_outputs,)`.
      std_error: of the coefficients, from sampling the masks: a delete-one-block jackknife; zero
        for exact methods. See `confidence_interval`, `coefficient_difference` and
        `top_k_confidence`.
      deviations: `(num_blocks, num_outputs, num_components)`, what each block of masks did to the
        coefficients; products of two, summed over the blocks, are covariances.
      degrees_of_freedom: of the standard errors, int32; zero for exact methods.
      status: int32 `Status`, `(num_outputs,)`.
      num_evaluations: how many times the model was really evaluated, int32; windows, where only
        windows were evaluated.
      num_lime_samples: with about how many samples plain LIME would have these standard errors,
        `(num_outputs,)`; infinite for exact answers, NaN where there is no comparison.
      num_samples: the size of the neighbourhood asked for.
    """

    coefficients: Float[Array, "..."]
    intercept: Float[Array, "..."]
    fidelity: Float[Array, "..."]
    local_prediction: Float[Array, "..."]
    prediction: Float[Array, "..."]
    std_error: Float[Array, "..."]
    deviations: Float[Array, "..."]
    degrees_of_freedom: Int[Array, "..."]
    status: Int[Array, "..."]
    num_evaluations: Int[Array, "..."]
    num_lime_samples: Float[Array, "..."]
    num_samples: int = static()

    def warn(self) -> None:
        """Warns if any output could not be explained. Call outside jit."""
        status = np.asarray(self.status)
        if (bad := status[status != Status.OK]).size:
            warn(
                f"{bad.size} of {status.size} outputs could not be explained: "
                f"{Status(int(bad[0])).advice}",
                ExplanationWarning,
            )

    def checked(self) -> "Explanation":
        """Returns `self`, or raises if any output could not be explained. Call outside jit.

        Raises:
          ExplanationError: naming the first such output, the cause and the cure.
        """
        status = np.asarray(self.status)
        if (bad := np.argwhere(status != Status.OK)).size:
            where = ", ".join(map(str, bad[0]))
            reason = Status(int(status[tuple(bad[0])])).advice
            raise ExplanationError(f"output {where} could not be explained: {reason}")
        return self


def check_explanation(explanation: Any, name: str = "explanation") -> None:
    """Refuses what is no `Explanation`.

    Raises:
      ValueError: if it is anything else.
    """
    instance(name, explanation, Explanation, "Pass what `explain` returns.")
