"""How long a plan will take: one batch is timed, if there is so much work that this pays."""

from lime_jax.core.execution import batch_size, stepwise
from lime_jax.core.execution.host_model import HostModel
from lime_jax.core.plan import Plan

# Seconds of work, on any machine; beside them one more program is little.
_LONG_FLOPS = 1e12
_NUM_TIMED = 8


def is_long(plan: Plan) -> bool:
    """Returns whether a plan takes seconds; False for models outside jit, whose work is unknown."""
    if isinstance(plan.problem.predict, HostModel):
        return False
    with plan.problem.products:
        one = stepwise.flops_of_step(plan.problem, 1, 1, 1)
    return one * _num_inputs(plan) >= _LONG_FLOPS


def measure_seconds(plan: Plan) -> float:
    """Estimates how long a plan takes, from the time of a few whole inputs."""
    number = min(_NUM_TIMED, plan.batch_size)
    with plan.problem.products:
        seconds = batch_size.time_batches(plan.problem)(number)
    return seconds / number * _num_inputs(plan)


def _num_inputs(plan: Plan) -> float:
    """Returns the evaluations in units of whole inputs."""
    return plan.num_evaluations * plan.problem.num_items * plan.share
