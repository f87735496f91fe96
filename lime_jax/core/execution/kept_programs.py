"""Compiled programs are kept while they are few: a process has room for so many."""

import sys
from pathlib import Path
from typing import Any

import jax

from lime_jax.core.execution.signature_cache import SignatureCache

# Problems of different shapes, models or methods.
_MOST_PROBLEMS = 64
# Every program of a CPU takes hundreds of memory maps; beyond their limit nothing works any more.
_SHARE_OF_MAPS = 0.5
_MAPS, _MOST_MAPS = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")

_recent: SignatureCache[int] = SignatureCache(_MOST_PROBLEMS)


def make_room_for(signature: Any) -> None:
    """Lets all programs of this package go before those of one problem too many are made.

    Args:
      signature: of the problem that is going to be solved.
    """
    if _recent.get(signature) is not None:
        return
    if len(_recent) == _MOST_PROBLEMS or _has_little_room():
        clear()
    _recent.put(signature, 1)


def clear() -> None:
    """Lets all compiled programs of this package go; they are made again where they are needed."""
    _recent.clear()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "lime_jax":
            for value in list(vars(module).values()):
                if isinstance(value, jax.stages.Wrapped) and hasattr(value, "clear_cache"):
                    value.clear_cache()  # pyright: ignore[reportAttributeAccessIssue]


def _has_little_room() -> bool:
    try:
        most = int(_MOST_MAPS.read_text())
        with _MAPS.open("rb") as maps:
            return sum(1 for _ in maps) > _SHARE_OF_MAPS * most
    except (OSError, ValueError):  # another operating system
        return False
