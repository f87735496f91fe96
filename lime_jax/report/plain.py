"""Numbers and settings as JSON has them."""

import dataclasses
import enum
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def number_of(value: Any) -> float | None:
    """A float32 as a number; None for what is undefined or infinite."""
    # The shortest decimal that is this float32, so that files show 0.3 and not 0.30000001192092896.
    return float(str(np.float32(value))) if np.isfinite(value) else None


def plain(value: Any, where: str) -> Any:
    """Settings as strings, numbers, lists and mappings.

    Args:
      value: a dataclass, mapping or list of such.
      where: what an error calls it.

    Raises:
      ValueError: if it holds anything else.
    """
    match value:
        case enum.Enum():
            return value.name
        case None | bool() | str():
            return value
        case int() | np.integer():
            return int(value)
        case float() | np.floating():
            return float(value) if math.isfinite(value) else None
        case Path():
            return str(value)
        case Mapping():
            return {str(key): plain(entry, f"{where}.{key}") for key, entry in value.items()}
        case list() | tuple():
            return [plain(entry, f"{where}[{i}]") for i, entry in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return plain(fields, where)
    raise ValueError(
        f"`{where}` must be a plain value, got {type(value).__name__}. Use numbers, strings, "
        "lists, mappings and dataclasses."
    )
