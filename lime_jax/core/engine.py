"""The steps of an explanation: draw masks, recompose, predict, fold into statistics, solve."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from lime_jax.core import statistics
from lime_jax.core.components import Components, Input, recompose
from lime_jax.core.explanation import Explanation, standard_error, status_of
from lime_jax.core.kernels import Kernel
from lime_jax.core.linear import LinearFit
from lime_jax.core.methods import Method
from lime_jax.core.predictor import Predictor, checked_outputs
from lime_jax.core.samplers import Neighbourhood
from lime_jax.core.statistics import Statistics
from lime_jax.core.surrogates import Surrogate

Masks = Bool[Array, "rows num_components"]
Outputs = Float[Array, "rows num_outputs"]
Counts = Float[Array, "rows ..."]


@dataclass(frozen=True)
class Plan:
    """How the rows of a neighbourhood are dealt with.

    Attributes:
      num_steps: how many times rows are folded into the statistics.
      rows_per_step: rows folded at once; the last step repeats the last row, with count zero.
      batch_size: rows predicted at once.
    """

    num_steps: int
    rows_per_step: int
    batch_size: int


def plan(neighbourhood: Neighbourhood, batch_size: int) -> Plan:
    """Splits a neighbourhood so that no more than `batch_size` inputs exist at a time."""
    batch_size = min(batch_size, neighbourhood.num_masks)
    # Rows without a table are dealt to the blocks in turn, so a step holds whole rounds.
    rounds = neighbourhood.num_blocks if neighbourhood.table is None else 1
    if batch_size < rounds:
        batch_size = max(size for size in range(1, batch_size + 1) if rounds % size == 0)
        rows = rounds
    else:
        num_steps = -(-neighbourhood.num_masks // (batch_size // rounds * rounds))
        even = -(-neighbourhood.num_masks // num_steps)
        rows = batch_size = -(-even // rounds) * rounds
    return Plan(-(-neighbourhood.num_masks // rows), rows, batch_size)


def rows_of(
    neighbourhood: Neighbourhood, rows_per_step: int, step: Int[Array, ""]
) -> tuple[Masks, Counts]:
    """The masks of a step and how often each counts: per block if there is a table."""
    index = step * rows_per_step + jnp.arange(rows_per_step)
    real = (index < neighbourhood.num_masks).astype(jnp.float32)
    index = jnp.minimum(index, neighbourhood.num_masks - 1)
    masks = neighbourhood.rows(index)
    if neighbourhood.table is None:
        return masks, real
    return masks, neighbourhood.table[index] * real[:, None]


def inputs_of(components: Components, masks: Masks) -> Input:
    """The recomposed inputs, `(rows, *input)`."""
    return jax.vmap(recompose, in_axes=(None, 0))(components, masks)


def evaluate(
    predictor: Predictor, components: Components, masks: Masks, batch_size: int
) -> Outputs:
    """The outputs for every mask, with at most `batch_size` inputs at a time."""

    def batch(masks: Masks) -> Outputs:
        return checked_outputs(predictor(inputs_of(components, masks)), len(masks))

    if batch_size >= len(masks):
        return batch(masks)
    outputs = jax.lax.map(batch, masks.reshape(-1, batch_size, masks.shape[1]))
    return outputs.reshape(len(masks), -1)


# Traced once for its shape and its place in the loop together.
_evaluate = jax.jit(evaluate, static_argnames="batch_size")


def no_blocks(neighbourhood: Neighbourhood, num_outputs: int) -> Statistics:
    """Empty statistics, one for every block."""
    nothing = statistics.nothing(neighbourhood.num_components, num_outputs)
    copy = lambda x: jnp.broadcast_to(x[None], (neighbourhood.num_blocks, *x.shape))
    return jax.tree.map(copy, nothing)


def fold(
    kernel: Kernel, blocks: Statistics, masks: Masks, counts: Counts, outputs: Outputs
) -> Statistics:
    """Adds some rows to the statistics of the blocks."""
    weights = kernel(masks)
    if counts.ndim == 2:
        new = jax.vmap(statistics.summarise, in_axes=(None, None, 1, None))(
            masks, outputs, weights[:, None] * counts, (counts > 0).any(axis=1)
        )
    else:
        num_blocks = blocks.weight.shape[0]
        deal = lambda x: x.reshape(-1, num_blocks, *x.shape[1:])
        new = jax.vmap(statistics.summarise, in_axes=1)(
            deal(masks), deal(outputs), deal(weights * counts), deal(counts > 0)
        )
    return jax.vmap(Statistics.__add__)(blocks, new)


def step(
    predictor: Predictor,
    components: Components,
    method: Method,
    neighbourhood: Neighbourhood,
    split: Plan,
    blocks: Statistics,
    index: Int[Array, ""],
) -> Statistics:
    """Evaluates the rows of one step and adds them to the statistics of the blocks."""
    masks, counts = rows_of(neighbourhood, split.rows_per_step, index)
    outputs = _evaluate(predictor, components, masks, batch_size=split.batch_size)
    return fold(method.kernel, blocks, masks, counts, outputs)


def finish(method: Method, neighbourhood: Neighbourhood, blocks: Statistics) -> Explanation:
    """Solves the surrogate from the statistics of the blocks."""
    total, fit, error = _solve(method.surrogate, blocks)
    return Explanation(
        coefficients=fit.coefficients,
        intercept=fit.intercept,
        fidelity=fit.fidelity,
        local_prediction=fit.local_prediction,
        prediction=total.full,
        std_error=error,
        status=status_of(total),
        num_samples=neighbourhood.num_samples,
        num_evaluations=neighbourhood.num_masks,
    )


def _solve(
    surrogate: Surrogate, blocks: Statistics
) -> tuple[Statistics, LinearFit, Float[Array, "num_outputs num_components"]]:
    """The fit to all blocks and its standard errors, from fits that each leave one block out."""
    num_blocks = blocks.weight.shape[0]
    if num_blocks == 1:
        total = jax.tree.map(lambda x: x[0], blocks)
        fit = surrogate(total)
        return total, fit, jnp.zeros_like(fit.coefficients)
    everything = jnp.ones((1, num_blocks), bool)
    keep = jnp.concatenate([everything, ~jnp.eye(num_blocks, dtype=bool)])
    sums = jax.vmap(statistics.combine, in_axes=(None, 0))(blocks, keep)
    fits = jax.vmap(surrogate)(sums)
    total, fit = jax.tree.map(lambda x: x[0], (sums, fits))
    # Two parts can differ by nothing at all, for example if each holds a single row.
    enough = num_blocks > 2
    error = standard_error(fits.coefficients[1:])
    return total, fit, error if enough else jnp.full_like(error, jnp.nan)


def num_outputs(predictor: Predictor, components: Components, split: Plan) -> int:
    """How many outputs the model has, without evaluating it."""
    masks = jax.ShapeDtypeStruct((split.rows_per_step, components.num_components), jnp.bool_)
    return jax.eval_shape(
        lambda *x: _evaluate(*x, batch_size=split.batch_size), predictor, components, masks
    ).shape[1]


def run(
    predictor: Predictor,
    components: Components,
    method: Method,
    key: Key[Array, ""] | None,
    batch_size: int,
) -> Explanation:
    """One explanation as a single traceable program."""
    neighbourhood = method.sampler(key, components.num_components)
    split = plan(neighbourhood, batch_size)
    blocks = no_blocks(neighbourhood, num_outputs(predictor, components, split))

    def body(blocks: Statistics, index: Int[Array, ""]) -> tuple[Statistics, None]:
        return step(predictor, components, method, neighbourhood, split, blocks, index), None

    blocks, _ = jax.lax.scan(body, blocks, jnp.arange(split.num_steps))
    return finish(method, neighbourhood, blocks)
