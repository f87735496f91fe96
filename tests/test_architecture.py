"""The structure of the code, tested as a sentence each."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "lime_jax"
ORDER = ["core", "audio", "models", "separation", "runs", "report", "experiments", "demo"]


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_point_downwards():
    for rank, layer in enumerate(ORDER):
        for path in (ROOT / layer).rglob("*.py"):
            for name in imported_modules(path):
                package, *rest = name.split(".")
                if package == "lime_jax" and rest and rest[0] in ORDER:
                    assert ORDER.index(rest[0]) <= rank, f"{path}: {layer} may not import {name}"


def test_core_needs_only_jax_and_numpy():
    # jax itself needs scipy.
    allowed = {"jax", "jaxtyping", "lime_jax", "numpy", "scipy", *sys.stdlib_module_names}
    for path in (ROOT / "core").glob("*.py"):
        outside = {name.split(".")[0] for name in imported_modules(path)} - allowed
        assert not outside, f"{path} imports {outside}"


def test_import_is_light():
    heavy = {"flax", "librosa", "matplotlib", "orbax", "rich", "scipy", "skimage", "soundfile"}
    code = "import sys, lime_jax; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    with_jax = subprocess.run(
        [sys.executable, "-c", code.replace("lime_jax", "jax, numpy")],
        capture_output=True,
        check=True,
    ).stdout
    assert not heavy & (set(loaded.decode().split()) - set(with_jax.decode().split()))


IMPORT_TIME = """
import time, jax, numpy
start = time.perf_counter()
import lime_jax
print(time.perf_counter() - start)
"""


@pytest.mark.slow
def test_import_takes_under_a_second_beyond_jax():
    command = [sys.executable, "-c", IMPORT_TIME]
    runs = [subprocess.run(command, capture_output=True, check=True).stdout for _ in range(2)]
    assert min(map(float, runs)) < 1


def test_no_module_is_longer_than_a_reader_wants():
    long = {p: n for p in ROOT.rglob("*.py") if (n := len(p.read_text().splitlines())) > 400}
    assert not long
