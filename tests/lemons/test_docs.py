"""docs/lemons.md: its code runs, its addresses exist, and its pictures are there."""

import re
from pathlib import Path

import pytest

from lime_jax.lemons import HOME, server
from lime_jax.lemons.application import Application

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "lemons.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = re.search(r"<!-- lemons in Python -->\n```python\n(.*?)```", TEXT, re.DOTALL).group(1)
    exec(compile(code, "lemons.md", "exec"), {})
    assert re.fullmatch(r"\d\.\d\d, \w+ \+\d\.\d\d, fidelity \d\.\d\d\n", capsys.readouterr().out)
    assert (tmp_path / "highlight.wav").exists()


def test_every_address_of_the_interface_is_documented(tmp_path):
    documented = {
        re.sub(r"\?.*", "", path) for path in re.findall(r"`(?:GET|POST) (/[^`]*)`", TEXT)
    }
    documented |= set(re.findall(r", `(/api/[^`]*)`", TEXT))
    application = Application(HOME, cache=tmp_path)
    served = {_pattern(route.path) for route in server._Routes(application).all()}
    application.close()
    inner = {path for path in served if path.startswith(("/api", "/audio"))}
    assert inner == {_pattern(path) for path in documented}


def _pattern(path):
    return re.sub(r"\{[^}]*\}|[A-Z]+(?![a-z])", "*", path).replace(".wav", ".*")


@pytest.mark.parametrize("name", re.findall(r"\((pictures/[^)]*)\)", TEXT))
def test_pictures_of_the_page_exist(name):
    assert (DOCS / name).read_bytes().startswith(b"\x89PNG")
