"""How stable, how simple and how faithful explanations are."""

from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lime_jax.core import pooling, ranking
from lime_jax.core.arguments import index_below, listed, whole_number
from lime_jax.core.components import Components
from lime_jax.core.execution.host_model import HostModel
from lime_jax.core.explanation import Explanation, check_explanation
from lime_jax.core.predictor import Predict
from lime_jax.core.pytree import pytree
from lime_jax.core.stages import predict_neighbourhood
from lime_jax.core.surrogates import uncertainty

Top = Sequence[int] | Int[Array | np.ndarray, " _"]  # of any length each


def u_n(tops: Iterable[Top]) -> int:
    """Returns U_n: how many different components occur in the top lists of repeated explanations.

    Equal to the length of one list if all repeats agree.

    References:
      Mishra et al., Reliable Local Explanations for Machine Listening, 2020.

    Example:
      >>> u_n([[1, 2, 3], [3, 2, 1], [1, 2, 4]])
      4
    """
    return len(set().union(*_top_sets(tops)))


def n_ce(top: Top, other: Top) -> int:
    """Returns N_ce: how many components two top lists share, in any order.

    References:
      Mishra et al., Reliable Local Explanations for Machine Listening, 2020.

    Example:
      >>> n_ce([4, 3, 6], [6, 9, 4])
      2
    """
    return len(_top_set("top", top) & _top_set("other", other))


def agreement(tops: Iterable[Top], top: Top) -> float:
    """Returns the share of top lists that hold the same components as another list, in any order.

    Example:
      >>> agreement([[1, 2, 3], [3, 2, 1], [1, 2, 4]], [2, 1, 3])
      0.6666666666666666
    """
    best, sets = _top_set("top", top), _top_sets(tops)
    if not sets:
        raise ValueError("`tops` is empty. Pass at least one list of indices.")
    return float(np.mean([each == best for each in sets]))


def _top_sets(tops: Any) -> list[set[int]]:
    return [_top_set("tops", each) for each in listed("tops", tops, "lists of indices")]


def _top_set(name: str, top: Any) -> set[int]:
    if isinstance(top, jax.Array) and jnp.issubdtype(top.dtype, jnp.integer):
        top = np.asarray(top)
    return {whole_number(name, index, 0) for index in listed(name, top, "indices")}


@pytree
class Stability:
    """How far repeated explanations of one input agree, per output.

    For outputs whose `pooled.status` is not OK the numbers mean as little as the coefficients.

    Attributes:
      u_n: how many different components there are in the top lists of all repeats, int32
        `(num_outputs,)`; k where all agree and so many have the sign.
      agreement: the share of repeats whose top set is that of `pooled`, `(num_outputs,)`.
      confidence: `top_k_confidence` of `pooled`: at least how probable it is that its top set is
        the true one, `(num_outputs,)`.
      pooled: the mean of the repeats, more exact than each of them. Its `fidelity` is the mean of
        theirs and its `status` the worst; samples and evaluations add up.
    """

    u_n: Int[Array, " num_outputs"]
    agreement: Float[Array, " num_outputs"]
    confidence: Float[Array, " num_outputs"]
    pooled: Explanation


def stability(
    explanations: Explanation | Sequence[Explanation],
    k: SupportsIndex = 3,
    *,
    sign: str = "positive",
) -> Stability:
    """How far explanations of one input with different keys agree, and what they say together.

    Args:
      explanations: a list, or one explanation with a leading axis over repeats, for example from
        `jax.vmap` over keys.
      k: length of the top lists; they are shorter where fewer components have the sign.
      sign: positive, negative or absolute, as in `top_k`.

    Raises:
      ValueError: if there are none, or they are of different inputs or methods. Call it outside
        jit.

    References:
      Mishra et al., Reliable Local Explanations for Machine Listening, 2020, for U_n.

    Example:
      >>> import jax, jax.numpy as jnp, lime_jax as lj
      >>> stems = lj.from_stems(jnp.diag(jnp.arange(12.0)))
      >>> squares = lambda x: jnp.square(x.sum(axis=1, keepdims=True))
      >>> explain = lambda key: lj.explain(squares, stems, lj.lime(2000), key=key)
      >>> repeats = stability(jax.vmap(explain)(jax.random.split(jax.random.key(0), 4)))
      >>> repeats.u_n.tolist(), repeats.agreement.tolist(), bool(repeats.confidence[0] > 0.99)
      ([3], [1.0], True)
    """
    k = whole_number("k", k)
    repeats = pooling.stack(explanations)
    pooled = pooling.pool(repeats)
    confidence = uncertainty.top_k_confidence(pooled, k, sign=sign)
    # In NumPy: many outputs would be many small programs of jax.
    each, mean = np.asarray(repeats.coefficients), np.asarray(pooled.coefficients)
    tops = [
        [ranking.strongest(row, k, sign) for row in each[:, output]] for output in range(len(mean))
    ]
    best = [ranking.strongest(row, k, sign) for row in mean]
    return Stability(
        u_n=jnp.asarray([u_n(lists) for lists in tops], jnp.int32),
        agreement=jnp.asarray(list(map(agreement, tops, best)), jnp.float32),
        confidence=confidence,
        pooled=pooled,
    )


def complexity(explanation: Explanation) -> Float[Array, "..."]:
    """Returns entropy of the absolute coefficients of every output, in units of its maximum.

    0 if one component carries everything, 1 if all carry the same; 0 for a single component and
    for coefficients that are all zero.

    References:
      The evaluation helper of audioLIME.
    """
    check_explanation(explanation)
    weight = jnp.abs(explanation.coefficients)
    share = weight / jnp.maximum(weight.sum(axis=-1, keepdims=True), jnp.finfo(jnp.float32).tiny)
    num_components = weight.shape[-1]
    return jax.scipy.special.entr(share).sum(axis=-1) / np.log(max(num_components, 2))


def insertion_curve(
    predict: Predict | HostModel,
    components: Components,
    explanation: Explanation,
    output: SupportsIndex = 0,
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
    predict: Predict | HostModel,
    components: Components,
    explanation: Explanation,
    output: SupportsIndex = 0,
) -> Float[Array, " steps"]:
    """The output while components are switched off, those with the largest coefficients first.

    Returns:
      `(num_components + 1,)`: from everything on to everything off. The mean is the area under it:
      the smaller, the better the order.

    References:
      Petsiuk et al., RISE: Randomized Input Sampling for Explanation of Black-box Models, 2018.
    """
    check_explanation(explanation)
    last = explanation.coefficients.shape[-1] - 1
    return _curve(predict, components, last - _rank(explanation, output), output)[::-1]


def _rank(explanation: Explanation, output: SupportsIndex) -> np.ndarray:
    """The place of every component in the order of falling coefficients."""
    check_explanation(explanation)
    if explanation.coefficients.ndim != 2:
        raise ValueError(
            f"`explanation` must be of one input, got coefficients of shape "
            f"{explanation.coefficients.shape}. Take an item: `jax.tree.map(lambda x: x[i], …)`."
        )
    output = index_below("output", output, explanation.coefficients.shape[0])
    order = np.argsort(-np.asarray(explanation.coefficients[output]), kind="stable")
    return np.argsort(order)


def _curve(
    predict: Predict | HostModel, components: Components, rank: np.ndarray, output: SupportsIndex
) -> Float[Array, " steps"]:
    """The output with the first 0, 1, … components of an order switched on."""
    masks = jnp.asarray(rank[None, :] < np.arange(len(rank) + 1)[:, None])
    outputs = predict_neighbourhood(predict, components, masks)[1]
    return outputs[:, index_below("output", output, outputs.shape[1])]
