"""Explanations inside jit, vmap or grad."""

import functools

from lime_jax.core.execution import batch_size, compiled, meshed
from lime_jax.core.explanation import Explanation
from lime_jax.core.plan import Plan
from lime_jax.core.problem import Problem


class Traced(batch_size.OfWholeInputs):
    """Part of somebody else's program: nothing is tried, remembered, reported or run again."""

    def plan(self, problem: Problem) -> Plan | None:
        """Returns how it would be done; None outside of jit."""
        if not problem.is_traced or problem.masks is not None:
            return None
        size = batch_size.agree(batch_size.choose_batch_size(problem), problem.mesh)
        return batch_size.plan_of(self, problem, size, "the program it is part of")

    def run(self, plan: Plan) -> Explanation:
        """Traces the explanation."""
        problem = plan.problem
        explain = compiled.explain_one if problem.is_single else compiled.explain_many
        if problem.mesh is not None:
            over_mesh = meshed.explain_one if problem.is_single else meshed.explain_many
            explain = functools.partial(over_mesh, mesh=problem.mesh)
        return explain(*problem.arguments, batch_size=plan.batch_size)
