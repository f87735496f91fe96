"""The interpretable components of an input, and the input recomposed from a subset of them."""

import functools
from typing import Any, Protocol, runtime_checkable

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Inexact, Int

from lime_jax.core import arguments
from lime_jax.core.arguments import MOST
from lime_jax.core.item_axis import as_one_item
from lime_jax.core.modes import in_usual_modes
from lime_jax.core.pytree import pytree, static

Input = Inexact[Array, "*input"]


@runtime_checkable
class Recomposable(Protocol):
    """What masks switch on and off: `Components`, or a table of what a model made of them."""

    @property
    def num_components(self) -> int:
        """How many components can be switched on and off."""
        ...

    @property
    def num_items(self) -> int:
        """How many items there are along the leading axis."""
        ...

    def recomposed(self, mask: Bool[Array, " num_components"]) -> Inexact[Array, "*input"]:
        """Returns what is evaluated with only the components in `mask` on."""
        ...


@pytree
class Components:
    """An input taken apart: `num_sources` signals, each cut into the same `num_segments` segments.

    Component `segment * num_sources + source` is one source inside one segment. Stems have one
    segment, segmentations one source, stems × time many of both. Build it with `from_stems`,
    `from_labels` and `cross`.

    Attributes:
      sources: `(num_sources, *input)`, float32 or complex64; their sum is the input.
      labels: int32, the segment of every element; one axis per axis of the input, size 1 where
        the segments do not cut it.
      fill: what stands where a component is off, broadcastable to `sources`.
      num_sources: how many signals there are.
      num_segments: how many segments `labels` names.
      input_ndim: axes of the input; with one more there is a leading axis over items.
    """

    sources: Inexact[Array, "..."]
    labels: Int[Array, "..."]
    fill: Inexact[Array, "..."]
    num_sources: int = static()
    num_segments: int = static()
    input_ndim: int = static()

    @property
    def is_batched(self) -> bool:
        """Whether the arrays have a leading axis over items."""
        return self.sources.ndim == self.input_ndim + 2

    @property
    def num_items(self) -> int:
        """How many items there are along the leading axis, where there is one."""
        return self.sources.shape[0]

    def recomposed(self, mask: Bool[Array, " num_components"]) -> Input:
        """Returns the input with only the components in `mask` on; see `recompose`."""
        gates = mask.reshape(self.num_segments, self.num_sources)
        # One source at a time: XLA fuses these into a single pass that writes nothing in between.
        fill = jnp.broadcast_to(self.fill, self.sources.shape)
        pieces = [
            jnp.where(gates[:, source][self.labels], self.sources[source], fill[source])
            for source in range(self.num_sources)
        ]
        return sum(pieces[1:], start=pieces[0])

    @property
    def num_components(self) -> int:
        """How many pieces can be switched on and off."""
        return self.num_segments * self.num_sources


@in_usual_modes
def from_stems(stems: Any, fill: Any = 0.0) -> Components:
    """Makes every stem a component; a removed stem is replaced by `fill`.

    Args:
      stems: `(num_sources, *input)`, for example waveforms `(num_sources, num_samples)`.
      fill: broadcastable to `stems`. The default is silence.

    Raises:
      ValueError: if `stems` has no axis beside the stems, or `fill` does not fit.

    References:
      Haunschmid et al., audioLIME: Listenable Explanations Using Source Separation, 2020.

    Example:
      >>> import jax.numpy as jnp, lime_jax as lj
      >>> components = lj.from_stems(jnp.array([[1.0, 2.0], [10.0, 20.0]]))
      >>> lj.recompose(components, jnp.array([True, False])).tolist()
      [1.0, 2.0]
    """
    sources = _as_signal("stems", stems)
    if sources.ndim < 2:
        raise ValueError(
            f"`stems` must have shape (num_sources, *input), got {sources.shape}. Stack the stems "
            "along a new first axis."
        )
    if sources.shape[0] < 1:
        raise ValueError("`stems` holds no stem. Pass at least one.")
    labels = jnp.asarray(np.zeros((1,) * (sources.ndim - 1), np.int32))
    return Components(
        sources, labels, fill_for(fill, sources), sources.shape[0], 1, sources.ndim - 1
    )


@in_usual_modes
def from_labels(signal: Any, labels: Any, num_components: int, fill: Any = 0.0) -> Components:
    """Makes every label a component of `signal`; removed elements are replaced by `fill`.

    Args:
      signal: `(*input)`, a waveform, spectrogram or anything else of numbers.
      labels: int32 in `[0, num_components)`, one axis per axis of `signal`; size-1 axes are
        not cut. See `equal_segments` and `grid`.
      num_components: how many labels there are.
      fill: broadcastable to `signal`; see `lime_jax.core.fills`.

    Raises:
      ValueError: if `labels` does not fit `signal` or lies outside `[0, num_components)`.

    Example:
      >>> import jax.numpy as jnp, lime_jax as lj
      >>> components = lj.from_labels(jnp.arange(1.0, 7.0), lj.equal_segments(6, 3), 3)
      >>> lj.recompose(components, jnp.array([True, False, True])).tolist()
      [1.0, 2.0, 0.0, 0.0, 5.0, 6.0]
    """
    signal = _as_signal("signal", signal)
    num_components = _whole("num_components", num_components)
    labels = _as_labels(labels, signal.shape, num_components)
    source, source_fill = as_one_item((signal, fill_for(fill, signal)))
    return Components(source, labels, source_fill, 1, num_components, signal.ndim)


@in_usual_modes
def cross(components: Components, labels: Any, num_segments: int) -> Components:
    """Cuts every component along further segments, for example stems × time.

    Component `j` inside segment `s` gets the id `s * components.num_components + j`.

    Args:
      components: what is cut further.
      labels: int32 in `[0, num_segments)`, one axis per axis of the input, size 1 where uncut.
      num_segments: how many segments `labels` names.

    Example:
      >>> import jax.numpy as jnp, lime_jax as lj
      >>> stems = lj.from_stems(jnp.ones((5, 8)))
      >>> lj.cross(stems, lj.equal_segments(8, 4), 4).num_components
      20
    """
    check_one_item(components)
    num_segments = _whole("num_segments", num_segments, MOST // components.num_components)
    labels = _as_labels(labels, components.sources.shape[1:], num_segments)
    return Components(
        components.sources,
        _cross_labels(labels, components.labels, components.num_segments),
        components.fill,
        components.num_sources,
        num_segments * components.num_segments,
        components.input_ndim,
    )


@in_usual_modes
def equal_segments(size: int, num_segments: int, *, used: Any = None) -> Int[Array, " size"]:
    """Returns labels of `num_segments` equal runs along an axis; the last run takes the remainder.

    Args:
      size: of the axis.
      num_segments: how many runs.
      used: how many elements at the beginning are cut; what was added behind them belongs to the
        last run. An integer, possibly traced; None means all.

    References:
      The rule of the SLIME code: `size // num_segments` elements each.

    Example:
      >>> import lime_jax as lj
      >>> lj.equal_segments(7, 3).tolist()
      [0, 0, 1, 1, 2, 2, 2]
      >>> lj.equal_segments(7, 3, used=3).tolist()
      [0, 1, 2, 2, 2, 2, 2]
    """
    size, num_segments = _checked_segments(size, num_segments)
    if not isinstance(used, jax.Array):
        used = size if used is None else _whole("used", used, size, least=0)
        return jnp.asarray(_equal_segments(size, num_segments, used))
    if used.ndim or not jnp.issubdtype(used.dtype, jnp.integer):
        raise ValueError(f"`used` must be a whole number, got {used.dtype} {used.shape}.")
    length = jnp.maximum(used // num_segments, 1)
    return jnp.minimum(jnp.arange(size) // length, num_segments - 1)


@in_usual_modes
def grid(num_segments: tuple[int, int], shape: tuple[int, int]) -> Int[Array, "time frequency"]:
    """Labels of a time × frequency grid; the label is `time_segment * num_frequency + band`.

    Args:
      num_segments: `(num_time, num_frequency)`.
      shape: `(T, F)` of the spectrogram.

    Example:
      >>> import lime_jax as lj
      >>> lj.grid((2, 2), (2, 4)).tolist()
      [[0, 0, 1, 1], [2, 2, 3, 3]]
    """
    numbers, sizes = _pair("num_segments", num_segments), _pair("shape", shape)
    checked = [_checked_segments(*axis) for axis in zip(sizes, numbers, strict=True)]
    time, frequency = (_equal_segments(size, number, size) for size, number in checked)
    return jnp.asarray(time[:, None] * checked[1][1] + frequency[None, :])


@in_usual_modes
def recompose(components: Components, mask: Bool[Array, " num_components"]) -> Input:
    """Returns the input with only the components in `mask` switched on.

    Elements are chosen, not blended: what is on is bit for bit the original, so all on is exactly
    the sum of the sources. Use `jax.vmap` for many masks.

    Args:
      components: the input taken apart.
      mask: bool `(num_components,)`.

    Returns:
      `(*input)`.
    """
    check_one_item(components)
    num_components = components.num_components
    mask = arguments.array("mask", mask)
    if mask.dtype != bool:
        raise ValueError(
            f"`mask` must hold True and False, got {mask.dtype}. `mask_of` makes one of indices."
        )
    if mask.shape != (num_components,):
        raise ValueError(
            f"`mask` must have shape ({num_components},), one entry per component, got "
            f"{mask.shape}. Map over further axes with `jax.vmap`."
        )
    return _recompose(components, mask)


@jax.jit
def _recompose(components: Components, mask: Bool[Array, " num_components"]) -> Input:
    return components.recomposed(mask)


def check_one_item(components: Components) -> None:
    """Refuses components of many items where those of one are wanted.

    Raises:
      ValueError: if they are none, or have a leading axis over items.
    """
    check_components(components)
    if components.is_batched:
        raise ValueError(
            "`components` have a leading axis over items. Use `explain_batch`, or map over them "
            "with `jax.vmap`."
        )


def check_components(components: Any) -> None:
    """Refuses what is no `Components`.

    Raises:
      ValueError: if it is anything else.
    """
    hint = "Make them with `from_stems` or `from_labels`."
    arguments.instance("components", components, Components, hint)


def fill_for(fill: Any, signal: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """Returns the fill in the type of `signal`, with one axis per axis of it.

    Raises:
      ValueError: if it cannot be broadcast to `signal`.
    """
    # What is no array yet is made one on the host, where no program is compiled for it.
    array = _as_fill(fill, signal.dtype).astype(signal.dtype)
    try:
        fits = np.broadcast_shapes(array.shape, signal.shape) == signal.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"`fill` must be broadcastable to the signal, got shapes {array.shape} and "
            f"{signal.shape}. Pass a number or one value per element, band or frame."
        )
    return jnp.asarray(array.reshape((1,) * (signal.ndim - array.ndim) + array.shape))


def _as_fill(fill: Any, dtype: Any) -> Any:
    try:
        array = fill if isinstance(fill, jax.Array) else np.asarray(fill)
    except ValueError as error:
        raise ValueError(f"`fill` must be an array of numbers, got {fill!r:.60}.") from error
    if not jnp.issubdtype(array.dtype, jnp.number):
        raise ValueError(f"`fill` must be a number or an array of numbers, got {fill!r:.60}.")
    if jnp.iscomplexobj(array) and not jnp.issubdtype(dtype, jnp.complexfloating):
        raise ValueError(
            "`fill` must be real for a real signal, got complex numbers. Pass their magnitudes."
        )
    return array


def _whole(name: str, value: Any, most: int = MOST, *, least: int = 1) -> int:
    return arguments.whole_number(name, value, least, most=most)


def _pair(name: str, value: Any) -> list[Any]:
    numbers = arguments.listed(name, value, "two numbers")
    if len(numbers) != 2 or isinstance(value, (set, frozenset)):
        raise ValueError(f"`{name}` must be two numbers, of time and frequency, got {value!r:.60}.")
    return numbers


def _checked_segments(size: Any, num_segments: Any) -> tuple[int, int]:
    size = _whole("size", size, least=0)
    num_segments = arguments.whole_number("num_segments", num_segments, -MOST)
    if not 1 <= num_segments <= size:
        raise ValueError(
            f"`num_segments` must lie between 1 and `size` = {size}, got {num_segments}. "
            "Use fewer segments or a longer input."
        )
    return size, num_segments


def _equal_segments(size: int, num_segments: int, used: int) -> Int[np.ndarray, " size"]:
    length = max(used // num_segments, 1)
    return np.minimum(np.arange(size, dtype=np.int32) // length, num_segments - 1)


@functools.partial(jax.jit, static_argnums=2)
def _cross_labels(labels: Array, others: Array, num_others: int) -> Array:
    return labels * num_others + others


def _as_signal(name: str, values: Any) -> Inexact[Array, "..."]:
    array = arguments.array(name, values)
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        raise ValueError(
            f"`{name}` must be floating point (or complex), got {array.dtype}. Integer audio "
            "must be scaled to [-1, 1] first."
        )
    is_complex = jnp.issubdtype(array.dtype, jnp.complexfloating)
    return array.astype(jnp.complex64 if is_complex else jnp.float32)


def _as_labels(labels: Any, shape: tuple[int, ...], num: int) -> Int[Array, "..."]:
    given = labels
    labels = arguments.array("labels", labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"`labels` must be integers, got {labels.dtype}. Number the segments.")
    if labels.ndim != len(shape):
        raise ValueError(
            f"`labels` must have one axis per axis of `signal`, got shapes {labels.shape} and "
            f"{shape}. Use size-1 axes for axes the components do not cut."
        )
    if 0 in labels.shape:
        raise ValueError(f"`labels` of shape {labels.shape} hold none. Pass one per element.")
    if any(cut not in (1, size) for cut, size in zip(labels.shape, shape, strict=True)):
        raise ValueError(
            f"`labels` of shape {labels.shape} do not fit a signal of shape {shape}. Every axis "
            "must match or have size 1."
        )
    if not isinstance(given, jax.core.Tracer) and labels.size:
        # With NumPy, because inside jit even arithmetic on known labels is traced.
        known = np.asarray(given)
        low, high = int(known.min()), int(known.max())
        if low < 0 or high >= num:
            raise ValueError(
                f"`labels` must lie in [0, {num}), got values from {low} to {high}. Renumber "
                "them, or pass the right number of components."
            )
    return labels.astype(jnp.int32)
