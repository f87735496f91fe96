"""Modes of JAX that are for finding mistakes of its users, and none here."""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar

import jax

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@contextmanager
def usual_modes() -> Iterator[None]:
    """Lets what is not known be NaN, and what lies on the host be moved to the device."""
    with ExitStack() as stack:
        stack.enter_context(jax.debug_nans(False))
        stack.enter_context(jax.transfer_guard("allow"))
        yield


def in_usual_modes(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Makes a function do its work in the usual modes, whatever its caller has set."""

    @functools.wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with usual_modes():
            return function(*args, **kwargs)

    return call
