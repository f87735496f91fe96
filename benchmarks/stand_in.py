"""Lets lime_jax be imported where jaxtyping, which only annotates it, is not installed."""

import importlib.util
import sys
import types
from typing import Any


class _Annotation:
    """`Float[Array, "..."]` says nothing."""

    def __class_getitem__(cls, item: Any) -> Any:
        return Any


def install() -> None:
    """Puts a stand-in for jaxtyping in place where there is none."""
    if importlib.util.find_spec("jaxtyping") is not None:
        return
    module = types.ModuleType("jaxtyping")
    module.Array = Any  # type: ignore[attr-defined]
    for name in ("Bool", "Float", "Inexact", "Int", "Key", "Complex", "Num", "Shaped", "UInt8"):
        setattr(module, name, _Annotation)
    sys.modules["jaxtyping"] = module
