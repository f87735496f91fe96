"""Readout and metrics on hand examples."""

import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax import metrics


def linear(coefficients):
    components = lj.from_stems(jnp.asarray(coefficients, jnp.float32)[:, None])

    def predict(inputs):
        return inputs

    return predict, components, lj.explain(predict, components, lj.exhaustive(alpha=0.0))


@pytest.mark.parametrize(
    ("sign", "expected"),
    [("positive", [3, 0, 2]), ("negative", [1, 4]), ("absolute", [1, 3, 4])],
)
def test_top_k_takes_the_strongest_of_a_sign(sign, expected):
    _, _, explanation = linear([1.0, -5.0, 0.5, 4.0, -2.0])
    indices, coefficients = lj.top_k(explanation, k=3, sign=sign)
    assert indices.tolist() == expected
    np.testing.assert_allclose(coefficients, explanation.coefficients[0][indices])


def test_top_k_can_be_empty():
    _, _, explanation = linear([-1.0, -5.0])
    assert lj.top_k(explanation)[0].shape == (0,)
    assert not lj.mask_of(lj.top_k(explanation)[0], 2).any()


def test_top_k_names_mistakes():
    _, _, explanation = linear([1.0, 2.0])
    with pytest.raises(ValueError, match="did you mean 'positive'"):
        lj.top_k(explanation, sign="positiv")
    with pytest.raises(ValueError, match="index below 1, got 1"):
        lj.top_k(explanation, output=1)


def test_u_n_counts_the_union():
    assert metrics.u_n([[1, 2, 3]] * 5) == 3
    assert metrics.u_n([jnp.array([1, 2, 3]), np.array([4, 5, 6])]) == 6


def test_n_ce_ignores_order():
    assert metrics.n_ce([4, 3, 6], jnp.array([6, 4, 9])) == 2
    assert metrics.n_ce([4, 3, 6], [1, 0, 9]) == 0


def test_lists_may_differ_in_length():
    short, long = jnp.array([1, 2]), jnp.array([2, 1, 3])
    assert metrics.n_ce(short, long) == 2
    assert metrics.u_n([short, long]) == 3
    assert metrics.agreement([long, long], short) == 0
    assert metrics.agreement([short[::-1], short], short) == 1


@pytest.mark.slow
def test_complexity_is_the_entropy_in_units_of_its_maximum():
    *_, explanation = linear([1.0, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(metrics.complexity(explanation), 1, atol=1e-5)
    *_, explanation = linear([0.0, -3.0, 0.0])
    np.testing.assert_allclose(metrics.complexity(explanation), 0, atol=1e-3)
    *_, explanation = linear([2.0])
    np.testing.assert_allclose(metrics.complexity(explanation), 0, atol=1e-6)


@pytest.mark.parametrize(
    ("coefficients", "expected"),
    [
        ([0.07193135, -0.12767796, 0.08225256, 0.03516561, -0.30901409], 0.83865014),
        ([0.08050212, -0.16544513, 0.09265553, 0.03252076, -0.37802935], 0.81584882),
    ],
)
def test_complexity_is_that_of_audiolime(coefficients, expected):
    *_, explanation = linear(coefficients)
    np.testing.assert_allclose(metrics.complexity(explanation), expected, atol=2e-5)


def test_insertion_and_deletion_follow_the_order_of_the_coefficients():
    predict, components, explanation = linear([1.0, 3.0, 2.0])
    insertion = metrics.insertion_curve(predict, components, explanation)
    deletion = metrics.deletion_curve(predict, components, explanation)
    np.testing.assert_allclose(insertion, [0, 3, 5, 6], atol=1e-5)
    np.testing.assert_allclose(deletion, [6, 3, 1, 0], atol=1e-5)
