"""How many masks fit into memory at once, and what to do when they turn out not to."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.extend import core

from lime_jax.errors import ModelError, warn

T = TypeVar("T")

# Beyond these sizes nothing runs faster. More than the usual batch pays on a CPU only for light
# models, where it spreads the cost of a step while caches still hold it.
_LARGEST_BATCH = 2048
_USUAL_CPU_BATCH = 256
_CPU_CACHES = 1 << 26
_CPU_BUDGET = 1 << 30
_SHARE_OF_ACCELERATOR = 0.4


def batch_size_for(function: Callable[..., Any], *arguments: Any) -> int:
    """Returns how many inputs fit into the memory budget, by tracing a batch of one.

    Args:
      function: maps `arguments`, made for a batch of one, to outputs.
      arguments: arrays, or shapes and dtypes.
    """
    return num_fitting(num_bytes(function, *arguments))


def num_bytes(function: Callable[..., Any], *arguments: Any) -> int:
    """Returns the most bytes of intermediate values alive at once, were nothing fused.

    Args:
      function: see `batch_size_for`.
      arguments: arrays, or shapes and dtypes.
    """
    return max(_peak_bytes(jax.make_jaxpr(function)(*arguments).jaxpr), 1)


def num_fitting(per_input: int) -> int:
    """Returns how many inputs of so many bytes fit into the memory budget."""
    device = jax.local_devices()[0]
    fitting = budget(device) // per_input
    if device.platform == "cpu":
        fitting = max(min(fitting, _USUAL_CPU_BATCH), _CPU_CACHES // per_input)
    return max(1, min(_LARGEST_BATCH, fitting))


def retry_with_smaller_batches(run: Callable[[int], T], batch_size: int) -> tuple[T, int]:
    """Runs, and on running out of memory runs again with half the batch; says so once.

    Returns:
      What `run` returned, and the batch size it was reached with.

    Raises:
      ModelError: if a single input does not fit.
    """
    asked = batch_size
    while True:
        try:
            result = jax.block_until_ready(run(batch_size))
        except jax.errors.JaxRuntimeError as error:
            # Several processes must go on together, or not at all.
            if not is_out_of_memory(error) or jax.process_count() > 1:
                raise
            if batch_size == 1:
                raise ModelError(
                    "the device runs out of memory on a single input. Use a shorter excerpt, a "
                    "smaller model or a device with more memory."
                ) from error
            batch_size //= 2
        else:
            if batch_size != asked:
                warn(
                    f"out of memory with `batch_size` = {asked}; went on with {batch_size}. Pass "
                    f"`batch_size={batch_size}` to start there."
                )
            return result, batch_size


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, in the words of any device.

    Work that was only waiting for what did not fit fails with the second message.
    """
    return any(words in str(error) for words in ("RESOURCE_EXHAUSTED", "Out of memory"))


def budget(device: Any = None) -> int:
    """Returns how many bytes may be used at a time."""
    device = device or jax.local_devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if not stats or "bytes_limit" not in stats:
        return _CPU_BUDGET
    return int(_SHARE_OF_ACCELERATOR * (stats["bytes_limit"] - stats.get("bytes_in_use", 0)))


def _peak_bytes(jaxpr: core.Jaxpr) -> int:
    """The most bytes of intermediate values alive at once, were nothing fused."""
    last_use = {}
    for index, equation in enumerate(jaxpr.eqns):
        for variable in equation.invars:
            if isinstance(variable, core.Var):
                last_use[variable] = index
    for variable in jaxpr.outvars:
        if isinstance(variable, core.Var):
            last_use[variable] = len(jaxpr.eqns)

    alive = peak = 0
    sizes: dict[core.Var, int] = {}
    for index, equation in enumerate(jaxpr.eqns):
        for variable in equation.outvars:
            sizes[variable] = _num_bytes(variable)
            alive += sizes[variable]
        inner = max((_peak_bytes(inner) for inner in inner_jaxprs(equation)), default=0)
        peak = max(peak, alive + inner)
        touched = {v for v in (*equation.invars, *equation.outvars) if isinstance(v, core.Var)}
        for variable in touched & sizes.keys():
            if last_use.get(variable, index) == index:
                alive -= sizes.pop(variable)
    return peak


def inner_jaxprs(equation: core.JaxprEqn) -> list[core.Jaxpr]:
    """Returns the programs inside an equation, such as the body of a loop."""
    leaves = jax.tree.leaves(
        list(equation.params.values()),
        is_leaf=lambda x: isinstance(x, (core.Jaxpr, core.ClosedJaxpr)),
    )
    # Newer versions of JAX have one class for both.
    return [
        leaf.jaxpr if isinstance(leaf, core.ClosedJaxpr) else leaf
        for leaf in leaves
        if isinstance(leaf, (core.Jaxpr, core.ClosedJaxpr))
    ]


def _num_bytes(variable: core.Var) -> int:
    aval: Any = variable.aval
    try:
        return int(jnp.dtype(aval.dtype).itemsize) * int(aval.size)
    except TypeError:
        # Typed PRNG keys have a dtype that NumPy does not know; they are tiny.
        return 0
