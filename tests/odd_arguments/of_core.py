"""Core functions that compile little; run by test_odd_arguments.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from tests.odd_arguments.law import Case, keeps_the_law, leaves_are_finite

SIGNAL = np.linspace(-1, 1, 6, dtype=np.float32)
STEMS = np.arange(8, dtype=np.float32).reshape(2, 4)
COMPONENTS = lj.from_stems(STEMS)
KEY = jax.random.key(0)


def predict(batch):
    return jnp.tanh(batch).sum(axis=1, keepdims=True)


EXPLANATION = lj.explain(predict, COMPONENTS, lj.exhaustive())
FIELDS = lj.receptive_fields


def check_components(components, /, **arguments):
    assert isinstance(components.num_components, int) and components.num_components > 0
    assert components.sources.dtype in (jnp.float32, jnp.complex64)
    assert components.sources.shape[0] == components.num_sources
    assert np.broadcast_shapes(components.fill.shape, components.sources.shape)
    assert components.labels.dtype == jnp.int32 and components.labels.size >= 1
    assert components.labels.min() >= 0 and components.labels.max() < components.num_segments
    fill = arguments.get("fill")
    if np.all(np.isfinite(fill) if fill is not None else True):
        assert np.isfinite(components.fill).all()


def check_segments(labels, /, *, size, num_segments, **_):
    assert labels.shape == (size,) and labels.dtype == jnp.int32
    assert labels.min() == 0 and labels.max() < num_segments


def check_grid(labels, /, *, num_segments, shape):
    assert labels.shape == tuple(shape) and labels.dtype == jnp.int32
    np.testing.assert_array_equal(np.unique(labels), np.arange(int(np.prod(num_segments))))


def check_mask(mask, /, *, indices, num_components):
    assert mask.shape == (num_components,) and mask.dtype == bool
    np.testing.assert_array_equal(np.flatnonzero(mask), np.unique(np.asarray(indices, int)))


def check_method(method, /, **_):
    for leaf in jax.tree.leaves(method):
        assert np.ndim(leaf) == 0 and np.asarray(leaf).dtype.kind in "iuf"
        assert np.isfinite(leaf) and leaf >= 0
    hash(jax.tree.structure(method))


def check_fill(fill, /, *, signal, **_):
    assert np.isfinite(fill).all() or not np.isfinite(np.asarray(signal)).all()
    assert np.broadcast_shapes(fill.shape, np.shape(signal)) == np.shape(signal)


def check_top(result, /, **_):
    indices, coefficients = result
    np.testing.assert_array_equal(EXPLANATION.coefficients[0][indices], coefficients)


def check_share(share, /, **_):
    assert np.all((np.asarray(share) >= 0) & (np.asarray(share) <= 1))


def check_sizes(declared, /, **_):
    assert declared.example_size > 0 or declared.pad


def fill_case(function, **arguments):
    return Case(function, {"signal": SIGNAL, **arguments}, check_fill)


LIME = {"kernel_width": 0.25, "distance": "cosine", "alpha": 1.0}
AUTO = {
    **{"std_error": 0.1, "top_k": 2, "confidence": 0.9, "sign": "positive", "outputs": [0]},
    **{"equivalent_num_samples": 100, "max_evaluations": 1000},
}
WINDOW = {"window": 2, "stride": 1, "pad": 0}
LAYER = FIELDS.layer(predict, **WINDOW)

CASES = {
    "from_stems": Case(lj.from_stems, {"stems": STEMS, "fill": 0.0}, check_components),
    "from_labels": Case(
        lj.from_labels,
        {"signal": SIGNAL, "labels": np.arange(6) // 2, "num_components": 3, "fill": 0.0},
        check_components,
    ),
    "cross": Case(
        lj.cross,
        {"components": COMPONENTS, "labels": np.arange(4) // 2, "num_segments": 2},
        check_components,
    ),
    "equal_segments": Case(
        lj.equal_segments, {"size": 7, "num_segments": 3, "used": 5}, check_segments
    ),
    "grid": Case(lj.grid, {"num_segments": (2, 2), "shape": (4, 6)}, check_grid),
    "recompose": Case(
        lj.recompose, {"components": COMPONENTS, "mask": np.array([True, False])}, leaves_are_finite
    ),
    "mask_of": Case(lj.mask_of, {"indices": [0, 1], "num_components": 4}, check_mask),
    "lime": Case(
        lj.lime,
        {
            **{"num_samples": 100, "fit_intercept": True, "feature_selection": "auto"},
            **{"num_features": 2, **LIME},
        },
        check_method,
    ),
    "slime": Case(lj.slime, {"num_samples": 100}, check_method),
    "exhaustive": Case(lj.exhaustive, {**LIME, "equivalent_num_samples": 100}, check_method),
    "kernel_shap": Case(lj.kernel_shap, {"num_samples": 100}, check_method),
    "auto": Case(lj.auto, AUTO, check_method),
    "top_k": Case(
        lj.top_k, {"explanation": EXPLANATION, "output": 0, "k": 2, "sign": "positive"}, check_top
    ),
    "confidence_interval": Case(
        lj.confidence_interval, {"explanation": EXPLANATION, "level": 0.9}, leaves_are_finite
    ),
    "coefficient_difference": Case(
        lj.coefficient_difference,
        {"explanation": EXPLANATION, "first": 0, "second": 1, "level": 0.9},
        leaves_are_finite,
    ),
    "top_k_confidence": Case(
        lj.top_k_confidence, {"explanation": EXPLANATION, "k": 1, "sign": "positive"}, check_share
    ),
    "fills.zero": fill_case(lj.fills.zero),
    "fills.minimum": fill_case(lj.fills.minimum),
    "fills.maximum": fill_case(lj.fills.maximum),
    "fills.mean": fill_case(lj.fills.mean),
    "fills.uniform": fill_case(lj.fills.uniform, key=KEY),
    "fills.noise": fill_case(lj.fills.noise, key=KEY, offset=0.0, scale=1.0),
    "fills.shuffle": fill_case(lj.fills.shuffle, key=KEY),
    "metrics.u_n": Case(lj.metrics.u_n, {"tops": [[1, 2], [2, 3]]}),
    "metrics.n_ce": Case(lj.metrics.n_ce, {"top": [1, 2], "other": [2, 3]}),
    "metrics.agreement": Case(
        lj.metrics.agreement, {"tops": [[1, 2], [2, 3]], "top": [1, 2]}, check_share
    ),
    "metrics.complexity": Case(
        lj.metrics.complexity, {"explanation": EXPLANATION}, leaves_are_finite
    ),
    "metrics.stability": Case(
        lj.metrics.stability, {"explanations": [EXPLANATION] * 2, "k": 1, "sign": "positive"}
    ),
    "receptive_fields.windowed": Case(
        FIELDS.windowed,
        {"whole": predict, "backbone": predict, "head": "sum", "axis": 0, **WINDOW},
        check_sizes,
    ),
    "receptive_fields.layer": Case(FIELDS.layer, {"apply": predict, **WINDOW}),
    "receptive_fields.layerwise": Case(
        FIELDS.layerwise, {"whole": predict, "layers": [LAYER], "head": predict}
    ),
    "host_model": Case(
        lj.host_model, {"function": np.square, "sample_rate": 16_000, "output_names": ["a"]}
    ),
}


# These start programs of jax, one after another.
SLOW = ("fills.", "metrics.s", "mask_of", "confidence", "coefficient", "top_k_c", "recompose")


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.slow if name.startswith(SLOW) else (), id=name)
        for name, case in CASES.items()
    ],
)
def test_odd_arguments(case):
    keeps_the_law(case)
