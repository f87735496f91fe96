"""The benchmarks compare like with like, and the tables are made from what is stored."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from benchmarks import __main__ as command_line
from benchmarks import ceilings, numpy_reference, table, timing

ROOT = Path(__file__).parents[2]
IN_TESTS_ONLY = ("JAX_DISABLE_MOST_OPTIMIZATIONS", "XLA_FLAGS")


def test_the_reference_finds_the_coefficients_of_the_engine():
    signal = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    labels = np.asarray(lj.equal_segments(12, 4))[:, None]
    weights = np.random.default_rng(1).normal(size=(60, 2)).astype(np.float32) / 8
    masks = np.random.default_rng(2).random((300, 4)) < 0.5
    masks[0] = True

    def network(batch):
        return np.tanh(batch.reshape(len(batch), -1) @ weights)

    coefficients, intercepts = numpy_reference.explain(network, signal, labels, masks)
    components = lj.from_labels(signal, labels, 4)

    def on_device(batch):
        return jnp.tanh(batch.reshape(len(batch), -1) @ weights)

    _, outputs = lj.predict_neighbourhood(on_device, components, jnp.asarray(masks))
    fit = lj.fit_surrogate(jnp.asarray(masks), outputs, lj.slime())
    np.testing.assert_allclose(fit.coefficients, coefficients, atol=1e-5)
    np.testing.assert_allclose(fit.intercept, intercepts, atol=1e-5)


def test_the_tables_are_up_to_date():
    for path, text in table.texts().items():
        assert path.read_text(encoding="utf-8") == text, f"run python -m benchmarks.table: {path}"


def test_every_benchmark_has_a_section():
    assert set(table.SECTIONS) == set(command_line.NAMES)


def test_ratios_are_taken_turn_by_turn():
    calls = []
    work = {name: (lambda name=name: calls.append(name)) for name in ("a", "b")}
    found = timing.compare(work, "a", repeats=3)
    assert calls == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert found["a"]["ratio"]["median"] == 1 and found["b"]["repeats"] == 3


def test_a_result_says_what_it_was_measured_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ceilings, "run", lambda quick: {"copy_gb_per_s": 1.0})
    command_line.run_one("ceilings", tmp_path, quick=True)
    result = json.loads((tmp_path / "ceilings.json").read_text())
    assert result["machine"]["platform"] == jax.devices()[0].platform
    assert result["machine"]["versions"]["jax"] == jax.__version__
    assert result["numbers"]["copy_gb_per_s"] > 0
    assert "ceilings" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["ceilings.json"]


WITHOUT = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in %r:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
sys.argv = ["benchmarks", "--quick", "--only", "ceilings", "--out", %r]
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "jaxtyping" else real(name, *rest)
from benchmarks.__main__ import main
main()
import benchmarks.slime_70000, benchmarks.overhead, benchmarks.dataset, benchmarks.peers
"""


@pytest.mark.slow
def test_jax_numpy_and_flax_are_enough(tmp_path):
    absent = ("jaxtyping", "librosa", "soundfile", "soxr", "scipy", "matplotlib", "tyro")
    code = WITHOUT % (absent, str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ceilings.json").exists()


@pytest.mark.slow
def test_a_device_that_is_not_there_is_refused():
    command = [sys.executable, "-m", "benchmarks", "--device", "tpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "jax found only" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in command_line.NAMES])
def test_runs_in_little_time(name, tmp_path):
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", name, "--out", tmp_path]
    # Tests compile quickly; here programs run long enough to be compiled well, as for users.
    as_usual = {k: v for k, v in os.environ.items() if k not in IN_TESTS_ONLY}
    done = subprocess.run(
        command, cwd=ROOT, env=as_usual, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / f"{name}.json").read_text())
    rows = list(importlib.import_module(f"benchmarks.{name}").rows(result["numbers"]))
    assert len(rows) > 1 and len({len(row) for row in rows}) == 1
