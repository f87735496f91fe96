"""Reading an explanation: which components matter most."""

from typing import Any, SupportsIndex

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lime_jax.core.arguments import MOST, array, index_below, one_of, whole_number
from lime_jax.core.explanation import Explanation, check_explanation
from lime_jax.core.modes import in_usual_modes

SIGNS = ("positive", "negative", "absolute")


@in_usual_modes
def top_k(
    explanation: Explanation,
    output: SupportsIndex = 0,
    k: SupportsIndex = 3,
    sign: str = "positive",
) -> tuple[Int[Array, " num_top"], Float[Array, " num_top"]]:
    """Returns the components that matter most for an output, the strongest first.

    Args:
      explanation: of one input.
      output: index of the output.
      k: how many components at most; fewer are returned if fewer have that sign.
      sign: positive speaks for the output, negative against it, absolute takes both.

    Returns:
      Component indices and their coefficients, the strongest first; ties in index order.

    Raises:
      ValueError: if there is no such output or sign. Call it outside jit.

    Example:
      >>> import jax.numpy as jnp, lime_jax as lj
      >>> parts = lj.from_stems(jnp.array([[3.0], [-1.0], [2.0]]))
      >>> explanation = lj.explain(lambda x: x, parts, lj.exhaustive(alpha=0.0))
      >>> lj.top_k(explanation, k=2)[0].tolist(), lj.top_k(explanation, sign="negative")[0].tolist()
      ([0, 2], [1])
    """
    check_sign(sign)
    k = whole_number("k", k)
    check_explanation(explanation)
    if explanation.coefficients.ndim != 2:
        raise ValueError(
            f"`explanation` must be of one input, got coefficients of shape "
            f"{explanation.coefficients.shape}. Take an item: `jax.tree.map(lambda x: x[i], …)`."
        )
    output = index_below("output", output, explanation.coefficients.shape[0])
    coefficients = np.asarray(explanation.coefficients[output])
    indices = strongest(coefficients, k, sign)
    return jnp.asarray(indices), jnp.asarray(coefficients[indices])


def strongest(
    coefficients: Float[np.ndarray, " num_components"], k: int, sign: str = "positive"
) -> Int[np.ndarray, " num_top"]:
    """Returns the indices that `top_k` finds among the coefficients of one output."""
    strength = strength_of(coefficients, sign)
    order = np.argsort(-strength, kind="stable")
    return order[strength[order] > 0][:k].astype(np.int32)


def strength_of(coefficients: Any, sign: str) -> Any:
    """What makes a component strong: its weight, its negative, or either. Of jax or NumPy arrays.

    Raises:
      ValueError: if there is no such sign.
    """
    check_sign(sign)
    if sign == "absolute":
        return abs(coefficients)
    return coefficients if sign == "positive" else -coefficients


def check_sign(sign: str) -> None:
    """Refuses a sign that is none.

    Raises:
      ValueError: if there is no such sign.
    """
    one_of("sign", sign, SIGNS)


@in_usual_modes
def mask_of(indices: Int[Array, " num_top"], num_components: int) -> Bool[Array, " num_components"]:
    """Returns the mask that switches just these components on, for `recompose`.

    Raises:
      ValueError: if there is no such component (not checked inside jit).

    Example:
      >>> import jax.numpy as jnp, lime_jax as lj
      >>> lj.mask_of(jnp.array([2, 0]), 4).tolist()
      [True, False, True, False]
    """
    num_components = whole_number("num_components", num_components, most=MOST)
    indices = array("indices", indices)
    if indices.size == 0:
        indices = indices.astype(jnp.int32)
    if indices.ndim > 1 or not jnp.issubdtype(indices.dtype, jnp.integer):
        raise ValueError(
            f"`indices` must be a list of whole numbers, got {indices.dtype} {indices.shape}."
        )
    if not isinstance(indices, jax.core.Tracer):
        known = np.asarray(indices)
        if known.size and not (known.min() >= 0 and known.max() < num_components):
            raise ValueError(
                f"`indices` must lie in [0, {num_components}), got {known.min()} to {known.max()}."
            )
    return jnp.zeros(num_components, bool).at[indices].set(True)
