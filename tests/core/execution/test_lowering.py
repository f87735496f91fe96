"""Every program can be made for the accelerators that it will run on; none is needed for that."""

import importlib
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax import core
from tests.laws import EXECUTORS, METHOD, components_of, loudest

PLATFORMS = ("cuda", "rocm", "tpu")
RECIPES = {
    "lime": lj.lime(300),
    "lime, every row": lj.lime(100),
    "lime, forward selection": lj.lime(300, feature_selection="forward_selection", num_features=2),
    "lime, lasso path": lj.lime(300, feature_selection="lasso_path", num_features=2),
    "lime, highest weights": lj.lime(300, feature_selection="highest_weights", num_features=2),
    "slime": lj.slime(400),
    "exhaustive": lj.exhaustive(),
    "kernel_shap": lj.kernel_shap(60),
    "shapley": lj.shapley(),
    "banzhaf": lj.banzhaf(),
}


def modules():
    for module in pkgutil.walk_packages(core.__path__, "lime_jax.core."):
        yield importlib.import_module(module.name)


@pytest.fixture
def programs(monkeypatch):
    """What jit is called with while a test runs: functions, arguments and options."""
    calls = []

    def record(function):
        def call(*arguments, **options):
            is_inside = any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(arguments))
            if not is_inside:
                calls.append((function, arguments, options))
            return function(*arguments, **options)

        return call

    for module in modules():
        for name, value in vars(module).items():
            if hasattr(value, "trace") and hasattr(value, "lower"):
                monkeypatch.setattr(module, name, record(value))
    return calls


def exported(function, arguments, options, platforms):
    """What is no array stays what it is: sizes, meshes and other static arguments."""
    leaves, structure = jax.tree.flatten((arguments, options))
    is_array = [isinstance(leaf, (jax.Array, np.ndarray)) for leaf in leaves]

    def call(*arrays):
        given = iter(arrays)
        filled = [next(given) if k else x for k, x in zip(is_array, leaves, strict=True)]
        arguments, options = jax.tree.unflatten(structure, filled)
        return jax.tree.leaves(function(*arguments, **options))

    arrays = [leaf for k, leaf in zip(is_array, leaves, strict=True) if k]
    return jax.export.export(jax.jit(call), platforms=platforms)(*arrays)


@pytest.mark.slow
@pytest.mark.parametrize("way", EXECUTORS.values(), ids=EXECUTORS)
def test_every_executor_can_be_lowered(way, programs):
    way.explain(0, METHOD)
    assert programs or way.inside is jax.jit
    for program in programs:
        assert exported(*program, PLATFORMS).platforms == PLATFORMS


@pytest.mark.slow
@pytest.mark.parametrize("method", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_recipe_can_be_exported(method, platform):
    def explain(signal, key):
        return lj.explain(loudest, components_of(signal), method, key=key).coefficients

    program = exported(explain, (jnp.ones(24), jax.random.key(0)), {}, (platform,))
    assert program.platforms == (platform,)
    assert [x.shape for x in program.out_avals] == [(2, 8)]


@pytest.mark.slow
@pytest.mark.parametrize("platform", PLATFORMS)
def test_rounds_until_targets_are_met_can_be_exported(platform):
    method = lj.lime(lj.auto(std_error=0.01, max_evaluations=20_000))

    def explain(stems, key):
        return lj.explain(jnp.tanh, lj.from_stems(stems), method, key=key).std_error

    program = exported(explain, (jnp.ones((13, 3)), jax.random.key(0)), {}, (platform,))
    assert program.platforms == (platform,)
