"""Models that see little of their input at a time, explained without evaluating them on all of it.

What a backbone of convolutions makes of one window depends only on the few components that overlap
the window. So every window is evaluated once per combination of *its* components, and a mask only
looks its windows up and costs a head, not a network. Explanations are those of the whole model.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact, Int

from lime_jax.core.arguments import whole_number
from lime_jax.core.components import Components, recompose
from lime_jax.core.lifting import lift
from lime_jax.core.predictor import Predictor, as_predictor
from lime_jax.core.pytree import pytree, static
from lime_jax.core.receptive_fields.lookup import Lookup
from lime_jax.errors import unknown_name

# Beyond this many components in one window, tables of all their combinations grow too large.
_MOST_PER_WINDOW = 14


@pytree
class Windowed:
    """A model with its receptive field: `whole(x)` is `head` of `backbone` of all its windows.

    Window `i` holds the elements from `i * stride` to `i * stride + window` along one axis of the
    input, after `pad` elements were added to both ends by reflection. Make one with `windowed`.

    Attributes:
      whole: the model, `(batch, *input)` to `(batch, num_outputs)`.
      backbone: what is made of a window, `(batch, *window)` to `(batch, *features)`.
      head: what is made of all windows, `(batch, num_windows, *features)` to
        `(batch, num_outputs)`.
      window, stride, pad: in elements along `axis`.
      axis: of the input, without the batch.
      head_name: "mean" or "sum" where the head is just that, so that explanations can be exact.
      is_tested: whether tests of the model prove it, so that few inputs are checked.
    """

    whole: Predictor
    backbone: Predictor
    head: Predictor
    window: int = static()
    stride: int = static()
    axis: int = static()
    pad: int = static(default=0)
    head_name: str | None = static(default=None)
    is_tested: bool = static(default=False)

    @property
    def is_sum(self) -> bool:
        """Whether the outputs are a sum over windows."""
        return self.head_name is not None

    def __call__(self, inputs: Inexact[Array, "batch *input"]) -> Float[Array, "batch outputs"]:
        return self.whole(inputs)

    def num_windows(self, size: int) -> int:
        """Returns how many windows fit into `size` elements along the axis."""
        return (size + 2 * self.pad - self.window) // self.stride + 1

    @property
    def parameters(self) -> str:
        """What to look at where the declaration turns out to be wrong."""
        return (
            f"`window` = {self.window}, `stride` = {self.stride}, `axis` = {self.axis} "
            f"and `pad` = {self.pad}"
        )

    @property
    def example_size(self) -> int:
        """Elements of an input for three windows."""
        return self.window + 2 * self.stride - 2 * self.pad

    def lift_arrays(self, example: jax.ShapeDtypeStruct) -> "Windowed":
        """Returns the same with the arrays that its parts close over as leaves."""
        size = example.shape[1 + self.axis] if self.axis < len(example.shape) - 1 else 0
        if (number := self.num_windows(size)) < 1:
            return self
        shape = list(example.shape)
        shape[1 + self.axis] = self.window
        window = jax.ShapeDtypeStruct(shape, example.dtype)
        backbone = lift(self.backbone, lambda: window)

        def windows() -> jax.ShapeDtypeStruct:
            features = jax.eval_shape(backbone, window)
            return jax.ShapeDtypeStruct((shape[0], number, *features.shape[1:]), features.dtype)

        whole, head = lift(self.whole, lambda: example), lift(self.head, windows)
        return dataclasses.replace(self, whole=whole, backbone=backbone, head=head)

    def predict_by_parts(
        self, inputs: Inexact[Array, "batch *input"]
    ) -> Float[Array, "batch outputs"]:
        """Returns the outputs by way of the windows."""
        axis = self.axis + 1
        padded = _reflect(inputs, axis, self.pad) if self.pad else inputs
        starts = np.arange(self.num_windows(inputs.shape[axis])) * self.stride

        # Looked up at once: a slice for each would be a program as long as the input.
        places = starts[:, None] + np.arange(self.window)
        windows = jnp.moveaxis(jnp.take(padded, places, axis=axis), axis, 1)
        features = self.backbone(windows.reshape(-1, *windows.shape[2:]))
        return self.head(features.reshape(len(inputs), len(starts), *features.shape[1:]))


def windowed(
    whole: Any, *, backbone: Any, head: Any, window: int, stride: int, axis: int = 0, pad: int = 0
) -> Windowed:
    """Declares a receptive field; `explain` then evaluates windows wherever that is cheaper.

    Explanations stay those of `whole`; the first one of a model and shape checks that, and so does
    `check_receptive_field`. Where the head is "mean" or "sum", `exhaustive`, `shapley`,
    `banzhaf` and `lime("auto")` are exact for up to 500 components, from all combinations of those
    that overlap each window.

    Args:
      whole: the model, `(batch, *input)` to `(batch, num_outputs)`, any callable pytree.
      backbone: `(batch, *window)` to `(batch, *features)`: a patch of a tagger, the convolutions of
        a network.
      head: `(batch, num_windows, *features)` to `(batch, num_outputs)`: the last layers; or
        "mean" or "sum" of what the backbone says of each window, such as a tagger of its patches.
      window: elements that one window covers along `axis`: the receptive field.
      stride: elements between the starts of windows.
      axis: of the input, without the batch.
      pad: elements that the model adds to both ends by reflection before it cuts windows.

    Raises:
      ValueError: if a size is impossible.

    Example:
      >>> import jax, jax.numpy as jnp, lime_jax as lj
      >>> loudest = lambda x: jnp.square(x).reshape(len(x), -1, 4).sum(axis=2).max(axis=1)[:, None]
      >>> patches = lj.receptive_fields.windowed(
      ...     loudest,
      ...     backbone=lambda x: jnp.square(x).sum(axis=1),
      ...     head=lambda x: x.max(axis=1)[:, None],
      ...     window=4,
      ...     stride=4,
      ... )
      >>> components = lj.from_labels(jnp.arange(48.0), lj.equal_segments(48, 12), 12)
      >>> int(lj.explain(patches, components, lj.shapley()).num_evaluations)  # instead of 4096
      24
    """
    window, stride = whole_number("window", window), whole_number("stride", stride)
    pad = whole_number("pad", pad, 0)
    axis = whole_number("axis", axis, 0, "Axes count from the first one behind the batch.")
    head_name, function = None, head
    if isinstance(head, str):
        if head not in _HEADS:
            raise ValueError(unknown_name("`head`", head, _HEADS))
        head_name, function = head, _HEADS[head]
    parts = as_predictor(whole), as_predictor(backbone), as_predictor(function)
    return Windowed(*parts, window, stride, axis, pad, head_name)


_HEADS = {"mean": lambda x: x.mean(axis=1), "sum": lambda x: x.sum(axis=1)}


@dataclasses.dataclass(frozen=True)
class Layout:
    """Which windows are evaluated with which components on.

    Attributes:
      window_of: of every entry, `(num_entries,)`.
      masks: of every entry; what no window overlaps is off, `(num_entries, num_components)`.
      first, steps: see `Lookup`.
      sets: the components that overlap each window.
    """

    window_of: np.ndarray
    masks: np.ndarray
    first: np.ndarray
    steps: np.ndarray
    sets: list[np.ndarray]

    @property
    def num_entries(self) -> int:
        """How many windows are evaluated."""
        return len(self.masks)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What `look_up` takes."""
        return self.window_of, self.masks, self.first, self.steps


def layout_of(model: Windowed, components: Components, num_masks: int) -> Layout | None:
    """Returns the entries of a lookup, or None where whole inputs are cheaper.

    Args:
      model: with its declaration.
      components: of one item, outside jit.
      num_masks: evaluations of the whole model that a lookup would replace.
    """
    shape = components.sources.shape[1:]
    if model.axis >= len(shape) or (size := shape[model.axis]) + 2 * model.pad < model.window:
        return None
    labels = np.asarray(components.labels)
    along = np.moveaxis(labels, model.axis, 0).reshape(labels.shape[model.axis], -1)
    along = np.broadcast_to(along, (size, along.shape[1]))
    along = np.pad(along, ((model.pad, model.pad), (0, 0)), mode="reflect")
    sets = []
    for window in range(model.num_windows(size)):
        start = window * model.stride
        segments = np.unique(along[start : start + model.window])
        sources = np.arange(components.num_sources)
        sets.append((segments[:, None] * components.num_sources + sources[None]).ravel())
    if max(map(len, sets)) > _MOST_PER_WINDOW:
        return None
    num_entries = sum(2 ** len(overlapping) for overlapping in sets)
    if 2 * num_entries * model.window > num_masks * size:
        return None
    return _layout(sets, components.num_components)


def _layout(sets: list[np.ndarray], num_components: int) -> Layout:
    window_of, masks, first = [], [], []
    steps = np.zeros((len(sets), num_components), np.int32)
    for window, overlapping in enumerate(sets):
        first.append(sum(map(len, masks)))
        bits = np.arange(len(overlapping))
        combinations = np.arange(2 ** len(overlapping))
        on = np.zeros((len(combinations), num_components), bool)
        on[:, overlapping] = combinations[:, None] >> bits[None] & 1
        masks.append(on)
        window_of.append(np.full(len(combinations), window, np.int32))
        steps[window, overlapping] = 2**bits
    return Layout(
        np.concatenate(window_of), np.concatenate(masks), np.array(first, np.int32), steps, sets
    )


def look_up(
    model: Windowed,
    components: Components,
    window_of: Int[Array, " entries"],
    masks: Bool[Array, "entries num_components"],
    first: Int[Array, " windows"],
    steps: Int[Array, "windows num_components"],
    batch_size: int,
) -> Lookup:
    """Evaluates the backbone on every entry of a layout, at most `batch_size` windows at a time."""
    table = table_of(model, components, window_of, masks, batch_size)
    return Lookup(table, first, steps, components.num_components)


def table_of(
    model: Windowed,
    components: Components,
    window_of: Int[Array, " entries"],
    masks: Bool[Array, "entries num_components"],
    batch_size: int,
) -> Float[Array, "entries ..."]:
    """Returns what the backbone makes of windows with some components on."""
    padded = _pad(components, model.axis, model.pad)
    num_entries = len(masks)
    batch_size = min(batch_size, num_entries)
    missing = -num_entries % batch_size
    index = jnp.minimum(jnp.arange(num_entries + missing), num_entries - 1)
    window_of, masks = window_of[index], masks[index]

    def recompose_window(window: Int[Array, ""], mask: Bool[Array, " num_components"]) -> Array:
        return recompose(_cut(padded, model, window), mask)

    def features_of(chunk: tuple[Array, Array]) -> Array:
        return model.backbone(jax.vmap(recompose_window)(*chunk))

    chunks = (window_of.reshape(-1, batch_size), masks.reshape(-1, batch_size, masks.shape[1]))
    features = jax.lax.map(features_of, chunks)
    return features.reshape(-1, *features.shape[2:])[:num_entries]


def _pad(components: Components, axis: int, pad: int) -> Components:
    return _along(components, axis, lambda x, axis: _reflect(x, axis, pad)) if pad else components


def _reflect(x: Array, axis: int, pad: int) -> Array:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (pad, pad)
    return jnp.pad(x, widths, mode="reflect")


def _cut(components: Components, model: Windowed, window: Int[Array, ""]) -> Components:
    def cut(x: Array, axis: int) -> Array:
        return jax.lax.dynamic_slice_in_dim(x, window * model.stride, model.window, axis)

    return _along(components, model.axis, cut)


def _along(components: Components, axis: int, change: Callable[[Array, int], Array]) -> Components:
    """Changes sources, labels and fill along an axis of the input, where they have it."""

    def maybe(x: Array, axis: int) -> Array:
        return x if x.shape[axis] == 1 else change(x, axis)

    return Components(
        change(components.sources, axis + 1),
        maybe(components.labels, axis),
        maybe(components.fill, axis + 1),
        components.num_sources,
        components.num_segments,
        components.input_ndim,
    )
