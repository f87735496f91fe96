"""Deep convolutional networks, layer by layer: what many masks share is computed once.

A column of the first layer sees few components, one of the last layer many. So every layer is
computed once per combination of what *its* columns see, from the columns of the layer below, and
a mask only looks the last ones up. What is silent is seen by no column. Explanations are those
of the whole model; where neighbouring segments meet, only what sees both is computed for all pairs.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from lime_jax.core.arguments import listed, whole_number
from lime_jax.core.lifting import lift
from lime_jax.core.predictor import Predictor, as_predictor
from lime_jax.core.pytree import pytree, static


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
    window, stride = whole_number("window", window), whole_number("stride", stride)
    return Layer(as_predictor(apply), window, stride, whole_number("pad", pad, 0))


@pytree
class Layerwise:
    """A model together with its layers. Make one with `layerwise`.

    Attributes:
      whole: the model, `(batch, *input)` to `(batch, num_outputs)`.
      layers: from the input on, along the first axis of the input.
      head: what is made of all columns, `(batch, num_columns, *features)` to
        `(batch, num_outputs)`.
      is_tested: whether tests of the model prove it, so that few inputs are checked.
    """

    whole: Predictor
    layers: tuple[Layer, ...]
    head: Predictor
    is_tested: bool = static(default=False)

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

    def lift_arrays(self, example: jax.ShapeDtypeStruct) -> "Layerwise":
        """Returns the same with the arrays that its parts close over as leaves."""
        whole, layers, below = lift(self.whole, lambda: example), [], example
        for one in self.layers:
            if (number := one.num_columns(below.shape[1])) < 1:
                return self
            shape = (below.shape[0], one.window, *below.shape[2:])
            window = jax.ShapeDtypeStruct(shape, below.dtype)
            with _naming(one, window):
                apply = lift(one.apply, lambda window=window: window)
            layers.append(dataclasses.replace(one, apply=apply))
            column = shape_of_column(layers[-1], window)
            shape = (below.shape[0], number, *column.shape[1:])
            below = jax.ShapeDtypeStruct(shape, column.dtype)
        head = lift(self.head, lambda: below)
        return dataclasses.replace(self, whole=whole, layers=tuple(layers), head=head)

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


def shape_of_column(one: Layer, window: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """Returns the shape of the column that a layer makes of a window, in a batch.

    Raises:
      ValueError: if it makes something else. What the layer raises names its window.
    """
    with _naming(one, window):
        made = jax.eval_shape(lambda layer, window: layer.apply(window), one, window)
    if made.ndim < 1 or made.shape[0] != window.shape[0]:
        raise ValueError(
            f"`apply` of a layer with `window={one.window}` must make one column of a window of "
            f"shape {window.shape}, got {made.shape}. Keep the axis of the batch, drop the next."
        )
    return made


@contextlib.contextmanager
def _naming(one: Layer, window: jax.ShapeDtypeStruct) -> Iterator[None]:
    """Whatever a layer raises, its author declared the window that it was given."""
    try:
        yield
    except Exception as error:
        error.add_note(
            f"This was a layer with `window={one.window}`, applied to columns of shape "
            f"{window.shape}. Does it take so many? Look at its `window` in `layer`."
        )
        raise


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
    if isinstance(layers, Layer):
        raise ValueError("`layers` must be a list of what `layer` returns.")
    layers = listed("layers", layers, "what `layer` returns")
    if not all(isinstance(one, Layer) for one in layers):
        raise ValueError("`layers` must be a list of what `layer` returns.")
    if not layers:
        raise ValueError("`layers` is empty. Pass at least one, from `layer`.")
    return Layerwise(as_predictor(whole), tuple(layers), as_predictor(head))
