"""Networks with initial weights."""

from flax import nnx


def initialise(make):
    """Builds a network in one program; op by op every layer would compile its own."""
    return nnx.jit(make)()
