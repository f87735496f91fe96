"""Core functions that compile a program for new shapes; run by test_odd_arguments.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from tests.odd_arguments.law import Case, is_ours, keeps_the_law

pytestmark = pytest.mark.slow

COMPONENTS = lj.from_stems(np.arange(8, dtype=np.float32).reshape(2, 4))
ITEMS = jax.vmap(lj.from_stems)(jnp.arange(16.0).reshape(2, 2, 4))
MASKS = np.array([[True, True], [True, False], [False, True], [False, False]])
KEY = jax.random.key(0)


def predict(batch):
    return jnp.tanh(batch).sum(axis=1, keepdims=True)


LIME, EXACT = lj.lime(16), lj.exhaustive()
EXPLANATION = lj.explain(predict, COMPONENTS, EXACT)
MEANS = {"key": KEY, "batch_size": 2, "precision": None, "mesh": None}
TOLD = {**MEANS, "progress": None}
MODEL = lj.receptive_fields.windowed(
    predict, backbone=lambda x: predict(x)[:, 0], head=lambda x: x.sum(axis=1)[:, None],
    window=1, stride=1,
)  # fmt: skip


def check_explanation(explanation, /, **_):
    if isinstance(explanation, lj.FillAverage):
        explanation = explanation.explanation
    is_ok = np.asarray(explanation.status) == lj.Status.OK
    assert np.isfinite(np.asarray(explanation.coefficients)[is_ok]).all()
    assert np.isfinite(np.asarray(explanation.prediction)[is_ok]).all()


def explain_stream(**arguments):
    return list(lj.explain_stream(**arguments))


def check_all(explanations, /, **_):
    for explanation in explanations:
        check_explanation(explanation)


def check_outputs(result, /, masks, **_):
    assert result[1].shape[0] == len(masks) and np.isfinite(result[1]).all()


def check_fit(fit, /, masks, outputs, counts, **_):
    assert fit.coefficients.shape == (np.shape(outputs)[1], np.shape(masks)[1])
    if np.isfinite(outputs).all() and counts is None:
        assert np.isfinite(fit.coefficients).all()


ONE = {"predict": predict, "components": COMPONENTS, "method": LIME}
CASES = {
    "explain": Case(lj.explain, {**ONE, **TOLD}, check_explanation),
    "plan": Case(lj.plan, {**ONE, "fills": None, **TOLD}),
    "explain_batch": Case(
        lj.explain_batch, {**ONE, "components": ITEMS, **MEANS}, check_explanation
    ),
    "explain_stream": Case(
        explain_stream, {**ONE, "components": [COMPONENTS] * 3, "num_items": 2, **MEANS}, check_all
    ),
    "explain_over_fills": Case(
        lj.explain_over_fills, {**ONE, "fills": [0.0, 1.0], **TOLD}, check_explanation
    ),
    "predict_neighbourhood": Case(
        lj.predict_neighbourhood,
        {**ONE, "masks": MASKS, "batch_size": 2, "precision": None} | {"method": None},
        check_outputs,
    ),
    "fit_surrogate": Case(
        lj.fit_surrogate,
        {"masks": MASKS, "outputs": np.ones((4, 1)), "method": EXACT, "counts": None},
        check_fit,
    ),
    "map_linear": Case(lj.map_linear, {"linear": lambda x: 2 * x, "components": COMPONENTS}),
    "insertion_curve": Case(
        lj.metrics.insertion_curve,
        {"predict": predict, "components": COMPONENTS, "explanation": EXPLANATION, "output": 0},
    ),
    "deletion_curve": Case(
        lj.metrics.deletion_curve,
        {"predict": predict, "components": COMPONENTS, "explanation": EXPLANATION, "output": 0},
    ),
    "check_receptive_field": Case(
        lj.receptive_fields.check_receptive_field,
        {"predict": MODEL, "inputs": np.ones((2, 4), np.float32)},
    ),
}
del CASES["predict_neighbourhood"].arguments["method"]


@pytest.mark.parametrize("name", CASES)
def test_odd_arguments(name):
    keeps_the_law(CASES[name])


class Lookalike:
    shape, dtype, ndim = (4, 1), np.dtype("float32"), 2


RETURNS = {
    "nothing": lambda x: None,
    "a number": lambda x: 1.0,
    "a text": lambda x: "loud",
    "a list": lambda x: [[1.0]],
    "a pair": lambda x: (x, x),
    "one axis": lambda x: x.sum(axis=1),
    "three axes": lambda x: x[:, :, None],
    "no outputs": lambda x: x[:, :0],
    "complex": lambda x: jax.lax.complex(x, x),
    "a key": lambda x: jax.random.split(KEY, (len(x), 2)),
    "a lookalike": lambda x: Lookalike(),
    "too few rows": lambda x: x[:1],
}


@pytest.mark.parametrize("wrap", [lambda f: f, lj.host_model], ids=["jax", "host"])
@pytest.mark.parametrize("name", RETURNS)
def test_odd_outputs(name, wrap):
    model = wrap(RETURNS[name])
    calls = {
        "explain": lambda: lj.explain(model, COMPONENTS, EXACT),
        "predict": lambda: lj.predict_neighbourhood(model, COMPONENTS, MASKS),
        "linear": lambda: lj.map_linear(RETURNS[name], COMPONENTS),
        "batch": lambda: lj.explain_batch(model, ITEMS, EXACT),
        "fills": lambda: lj.explain_over_fills(model, COMPONENTS, [0.0, 1.0], EXACT),
    }
    for call, function in calls.items():
        if call == "linear" and name in ("one axis", "three axes", "no outputs", "complex"):
            continue  # what is linear may return
        with pytest.raises(Exception) as caught:
            function()
        assert is_ours(caught.value), f"not in our words: {caught.value!r}"
