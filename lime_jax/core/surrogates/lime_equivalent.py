"""What the same standard errors would have cost as plain LIME."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lime_jax.core.surrogates.kernels import Kernel
from lime_jax.core.surrogates.linear_fit import LinearFit
from lime_jax.core.surrogates.statistics import Statistics
from lime_jax.core.surrogates.surrogate import Surrogate, penalty
from lime_jax.core.surrogates.symmetric_solve import solve


def num_lime_samples(
    kernel: Kernel,
    surrogate: Surrogate,
    total: Statistics,
    fit: LinearFit,
    std_error: Float[Array, "num_outputs num_components"],
    num_counted: Float[Array, ""] | float,
) -> Float[Array, " num_outputs"]:
    """Returns how many fair-coin masks would have these mean square errors.

    The sandwich formula for independent masks, with the residuals of the fit taken to be as large
    near the unperturbed input as far from it: good to some ten per cent.

    Args:
      kernel: of the method.
      surrogate: of the method; the penalty of a ridge is respected.
      total: statistics whose counts sum to `num_counted`.
      fit: to them.
      std_error: what was reached.
      num_counted: see `total`.

    References:
      White, A Heteroskedasticity-Consistent Covariance Matrix Estimator, 1980.
    """
    num_components = std_error.shape[1]
    matrix = total.mask_scatter + penalty(getattr(surrogate, "alpha", 0.0), num_components)
    once, _ = solve(matrix, _spread(kernel, total))
    spread = jnp.trace(solve(matrix, once.T)[0])
    residual = (1 - fit.fidelity) / total.weight  # in units of the outputs' spread, squared
    # The variance of a run with `num_counted` samples falls as one over their number.
    variance = residual * spread * num_counted
    unit = jnp.where(total.output_spread > 0, total.output_spread, 1)
    reached = jnp.square(std_error / unit[:, None]).sum(axis=1)
    return num_counted * variance / reached


def mean_weight(kernel: Kernel, num_components: int) -> Float[Array, ""]:
    """Returns the mean weight over all masks."""
    weights, chances = _by_zeros(kernel, num_components)
    return (weights * chances).sum()


def _by_zeros(
    kernel: Kernel, num_components: int
) -> tuple[Float[Array, " zeros"], Float[Array, " zeros"]]:
    """Weight and share among all masks of those with 0, 1, … zeros."""
    zeros = np.arange(num_components + 1)
    staircase = jnp.asarray(np.arange(num_components)[None] >= zeros[:, None])
    # Whole numbers first: 2.0**1024 would be too large.
    chances = np.array([math.comb(num_components, int(k)) / 2**num_components for k in zeros])
    return kernel(staircase), jnp.asarray(chances, jnp.float32)


def _spread(kernel: Kernel, total: Statistics) -> Float[Array, "d d"]:
    """The mean over all masks of weight² × centred mask × centred mask."""
    num_components = len(total.mask_mean)
    zeros = np.arange(num_components + 1)
    weights, chances = _by_zeros(kernel, num_components)
    square = jnp.square(weights) * chances
    on = (num_components - zeros) / num_components
    both = on * (num_components - 1 - zeros) / max(num_components - 1, 1)
    b0, b1, b2 = (square.sum(), (square * _f32(on)).sum(), (square * _f32(both)).sum())
    mean = total.mask_mean
    off = b2 - b1 * (mean[:, None] + mean[None]) + b0 * jnp.outer(mean, mean)
    return off + (b1 - b2) * jnp.eye(num_components, dtype=jnp.float32)


def _f32(values: np.ndarray) -> Float[Array, "..."]:
    return jnp.asarray(values, jnp.float32)
