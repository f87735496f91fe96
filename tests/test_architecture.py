"""The structure of the code, tested as a sentence each."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ROOT = REPOSITORY / "lime_jax"
# A module imports from its own package and from those before it.
LAYERS = (
    "errors", "storage", "machine", "core", "audio", "models", "separation", "examples", "outputs",
    "settings", "runs", "report", "lemons", "commands", "cli",
)  # fmt: skip
# Within core, the modules that lie beside these packages hold records or put parts together.
ROOMS_OF_CORE = ("masks", "surrogates", "execution", "receptive_fields")


def modules():
    """Dotted names of all modules of the package, with their files."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imported_modules(nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_of(path):
    """All that a module imports, inside of functions, too."""
    return imported_modules(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def test_every_module_has_a_layer():
    layers = {path.relative_to(ROOT).parts[0].removesuffix(".py") for _, path in modules()}
    assert layers - {"__init__"} == set(LAYERS)


def test_imports_point_to_earlier_layers():
    for rank, layer in enumerate(LAYERS):
        for path in [*(ROOT / layer).rglob("*.py"), *ROOT.glob(f"{layer}.py")]:
            for name in imports_of(path):
                package, *rest = name.split(".")
                if package == "lime_jax" and rest and rest[0] in LAYERS:
                    assert LAYERS.index(rest[0]) <= rank, f"{path}: {layer} may not import {name}"


def test_rooms_of_core_import_from_earlier_rooms():
    for rank, room in enumerate(ROOMS_OF_CORE):
        for path in (ROOT / "core" / room).rglob("*.py"):
            for name in imports_of(path):
                if name.startswith("lime_jax.core.") and name.split(".")[2] in ROOMS_OF_CORE:
                    other = name.split(".")[2]
                    assert ROOMS_OF_CORE.index(other) <= rank, f"{path} may not import {name}"


def test_imports_make_no_circle():
    names = dict(modules())
    graph = {
        name: {other for other in imports_of(path) if other in names and other != name}
        for name, path in names.items()
    }
    # A package imports its modules to show them; they do not import it.
    for name, others in graph.items():
        graph[name] = {other for other in others if not name.startswith(f"{other}.")}
    graphlib.TopologicalSorter(graph).prepare()


def test_the_command_line_library_is_imported_by_commands_only():
    for name, path in modules():
        if "tyro" in set(imports_of(path)):
            assert name.startswith(("lime_jax.commands", "lime_jax.cli")), name


def test_core_needs_only_jax_and_numpy():
    # jax itself needs scipy.
    allowed = {"jax", "jaxtyping", "lime_jax", "numpy", "scipy", *sys.stdlib_module_names}
    for path in (ROOT / "core").rglob("*.py"):
        outside = {name.split(".")[0] for name in imports_of(path)} - allowed
        assert not outside, f"{path} imports {outside}"


HEAVY = {"flax", "librosa", "matplotlib", "orbax", "rich", "scipy", "skimage", "soundfile"}
LOADED = "import sys, jax, numpy; jax_alone = set(sys.modules); import lime_jax; "


def test_import_loads_nothing_heavy_beyond_jax():
    code = LOADED + "print(*(set(sys.modules) - jax_alone))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert not HEAVY & set(loaded.decode().split())


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


def sources():
    for folder in ("lime_jax", "scripts", "benchmarks"):
        yield from (REPOSITORY / folder).rglob("*.py")


def test_no_module_is_longer_than_a_reader_wants():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert not {path: length for path, length in lengths.items() if length > 400}


def test_no_function_is_longer_than_a_screen():
    """Without their docstrings, which may say as much as they need."""
    long = [
        f"{path}: {node.name} has {length} lines"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (length := lines_of(node)) > 50
    ]
    assert not long


def lines_of(function):
    length = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
        length -= first.end_lineno - first.lineno + 1
    return length


def test_no_lambda_has_a_name():
    named = [
        f"{path}:{node.lineno}"
        for path in (*sources(), *Path(__file__).parent.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Lambda)
        and isinstance(node.targets[0], ast.Name)
    ]
    assert not named
