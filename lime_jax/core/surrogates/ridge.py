"""Ridge regression on all components, the surrogate of LIME."""

from lime_jax.core.pytree import pytree, static
from lime_jax.core.surrogates.linear_fit import LinearFit
from lime_jax.core.surrogates.statistics import Statistics
from lime_jax.core.surrogates.surrogate import (
    Alpha,
    normal_equations,
    penalty,
    with_intercept,
)
from lime_jax.core.surrogates.symmetric_solve import solve


@pytree
class Ridge:
    """Weighted ridge regression on all components, the surrogate of LIME.

    Attributes:
      alpha: penalty on the squared coefficients; weights are not normalised, so its strength
        depends on their sum.
      fit_intercept: the intercept is never penalised; without it, it is zero.
    """

    alpha: Alpha = 1.0
    fit_intercept: bool = static(default=True)

    def __call__(self, statistics: Statistics) -> LinearFit:
        matrix, right = normal_equations(statistics, self.fit_intercept)
        penalised = matrix + penalty(self.alpha, len(matrix))
        solution, is_determined = solve(penalised, right)
        return with_intercept(statistics, solution.T, self.fit_intercept, is_determined)
