"""Whether a model's output for one input depends on the others of its batch.

A network in training mode does: batch normalisation takes means over the batch, dropout draws
other numbers in every row. Its explanation would depend on the batch size, and be called exact.
The program of the model tells: the axis of the batch is followed through it without running
anything. Where it is lost, whoever can has to try (`lime_jax.core.asked_again`).
"""

import enum
import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.extend import core

from lime_jax.core.execution.memory import inner_jaxprs
from lime_jax.core.execution.signature_cache import SignatureCache, signature
from lime_jax.core.predictor import Predictor


class Batch(enum.Enum):
    """What a program does with the inputs of a batch."""

    APART = "each output depends on one input"
    MIXED = "some depend on several"
    UNKNOWN = "the axis of the batch was lost"


# A size that no other axis is likely to have.
_BATCH = 61
_LOST = -1
_OVER_AXES = {
    "reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or",
    "argmax", "argmin", "cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "sort",
}  # fmt: skip
_DROPPING = {
    "reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or",
    "argmax", "argmin",
}  # fmt: skip
_CALLS = ("jit", "pjit", "custom_jvp_call", "custom_vjp_call", "remat2", "checkpoint")
_DRAWING = {"random_bits", "rng_bit_generator", "rng_uniform"}

# Of the batch, in several arrays; None where it is not, `_LOST` where nobody knows.
Axes = Sequence[int | None]

_known: SignatureCache[Batch] = SignatureCache()


class _MixedError(Exception):
    """Something reduces over the batch, or draws along it."""


def look_at_batch(predictor: Predictor, example: jax.ShapeDtypeStruct, shapes: Any = None) -> Batch:
    """Returns what the program of a model does with the inputs of a batch.

    Args:
      predictor: the model.
      example: shape and dtype of a batch of inputs.
      shapes: the signature of the model and its inputs, where it is known already.
    """
    shapes = signature(predictor, example) if shapes is None else shapes
    return _known.get_or_make(shapes, lambda: _look(predictor, example))


def _look(predictor: Predictor, example: jax.ShapeDtypeStruct) -> Batch:
    inputs = jax.ShapeDtypeStruct((_BATCH, *example.shape[1:]), example.dtype)
    leaves, structure = jax.tree.flatten(predictor)
    try:
        jaxpr = jax.make_jaxpr(
            lambda leaves, x: jax.tree.unflatten(structure, leaves).rebuild()(x)
        )(leaves, inputs).jaxpr
    except Exception:
        return Batch.UNKNOWN  # it takes no batch of this size
    try:
        axes = _follow(jaxpr, [None] * len(leaves) + [0])
    except _MixedError:
        return Batch.MIXED
    return Batch.APART if all(axis in (0, None) for axis in axes) else Batch.UNKNOWN


def _follow(jaxpr: core.Jaxpr, axes: Axes) -> list[int | None]:
    """Returns the axes of the batch of what a program returns."""
    known: dict[Any, int | None] = dict(zip(jaxpr.invars, axes, strict=True))
    # What is as long as the batch may tell its inputs apart by their places.
    known.update((x, _LOST) for x in jaxpr.constvars if _BATCH in _shape(x))

    def axis_of(variable: Any) -> int | None:
        return None if isinstance(variable, core.Literal) else known.get(variable)

    for equation in jaxpr.eqns:
        inputs = [axis_of(variable) for variable in equation.invars]
        known.update(zip(equation.outvars, _after(equation, inputs), strict=True))
    return [axis_of(variable) for variable in jaxpr.outvars]


def _after(equation: core.JaxprEqn, inputs: Axes) -> Axes:
    """Returns the axes of the batch of an equation's outputs."""
    name, outputs = equation.primitive.name, equation.outvars
    if name in _DRAWING:
        shape = _shape(outputs[0])
        if shape[:1] == (_BATCH,):
            raise _MixedError
        return [_LOST if any(size % _BATCH == 0 for size in shape) else None] * len(outputs)
    if name == "iota":
        return [_LOST if _shape(outputs[0])[equation.params["dimension"]] == _BATCH else None]
    if name in _CALLS:
        return _follow(inner_jaxprs(equation)[0], inputs)
    if name == "scan":
        return _after_scan(equation, inputs)
    if name == "cond":
        return _after_branches(equation, inputs)
    if all(axis is None for axis in inputs):
        # Even of nothing that depends on inputs: numbers may be drawn inside.
        insides = [_follow(inner, [None] * len(inner.invars)) for inner in inner_jaxprs(equation)]
        return [_LOST if any(map(any, insides)) else None] * len(outputs)
    if _LOST in inputs:
        return [_LOST] * len(outputs)
    axis = _axis_after(equation, inputs)
    return axis if isinstance(axis, list) else [axis] * len(outputs)


def _axis_after(equation: core.JaxprEqn, inputs: Axes) -> int | list[int | None] | None:
    """Returns the axis of the batch of an equation's outputs, where some input has one."""
    name, parameters = equation.primitive.name, equation.params
    first, made = inputs[0], _shape(equation.outvars[0])
    if name in _OVER_AXES and first is not None:
        return _after_reduction(name, parameters, first)
    match name:
        case "dot_general":
            return _after_dot(parameters["dimension_numbers"], equation, inputs)
        case "conv_general_dilated" if first is not None and inputs[1] is None:
            numbers = parameters["dimension_numbers"]
            is_batch = first == numbers.lhs_spec[0] and parameters["batch_group_count"] == 1
            return numbers.out_spec[0] if is_batch else _LOST
        case "transpose" if first is not None:
            return parameters["permutation"].index(first)
        case "broadcast_in_dim" if first is not None:
            return parameters["broadcast_dimensions"][first]
        case "reshape" | "squeeze" | "expand_dims" if first is not None:
            return _after_reshape(_shape(equation.invars[0]), made, first)
        case "fft" if first is not None:
            if first >= len(made) - len(parameters["fft_lengths"]):
                raise _MixedError
            return first
        case "gather":
            return _after_gather(equation, inputs)
        case "stack" if first is not None and set(inputs) == {first}:
            return first + (parameters["axis"] <= first)
        case "concatenate":
            axes = {axis for axis in inputs if axis is not None}
            along = parameters["dimension"]
            return axes.pop() if len(axes) == 1 and along not in axes else _LOST
        case "slice" | "dynamic_slice" | "pad" | "rev" | "split" | "top_k" | "reduce_precision":
            return first if first is not None and _keeps(equation, first) else _LOST
        case _ if name.startswith("reduce_window") and first is not None:
            return first if _keeps_window(parameters, first) else _LOST
    if inner_jaxprs(equation) or not all(_is_like(x, equation) for x in equation.invars):
        return _LOST
    axes = {axis for axis in inputs if axis is not None}
    return axes.pop() if len(axes) == 1 else _LOST


def _after_reduction(name: str, parameters: Any, axis: int) -> int:
    over = parameters.get("axes", (parameters.get("axis", parameters.get("dimension")),))
    if axis in over:
        raise _MixedError
    return axis - sum(int(other) < axis for other in over) if name in _DROPPING else axis


def _after_reshape(shape: Sequence[int], made: Sequence[int], axis: int) -> int:
    before = math.prod(shape[:axis])
    places = [k for k in range(len(made)) if math.prod(made[:k]) == before and made[k] == _BATCH]
    return places[0] if places else _LOST


def _keeps(equation: core.JaxprEqn, axis: int) -> bool:
    """Whether the batch goes through as it is: nothing cut off, moved or put in front."""
    name, parameters = equation.primitive.name, equation.params
    match name:
        case "pad":
            return tuple(parameters["padding_config"][axis]) == (0, 0, 0)
        case "rev":
            return axis not in parameters["dimensions"]
        case "split":
            return axis != parameters["axis"]
        case "top_k":
            return axis < len(_shape(equation.invars[0])) - 1
    return _shape(equation.outvars[0])[axis] == _BATCH


def _keeps_window(parameters: Any, axis: int) -> bool:
    ones = ("window_dimensions", "window_strides", "base_dilation", "window_dilation")
    padding = tuple(parameters["padding"][axis])
    return padding == (0, 0) and all(parameters[name][axis] == 1 for name in ones)


def _after_gather(equation: core.JaxprEqn, inputs: Axes) -> int:
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    axis, of_indices = inputs[0], inputs[1]
    rank = len(_shape(equation.outvars[0]))
    if axis is None and of_indices is not None:
        places = [place for place in range(rank) if place not in numbers.offset_dims]
        return places[of_indices] if of_indices < len(places) else _LOST
    if axis is None or of_indices is not None or sizes[axis] != _BATCH:
        return _LOST
    gone = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    if axis in gone:
        return _LOST
    return numbers.offset_dims[axis - sum(int(other) < axis for other in gone)]


def _after_scan(equation: core.JaxprEqn, inputs: Axes) -> Axes:
    parameters, inner = equation.params, equation.params["jaxpr"].jaxpr
    num_consts, num_carry = parameters["num_consts"], parameters["num_carry"]
    consts = list(inputs[:num_consts])
    carry = list(inputs[num_consts : num_consts + num_carry])
    steps = [_lower(axis) for axis in inputs[num_consts + num_carry :]]
    while True:
        made = _follow(inner, [*consts, *carry, *steps])
        after = [_either(old, new) for old, new in zip(carry, made[:num_carry], strict=True)]
        if after == carry:
            break
        carry = after
    given = [None if x is None else (_LOST if x == _LOST else x + 1) for x in made[num_carry:]]
    return [*carry, *given]


def _lower(axis: int | None) -> int | None:
    """The axis of a step; of steps along the batch nobody knows."""
    if axis is None or axis == _LOST:
        return axis
    return axis - 1 if axis > 0 else _LOST


def _either(old: int | None, new: int | None) -> int | None:
    if old is None or new is None:
        return new if old is None else old
    return old if old == new else _LOST


def _after_branches(equation: core.JaxprEqn, inputs: Axes) -> Axes:
    branches = [_follow(branch.jaxpr, inputs[1:]) for branch in equation.params["branches"]]
    if inputs[0] is not None:
        return [_LOST] * len(equation.outvars)
    made = branches[0]
    for other in branches[1:]:
        made = [_either(one, two) for one, two in zip(made, other, strict=True)]
    return made


def _shape(variable: Any) -> tuple[int, ...]:
    return tuple(variable.aval.shape)


def _is_like(variable: Any, equation: core.JaxprEqn) -> bool:
    """Whether it is combined element by element; axes of size one are repeated."""
    shape, made = _shape(variable), _shape(equation.outvars[0])
    if not shape:
        return True
    return len(shape) == len(made) and all(a in (1, b) for a, b in zip(shape, made, strict=True))


def _after_dot(numbers: Any, equation: core.JaxprEqn, inputs: Axes) -> int:
    contracting, batching = numbers
    if None not in inputs and not all(inputs[side] in batching[side] for side in (0, 1)):
        raise _MixedError  # every input with every other
    place = 0
    for side in (0, 1):
        axis, over, along = inputs[side], contracting[side], batching[side]
        if axis is not None and axis in over:
            raise _MixedError
        rank = len(_shape(equation.invars[side]))
        free = [other for other in range(rank) if other not in over and other not in along]
        if axis is not None:
            if axis in along:
                return along.index(axis)
            return len(along) + (0 if side == 0 else place) + free.index(axis)
        place = len(free)
    return _LOST
