"""The one place that decides how something is computed."""

import dataclasses

import jax
import jax.numpy as jnp

from lime_jax.core.execution.compiled import Compiled
from lime_jax.core.execution.host import Host
from lime_jax.core.execution.meshed import Meshed
from lime_jax.core.execution.stepwise import Stepwise
from lime_jax.core.execution.traced import Traced
from lime_jax.core.explanation import Explanation, Status
from lime_jax.core.plan import Evaluator, Executor, Plan
from lime_jax.core.problem import Problem
from lime_jax.core.receptive_fields.layers_executor import Layers
from lime_jax.core.receptive_fields.sums_executor import ExactSums
from lime_jax.core.receptive_fields.windows_executor import Windows

EXECUTORS: tuple[Executor, ...] = (
    Host(), Traced(), ExactSums(), Layers(), Windows(), Meshed(), Stepwise(), Compiled(),
)  # fmt: skip
"""In the order in which they are asked; the last one always has a plan."""


def best_plan(problem: Problem) -> Plan:
    """Returns the plan of the first executor that has one; nothing is run."""
    problem.prepare()
    return next(plan for executor in EXECUTORS if (plan := executor.plan(problem)) is not None)


def solve(problem: Problem) -> Explanation:
    """Explains by the first plan that can be carried out: where memory runs out, the next one."""
    problem.prepare()
    for executor in EXECUTORS:
        plan = executor.plan(problem)
        if plan is not None and (explanation := executor.run(plan)) is not None:
            return explanation if problem.is_function else _as_no_function(explanation)
    raise AssertionError("the last executor always explains")


def _as_no_function(explanation: Explanation) -> Explanation:
    status = jnp.where(explanation.status > 0, explanation.status, Status.NOT_A_FUNCTION)
    return dataclasses.replace(explanation, status=status)


def predict(problem: Problem) -> jax.Array:
    """Evaluates given masks by the first plan that can be carried out."""
    problem.prepare()
    for executor in EXECUTORS:
        plan = executor.plan(problem)
        if plan is not None and isinstance(executor, Evaluator):
            if (outputs := executor.predict(plan)) is not None:
                return outputs
    raise AssertionError("the last executor always predicts")
