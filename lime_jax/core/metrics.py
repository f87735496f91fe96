"""How stable, how simple and how faithful explanations are."""

from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lime_jax.core.components import Components
from lime_jax.core.explanation import Explanation
from lime_jax.core.halves import predict_neighbourhood
from lime_jax.core.host import HostModel
from lime_jax.core.predictor import Predict

Top = Sequence[int] | Int[Array | np.ndarray, " k"]


def u_n(tops: Iterable[Top]) -> int:
    """U_n: how many different components occur in the top lists of repeated explanations.

    Equal to the length of one list if all repeats agree.

    References:
      Mishra et al., Reliable Local Explanations for Machine Listening, 2020.

    Example:
      >>> u_n([[1, 2, 3], [3, 2, 1], [1, 2, 4]])
      4
    """
    return len({int(index) for top in tops for index in np.asarray(top).ravel()})


def n_ce(top: Top, other: Top) -> int:
    """N_ce: how many components two top lists share, in any order.

    References:
      Mishra et al., Reliable Local Explanations for Machine Listening, 2020.

    Example:
      >>> n_ce([4, 3, 6], [6, 9, 4])
      2
    """
    return len(set(np.asarray(top).tolist()) & set(np.asarray(other).tolist()))


def complexity(explanation: Explanation) -> Float[Array, "..."]:
    """Entropy of the absolute coefficients of every output, in units of its maximum.

    0 if one component carries everything, 1 if all carry the same; 0 for a single component and
    for coefficients that are all zero.

    References:
      The evaluation helper of audioLIME.
    """
    weight = jnp.abs(explanation.coefficients)
    share = weight / jnp.maximum(weight.sum(axis=-1, keepdims=True), jnp.finfo(jnp.float32).tiny)
    num_components = weight.shape[-1]
    return jax.scipy.special.entr(share).sum(axis=-1) / np.log(max(num_components, 2))


def insertion_curve(
    predict: Predict | HostModel, components: Components, explanation: Explanation, output: int = 0
) -> Float[Array, " steps"]:
    """The output while components are switched on, those with the largest coefficients first.

    Returns:
      `(num_components + 1,)`: from everything off to everything on. The mean is the area under it:
      the larger, the better the order.

    References:
      Petsiuk et al., RISE: Randomized Input Sampling for Explanation of Black-box Models, 2018.
    """
    return _curve(predict, components, _rank(explanation, output), output)


def deletion_curve(
    predict: Predict | HostModel, components: Components, explanation: Explanation, output: int = 0
) -> Float[Array, " steps"]:
    """The output while components are switched off, those with the largest coefficients first.

    Returns:
      `(num_components + 1,)`: from everything on to everything off. The mean is the area under it:
      the smaller, the better the order.

    References:
      Petsiuk et al., RISE: Randomized Input Sampling for Explanation of Black-box Models, 2018.
    """
    last = explanation.coefficients.shape[-1] - 1
    return _curve(predict, components, last - _rank(explanation, output), output)[::-1]


def _rank(explanation: Explanation, output: int) -> np.ndarray:
    """The place of every component in the order of falling coefficients."""
    order = np.argsort(-np.asarray(explanation.coefficients[output]), kind="stable")
    return np.argsort(order)


def _curve(
    predict: Predict | HostModel, components: Components, rank: np.ndarray, output: int
) -> Float[Array, " steps"]:
    """The output with the first 0, 1, … components of an order switched on."""
    masks = jnp.asarray(rank[None, :] < np.arange(len(rank) + 1)[:, None])
    return predict_neighbourhood(predict, components, masks)[1][:, output]
