"""The steps of explanations: draw masks, recompose, predict, fold into statistics.

Everything here works on a group of items at once, a leading axis on components, keys and results:
few masks of many excerpts fill a device as well as many masks of one excerpt.
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, Int, Key

from lime_jax.core.components import Recomposable
from lime_jax.core.item_axis import each
from lime_jax.core.masks.neighbourhood import Neighbourhood
from lime_jax.core.methods import Method
from lime_jax.core.predictor import Predictor, check_outputs
from lime_jax.core.pytree import varying_like
from lime_jax.core.surrogates import statistics
from lime_jax.core.surrogates.kernels import Kernel
from lime_jax.core.surrogates.statistics import Statistics

Inputs = Inexact[Array, "items rows *input"]
Masks = Bool[Array, "items rows num_components"]
Outputs = Float[Array, "items rows num_outputs"]
Counts = Float[Array, "items rows ..."]
Keys = Key[Array, " items"] | None
Row = Int[Array, ""]

# A last step of its own has to be compiled; padding up to this share of the work is cheaper.
_BEARABLE_PADDING = 0.02


@dataclass(frozen=True)
class Steps:
    """How the rows of each item's neighbourhood are split into steps.

    Attributes:
      num_steps: how many times `rows_per_step` rows are folded into the statistics.
      rows_per_step: a multiple of the rows that belong to the blocks in turn.
      num_last: rows of one further step; 0 if there is none.
      batch_size: inputs predicted at once, of all items together.
    """

    num_steps: int
    rows_per_step: int
    num_last: int
    batch_size: int

    @property
    def steps(self) -> list[tuple[int, int]]:
        """The first row and the number of rows of every step."""
        starts = [step * self.rows_per_step for step in range(self.num_steps)]
        last = [(self.num_steps * self.rows_per_step, self.num_last)] if self.num_last else []
        return [(start, self.rows_per_step) for start in starts] + last


def steps_of(num_masks: int, round_size: int, batch_size: int, num_items: int = 1) -> Steps:
    """Splits neighbourhoods so that no more than `batch_size` inputs exist at a time.

    Args:
      num_masks: rows of each neighbourhood.
      round_size: rows that belong to the blocks in turn, see `round_size`.
      batch_size: inputs of all items together.
      num_items: in the group.
    """
    rows = max(batch_size // num_items // round_size, 1) * round_size
    if rows >= num_masks:
        return Steps(0, rows, num_masks, batch_size)
    num_steps, rest = divmod(num_masks, rows)
    if rest and rows - rest <= _BEARABLE_PADDING * num_masks:
        return Steps(num_steps + 1, rows, 0, batch_size)
    return Steps(num_steps, rows, rest, batch_size)


def even_batch_size(num_masks: int, round_size: int, batch_size: int) -> int:
    """Returns the largest batch, from half of `batch_size` on, that leaves next to nothing over."""
    for size in range(min(batch_size, num_masks), batch_size // 2, -1):
        if size % round_size == 0 and -num_masks % size <= _BEARABLE_PADDING * num_masks:
            return size
    return batch_size


def round_size(neighbourhood: Neighbourhood) -> int:
    """Returns the rows of a round: without a table, rows belong to the blocks in turn."""
    return neighbourhood.num_blocks if neighbourhood.table is None else 1


def draw(method: Method, keys: Keys, num_items: int, num_components: int) -> Neighbourhood:
    """Draws the neighbourhoods of all items."""
    return each(num_items, lambda key: method.sampler(key, num_components), keys)


def rows_of(
    neighbourhoods: Neighbourhood, num_items: int, start: Row, num_rows: int, stop: Row | int
) -> tuple[Masks, Counts]:
    """Returns the masks from row `start` on and their counts: per block if there is a table.

    Rows from `stop` on repeat the last mask and do not count.
    """
    index = start + jnp.arange(num_rows, dtype=jnp.int32)
    last = neighbourhoods.num_masks - 1
    counted = neighbourhoods.num_masks
    if neighbourhoods.num_counted is not None:
        counted = neighbourhoods.num_counted
    real = (index < jnp.minimum(stop, counted)).astype(jnp.float32)
    index = jnp.minimum(index, last)

    def masks_and_counts(neighbourhood: Neighbourhood) -> tuple[Array, Array]:
        masks = neighbourhood.rows(index)
        if neighbourhood.table is None:
            return masks, real
        return masks, neighbourhood.table[index] * real[:, None]

    return each(num_items, masks_and_counts, neighbourhoods)


def inputs_of(components: Recomposable, masks: Masks) -> Inputs:
    """Recomposes the inputs, `(items, rows, *input)`."""
    return each(len(masks), lambda item, masks: jax.vmap(item.recomposed)(masks), components, masks)


@functools.partial(jax.jit, static_argnames="batch_size")
def evaluate(
    predictor: Predictor, components: Recomposable, masks: Masks, batch_size: int
) -> Outputs:
    """Evaluates the model for every mask, with at most `batch_size` inputs at a time.

    Compiled on its own and, inside a loop, traced once for its shape and its place together.
    """
    num_items, num_rows = masks.shape[:2]
    size = max(1, batch_size // num_items)
    if size >= num_rows:
        inputs = inputs_of(components, masks)
        flat = inputs.reshape(-1, *inputs.shape[2:])
        outputs = predictor.rebuild()(flat)
        return check_outputs(outputs, len(flat)).reshape(*inputs.shape[:2], -1)
    repeated = jnp.repeat(masks[:, -1:], -num_rows % size, axis=1)
    padded = jnp.concatenate([masks, repeated], axis=1)
    chunks = padded.reshape(num_items, -1, size, masks.shape[2]).swapaxes(0, 1)
    of_chunk = functools.partial(evaluate, predictor, components, batch_size=batch_size)
    outputs = jax.lax.map(jax.checkpoint(of_chunk), chunks).swapaxes(0, 1)
    return outputs.reshape(num_items, padded.shape[1], -1)[:, :num_rows]


def no_blocks(neighbourhoods: Neighbourhood, num_items: int, num_outputs: int) -> Statistics:
    """Returns empty statistics for every block of every item."""
    shape = (num_items, neighbourhoods.num_blocks)
    return empty_blocks(neighbourhoods.num_components, num_outputs, shape)


def empty_blocks(num_components: int, num_outputs: int, shape: tuple[int, int]) -> Statistics:
    """Returns empty statistics, `(items, blocks)` of them."""
    nothing = statistics.empty(num_components, num_outputs)
    return jax.tree.map(lambda x: jnp.broadcast_to(x[None, None], (*shape, *x.shape)), nothing)


def fold(
    kernel: Kernel, blocks: Statistics, masks: Masks, counts: Counts, outputs: Outputs
) -> Statistics:
    """Adds some rows to the statistics of the blocks."""
    num_items, num_blocks = blocks.weight.shape

    def summary(*rows: Array) -> Statistics:
        return _summarise(kernel, num_blocks, *rows)

    new = each(num_items, summary, masks, counts, outputs)
    return jax.vmap(jax.vmap(Statistics.__add__))(blocks, new)


def _summarise(
    kernel: Kernel,
    num_blocks: int,
    masks: Bool[Array, "rows num_components"],
    counts: Float[Array, "rows ..."],
    outputs: Float[Array, "rows num_outputs"],
) -> Statistics:
    if counts.ndim == 2:
        # Replicates would draw masks that the estimate has not met, be their outputs broken.
        is_met = (counts[:, 0] > 0) | jnp.isfinite(outputs).all(axis=1)
        counts = jnp.where(is_met[:, None], counts, 0)
        return jax.vmap(statistics.summarise, in_axes=(None, None, 1, 1))(
            masks, outputs, kernel(masks)[:, None] * counts, counts > 0
        )
    missing = -len(masks) % num_blocks
    masks, outputs = (_repeat_last(x, missing) for x in (masks, outputs))
    counts = jnp.pad(counts, (0, missing))

    def in_turn(x: Array) -> Array:
        return x.reshape(-1, num_blocks, *x.shape[1:])

    return jax.vmap(statistics.summarise, in_axes=1)(
        in_turn(masks), in_turn(outputs), in_turn(kernel(masks) * counts), in_turn(counts > 0)
    )


def _repeat_last(rows: Array, times: int) -> Array:
    return jnp.concatenate([rows, jnp.repeat(rows[-1:], times, axis=0)]) if times else rows


def step(
    predictor: Predictor,
    components: Recomposable,
    method: Method,
    neighbourhoods: Neighbourhood,
    batch_size: int,
    num_rows: int,
    stop: Row | int,
    blocks: Statistics,
    start: Row,
) -> tuple[Statistics, None]:
    """Evaluates some rows of every item and adds them to the statistics of the blocks."""
    masks, counts = rows_of(neighbourhoods, components.num_items, start, num_rows, stop)
    outputs = evaluate(predictor, components, masks, batch_size=batch_size)
    return fold(method.kernel, blocks, masks, counts, outputs), None


def num_outputs(predictor: Predictor, components: Recomposable, split: Steps) -> int:
    """Returns how many outputs the model has, without evaluating it."""
    num_items, num_components = components.num_items, components.num_components
    num_rows = split.steps[0][1]
    masks = jax.ShapeDtypeStruct((num_items, num_rows, num_components), jnp.bool_)
    return jax.eval_shape(
        lambda *x: evaluate(*x, batch_size=split.batch_size), predictor, components, masks
    ).shape[2]


def accumulate(
    predictor: Predictor,
    components: Recomposable,
    method: Method,
    neighbourhoods: Neighbourhood,
    batch_size: int,
    devices: tuple[str, ...] = (),
) -> Statistics:
    """Returns the statistics of the blocks of all items, from all rows of their neighbourhoods."""
    num_items = components.num_items
    num_masks, rows = neighbourhoods.num_masks, round_size(neighbourhoods)
    first, share = jnp.int32(0), num_masks
    if devices:
        share = -(-num_masks // (jax.lax.axis_size(devices) * rows)) * rows
        first = jax.lax.axis_index(devices) * share
    split = steps_of(share, rows, batch_size, num_items)
    nothing = no_blocks(neighbourhoods, num_items, num_outputs(predictor, components, split))
    blocks = varying_like(nothing, predictor, components, method, neighbourhoods)

    arguments = predictor, components, method, neighbourhoods, split.batch_size
    # Backwards, every step is evaluated again: kept for it is what it started from, no input.
    if split.num_steps:
        starts = first + jnp.arange(split.num_steps, dtype=jnp.int32) * split.rows_per_step
        add = functools.partial(step, *arguments, split.rows_per_step, first + share)
        blocks, _ = jax.lax.scan(jax.checkpoint(add), blocks, starts)
    if split.num_last:
        start = first + jnp.int32(split.num_steps * split.rows_per_step)
        add = functools.partial(step, *arguments, split.num_last, first + share)
        blocks, _ = jax.checkpoint(add)(blocks, start)
    if devices:
        blocks = jax.vmap(jax.vmap(lambda block: statistics.add_across(block, devices)))(blocks)
    return blocks
