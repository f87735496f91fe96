"""Arrays that a model closes over become arguments of the programs it is in.

A bound method, a closure or a function of globals holds weights that JAX does not see: compiled
with them inside, a program would go on explaining the weights of its first call, and keep them
alive. So such a model is traced anew whenever it is explained, as `jax.vmap` would do; the arrays
found are leaves, and two models are the same where what is traced is, to the letter.
"""

import hashlib
import inspect
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend import core

from lime_jax.core.predictor import Predictor

BATCH = 23
"""A size that no other axis of a model is likely to have a multiple of: it is traced with it."""

# Functions of these close over nothing that changes.
_PACKAGES = {"jax", "jaxlib", "numpy", "flax", "lime_jax", "builtins", "operator"}
# Hashes of programs that arrays went into.
_holding: set[int] = set()
# How derivatives are computed: traced anew each time, and no part of what a model computes.
_RULES = {"jvp_jaxpr_fun", "fwd_jaxpr_thunk", "bwd", "out_trees"}


def lift(
    predictor: Predictor, example: Callable[[], Any], *, with_derivatives: bool = False
) -> Predictor:
    """Returns the same model with all its arrays as leaves; itself where they are already.

    Args:
      predictor: the model.
      example: returns the shape and dtype of a batch of inputs.
      with_derivatives: whether they may be asked for: models with rules of their own for them then
        share no programs.
    """
    if isinstance(predictor, Lifted) or not _may_hold_arrays(predictor):
        return predictor
    trace = _Trace(predictor)
    inputs = example()
    try:
        traced = trace.of(widen(inputs))
    except Exception:
        traced = trace.of(inputs)  # it takes no other batch
    trace.constants = _constants_of(traced)
    arrays = [*trace.arrays, *trace.constants]
    with_derivatives |= any(isinstance(x, Tracer) for x in arrays)
    return Lifted(arrays, _Program(trace, traced, with_derivatives), trace)


def widen(example: Any) -> jax.ShapeDtypeStruct:
    """Returns a batch of `BATCH` such inputs."""
    return jax.ShapeDtypeStruct((BATCH, *example.shape[1:]), example.dtype)


def as_new(predictor: Predictor) -> Predictor:
    """Returns the same model as one that shares no programs with any other.

    Inside the caller's `jax.shard_map` types tell what differs between devices; programs that are
    traced without them do not fit there.
    """
    model = predictor.rebuild()
    return Predictor(lambda inputs: model(inputs))


@jax.tree_util.register_pytree_node_class
class Lifted(Predictor):
    """A model whose closed-over arrays are leaves; made by `lift`."""

    def __init__(self, arrays: list[Any], program: "_Program", trace: "_Trace | None" = None):
        self.arrays = arrays
        self.program = program
        self._source = trace  # kept alive as long as somebody may still call it

    def __call__(self, inputs: Any) -> Any:
        trace = self.program.trace()
        assert trace is not None, "a model is called after it was explained"
        number = len(trace.arrays)
        own, constants = self.arrays[:number], self.arrays[number:]
        traced = trace.of(inputs)
        here = _constants_of(traced)
        fitting = iter(_fit(constants, trace.constants, here, self.program))
        outputs = _evaluate(traced, fitting, [*own, inputs])
        return jax.tree.unflatten(trace.structure, outputs)

    def rebuild(self) -> Callable[[Any], Any]:
        """Returns what is called with a batch of inputs."""
        return self

    def traced(self, inputs: Any) -> core.ClosedJaxpr:
        """Returns its program for inputs of this shape, which come last of all arguments."""
        trace = self.program.trace()
        assert trace is not None, "a model is looked at after it was explained"
        return trace.of(inputs)

    def tree_flatten(self) -> tuple[tuple[list[Any]], Any]:
        """Takes it apart; the function itself is no part of its structure."""
        return (self.arrays,), self.program

    @classmethod
    def tree_unflatten(cls, structure: "_Program", children: tuple[list[Any]]) -> "Lifted":
        """Puts it together."""
        return cls(children[0], structure)


class _Trace:
    """What a function computes, for every shape that was asked for."""

    def __init__(self, predictor: Predictor):
        self.arrays, self._structure = jax.tree.flatten(predictor)
        self.code = tuple(_code_of(function) for function in predictor.functions)
        self.structure: Any = None
        self.constants: list[Any] = []
        self._traced: dict[Any, core.ClosedJaxpr] = {}

    def of(self, inputs: Any) -> core.ClosedJaxpr:
        """Returns what is computed from inputs of this shape."""
        # Products are computed as exactly as it is said where they are traced.
        setting = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
        shapes = (inputs.shape, inputs.dtype, setting)
        if shapes not in self._traced:
            example = jax.ShapeDtypeStruct(inputs.shape, inputs.dtype)
            arrays = [jax.ShapeDtypeStruct(np.shape(x), jnp.result_type(x)) for x in self.arrays]
            traced, made = jax.make_jaxpr(self._call, return_shape=True)(arrays, example)
            self.structure = jax.tree.structure(made)
            self._traced[shapes] = traced
        return self._traced[shapes]

    def _call(self, arrays: list[Any], inputs: Any) -> Any:
        return _checked(jax.tree.unflatten(self._structure, arrays).rebuild()(inputs))


class _Program:
    """What stands in for a function in the structure of a tree: equal if the same is computed."""

    def __init__(self, trace: _Trace, traced: core.ClosedJaxpr, with_derivatives: bool):
        self.trace = weakref.ref(trace)
        rules = object() if with_derivatives else None
        self._key = (str(traced), trace.code, trace.structure, *_settings(traced.jaxpr, rules))
        self._hash = hash(self._key[:2])
        if self._hash in _holding:
            self._key = (object(), *self._key)

    def holds_arrays(self) -> None:
        """Says that arrays went into it: no other model is the same from now on, even if equal."""
        _holding.add(self._hash)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Program) and self._key == other._key

    def __hash__(self) -> int:
        return self._hash


def _checked(made: Any) -> Any:
    """What a model returned, if jax can go on with it."""
    kinds = jax.Array, np.ndarray, np.generic, bool, int, float, complex
    for leaf in jax.tree.leaves(made):
        if not isinstance(leaf, kinds) and not hasattr(leaf, "__jax_array__"):
            raise ValueError(
                f"`predict` must return an array of JAX, got {type(leaf).__name__}. Make models of "
                "other frameworks usable with `host_model`."
            )
    return made


def _may_hold_arrays(predictor: Predictor) -> bool:
    """Whether any function may: of somebody else's module, a closure or a bound method."""
    return any(map(_is_foreign, predictor.classes)) or any(
        _is_foreign(function)
        or getattr(function, "__closure__", None) is not None
        or inspect.ismethod(function)
        for function in predictor.functions
    )


def _is_foreign(function: Any) -> bool:
    return (getattr(function, "__module__", None) or "").partition(".")[0] not in _PACKAGES


def _code_of(function: Any) -> Any:
    """What tells functions apart that compute the same for one shape and not for another."""
    inner = inspect.unwrap(getattr(function, "__func__", function))
    return getattr(inner, "__code__", None) or type(function)


def _constants_of(traced: core.ClosedJaxpr) -> list[Any]:
    """Closed-over arrays: its own, and those of functions that were jitted by their author."""
    constants = list(traced.consts)
    for equation in traced.jaxpr.eqns:
        if (inner := _inside_of_jit(equation)) is not None:
            constants += _constants_of(inner)
    return constants


def _inside_of_jit(equation: core.JaxprEqn) -> core.ClosedJaxpr | None:
    """The inside of a call of a jitted function that closes over arrays."""
    if equation.primitive.name not in ("jit", "pjit"):
        return None
    inner = equation.params["jaxpr"]
    return inner if _constants_of(inner) else None


def _evaluate(
    traced: core.ClosedJaxpr, constants: Iterator[Any], inputs: Sequence[Any]
) -> list[Any]:
    """Computes a program with other constants, in the order of `_constants_of`."""
    jaxpr = traced.jaxpr
    own = [next(constants) for _ in jaxpr.constvars]
    if not any(map(_inside_of_jit, jaxpr.eqns)):
        return core.jaxpr_as_fun(core.ClosedJaxpr(jaxpr, own))(*inputs)
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*own, *inputs], strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, core.Literal) else values[variable]

    for equation in jaxpr.eqns:
        arguments = map(read, equation.invars)
        if (inner := _inside_of_jit(equation)) is not None:
            outputs = _evaluate(inner, constants, list(arguments))
        else:
            primitive = equation.primitive
            with equation.ctx.manager:
                made = primitive.bind(*arguments, **primitive.get_bind_params(equation.params))
            outputs = made if primitive.multiple_results else [made]
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _fit(
    lifted: Sequence[Any], found: Sequence[Any], here: Sequence[Any], program: _Program
) -> list[Any]:
    """The lifted arrays in the places of those that were met for another batch size.

    Args:
      lifted: arguments of the program.
      found: what they were when they were found.
      here: what was met for this batch size; the same arrays, or some made for it.
      program: told where such a one stays inside, for example a table of indices for the batch.
    """
    places = [_place_of(place, other, found, len(here)) for place, other in enumerate(here)]
    if None in places:
        program.holds_arrays()
    return [
        other if place is None else lifted[place] for place, other in zip(places, here, strict=True)
    ]


def _place_of(place: int, array: Any, found: Sequence[Any], number: int) -> int | None:
    """Returns which of the arrays found it is; None for another one, or one of several alike."""
    for known, original in enumerate(found):
        if original is array:
            return known
    alike = [known for known, original in enumerate(found) if _are_equal(original, array)]
    if number == len(found) and place in alike:
        return place
    return alike[0] if len(alike) == 1 else None


def _are_equal(one: Any, other: Any) -> bool:
    same_kind = (np.shape(one), jnp.result_type(one)) == (np.shape(other), jnp.result_type(other))
    return same_kind and _digest(one) == _digest(other)


def _settings(jaxpr: core.Jaxpr, rules: Any) -> Iterator[Any]:
    """What the text of a program does not tell: callbacks, and arrays that cannot be lifted.

    `rules` stands for those of derivatives.
    """
    for equation in jaxpr.eqns:
        for variable in equation.invars:
            if isinstance(variable, core.Literal) and np.ndim(variable.val):
                yield _digest(variable.val)
        is_lifted = _inside_of_jit(equation) is not None
        for name, value in equation.params.items():
            for leaf in jax.tree.leaves(value, is_leaf=_is_program):
                if isinstance(leaf, core.ClosedJaxpr):
                    if not is_lifted:
                        yield from map(_digest, leaf.consts)
                    yield from _settings(leaf.jaxpr, rules)
                elif isinstance(leaf, core.Jaxpr):
                    yield from _settings(leaf, rules)
                elif name in _RULES:
                    yield rules
                elif isinstance(leaf, (jax.Array, np.ndarray)):
                    yield _digest(leaf)
                elif callable(leaf) and not isinstance(leaf, type):
                    yield leaf


def _is_program(value: Any) -> bool:
    return isinstance(value, (core.ClosedJaxpr, core.Jaxpr))


def _digest(array: Any) -> Any:
    if isinstance(array, Tracer) or jnp.issubdtype(array.dtype, jax.dtypes.extended):
        return array if isinstance(array, Tracer) else str(jax.random.key_data(array))
    contents = np.asarray(array)
    return contents.shape, str(contents.dtype), hashlib.sha256(contents.tobytes()).hexdigest()
