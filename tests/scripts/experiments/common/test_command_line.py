"""The command lines of scripts: one line for what is wrong, and commands that can be typed."""

import dataclasses
import sys
from pathlib import Path

import pytest

from lime_jax.errors import StoreError
from scripts.experiments.common import command_line
from tests.scripts.experiments.common.test_results import SUMMARY


@dataclasses.dataclass(frozen=True)
class Config:
    """Options.

    Attributes:
      songs: a folder.
      output_dir: a folder.
      smoke: small.
      names: several.
      num_songs: how many.
    """

    songs: Path = Path("songs")
    output_dir: Path = Path("experiments/one")
    smoke: bool = False
    names: tuple[str, ...] = ("a", "b")
    num_songs: int | None = None


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (Config(), "--songs songs"),
        (
            Config(songs=Path("/data/slakh"), output_dir=Path("/x"), smoke=True),
            "--songs slakh --smoke",
        ),
        (Config(names=("b",), num_songs=3), "--songs songs --names b --num-songs 3"),
    ],
)
def test_commands_name_what_is_not_the_default(config, words):
    file = command_line.__file__
    module = "scripts.experiments.common.command_line"
    assert command_line.command(file, config) == f"uv run python -m {module} {words}"


def test_sizes_exclude_each_other():
    sizes = {"smoke": 1, "default": 2, "full": 3}
    assert command_line.chosen(sizes, smoke=False, full=False) == 2
    assert command_line.chosen(sizes, smoke=True, full=False) == 1
    assert command_line.chosen(sizes, smoke=False, full=True) == 3
    with pytest.raises(ValueError, match="`--smoke` does not go with `--full`"):
        command_line.chosen(sizes, smoke=True, full=True)


@pytest.fixture
def arguments(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["one.py", "--num-songs", "3"])
    monkeypatch.delenv("LIME_JAX_TRACEBACK", raising=False)


def test_what_came_out_is_shown(arguments, capsys):
    seen = []
    assert command_line.main(lambda config: seen.append(config) or SUMMARY, Config) == 0
    assert seen == [Config(num_songs=3)]
    assert "98.00 ± 1.00" in capsys.readouterr().out


@pytest.mark.parametrize(
    "error", [StoreError("no songs."), ValueError("no size."), OSError("full.")]
)
def test_what_is_wrong_is_one_line(arguments, capsys, error, monkeypatch):
    def run(config):
        raise error

    assert command_line.main(run, Config) == 2
    assert capsys.readouterr().err == f"{error}\n"
    monkeypatch.setenv("LIME_JAX_TRACEBACK", "1")
    with pytest.raises(type(error)):
        command_line.main(run, Config)


def test_interruptions_say_that_nothing_is_lost(arguments, capsys):
    def run(config):
        raise KeyboardInterrupt

    assert command_line.main(run, Config) == 130
    assert "the same command goes on" in capsys.readouterr().err
