"""How many small faults in the engine do the tests find?

    uv run --with coverage python -m scripts.testing.mutants draw    # chooses them anew
    uv run --with coverage python -m scripts.testing.mutants run     # 20 minutes on two cores
    uv run --with coverage python -m scripts.testing.mutants run --of executors

`draw` writes `mutants.json` beside this file: one changed line in each of 64 functions of
`lime_jax/core`, drawn with a fixed seed; with `--of executors` another list, of 60 functions in the
files that state, choose and carry out problems. `run` puts them in one at a time, in copies of the
repository, and runs the default tests that reach the function. It prints every mutant that no test
kills and writes all verdicts to `--out`.
"""

import argparse
import ast
import concurrent.futures
import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENGINE, TESTS, LAWS = "lime_jax/core", "tests/core", "tests/laws.py"
SEED = 2026
# What is drawn from, and how many.
KINDS = {
    "core": (("*.py", "*/*.py"), 64),
    "executors": (
        (
            "problem.py", "plan.py", "choose.py", "explain.py", "stages.py", "over_fills.py",
            "execution/*.py", "masks/stopping.py", "masks/sequential.py",
            "receptive_fields/*_executor.py", "receptive_fields/window_plans.py",
            "receptive_fields/layer_columns.py",
        ),
        60,
    ),
}  # fmt: skip
_MOST_SECONDS = 600

_COMPARISONS = {"Lt": "<=", "LtE": "<", "Gt": ">=", "GtE": ">", "Eq": "!=", "NotEq": "=="}
_OPERATORS = {"Add": "-", "Sub": "+", "Mult": "/", "Div": "*", "FloorDiv": "*", "Mod": "+"}
_TEXTS = {"Lt": "<", "LtE": "<=", "Gt": ">", "GtE": ">=", "Eq": "==", "NotEq": "!="} | {
    "Add": "+", "Sub": "-", "Mult": "*", "Div": "/", "FloorDiv": "//", "Mod": "%"
}  # fmt: skip
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum"}


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One changed line.

    Attributes:
      file: its path from the root of the repository.
      function: with the names of its classes and outer functions, separated by dots.
      before: the line, which stands once in that function.
      after: what it becomes.
    """

    file: str
    function: str
    before: str
    after: str


def draw(root: Path, kind: str = "core", seed: int = SEED) -> list[Mutant]:
    """Draws mutants, one of every function that is drawn, in the order of files and names."""
    generator = random.Random(seed)
    patterns, number = KINDS[kind]
    choices = []
    for path in sorted({path for pattern in patterns for path in (root / ENGINE).glob(pattern)}):
        lines = path.read_text(encoding="utf-8").splitlines()
        for name, function in functions(ast.parse("\n".join(lines))):
            mutants = list(_mutants(str(path.relative_to(root)), name, function, lines))
            choices += [generator.choice(mutants)] if mutants else []
    drawn = generator.sample(choices, number)
    return sorted(drawn, key=lambda mutant: (mutant.file, mutant.function))


def list_of(kind: str) -> Path:
    """Returns where the list of drawn mutants is kept."""
    name = "mutants.json" if kind == "core" else f"mutants_of_{kind}.json"
    return Path(__file__).with_name(name)


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yields the functions and methods of a module with their full names, no nested ones."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{prefix}{node.name}.")


def mutated(text: str, mutant: Mutant) -> str:
    """Returns the source with the mutant's line in place of the original.

    Raises:
      LookupError: if the function does not hold that line once.
    """
    lines = text.splitlines(keepends=True)
    spans = [
        range(function.lineno - 1, function.end_lineno or 0)
        for name, function in functions(ast.parse(text))
        if name == mutant.function
    ]
    rows = [row for span in spans for row in span if lines[row].strip() == mutant.before]
    if len(rows) != 1:
        raise LookupError(f"{mutant.file}: {mutant.function} has {len(rows)} × {mutant.before!r}")
    lines[rows[0]] = lines[rows[0]].replace(mutant.before, mutant.after)
    return "".join(lines)


def _mutants(file: str, name: str, function: ast.FunctionDef, lines: list[str]) -> Iterator[Mutant]:
    body = [line.strip() for line in lines[function.lineno - 1 : function.end_lineno]]
    for statement in function.body:
        for node in _changeable(statement):
            for start, end, text in _changes(node, lines):
                line = lines[node.lineno - 1]
                before = line.strip()
                after = (line[:start] + text + line[end:]).strip()
                if body.count(before) == 1:
                    yield Mutant(file, name, before, after)


def _changeable(statement: ast.AST) -> Iterator[ast.AST]:
    """Yields what is computed, without docstrings, annotations and the words of errors."""
    if isinstance(statement, (ast.Raise, ast.Assert)):
        return
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return
    yield statement
    for field, value in ast.iter_fields(statement):
        if field in ("annotation", "returns", "slice"):  # another index is no fine fault
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _changeable(child)


def _changes(node: ast.AST, lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """Yields columns and new text for a node on a single line."""
    if getattr(node, "lineno", 0) != getattr(node, "end_lineno", 1):
        return
    match node:
        case ast.Compare(left=left, ops=[operator], comparators=[right]):
            yield from _operator(operator, left, right, lines, _COMPARISONS)
        case ast.BinOp(left=left, op=operator, right=right):
            yield from _operator(operator, left, right, lines, _OPERATORS)
        case ast.Constant(value=bool(value)):
            yield node.col_offset, node.end_col_offset or 0, str(not value)
        case ast.Constant(value=int(value)):
            yield node.col_offset, node.end_col_offset or 0, str(value + 1)
        case ast.Constant(value=float(value)):
            yield node.col_offset, node.end_col_offset or 0, str(value * 2 or 1.0)
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert() as operator):
            length = len("not ") if isinstance(operator, ast.Not) else 1
            yield node.col_offset, node.col_offset + length, ""
        case ast.Name(id=name) if name in _NAMES:
            yield node.col_offset, node.end_col_offset or 0, _NAMES[name]
        case ast.Attribute(attr=name) if name in _NAMES:
            end = node.end_col_offset or 0
            yield end - len(name), end, _NAMES[name]


def _operator(
    operator: ast.AST, left: ast.expr, right: ast.expr, lines: list[str], table: dict[str, str]
) -> Iterator[tuple[int, int, str]]:
    kind = type(operator).__name__
    if kind not in table or left.end_lineno != right.lineno:
        return
    start, end = left.end_col_offset or 0, right.col_offset
    between = lines[right.lineno - 1][start:end]
    if (place := between.find(_TEXTS[kind])) >= 0:
        yield start + place, start + place + len(_TEXTS[kind]), table[kind]


def test_files(root: Path) -> dict[str, list[str]]:
    """Which test files reach each line: `file:line` to names of files, the quickest first."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        settings = Path(folder) / "settings"
        settings.write_text("[run]\ndynamic_context = test_function\n", encoding="utf-8")
        command = [sys.executable, "-m", "coverage", "run", f"--rcfile={settings}"]
        command += [f"--data-file={data}", f"--source={ENGINE}", "-m", "pytest", "-q", "-n0"]
        started = time.perf_counter()
        subprocess.run([*command, TESTS, LAWS, ENGINE], cwd=root, check=True, stdout=sys.stderr)
        print(f"the tests took {time.perf_counter() - started:.0f} s", file=sys.stderr)
        script = (
            "import coverage, json, sys; data = coverage.CoverageData(sys.argv[1]); data.read();"
            "print(json.dumps({f: {l: c for l, c in data.contexts_by_lineno(f).items()}"
            " for f in data.measured_files()}))"
        )
        command = [sys.executable, "-c", script, str(data)]
        text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    reached: dict[str, list[str]] = {}
    for file, lines in json.loads(text).items():
        name = str(Path(file).relative_to(root.resolve()))
        for line, contexts in lines.items():
            modules = {context for context in contexts if context}
            reached[f"{name}:{line}"] = sorted(modules)
    return reached


def run(root: Path, mutants: list[Mutant], reached: dict[str, list[str]]) -> list[dict]:
    """Tries the mutants, as many at a time as there are processors."""
    workers = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(folder) / str(number) / "tree" for number in range(workers)]
        for copy in copies:
            ignore = shutil.ignore_patterns(".git", ".venv", "__pycache__", "results", ".*_cache")
            shutil.copytree(root, copy, ignore=ignore)
            if (shared := root.resolve().parent / "shared").exists():
                (copy.parent / "shared").symlink_to(shared)
        free, lock = list(copies), threading.Lock()

        def attempt(mutant: Mutant) -> dict:
            with lock:
                copy = free.pop()
            try:
                verdict = _attempt(copy, mutant, _files_for(root, mutant, reached))
            finally:
                with lock:
                    free.append(copy)
            print(json.dumps(verdict), file=sys.stderr, flush=True)
            return verdict

        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            return list(pool.map(attempt, mutants))


def _files_for(root: Path, mutant: Mutant, reached: dict[str, list[str]]) -> list[str]:
    """The test files whose tests run a line of the mutant's function, and its own examples."""
    tree = ast.parse((root / mutant.file).read_text(encoding="utf-8"))
    (function,) = [node for name, node in functions(tree) if name == mutant.function]
    lines = range(function.lineno + 1, (function.end_lineno or 0) + 1)
    contexts = {name for line in lines for name in reached.get(f"{mutant.file}:{line}", ())}
    names = {context.split(".")[-3 if ".Test" in context else -2] for context in contexts}
    tests = [*(root / TESTS).rglob("test_*.py"), root / LAWS]
    files = [path for path in tests if path.stem in names]
    own = Path(mutant.file).stem
    files.sort(key=lambda path: (path.stem != f"test_{own}", path.stat().st_size))
    return [mutant.file, *(str(path.relative_to(root)) for path in files)]


def _attempt(copy: Path, mutant: Mutant, files: list[str]) -> dict:
    path = copy / mutant.file
    original = path.read_text(encoding="utf-8")
    path.write_text(mutated(original, mutant), encoding="utf-8")
    start = time.perf_counter()
    try:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider"]
        environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [*command, *files], cwd=copy, env=environment, capture_output=True, text=True,
            timeout=_MOST_SECONDS,
        )  # fmt: skip
        verdict = {0: "survived", 1: "killed"}.get(done.returncode, "killed")
        last = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    except subprocess.TimeoutExpired:
        verdict, last = "killed", ["timeout"]
    finally:
        path.write_text(original, encoding="utf-8")
    seconds = round(time.perf_counter() - start, 1)
    by = last[0].split(" - ")[0][:120] if last else ""
    return dataclasses.asdict(mutant) | {"verdict": verdict, "by": by, "seconds": seconds}


def main() -> int:
    """Draws or runs; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("draw", "run"))
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to try")
    parser.add_argument("--of", choices=KINDS, default="core", help="what is drawn from")
    parser.add_argument("--list", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=None, help="JSON with all verdicts")
    arguments = parser.parse_args()
    arguments.list = arguments.list or list_of(arguments.of)
    if arguments.action == "draw":
        rows = [dataclasses.asdict(mutant) for mutant in draw(arguments.root, arguments.of)]
        arguments.list.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
        return 0
    mutants = [Mutant(**row) for row in json.loads(arguments.list.read_text(encoding="utf-8"))]
    for mutant in mutants:  # all of them, before the long work
        mutated((arguments.root / mutant.file).read_text(encoding="utf-8"), mutant)
    verdicts = run(arguments.root, mutants, test_files(arguments.root))
    if arguments.out:
        arguments.out.write_text(json.dumps(verdicts, indent=1, ensure_ascii=False) + "\n")
    survivors = [row for row in verdicts if row["verdict"] == "survived"]
    for row in survivors:
        print(f"{row['file']} {row['function']}: {row['before']}  ->  {row['after']}")
    print(f"{len(verdicts) - len(survivors)} of {len(verdicts)} killed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
