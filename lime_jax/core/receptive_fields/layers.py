"""Deep convolutional networks, layer by layer: what many masks share is computed once.

A column of the first layer sees few components, one of the last layer many. So every layer is
computed once per combination of what *its* columns see, from the columns of the layer below, and
a mask only looks the last ones up. What is silent is seen by no column. Explanations are those
of the whole model; where neighbouring segments meet, only what sees both is computed for all pairs.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact, Int

from lime_jax.core.components import Components
from lime_jax.core.execution import memory
from lime_jax.core.execution.progress import Progress
from lime_jax.core.predictor import Predictor, as_predictor
from lime_jax.core.pytree import pytree, static
from lime_jax.core.receptive_fields.lookup import Lookup
from lime_jax.core.receptive_fields.windows import Windowed, table_of

# Beyond this many components in one column, tables of all their combinations grow too large.
_MOST_PER_COLUMN = 14
_MOST_BYTES = 3 << 30
# Columns computed by one call, and at a time: convolutions of few are fastest in a CPU's caches.
_BLOCK, _CPU_CHUNK = 1024, 32


@pytree
class Layer:
    """A layer that makes one column from a few columns of the layer below; see `layer`."""

    apply: Predictor
    window: int = static()
    stride: int = static()
    pad: int = static()

    def num_columns(self, size: int) -> int:
        """Returns how many columns it makes of so many."""
        return (size + 2 * self.pad - self.window) // self.stride + 1


def layer(apply: Any, *, window: int, stride: int = 1, pad: int = 0) -> Layer:
    """Declares a layer of a `layerwise` model.

    Args:
      apply: `(batch, window, *features)` to `(batch, *features)`, any callable pytree: the columns
        that one column is made of, to that column.
      window: columns that it sees.
      stride: columns between the starts of its windows.
      pad: columns of zeros at both ends; of the first layer, elements of the input by reflection.

    Raises:
      ValueError: if a size is impossible.
    """
    for name, value, least in (("window", window, 1), ("stride", stride, 1), ("pad", pad, 0)):
        if value < least:
            raise ValueError(f"`{name}` must be at least {least}, got {value}.")
    return Layer(as_predictor(apply), window, stride, pad)


@pytree
class Layerwise:
    """A model together with its layers. Make one with `layerwise`.

    Attributes:
      whole: the model, `(batch, *input)` to `(batch, num_outputs)`.
      layers: from the input on, along the first axis of the input.
      head: what is made of all columns, `(batch, num_columns, *features)` to
        `(batch, num_outputs)`.
    """

    whole: Predictor
    layers: tuple[Layer, ...]
    head: Predictor

    def __call__(self, inputs: Inexact[Array, "batch *input"]) -> Float[Array, "batch outputs"]:
        return self.whole(inputs)

    @property
    def parameters(self) -> str:
        """What to look at where the declaration turns out to be wrong."""
        return "`window`, `stride` and `pad` of every layer"

    @property
    def window(self) -> int:
        """Elements of the input that one column of the last layer sees."""
        return functools.reduce(lambda seen, one: _seen(one, seen), reversed(self.layers), 1)

    @property
    def example_size(self) -> int:
        """Elements of an input for three columns, at least."""
        return functools.reduce(lambda seen, one: _seen(one, seen), reversed(self.layers), 3)

    def predict_by_parts(
        self, inputs: Inexact[Array, "batch *input"]
    ) -> Float[Array, "batch outputs"]:
        """Returns the outputs by way of the layers."""
        columns = inputs
        for number, one in enumerate(self.layers):
            widths = [(0, 0), (one.pad, one.pad), *[(0, 0)] * (columns.ndim - 2)]
            columns = jnp.pad(columns, widths, mode="constant" if number else "reflect")
            starts = np.arange((columns.shape[1] - one.window) // one.stride + 1) * one.stride
            windows = columns[:, starts[:, None] + np.arange(one.window)]
            made = one.apply(windows.reshape(-1, *windows.shape[2:]))
            columns = made.reshape(len(inputs), len(starts), *made.shape[1:])
        return self.head(columns)


def _seen(one: Layer, columns: int) -> int:
    return (columns - 1) * one.stride + one.window


def layerwise(whole: Any, *, layers: Any, head: Any) -> Layerwise:
    """Declares the layers of a deep network; `explain` makes use of them where it pays.

    As `windowed`, for networks whose last layer sees much: a table of all that it may see would
    be large, but few of the layers below see as much. Explanations stay those of `whole`; the first
    one of a model and shape checks that, and so does `check_receptive_field`.

    Args:
      whole: the model, `(batch, *input)` to `(batch, num_outputs)`, any callable pytree.
      layers: see `layer`; the first one sees elements along the first axis of the input.
      head: `(batch, num_columns, *features)` to `(batch, num_outputs)`: global pooling and what
        follows.

    Raises:
      ValueError: without layers, or with anything else.

    Example:
      >>> import jax, jax.numpy as jnp, lime_jax as lj
      >>> halved = lambda x: jnp.tanh(x).sum(axis=1)
      >>> whole = lambda x: halved(halved(x.reshape(-1, 2)).reshape(-1, 2)).reshape(len(x), -1)
      >>> loudest = lambda columns: columns.max(axis=1, keepdims=True)
      >>> halving = lj.receptive_fields.layer(halved, window=2, stride=2)
      >>> model = lj.receptive_fields.layerwise(
      ...     lambda x: loudest(whole(x)),
      ...     layers=[halving, halving],
      ...     head=loudest,
      ... )
      >>> components = lj.from_labels(jnp.arange(48.0), lj.equal_segments(48, 12), 12)
      >>> explanation = lj.explain(model, components, lj.lime(5000), key=jax.random.key(0))
      >>> float(explanation.fidelity[0]) > 0
      True
    """
    if isinstance(layers, Layer) or not all(isinstance(one, Layer) for one in layers):
        raise ValueError("`layers` must be a list of what `layer` returns.")
    if not layers:
        raise ValueError("`layers` is empty. Pass at least one, from `layer`.")
    return Layerwise(as_predictor(whole), tuple(layers), as_predictor(head))


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a layer, once per combination of the components that each of them sees.

    Attributes:
      sees: whether a column sees a component, `(num_columns, num_components)`.
      first, steps: see `lime_jax.core.receptive_fields.lookup.Lookup`.
      column_of: of every entry, `(num_entries,)`.
      masks: of every entry; what its column does not see is off.
    """

    sees: np.ndarray
    first: np.ndarray
    steps: np.ndarray
    column_of: np.ndarray
    masks: np.ndarray

    @property
    def num_entries(self) -> int:
        """How many columns are computed."""
        return len(self.masks)

    @property
    def num_evaluations(self) -> float:
        """How often the whole layer could have been computed instead."""
        return self.num_entries / len(self.sees)


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
    numbers = [int((1 << columns.sum(axis=1)).sum()) for columns in sees]
    passes = [number / len(columns) for number, columns in zip(numbers, sees, strict=True)]
    if max(passes) >= num_masks or _num_bytes(model, components, numbers) > _most_bytes():
        return None
    return [_columns(columns) for columns in sees]


def _num_bytes(model: Layerwise, components: Components, numbers: list[int]) -> int:
    """The most that is in memory at a time: two layers, and the plan of all."""
    # Masks, steps and what they are made of.
    plans = sum(numbers) * components.num_components * 8
    sizes = [
        _round_up(-(-number // _BLOCK)) * _BLOCK * size
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


def _columns(sees: np.ndarray) -> Columns:
    steps = np.where(sees, 1 << np.maximum(np.cumsum(sees, axis=1) - 1, 0), 0).astype(np.int32)
    number = 2 ** sees.sum(axis=1)
    first = (np.cumsum(number) - number).astype(np.int32)
    column_of = np.repeat(np.arange(len(sees), dtype=np.int32), number)
    combination = np.arange(number.sum()) - first[column_of]
    masks = (combination[:, None] & steps[column_of]) > 0
    return Columns(sees, first, steps, column_of, masks)


def _sizes(model: Layerwise, components: Components) -> list[int]:
    """Bytes of a column of every layer."""
    shape = components.sources.shape[2:]
    dtype, sizes = components.sources.dtype, []
    for one in model.layers:
        window = jax.ShapeDtypeStruct((1, one.window, *shape), dtype)
        made = _shape_of_made(one, window)
        shape, dtype = made.shape[1:], made.dtype
        sizes.append(int(np.prod(shape)) * dtype.itemsize)
    return sizes


def _shape_of_made(one: Layer, window: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    try:
        made = jax.eval_shape(lambda layer, window: layer.apply(window), one, window)
    except Exception as error:
        # Whatever the model raises, its author declared the window that it was given.
        error.add_note(
            f"This was a layer with `window={one.window}`, applied to columns of shape "
            f"{window.shape}. Does it take so many? Look at its `window` in `layer`."
        )
        raise
    if made.ndim < 1 or made.shape[0] != 1:
        raise ValueError(
            f"`apply` of a layer with `window={one.window}` must make one column of a window of "
            f"shape {window.shape}, got {made.shape}. Keep the axis of the batch, drop the next."
        )
    return made


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
    for one, below, here in zip(model.layers[1:], columns, columns[1:], strict=False):
        blocks = _blocks(_entries_below(one, below, here))
        made = _empty(one, table, _round_up(len(blocks)))
        for number, index in enumerate(blocks):
            made = _fill(made, one, table, index, np.int32(number * _BLOCK), _chunk())
            done += min(_BLOCK, here.num_entries - number * _BLOCK)
            if progress is not None:
                jax.block_until_ready(made)
                progress(done, total)
        table = made
    if progress is not None:
        progress(total, total)
    last = columns[-1]
    return Lookup(table, jnp.asarray(last.first), jnp.asarray(last.steps), len(last.steps[0]))


def _first_table(model: Layerwise, components: Components, columns: Columns) -> Array:
    first = model.layers[0]
    as_windows = Windowed(
        model.whole, first.apply, model.head, first.window, first.stride, 0, first.pad
    )
    missing = _round_up(-(-columns.num_entries // _BLOCK)) * _BLOCK - columns.num_entries
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
    return table_of(model, components, *arrays, batch_size=_BLOCK)


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
    padded = np.pad(entries, ((0, -len(entries) % _BLOCK), (0, 0)), constant_values=-1)
    return list(padded.reshape(-1, _BLOCK, entries.shape[1]))


def _empty(one: Layer, table: Array, num_blocks: int) -> Array:
    """Room for the columns of a layer, in one of a few sizes: others use the same programs."""
    window = jax.ShapeDtypeStruct((1, one.window, *table.shape[1:]), table.dtype)
    made = _shape_of_made(one, window)
    return jnp.zeros((num_blocks * _BLOCK, *made.shape[1:]), made.dtype)


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
    return _CPU_CHUNK if jax.devices()[0].platform == "cpu" else _BLOCK
