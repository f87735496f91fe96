"""The columns of every layer, computed once for every combination of the components they see."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from lime_jax.core.components import Components
from lime_jax.core.execution import memory
from lime_jax.core.execution.progress import Progress
from lime_jax.core.receptive_fields.layers import Layer, Layerwise, shape_of_column
from lime_jax.core.receptive_fields.lookup import Lookup
from lime_jax.core.receptive_fields.windows import Windowed, table_of

# Beyond this many components in one column, tables of all their combinations grow too large.
_MOST_PER_COLUMN = 14
_MOST_BYTES = 3 << 30
# Columns computed by one call, and at a time: convolutions of few are fastest in a CPU's caches.
BLOCK, _CPU_CHUNK = 1024, 32


@dataclasses.dataclass(frozen=True, eq=False)
class Columns:
    """The columns of a layer, once per combination of the components that each of them sees.

    Attributes:
      sees: whether a column sees a component, `(num_columns, num_components)`.
    """

    sees: np.ndarray

    @property
    def num_entries(self) -> int:
        """How many columns are computed."""
        return int((1 << self.sees.sum(axis=1)).sum())

    @property
    def num_evaluations(self) -> float:
        """How often the whole layer could have been computed instead."""
        return self.num_entries / len(self.sees)

    @functools.cached_property
    def first(self) -> np.ndarray:
        """The first entry of every column; see `lime_jax.core.receptive_fields.lookup.Lookup`."""
        number = 2 ** self.sees.sum(axis=1)
        return (np.cumsum(number) - number).astype(np.int32)

    @functools.cached_property
    def steps(self) -> np.ndarray:
        """What a component adds to the entry of a column, `(num_columns, num_components)`."""
        place = np.maximum(np.cumsum(self.sees, axis=1) - 1, 0)
        return np.where(self.sees, 1 << place, 0).astype(np.int32)

    @functools.cached_property
    def column_of(self) -> np.ndarray:
        """The column of every entry, `(num_entries,)`."""
        number = 2 ** self.sees.sum(axis=1)
        return np.repeat(np.arange(len(self.sees), dtype=np.int32), number)

    @functools.cached_property
    def masks(self) -> np.ndarray:
        """The mask of every entry; what its column does not see is off."""
        combination = np.arange(self.num_entries) - self.first[self.column_of]
        return (combination[:, None] & self.steps[self.column_of]) > 0


def plan_columns(model: Layerwise, components: Components, num_masks: int) -> list[Columns] | None:
    """Returns what every layer computes; None where whole inputs are cheaper or memory is short.

    Args:
      model: with its declaration.
      components: of one item, outside jit.
      num_masks: evaluations of the whole model that would be replaced.
    """
    sees = [_seen_by_first(model.layers[0], components)]
    for one in model.layers[1:]:
        sees.append(_seen_above(one, sees[-1]))
    if any(not len(columns) or columns.sum(axis=1).max() > _MOST_PER_COLUMN for columns in sees):
        return None
    columns = [Columns(layer) for layer in sees]
    if max(layer.num_evaluations for layer in columns) >= num_masks:
        return None
    return None if num_bytes(model, components, columns) > _most_bytes() else columns


def num_bytes(model: Layerwise, components: Components, columns: list[Columns]) -> int:
    """Returns the most that is in memory at a time: two layers, and the plan of all."""
    numbers = [layer.num_entries for layer in columns]
    # Masks, steps and what they are made of.
    plans = sum(numbers) * components.num_components * 8
    sizes = [
        _round_up(-(-number // BLOCK)) * BLOCK * size
        for number, size in zip(numbers, _sizes(model, components), strict=True)
    ]
    return plans + max(a + b for a, b in zip(sizes, [*sizes[1:], 0], strict=True))


def _most_bytes() -> int:
    return _MOST_BYTES if jax.devices()[0].platform == "cpu" else memory.budget()


def _seen_by_first(one: Layer, components: Components) -> np.ndarray:
    """Which components move the windows of the first layer: those that differ from their fill."""
    sources = np.asarray(components.sources)
    size = sources.shape[1]
    differs = sources != np.broadcast_to(np.asarray(components.fill), sources.shape)
    labels = np.broadcast_to(np.asarray(components.labels), sources.shape[1:])
    differs = differs.reshape(len(sources), size, -1)
    labels = labels.reshape(size, -1)
    reflected = np.pad(np.arange(size), one.pad, mode="reflect")
    starts = np.arange(one.num_columns(size)) * one.stride
    sees = np.zeros((len(starts), components.num_components), bool)
    for segment in range(components.num_segments):
        for source in range(components.num_sources):
            there = (differs[source] & (labels == segment)).any(axis=1)[reflected]
            before = np.concatenate([[0], np.cumsum(there)])
            number = before[starts + one.window] - before[starts]
            sees[:, segment * components.num_sources + source] = number > 0
    return sees


def _seen_above(one: Layer, sees: np.ndarray) -> np.ndarray:
    index = _below(one, len(sees), np.arange(max(one.num_columns(len(sees)), 0)))
    return np.asarray((sees[index] & (index >= 0)[..., None]).any(axis=1))


def _below(one: Layer, num_below: int, columns: np.ndarray) -> np.ndarray:
    """The columns below that columns are made of; -1 is beyond the ends."""
    index = columns[:, None] * one.stride - one.pad + np.arange(one.window)
    return np.where((index >= 0) & (index < num_below), index, -1)


def _sizes(model: Layerwise, components: Components) -> list[int]:
    """Bytes of a column of every layer."""
    shape = components.sources.shape[2:]
    dtype, sizes = components.sources.dtype, []
    for one in model.layers:
        window = jax.ShapeDtypeStruct((1, one.window, *shape), dtype)
        made = shape_of_column(one, window)
        shape, dtype = made.shape[1:], made.dtype
        sizes.append(int(np.prod(shape)) * dtype.itemsize)
    return sizes


def look_up_columns(
    model: Layerwise,
    components: Components,
    columns: list[Columns],
    progress: Progress | None = None,
) -> Lookup:
    """Computes the columns of the last layer for all combinations; a mask picks those it needs.

    Args:
      model: with its declaration.
      components: of one item.
      columns: from `plan_columns`.
      progress: called as `progress(done, total)` in columns of all layers.
    """
    total, done = sum(some.num_entries for some in columns), columns[0].num_entries
    table = _first_table(model, components, columns[0])
    _report(progress, table, done, total)
    for one, below, here in zip(model.layers[1:], columns, columns[1:], strict=False):
        blocks = _blocks(_entries_below(one, below, here))
        made = _empty(one, table, _round_up(len(blocks)))
        for number, index in enumerate(blocks):
            made = _fill(made, one, table, index, np.int32(number * BLOCK), _chunk())
            done += min(BLOCK, here.num_entries - number * BLOCK)
            _report(progress, made, done, total)
        table = made
    last = columns[-1]
    return Lookup(table, jnp.asarray(last.first), jnp.asarray(last.steps), len(last.steps[0]))


def _report(progress: Progress | None, made: Array, done: int, total: int) -> None:
    if progress is not None:
        jax.block_until_ready(made)
        progress(done, total)


def _first_table(model: Layerwise, components: Components, columns: Columns) -> Array:
    first = model.layers[0]
    as_windows = Windowed(
        model.whole, first.apply, model.head, first.window, first.stride, 0, first.pad
    )
    missing = _round_up(-(-columns.num_entries // BLOCK)) * BLOCK - columns.num_entries
    window_of = np.pad(columns.column_of, (0, missing))
    masks = np.pad(columns.masks, ((0, missing), (0, 0)))
    return _looked_up(as_windows, components, window_of, masks)


@jax.jit
def _looked_up(
    model: Windowed,
    components: Components,
    window_of: Int[Array | np.ndarray, " entries"],
    masks: Bool[Array | np.ndarray, "entries num_components"],
) -> Array:
    arrays = jnp.asarray(window_of), jnp.asarray(masks)
    return table_of(model, components, *arrays, batch_size=BLOCK)


def _entries_below(one: Layer, below: Columns, here: Columns) -> np.ndarray:
    """The entries of the layer below that every entry is made of; -1 is beyond the ends."""
    index = _below(one, len(below.sees), here.column_of)
    entries = np.empty(index.shape, np.int32)
    for k in range(one.window):
        at = index[:, k]
        on = below.first[at] + (below.steps[at] * here.masks).sum(axis=1, dtype=np.int32)
        entries[:, k] = np.where(at >= 0, on, -1)
    return entries


def _blocks(entries: np.ndarray) -> list[np.ndarray]:
    padded = np.pad(entries, ((0, -len(entries) % BLOCK), (0, 0)), constant_values=-1)
    return list(padded.reshape(-1, BLOCK, entries.shape[1]))


def _empty(one: Layer, table: Array, num_blocks: int) -> Array:
    """Room for the columns of a layer, in one of a few sizes: others use the same programs."""
    window = jax.ShapeDtypeStruct((1, one.window, *table.shape[1:]), table.dtype)
    made = shape_of_column(one, window)
    return jnp.zeros((num_blocks * BLOCK, *made.shape[1:]), made.dtype)


@functools.partial(jax.jit, static_argnames="chunk", donate_argnames="made")
def _fill(
    made: Array,
    one: Layer,
    table: Array,
    index: Int[Array | np.ndarray, "block window"],
    start: Int[Array | np.ndarray, ""],
    chunk: int,
) -> Array:
    """Writes a block of columns where it belongs, in place."""

    def some(index: Int[Array, "chunk window"]) -> Array:
        is_there = (index >= 0).reshape(*index.shape, *(1,) * (table.ndim - 1))
        return one.apply(jnp.where(is_there, table[index], 0))

    block = jax.lax.map(some, jnp.asarray(index).reshape(-1, chunk, index.shape[1]))
    block = block.reshape(-1, *block.shape[2:])
    return jax.lax.dynamic_update_slice_in_dim(made, block, start, axis=0)


def _round_up(number: int) -> int:
    """Up to a power of two, or to the middle between two."""
    power = 1 << max(number - 1, 0).bit_length()
    return power * 3 // 4 if power >= 4 and number <= power * 3 // 4 else power


def _chunk() -> int:
    return _CPU_CHUNK if jax.devices()[0].platform == "cpu" else BLOCK
