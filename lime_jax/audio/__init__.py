"""Sound in and out: files, spectrograms, segmentations that look at the signal, rendering."""

import importlib
from typing import Any

_LAZY = ("features", "io", "render", "segment")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"lime_jax.audio.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
