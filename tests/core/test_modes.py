"""Modes of JAX and numbers of NumPy change no explanation."""

import contextlib

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import lime_jax as lj

D = 9
STEMS = lj.from_stems(np.eye(D, dtype=np.float32))
WEIGHTS = np.random.default_rng(0).normal(size=(D, 3)).astype(np.float32)
KEY = jax.random.key(0)
METHODS = {
    "lime": lj.lime(100),
    "table": lj.lime(2000),
    "exhaustive": lj.exhaustive(),
    "slime auto": lj.slime("auto"),
    "rounds": lj.lime(lj.auto(std_error=0.05, max_evaluations=600)),
    "kernel_shap": lj.kernel_shap(128),
    "shapley": lj.shapley(),
    "two samples": lj.lime(2),
    "forward": lj.lime(300, num_features=3),
    "highest": lj.lime(300, num_features=8),
    "lasso": lj.lime(300, feature_selection="lasso_path", num_features=3),
}


def network(inputs):
    return jnp.tanh(inputs @ WEIGHTS)


def explain(method):
    return lj.explain(network, STEMS, method, key=KEY, batch_size=64)


@contextlib.contextmanager
def x64():
    """With which numbers of default types are wider; that they meet float32 is no mistake."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


QUICK = ("lime", "rounds", "kernel_shap", "lasso")


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, id=name, marks=() if name in QUICK else pytest.mark.slow)
        for name, method in METHODS.items()
    ],
)
@pytest.mark.parametrize(
    "mode",
    [
        x64,
        lambda: jax.debug_nans(True),
        lambda: jax.transfer_guard("disallow"),
    ],
    ids=["x64", "debug_nans", "transfer_guard"],
)
def test_modes_of_jax_change_nothing(mode, method):
    expected = explain(method)
    with mode():
        found = explain(method)
        lj.top_k(found)
        lj.confidence_interval(found)
        lj.top_k_confidence(found)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, atol=2e-6, rtol=1e-4)


def test_nans_of_the_model_are_found_in_spite_of_it():
    with jax.debug_nans(True):
        found = lj.explain(lambda x: jnp.log(x - 0.5), STEMS, lj.lime(50), key=KEY)
    assert (np.asarray(found.status) == lj.Status.NONFINITE_OUTPUT).all()


def test_derivatives_of_selections_meet_no_nan():
    def coefficients(scale):
        predict = jax.tree_util.Partial(lambda scale, x: network(scale * x), scale)
        return lj.explain(predict, STEMS, METHODS["forward"], key=KEY).coefficients

    with jax.debug_nans(True):
        assert np.isfinite(jax.jacfwd(coefficients)(1.0)).all()


@pytest.mark.parametrize("number", [np.float32, np.float64, np.float16, np.asarray])
def test_numbers_of_numpy_are_numbers(number):
    expected = lj.explain(network, STEMS, lj.lime(100, kernel_width=0.5, alpha=2.0), key=KEY)
    method = lj.lime(np.int64(100), kernel_width=number(0.5), alpha=number(2.0))
    found = lj.explain(network, STEMS, method, key=KEY, batch_size=np.int32(64))
    np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=1e-6)


def test_indices_and_counts_of_numpy_are_taken():
    auto = lj.auto(top_k=np.int64(2), outputs=np.array([0, 2]), max_evaluations=np.int64(600))
    assert auto.targets.outputs == (0, 2) and auto.targets.top_k == 2
    found = lj.explain(network, STEMS, lj.lime(auto, num_features=np.int8(3)), key=KEY)
    assert lj.top_k(found, output=np.int64(1), k=np.int16(2))[0].shape == (2,)


def test_host_models_may_return_what_numpy_does_not_know():
    def half(x):
        return np.tanh(x @ WEIGHTS).astype(ml_dtypes.bfloat16)

    found = lj.explain(lj.host_model(half), STEMS, lj.shapley())
    expected = lj.explain(network, STEMS, lj.shapley())
    np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=0.02)


@pytest.mark.parametrize(("batch_size", "method"), [(16, lj.exhaustive()), (30, lj.lime(50))])
def test_host_models_get_just_the_batch_that_was_promised(batch_size, method):
    def fixed(x):
        assert len(x) == batch_size
        return np.tanh(x)

    d = 3 if batch_size == 16 else 8
    stems = lj.from_stems(np.eye(d, dtype=np.float32))
    found = lj.explain(lj.host_model(fixed), stems, method, key=KEY, batch_size=batch_size)
    assert not found.status.any()


@pytest.mark.parametrize("check_vma", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["table", "lime", "rounds", "lasso", "forward"])
def test_inside_the_users_shard_map(name, check_vma):
    mesh = jax.sharding.Mesh(jax.devices()[:1], ("devices",))
    spec = PartitionSpec("devices")

    def one(stems, key):
        components = lj.from_stems(stems)
        return lj.explain(network, components, METHODS[name], key=key, batch_size=64).coefficients

    share = jax.shard_map(
        jax.vmap(one), mesh=mesh, in_specs=spec, out_specs=spec, check_vma=check_vma
    )
    found = jax.jit(share)(jnp.eye(D)[None], KEY[None])
    np.testing.assert_allclose(found[0], explain(METHODS[name]).coefficients, atol=1e-5)


@pytest.mark.parametrize("explain_over", [lj.explain, lj.explain_batch])
def test_meshes_of_any_kind_of_axes(explain_over):
    components = STEMS if explain_over is lj.explain else jax.tree.map(lambda x: x[None], STEMS)
    results = [
        explain_over(network, components, lj.lime(100), key=KEY, mesh=mesh).coefficients
        for mesh in (None, jax.make_mesh((1,), ("devices",)))
    ]
    np.testing.assert_allclose(*results, atol=1e-6)
