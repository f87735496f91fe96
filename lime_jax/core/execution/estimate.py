"""How long a plan will take: one input is timed, where that is little beside the work."""

import jax

from lime_jax.core.execution import batch_size, memory, stepwise
from lime_jax.core.execution.host_model import HostModel
from lime_jax.core.plan import Plan

# Seconds of work, on any machine; beside them one more program is little.
_LONG_FLOPS = 1e12
# Timing takes two inputs.
_MANY_INPUTS = 40


def is_long(plan: Plan) -> bool:
    """Returns whether a plan takes seconds; False for models outside jit, whose work is unknown."""
    if isinstance(plan.problem.predict, HostModel):
        return False
    with plan.problem.context:
        one = stepwise.flops_of_step(plan.problem, 1, 1, 1)
    return one * _num_inputs(plan) >= _LONG_FLOPS


def measure_seconds(plan: Plan) -> float | None:
    """Estimates how long a plan takes; None where timing an input would take as long, or too much.

    Inputs one at a time are slower than many: it is rather too long than too short.
    """
    if _num_inputs(plan) < _MANY_INPUTS:
        return None
    try:
        with plan.problem.context:
            seconds = batch_size.time_batches(plan.problem, repeats=1)(1)
    except jax.errors.JaxRuntimeError as error:
        if not memory.is_out_of_memory(error):
            raise
        return None
    return seconds * _num_inputs(plan)


def _num_inputs(plan: Plan) -> float:
    """Returns the evaluations in units of whole inputs."""
    return plan.num_evaluations * plan.problem.num_items * plan.share
