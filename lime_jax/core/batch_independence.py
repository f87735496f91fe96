"""Whether a model's output for one input depends on the others of its batch.

A network in training mode does: batch normalisation takes means over the batch, dropout draws
other numbers in every row. Its explanation would depend on the batch size, and be called exact.
The program of the model tells: the axis of the batch is followed through it, and what reduces over
that axis, or draws numbers along it, is found without running anything. What cannot be followed is
taken to be in order.
"""

from collections.abc import Sequence
from typing import Any

import jax
from jax.extend import core

from lime_jax.core.execution.memory import inner_jaxprs
from lime_jax.core.execution.signature_cache import SignatureCache, signature
from lime_jax.core.predictor import Predictor

# A size that no other axis is likely to have.
_BATCH = 13
_MIXING = {
    "reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or",
    "argmax", "argmin", "cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "sort",
}  # fmt: skip
_REDUCING = {"reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or"}
_DRAWING = {"random_bits", "rng_bit_generator", "rng_uniform"}

Axes = Sequence[int | None]  # of the batch, in several arrays; None where it is not

_independent: SignatureCache[Any] = SignatureCache()


def is_independent(predictor: Predictor, example: jax.ShapeDtypeStruct, shapes: Any = None) -> bool:
    """Returns whether nothing in a model is seen to mix the inputs of a batch.

    Args:
      predictor: the model.
      example: shape and dtype of a batch of inputs.
      shapes: the signature of the model and its inputs, where it is known already.
    """
    shapes = signature(predictor, example) if shapes is None else shapes
    return _independent.get_or_make(shapes, lambda: _traced_independent(predictor, example)) is True


def _traced_independent(predictor: Predictor, example: jax.ShapeDtypeStruct) -> Any:
    inputs = jax.ShapeDtypeStruct((_BATCH, *example.shape[1:]), example.dtype)
    leaves, structure = jax.tree.flatten(predictor)
    try:
        jaxpr = jax.make_jaxpr(
            lambda leaves, x: jax.tree.unflatten(structure, leaves).rebuild()(x)
        )(leaves, inputs).jaxpr
    except Exception:
        return True  # it takes no batch of this size; with the one it takes it is another program
    axes: Axes = [None] * len(leaves) + [0]
    return _follow(jaxpr, axes) is not None or "mixed"


def _follow(jaxpr: core.Jaxpr, axes: Axes) -> Axes | None:
    """Returns the axes of the batch of what a program returns; None if it mixes its inputs."""
    known: dict[Any, int | None] = dict(zip(jaxpr.invars, axes, strict=True))

    def axis_of(variable: Any) -> int | None:
        return None if isinstance(variable, core.Literal) else known.get(variable)

    for equation in jaxpr.eqns:
        inputs = [axis_of(variable) for variable in equation.invars]
        if equation.primitive.name in _DRAWING and _BATCH in _shape(equation.outvars[0])[:1]:
            return None
        if all(axis is None for axis in inputs):
            # Even of nothing that depends on inputs: numbers may be drawn inside.
            insides = [(inner, [None] * len(inner.invars)) for inner in inner_jaxprs(equation)]
            if any(_follow(*inside) is None for inside in insides):
                return None
            continue
        outputs = _axes_after(equation, inputs)
        if outputs is None:
            return None
        known.update(zip(equation.outvars, outputs, strict=True))
    return [axis_of(variable) for variable in jaxpr.outvars]


def _axes_after(equation: core.JaxprEqn, inputs: Axes) -> Axes | None:
    """Returns the axes of the batch of an equation's outputs; None if it mixes along it."""
    name, parameters = equation.primitive.name, equation.params
    first = inputs[0]
    unknown: Axes = [None] * len(equation.outvars)
    if name in ("jit", "pjit", "custom_jvp_call", "custom_vjp_call", "remat2", "checkpoint"):
        return _follow(inner_jaxprs(equation)[0], inputs)
    if name in _MIXING and first is not None:
        over = parameters.get("axes", (parameters.get("axis", parameters.get("dimension")),))
        if first in over:
            return None
        fewer = sum(int(axis) < first for axis in over) if _drops_axes(name) else 0
        return [int(first - fewer)] * len(equation.outvars)
    match name:
        case "dot_general":
            return _after_dot(parameters["dimension_numbers"], equation, inputs)
        case "conv_general_dilated" if first is not None:
            numbers = parameters["dimension_numbers"]
            return [numbers.out_spec[0]] if first == numbers.lhs_spec[0] else unknown
        case "transpose":
            return [parameters["permutation"].index(first)]
        case "broadcast_in_dim":
            return [parameters["broadcast_dimensions"][first]] if first is not None else unknown
        case "reshape" | "squeeze" | "expand_dims":
            keeps = first == 0 and _shape(equation.outvars[0])[:1] == (_BATCH,)
            return [0] if keeps else unknown
    if all(_is_like(variable, equation.outvars[0]) for variable in equation.invars):
        axes = {axis for axis in inputs if axis is not None}
        return [axes.pop()] * len(equation.outvars) if len(axes) == 1 else unknown
    return unknown


def _shape(variable: Any) -> tuple[int, ...]:
    return tuple(variable.aval.shape)


def _drops_axes(name: str) -> bool:
    return name in _REDUCING or name in ("argmax", "argmin")


def _is_like(variable: Any, output: Any) -> bool:
    """Whether they are combined element by element; axes of size one are repeated."""
    shape, made = _shape(variable), _shape(output)
    if not shape:
        return True
    return len(shape) == len(made) and all(a in (1, b) for a, b in zip(shape, made, strict=True))


def _after_dot(numbers: Any, equation: core.JaxprEqn, inputs: Axes) -> Axes | None:
    contracting, batching = numbers
    if None not in inputs and not all(inputs[side] in batching[side] for side in (0, 1)):
        return None  # every input with every other
    place = 0
    for side in (0, 1):
        axis, over, along = inputs[side], contracting[side], batching[side]
        if axis is not None and axis in over:
            return None
        rank = len(_shape(equation.invars[side]))
        free = [other for other in range(rank) if other not in over and other not in along]
        if axis is not None:
            if axis in along:
                return [along.index(axis)]
            offset = len(along) + (0 if side == 0 else place)
            return [offset + free.index(axis)]
        place = len(free)
    return [None]
