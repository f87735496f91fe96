"""Numbers that users pass, checked where they come in: Python's, NumPy's or JAX's."""

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np


def whole_number(name: str, value: Any, least: int = 1, hint: str = "") -> int:
    """Returns a whole number of any kind as an `int`.

    Args:
      name: of the argument.
      value: what came.
      least: the smallest allowed.
      hint: what to do otherwise, one sentence.

    Raises:
      ValueError: if it is no whole number, or too small.
    """
    number = _as_int(value)
    if number is None:
        raise ValueError(f"`{name}` must be a whole number, got {value!r}.{_after(hint)}")
    if number < least:
        raise ValueError(f"`{name}` must be at least {least}, got {number}.{_after(hint)}")
    return number


def index_below(name: str, value: Any, size: int) -> int:
    """Returns an index; negative ones count from the end, as in Python.

    JAX itself would take the nearest there is.

    Raises:
      ValueError: if there is no such index.
    """
    index = _as_int(value)
    if index is None or not -size <= index < size:
        raise ValueError(f"`{name}` must be an index below {size}, got {value!r}.")
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


def plain_number(value: Any) -> Any:
    """Returns a number of Python or NumPy as a `float`, so that all share one program."""
    if isinstance(value, (bool, np.bool_)):
        return value
    if isinstance(value, np.ndarray) and value.ndim:
        return value
    is_number = isinstance(value, (int, float, np.integer, np.floating, np.ndarray))
    return float(value) if is_number else value


def _as_int(value: Any) -> int | None:
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(value)
    except TypeError:  # also of what is traced
        return None


def _after(hint: str) -> str:
    return f" {hint}" if hint else ""
