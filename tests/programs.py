"""How many programs are made, whoever made them."""

import contextlib

import jax

_lowered = []


def _note(name, seconds, **_):
    if name == "/jax/core/compile/jaxpr_to_mlir_module_duration":
        _lowered.append(seconds)


jax.monitoring.register_event_duration_secs_listener(_note)


@contextlib.contextmanager
def counted():
    """A list with an entry for every program that is made inside."""
    before, new = len(_lowered), []
    yield new
    new.extend(_lowered[before:])
