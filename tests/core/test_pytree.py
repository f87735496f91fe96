"""Laws of the dataclasses that are pytrees."""

import itertools

import jax
import pytest

import lime_jax as lj
from lime_jax.core.masks import exhaustive
from lime_jax.core.surrogates import banzhaf, kernels, shapley

METHODS = {
    "shapley": lj.shapley(),
    "banzhaf": lj.banzhaf(),
    "shapley with flat weights": lj.Method(
        lj.banzhaf().sampler, lj.banzhaf().kernel, lj.shapley().surrogate
    ),
    "lime": lj.lime(10),
    "lime without intercept": lj.lime(10, fit_intercept=False),
    "exhaustive": lj.exhaustive(),
}
WITHOUT_LEAVES = [
    shapley.Shapley(),
    banzhaf.Banzhaf(),
    kernels.Flat(),
    kernels.Shapley(),
    exhaustive.Exhaustive(),
]


@pytest.mark.parametrize("pair", list(itertools.combinations(METHODS, 2)), ids=" | ".join)
def test_two_methods_have_two_structures(pair):
    """Otherwise jit may run the program of one for the other."""
    one, other = (jax.tree.structure(METHODS[name]) for name in pair)
    assert one != other


@pytest.mark.parametrize("pair", list(itertools.combinations(WITHOUT_LEAVES, 2)))
def test_two_classes_have_two_structures(pair):
    one, other = map(jax.tree.structure, pair)
    assert one != other


@pytest.mark.parametrize("name", METHODS)
def test_there_and_back(name):
    leaves, structure = jax.tree.flatten(METHODS[name])
    again = jax.tree.unflatten(structure, leaves)
    assert type(again) is lj.Method
    assert jax.tree.flatten(again) == (leaves, structure)


def test_paths_name_the_attributes():
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(lj.lime(10))]
    assert ".surrogate.alpha" in paths
