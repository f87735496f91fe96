"""Whether a model's output for one input depends on the others of its batch.

A network in training mode does: batch normalisation takes means over the batch, dropout draws
other numbers in every row. Its explanation would depend on the batch size, and be called exact.
The program of the model tells: the axis of the batch is followed through it without running
anything. Where it is lost, whoever can has to try (`lime_jax.core.asked_again`).
"""

import enum
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax.extend import core

from lime_jax.core.execution.memory import inner_jaxprs
from lime_jax.core.execution.signature_cache import SignatureCache, signature
from lime_jax.core.lifting import BATCH, Lifted, widen
from lime_jax.core.predictor import Predictor


class Batch(enum.Enum):
    """What a program does with the inputs of a batch."""

    APART = "each output depends on one input"
    MIXED = "some depend on several"
    UNKNOWN = "the axis of the batch was lost"


class Place(NamedTuple):
    """Where the batch is: the outer part of an axis, with so many rows of each input inside."""

    axis: int
    inner: int = 1


_LOST = Place(-1, 0)
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

# Of the batch in several arrays; None where it is not, `_LOST` where nobody knows.
Places = Sequence[Place | None]

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
    try:
        jaxpr = _program_of(predictor, widen(example))
    except Exception:
        return Batch.UNKNOWN  # it takes no batch of this size
    try:
        places = _follow(jaxpr, [None] * (len(jaxpr.invars) - 1) + [Place(0)])
    except _MixedError:
        return Batch.MIXED
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return Batch.UNKNOWN  # versions of JAX differ in what their programs hold
    is_followed = all(place in (Place(0), None) for place in places)
    return Batch.APART if is_followed else Batch.UNKNOWN


def _program_of(predictor: Predictor, inputs: jax.ShapeDtypeStruct) -> core.Jaxpr:
    """Returns a program whose last argument is the batch."""
    if isinstance(predictor, Lifted):
        return predictor.traced(inputs).jaxpr
    leaves, structure = jax.tree.flatten(predictor)
    traced = jax.make_jaxpr(lambda leaves, x: jax.tree.unflatten(structure, leaves).rebuild()(x))
    return traced(leaves, inputs).jaxpr


def _follow(jaxpr: core.Jaxpr, places: Places) -> list[Place | None]:
    """Returns the places of the batch in what a program returns."""
    known: dict[Any, Place | None] = dict(zip(jaxpr.invars, places, strict=True))
    # What is as long as the batch may tell its inputs apart by where they stand.
    known.update((x, _LOST) for x in jaxpr.constvars if _is_as_long(_shape(x)))

    def place_in(variable: Any) -> Place | None:
        return None if isinstance(variable, core.Literal) else known.get(variable)

    for equation in jaxpr.eqns:
        inputs = [place_in(variable) for variable in equation.invars]
        known.update(zip(equation.outvars, _after(equation, inputs), strict=True))
    return [place_in(variable) for variable in jaxpr.outvars]


def _is_as_long(shape: Sequence[int]) -> bool:
    return any(size > 0 and size % BATCH == 0 for size in shape)


def _after(equation: core.JaxprEqn, inputs: Places) -> Places:
    """Returns the places of the batch in an equation's outputs."""
    name, outputs = equation.primitive.name, equation.outvars
    if name in _DRAWING:
        shape = _shape(outputs[0])
        if shape[:1] == (BATCH,):
            raise _MixedError
        return [_LOST if _is_as_long(shape) else None] * len(outputs)
    if name == "iota":
        counted = _shape(outputs[0])[equation.params["dimension"]]
        return [_LOST if _is_as_long([counted]) else None]
    if name in _CALLS:
        return _follow(inner_jaxprs(equation)[0], inputs)
    if name == "scan":
        return _after_scan(equation, inputs)
    if name == "cond":
        return _after_branches(equation, inputs)
    if all(place is None for place in inputs):
        # Even of nothing that depends on inputs: numbers may be drawn inside.
        insides = [_follow(inner, [None] * len(inner.invars)) for inner in inner_jaxprs(equation)]
        return [_LOST if any(map(any, insides)) else None] * len(outputs)
    if _LOST in inputs:
        return [_LOST] * len(outputs)
    return [_place_after(equation, inputs)] * len(outputs)


def _place_after(equation: core.JaxprEqn, inputs: Places) -> Place:
    """Returns the place of the batch in an equation's outputs, where some input has one."""
    name, first = equation.primitive.name, inputs[0]
    match name:
        case "dot_general":
            return _after_dot(equation.params["dimension_numbers"], equation, inputs)
        case "gather":
            return _after_gather(equation, inputs)
        case "concatenate":
            places = {place for place in inputs if place is not None}
            along = equation.params["dimension"]
            place = places.pop()
            return place if not places and along != place.axis else _LOST
        case "stack" if set(inputs) != {first}:
            return _LOST
    if first is not None and (axis := _axis_of_first(equation, inputs)) is not None:
        return axis if isinstance(axis, Place) else Place(axis, first.inner)
    if inner_jaxprs(equation) or not all(_is_like(x, equation) for x in equation.invars):
        return _LOST
    places = {place for place in inputs if place is not None}
    return places.pop() if len(places) == 1 else _LOST


def _axis_of_first(equation: core.JaxprEqn, inputs: Places) -> Place | int | None:
    """The axis of the outputs that is that of the first input; None if it has no rule here."""
    name, parameters = equation.primitive.name, equation.params
    assert inputs[0] is not None
    axis, shape = inputs[0].axis, _shape(equation.invars[0])
    if name in _OVER_AXES:
        return _after_reduction(name, parameters, axis)
    if name.startswith("reduce_window"):
        return axis if _keeps_window(parameters, axis) else _LOST
    match name:
        case "conv_general_dilated":
            numbers = parameters["dimension_numbers"]
            is_batch = axis == numbers.lhs_spec[0] and parameters["batch_group_count"] == 1
            return numbers.out_spec[0] if is_batch and inputs[1] is None else _LOST
        case "transpose":
            return parameters["permutation"].index(axis)
        case "broadcast_in_dim":
            return parameters["broadcast_dimensions"][axis]
        case "reshape" | "squeeze" | "expand_dims":
            return _after_reshape(shape, _shape(equation.outvars[0]), axis)
        case "fft":
            if axis >= len(shape) - len(parameters["fft_lengths"]):
                raise _MixedError
            return axis
        case "stack":
            return axis + (parameters["axis"] <= axis)
        case "slice" | "dynamic_slice" | "pad" | "rev" | "split" | "top_k":
            return axis if _keeps(equation, axis) else _LOST
    return None


def _after_reduction(name: str, parameters: Any, axis: int) -> int:
    over = parameters.get("axes", (parameters.get("axis", parameters.get("dimension")),))
    if axis in over:
        raise _MixedError
    return axis - sum(int(other) < axis for other in over) if name in _DROPPING else axis


def _after_reshape(shape: Sequence[int], made: Sequence[int], axis: int) -> Place:
    """An axis may take others in behind the batch, and let them go again."""
    before = math.prod(shape[:axis])
    for place, size in enumerate(made):
        if math.prod(made[:place]) == before and _is_as_long([size]):
            return Place(place, size // BATCH)
    return _LOST


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
    return _shape(equation.outvars[0])[axis] == _shape(equation.invars[0])[axis]


def _keeps_window(parameters: Any, axis: int) -> bool:
    ones = ("window_dimensions", "window_strides", "base_dilation", "window_dilation")
    padding = tuple(parameters["padding"][axis])
    return padding == (0, 0) and all(parameters[name][axis] == 1 for name in ones)


def _after_gather(equation: core.JaxprEqn, inputs: Places) -> Place:
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    place, of_indices = inputs[0], inputs[1]
    rank = len(_shape(equation.outvars[0]))
    if place is None and of_indices is not None:
        looked_up = [axis for axis in range(rank) if axis not in numbers.offset_dims]
        is_index = of_indices.axis < len(looked_up)
        return Place(looked_up[of_indices.axis], of_indices.inner) if is_index else _LOST
    if place is None or of_indices is not None:
        return _LOST
    gone = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    if place.axis in gone or sizes[place.axis] != _shape(equation.invars[0])[place.axis]:
        return _LOST
    kept = place.axis - sum(int(other) < place.axis for other in gone)
    return Place(numbers.offset_dims[kept], place.inner)


def _after_scan(equation: core.JaxprEqn, inputs: Places) -> Places:
    (inner,) = inner_jaxprs(equation)
    # What is gone through, or collected, has an axis of steps outside.
    num_steps = _num_longer(equation.invars, inner.invars)
    num_carry = len(equation.outvars) - _num_longer(equation.outvars, inner.outvars)
    num_consts = len(equation.invars) - num_carry - num_steps
    consts = list(inputs[:num_consts])
    carry = list(inputs[num_consts : num_consts + num_carry])
    steps = [_shift(place, -1) for place in inputs[num_consts + num_carry :]]
    while True:
        made = _follow(inner, [*consts, *carry, *steps])
        after = [_either(old, new) for old, new in zip(carry, made[:num_carry], strict=True)]
        if after == carry:
            return [*carry, *(_shift(place, 1) for place in made[num_carry:])]
        carry = after


def _num_longer(outside: Sequence[Any], inside: Sequence[Any]) -> int:
    pairs = zip(outside, inside, strict=True)
    return sum(len(_shape(one)) > len(_shape(other)) for one, other in pairs)


def _shift(place: Place | None, by: int) -> Place | None:
    """Its place in a step, or in all of them; steps along the batch are one by one."""
    if place is None or place == _LOST:
        return place
    return Place(place.axis + by, place.inner) if place.axis + by >= 0 else _LOST


def _either(old: Place | None, new: Place | None) -> Place | None:
    if old is None or new is None:
        return new if old is None else old
    return old if old == new else _LOST


def _after_branches(equation: core.JaxprEqn, inputs: Places) -> Places:
    branches = [_follow(branch, inputs[1:]) for branch in inner_jaxprs(equation)]
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


def _after_dot(numbers: Any, equation: core.JaxprEqn, inputs: Places) -> Place:
    contracting, batching = numbers
    places = {side: place for side, place in enumerate(inputs) if place is not None}
    if any(place.axis in contracting[side] for side, place in places.items()):
        raise _MixedError
    side, place = next(iter(places.items()))
    is_shared = place.axis in batching[side]
    if len(places) == 2:
        if not is_shared or places[1].axis != batching[1][batching[0].index(place.axis)]:
            raise _MixedError  # every input with every other
        if place.inner != places[1].inner:
            return _LOST
    if is_shared:
        return place._replace(axis=batching[side].index(place.axis))
    before = _num_free(0, numbers, equation) if side == 1 else 0
    gone = (*contracting[side], *batching[side])
    free = [axis for axis in range(place.axis) if axis not in gone]
    return place._replace(axis=len(batching[side]) + before + len(free))


def _num_free(side: int, numbers: Any, equation: core.JaxprEqn) -> int:
    contracting, batching = numbers
    rank = len(_shape(equation.invars[side]))
    return rank - len(contracting[side]) - len(batching[side])
