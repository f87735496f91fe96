"""Exact explanations of sums: a track's tags are the mean over patches, each of few components.

The sums that a surrogate needs are expectations over all `2**num_components` masks. If a model is
a sum of terms and each term depends on few components, the expectation of every term is a short
sum over *its* combinations; how many of the other components are off only enters the weight, by
a count. So exact LIME, Shapley and Banzhaf values follow from the outputs of the terms alone,
however many components there are.
"""

import math
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lime_jax.core.surrogates.statistics import Statistics

Weights = np.ndarray  # by the number of zeros, float64
Term = tuple[np.ndarray, np.ndarray]  # a table and its components

_MOST_WEIGHT = 2.0**40


def statistics_of_sum(
    tables: Sequence[np.ndarray],
    sets: Sequence[np.ndarray],
    weight_of: Weights,
    num_samples: float,
) -> Statistics:
    """Returns the statistics over all masks, scaled to `num_samples` of them.

    Args:
      tables: of every term, its outputs for all combinations of its components, `(2**len(set),
        num_outputs)`; bit `i` of the row says whether component `set[i]` is on.
      sets: the components of every term.
      weight_of: see `kernels.weights_by_zeros`.
      num_samples: the sum of counts.
    """
    num_components = len(weight_of) - 1
    # From the unperturbed input, so that what does not change does not cancel.
    full = sum(table[-1].astype(np.float64) for table in tables)
    empty = sum(table[0].astype(np.float64) for table in tables)
    terms = _merge(
        (table.astype(np.float64) - table[-1], own) for table, own in zip(tables, sets, strict=True)
    )
    mean_weight = _moment(weight_of, 0)
    # Beyond the most, no ridge is felt, and squares must stay float32 numbers.
    weight = min(num_samples * mean_weight, _MOST_WEIGHT)
    weight_of = weight_of / mean_weight
    on, both_on = _moment(weight_of, 1), _moment(weight_of, 2)
    output_mean = np.sum([_mean(table, own, weight_of) for table, own in terms], axis=0)
    cross = np.sum([_cross(table, own, weight_of) for table, own in terms], axis=0)
    square = _square(terms, weight_of)
    scatter = (on - both_on) * np.eye(num_components) + (both_on - on * on)
    low = sum(table.min(axis=0) for table, _ in terms)
    high = sum(table.max(axis=0) for table, _ in terms)
    return Statistics(
        *_float32(
            weight,
            np.full(num_components, on),
            full,
            output_mean,
            weight * scatter,
            weight * (cross - on * output_mean[None]),
            np.sqrt(weight * np.maximum(square - output_mean * output_mean, 0)),
            low + full,
            high + full,
            full,
            empty,
        )
    )


def _merge(terms: Iterable[Term]) -> list[Term]:
    """Terms of the same components, such as the windows inside a segment, as one."""
    tables: dict[tuple[int, ...], np.ndarray] = {}
    for table, own in terms:
        key = tuple(own.tolist())
        tables[key] = tables[key] + table if key in tables else table
    return [(table, np.array(key, int)) for key, table in tables.items()]


def _float32(*values: object) -> list[jax.Array]:
    return [jnp.asarray(np.asarray(value, np.float32)) for value in values]


def _moment(weight_of: Weights, order: int) -> float:
    """The mean over all masks of the weight times the product of `order` components."""
    num_components = len(weight_of) - 1
    if order > num_components:
        return 0.0
    return _among_others(weight_of, order)[0] / 2**order


def _among_others(weight_of: Weights, size: int) -> Weights:
    """The mean weight given that `size` components have 0, 1, … `size` zeros, over the others."""
    others = len(weight_of) - 1 - size
    share = _binomial(others)
    return np.array(
        [(share * weight_of[zeros : zeros + others + 1]).sum() for zeros in range(size + 1)]
    )


def _binomial(number: int) -> np.ndarray:
    return np.array([math.comb(number, k) / 2**number for k in range(number + 1)])


def _zeros(size: int) -> np.ndarray:
    """How many of `size` components are off in each combination."""
    return size - np.bitwise_count(np.arange(2**size)).astype(int)


def _mean(table: np.ndarray, own: np.ndarray, weight_of: Weights) -> np.ndarray:
    """The mean of weight × term over all masks, `(num_outputs,)`."""
    size = len(own)
    return _weigh(_among_others(weight_of, size)[_zeros(size)], table)


def _weigh(weights: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The mean of weighted rows; small enough to do without BLAS."""
    return (weights[:, None] * table).mean(axis=0)


def _cross(table: np.ndarray, own: np.ndarray, weight_of: Weights) -> np.ndarray:
    """The mean of weight × component × term over all masks, `(num_components, num_outputs)`."""
    num_components, size = len(weight_of) - 1, len(own)
    zeros = _zeros(size)
    result = np.empty((num_components, table.shape[1]))
    if size < num_components:
        # Any other component: on in half of the masks, and one zero less among the rest.
        others = num_components - size
        share = _binomial(others) * (1 - np.arange(others + 1) / others)
        on = [(share * weight_of[k : k + others + 1]).sum() for k in range(size + 1)]
        result[:] = _weigh(np.array(on)[zeros], table)[None]
    weighted = _among_others(weight_of, size)[zeros][:, None] * table / 2**size
    for bit, component in enumerate(own):
        result[component] = weighted[np.arange(2**size) >> bit & 1 == 1].sum(axis=0)
    return result


def _square(terms: Sequence[Term], weight_of: Weights) -> np.ndarray:
    """The mean of weight × (sum of the terms)² over all masks, `(num_outputs,)`."""
    total = np.zeros(terms[0][0].shape[1])
    for index, (table, some) in enumerate(terms):
        total += _mean(table**2, some, weight_of)
        for other, others in terms[:index]:
            total += 2 * _product(table, some, other, others, weight_of)
    return total


def _product(
    table: np.ndarray, own: np.ndarray, other: np.ndarray, others: np.ndarray, weight_of: Weights
) -> np.ndarray:
    """The mean of weight × term × term, by the state of what both share."""
    shared = np.intersect1d(own, others)
    size = len(own) + len(others) - len(shared)
    weights = _among_others(weight_of, size)
    first, second = _group_by_shared(table, own, shared), _group_by_shared(other, others, shared)
    zeros = (
        _zeros(len(shared))[:, None, None]
        + np.arange(first.shape[1])[None, :, None]
        + np.arange(second.shape[1])[None, None, :]
    )
    products = first[:, :, None] * second[:, None] * weights[zeros][..., None]
    return products.sum(axis=(0, 1, 2)) / 2**size


def _group_by_shared(table: np.ndarray, own: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """Sums of a table by the state of shared components and the number of zeros of the others."""
    rows = np.arange(len(table))
    bit_of = {component: bit for bit, component in enumerate(own.tolist())}
    state = sum(
        ((rows >> bit_of[component] & 1) << position for position, component in enumerate(shared)),
        start=np.zeros(len(rows), int),
    )
    zeros_shared = len(shared) - np.bitwise_count(state).astype(int)
    zeros = _zeros(len(own)) - zeros_shared
    num_own = len(own) - len(shared)
    sums = np.zeros((2 ** len(shared), num_own + 1, table.shape[1]))
    np.add.at(sums, (state, zeros), table)
    return sums
