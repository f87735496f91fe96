"""What errors would have cost as plain LIME, against a referee that enumerates all masks."""

import jax.numpy as jnp
import numpy as np
import pytest

from lime_jax.core.masks.exhaustive import Exhaustive
from lime_jax.core.surrogates import kernels, lime_equivalent, statistics
from lime_jax.core.surrogates.ridge import Ridge

D, COUNTED = 4, 1000.0


@pytest.mark.parametrize("alpha", [0.0, 30.0])
def test_the_number_is_that_of_the_sandwich_formula(alpha):
    """In float64: (S + αI)⁻¹ M (S + αI)⁻¹, with M the mean of weight² × centred mask squared."""
    kernel, surrogate = kernels.Exponential(0.25, kernels.cosine), Ridge(alpha)
    masks = np.asarray(Exhaustive()(None, D).masks)
    z = masks.astype(float)
    outputs = z @ [[1.0], [2.0], [0.0], [-1.0]] + z[:, :1] * z[:, 1:2]
    weight = np.asarray(kernel(jnp.asarray(masks)), float)
    counts = np.full(len(masks), COUNTED / len(masks), np.float32)
    total = statistics.summarise(
        jnp.asarray(masks), jnp.asarray(outputs, jnp.float32), jnp.asarray(weight * counts)
    )
    fit = surrogate(total)
    error = jnp.full((1, D), 0.02)
    found = lime_equivalent.num_lime_samples(kernel, surrogate, total, fit, error, COUNTED)

    share = weight * counts
    mean = share @ z / share.sum()
    centred = z - mean
    inverse = np.linalg.inv((centred * share[:, None]).T @ centred + alpha * np.eye(D))
    middle = (centred * np.square(weight)[:, None]).T @ centred / len(masks)
    predicted = z @ np.asarray(fit.coefficients[0], float) + float(fit.intercept[0])
    residual = share @ np.square(outputs[:, 0] - predicted) / share.sum()
    variance = residual * np.trace(inverse @ middle @ inverse) * COUNTED
    expected = COUNTED * variance / np.square(error).sum()
    np.testing.assert_allclose(found, [expected], rtol=2e-3)
