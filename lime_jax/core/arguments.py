"""Numbers that users pass, checked where they come in: Python's, NumPy's or JAX's."""

import math
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from lime_jax.core.modes import usual_modes
from lime_jax.errors import unknown_name

MOST = 2**31 - 1
"""What is counted in int32."""

Kind = TypeVar("Kind")


def whole_number(name: str, value: Any, least: int = 1, hint: str = "", most: int = 0) -> int:
    """Returns a whole number of any kind as an `int`.

    Args:
      name: of the argument.
      value: what came.
      least: the smallest allowed.
      hint: what to do otherwise, one sentence.
      most: the largest allowed; 0 allows all.

    Raises:
      ValueError: if it is no whole number, or too small or large.
    """
    number = _as_int(value)
    if number is None:
        raise ValueError(f"`{name}` must be a whole number, got {value!r:.60}.{_after(hint)}")
    if number < least:
        raise ValueError(f"`{name}` must be at least {least}, got {number}.{_after(hint)}")
    if most and number > most:
        raise ValueError(f"`{name}` must be at most {most:,}, got {number:,}.{_after(hint)}")
    return number


def real_number(
    name: str, value: Any, wanted: str, allows: Callable[[float], bool], hint: str = ""
) -> Any:
    """Returns a real number; those of Python and NumPy as a `float`, so that all share one program.

    Args:
      name: of the argument.
      value: what came; what is traced is not known, and comes back as it is.
      wanted: which numbers, such as "be positive".
      allows: whether a number is one of them.
      hint: what to do otherwise, one sentence.

    Raises:
      ValueError: if it is no number, or another.
    """
    number = _as_number(value)
    if number is None:
        raise ValueError(
            f"`{name}` must be a number and {wanted}, got {value!r:.60}.{_after(hint)}"
        )
    if isinstance(number, jax.core.Tracer):
        return number
    with usual_modes():
        known = float(number)
    if not allows(known):
        raise ValueError(f"`{name}` must {wanted}, got {known}.{_after(hint)}")
    return number


def positive(number: float) -> bool:
    """Tests whether a number is positive and finite."""
    return 0 < number < math.inf


def share(number: float) -> bool:
    """Tests whether a number lies between 0 and 1."""
    return 0 < number < 1


def truth(name: str, value: Any) -> bool:
    """Returns a truth value of Python or NumPy.

    Raises:
      ValueError: if it is none.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"`{name}` must be True or False, got {value!r:.60}.")
    return bool(value)


def one_of(name: str, value: Any, known: Iterable[str]) -> str:
    """Returns a name that there is.

    Raises:
      ValueError: if there is none such.
    """
    known = tuple(known)
    if not isinstance(value, str) or value not in known:
        raise ValueError(unknown_name(f"`{name}`", value, known))
    return value


def instance(name: str, value: Any, kind: type[Kind], hint: str) -> Kind:
    """Returns what is of a kind.

    Raises:
      ValueError: if it is not.
    """
    if not isinstance(value, kind):
        came = type(value).__name__
        raise ValueError(f"`{name}` must be of type {kind.__name__}, got {came}. {hint}")
    return value


def function(name: str, value: Any) -> Any:
    """Returns what can be called.

    Raises:
      ValueError: if it cannot.
    """
    if not callable(value):
        raise ValueError(f"`{name}` must be a function, got {value!r:.60}.")
    return value


def array(name: str, values: Any) -> Shaped[Array, "..."]:
    """Returns numbers or truth values of any kind as an array.

    Raises:
      ValueError: if they make none.
    """
    message = f"`{name}` must be an array of numbers, got "
    if not hasattr(values, "dtype") and _holds_texts(values):
        raise ValueError(f"{message}{values!r:.60}.")
    try:
        return jnp.asarray(values)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{message}{values!r:.60}.") from error


def file_path(name: str, value: Any) -> Path:
    """Returns where a file or folder lies.

    Raises:
      ValueError: if it is no path.
    """
    if not isinstance(value, (str, os.PathLike)) or "\0" in (text := os.fspath(value)):
        raise ValueError(f"`{name}` must be a path without null characters, got {value!r:.60}.")
    return Path(os.fsdecode(text))


def listed(name: str, values: Any, what: str) -> list[Any]:
    """Returns what is listed in a list, tuple, array or anything else that can be gone through.

    Raises:
      ValueError: if it is no list, or a text, whose letters nobody means.
    """
    if isinstance(values, (str, bytes, Mapping)) or getattr(values, "ndim", 1) == 0:
        raise ValueError(f"`{name}` must be a list of {what}, got {values!r:.60}.")
    try:
        return list(values)
    except TypeError as error:
        raise ValueError(f"`{name}` must be a list of {what}, got {values!r:.60}.") from error


def index_below(name: str, value: Any, size: int) -> int:
    """Returns an index; negative ones count from the end, as in Python.

    JAX itself would take the nearest there is.

    Raises:
      ValueError: if there is no such index.
    """
    index = _as_int(value)
    if index is None or not -size <= index < size:
        raise ValueError(f"`{name}` must be an index below {size}, got {value!r:.60}.")
    return index % size


def texts(name: str, values: Any) -> tuple[str, ...]:
    """Returns names of any kind as texts: lists, tuples, arrays, of texts, numbers, members.

    Args:
      name: of the argument.
      values: what came.

    Raises:
      ValueError: if it is no list: a single text, whose letters nobody means, or a mapping.

    Example:
      >>> texts("output_names", np.arange(3))
      ('0', '1', '2')
    """
    if isinstance(values, (str, bytes, Mapping)) or getattr(values, "ndim", 1) > 1:
        raise ValueError(f"`{name}` must be a list of names, got {values!r:.60}.")
    try:
        return tuple(v.decode() if isinstance(v, bytes) else str(v) for v in values)
    except TypeError as error:
        raise ValueError(f"`{name}` must be a list of names, got {values!r:.60}.") from error


def _as_number(value: Any) -> Any:
    """A float, a real scalar of JAX, or None."""
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, jax.Array):
        return value if value.ndim == 0 and _is_real(value.dtype) else None
    is_scalar = isinstance(value, (np.ndarray, np.generic)) and value.ndim == 0
    if isinstance(value, (int, float)) or (is_scalar and _is_real(value.dtype)):
        return _as_float(value)
    return None


def _holds_texts(values: Any) -> bool:
    """Of texts NumPy makes arrays of texts, or, with a warning, data types."""
    if isinstance(values, (list, tuple)):
        return any(map(_holds_texts, values))
    return isinstance(values, (str, bytes))


def _is_real(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


def _as_int(value: Any) -> int | None:
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(value)
    except TypeError:  # also of what is traced
        return None


def _after(hint: str) -> str:
    return f" {hint}" if hint else ""
