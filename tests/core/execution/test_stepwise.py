"""Heavy models are evaluated step by step outside of a loop: the same explanations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.core.execution import compiled, stepwise
from lime_jax.core.problem import Problem


def network(inputs):
    return jnp.tanh(inputs)


@pytest.fixture
def heavy(monkeypatch):
    def make(*, heavy):
        monkeypatch.setattr(stepwise, "HEAVY_FLOPS", 0.0 if heavy else np.inf)

    return make


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "batch_size", "num_items"),
    [
        (lj.lime(200), 32, 1),
        (lj.shapley(), 7, 1),
        (lj.lime(200), 500, 5),
        pytest.param(lj.lime(200), 7, 5, marks=pytest.mark.slow),
        pytest.param(lj.shapley(), 500, 5, marks=pytest.mark.slow),
    ],
)
def test_steps_explain_like_a_single_program(heavy, method, batch_size, num_items):
    stems = jax.random.normal(jax.random.key(0), (num_items, 8, 3))
    components = jax.vmap(lj.from_stems)(stems)

    def explain():
        return lj.explain_batch(
            network, components, method, key=jax.random.key(1), batch_size=batch_size
        )

    heavy(heavy=False)
    whole = explain()
    heavy(heavy=True)
    calls = compiled.explain_many._cache_size()
    steps = explain()
    assert compiled.explain_many._cache_size() == calls
    for a, b in zip(jax.tree.leaves(steps), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.slow
def test_a_hundred_heavy_items_compile_one_program(heavy):
    heavy(heavy=True)
    in_steps, at_once = stepwise._step._cache_size(), stepwise._run_group_at_once._cache_size()
    for seed in range(100):
        key = jax.random.key(seed)
        stems = lj.from_stems(jax.random.normal(key, (6, 4)))
        lj.explain(network, stems, lj.lime(200), key=key)
        if seed < 3:
            lj.explain(network, stems, lj.lime(200), key=key, batch_size=40)
    assert stepwise._run_group_at_once._cache_size() - at_once == 1
    assert stepwise._step._cache_size() - in_steps == 2, "steps and a shorter last one"


def test_a_step_is_heavy_by_all_masks_in_it(monkeypatch):
    """Four masks of one item: eight million operations."""
    product = jax.tree_util.Partial(lambda w, x: x @ w, jnp.ones((1000, 1000)))
    problem = Problem.of_item(product, lj.from_stems(jnp.ones((2, 1000))), lj.shapley())
    for limit, heavy in ((7.9e6, True), (8.1e6, False)):
        monkeypatch.setattr(stepwise, "HEAVY_FLOPS", limit)
        assert stepwise.is_heavy(problem, 100) == heavy


def test_the_work_of_a_step_is_counted():
    product = jax.tree_util.Partial(lambda w, x: x @ w, jnp.ones((1000, 1000)))
    problem = Problem.of_item(product, lj.from_stems(jnp.ones((2, 1000))), lj.shapley())
    # 2 million operations per input
    assert stepwise.flops_of_step(problem, 1, 1100, 1100) == pytest.approx(2.2e9, rel=0.01)
