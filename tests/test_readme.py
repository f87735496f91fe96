"""The README's quick start, run as it stands."""

import json
import re
from pathlib import Path

import jax
import pytest

import lime_jax as lj

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_the_quick_start_runs_and_says_what_it_prints(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8")
    code = re.search(r"<!-- quick start -->\n```python\n(.*?)```", text, re.DOTALL).group(1)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    exec(compile(code, "README.md", "exec"), {})
    promised = re.search(r"print\(.*\)\s+# (.*)", code).group(1)
    assert capsys.readouterr().out.strip() == promised
    assert (tmp_path / "why.wav").exists() and (tmp_path / "why" / "report.html").exists()


@pytest.mark.slow
def test_the_lines_on_stability_run(capsys):
    text = README.read_text(encoding="utf-8")
    code = re.search(r"<!-- stability -->\n```python\n(.*?)```", text, re.DOTALL).group(1)
    song, tagger = lj.examples.song(), lj.examples.tagger()
    names = {"jax": jax, "lj": lj, "song": song, "tagger": tagger}
    exec(compile(code, "README.md", "exec"), names)
    printed = json.loads(capsys.readouterr().out)
    assert len(printed) == len(names["average"].spread) == 5 and min(printed) >= 3


def test_the_test_line_of_ci_is_that_of_the_readme():
    line = "pip install uv && uv run pytest"
    assert line in README.read_text(encoding="utf-8")
    assert line in (README.parent / ".ci" / "run").read_text(encoding="utf-8")
