"""Programs of ever new shapes do not fill a process."""

import gc
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.core.execution import kept_programs
from lime_jax.core.execution.compiled import explain_one
from tests import programs

MAPS = Path("/proc/self/maps")


def explain(size):
    signal = np.random.default_rng(0).normal(size=size).astype(np.float32)
    components = lj.from_labels(signal, lj.equal_segments(size, 6), 6)
    return lj.explain(lambda x: jnp.tanh(x)[:, :2], components, lj.lime(300), key=jax.random.key(0))


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    kept_programs.clear()
    monkeypatch.setattr(kept_programs, "_MOST_PROBLEMS", 3)
    yield
    kept_programs.clear()


def num_maps():
    gc.collect()
    return len(MAPS.read_text().splitlines())


@pytest.mark.skipif(not MAPS.exists(), reason="counted under Linux")
def test_memory_maps_do_not_grow_with_lengths():
    for size in range(1000, 1003):
        explain(size)
    after_three = num_maps()
    for size in range(1003, 1011):
        explain(size)
    assert num_maps() < 1.2 * after_three


def test_programs_that_are_used_again_are_kept():
    for size in (2000, 2001, 2002):
        explain(size)
    with programs.counted() as made:
        for size in (2000, 2001, 2002):
            explain(size)
    assert not made


def test_programs_go_where_maps_are_few(monkeypatch):
    explain(3000)
    assert explain_one._cache_size() == 1
    monkeypatch.setattr(kept_programs, "_SHARE_OF_MAPS", 0.0)
    explain(3001)
    assert explain_one._cache_size() == 1


def test_another_operating_system_counts_problems_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(kept_programs, "_MAPS", tmp_path / "nowhere")
    assert not kept_programs._has_little_room()
    explain(4000)
