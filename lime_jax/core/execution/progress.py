"""How far work is, reported while it goes on."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
