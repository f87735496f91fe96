"""The command line itself: parsing, help, and one clear line for everything bad."""

import importlib.metadata
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from lime_jax.audio import io
from lime_jax.errors import AudioError
from tests.commands.conftest import run

BAD = {
    "a missing file": (["explain", "nothing.wav"], "nothing.wav"),
    "a folder": (["explain", "stems"], "stems"),
    "an empty file": (["explain", "empty.wav"], "empty.wav"),
    "no audio": (["explain", "my_model.py"], "my_model.py"),
    "too short for the model": (["explain", "song.wav"], "needs at least 2.53 s"),
    "an unknown model": (["explain", "song.wav", "--model", "msd-musicn"], "'msd-musicnn'"),
    "an unknown output": (
        ["explain", "song.wav", "--model", "my_model:halves", "--outputs", "secnd half"],
        "'second half'",
    ),
    "an unknown fill": (
        ["explain", "song.wav", "--model", "my_model:halves", "--fill", "men"],
        "'mean'",
    ),
    "a fill that shifts a waveform": (
        ["explain", "song.wav", "--fill", "minimum"],
        "`--fill` must be zero, mean, uniform, noise or shuffle",
    ),
    "samples that are no number": (
        ["explain", "song.wav", "--num-samples", "abc"],
        "--num-samples: must be a whole number, auto or exhaustive, got 'abc'.",
    ),
    "an unknown command": (["explian", "song.wav"], "demo, explain, separate, run, verify"),
    "more names than outputs": (
        ["explain", "song.wav", "--model", "my_model:miscounted"],
        "3 entries, but the model returns 2 outputs",
    ),
    "an output in two cases": (
        ["explain", "song.wav", "--model", "my_model:alike", "--outputs", "rock"],
        "could be 'Rock' or 'ROCK'",
    ),
    "an output that a model without names lacks": (
        ["explain", "song.wav", "--model", "my_model:host", "--outputs", "output 2"],
        "'output 1'",
    ),
    "a model that raises": (
        ["explain", "song.wav", "--model", "my_model:raising", "--components", "grid"],
        "`my_model:raising` failed: ValueError: boom inside the model",
    ),
    "an unknown distance": (["explain", "song.wav", "--distance", "cosin"], "'cosine'"),
    "too many components for all masks": (
        ["explain", "song.wav", "--model", "my_model:halves", "--segments", "30",
         "--num-samples", "exhaustive"],
        "1,073,741,824 masks, too many to evaluate all (at most 20 components, 1,048,576 masks). "
        "Use `--num-samples N`",
    ),
    "more segments than samples": (
        ["explain", "song.wav", "--model", "my_model:halves", "--segments", "20000"],
        "`--segments` must lie between",
    ),
    "segments that are none": (
        ["explain", "song.wav", "--model", "my_model:halves", "--segments", "2x2"],
        "one number for time",
    ),
    "stems without a folder": (
        ["explain", "song.wav", "--model", "my_model:halves", "--components", "stems"],
        "--stems FOLDER",
    ),
    "a folder for stems without need": (
        ["explain", "song.wav", "--model", "my_model:halves", "--stems", "stems"],
        "--components stems",
    ),
    "stems of another length": (
        ["explain", "song.wav", "--model", "my_model:halves", "--components", "stems",
         "--stems", "short"],
        "short",
    ),
    "an excerpt beyond the end": (
        ["explain", "song.wav", "--model", "my_model:halves", "--start", "99"],
        "Choose `--start` and `--duration`",
    ),
    "a broken model": (["explain", "song.wav", "--model", "my_model:broken_host"], "no such layer"),
    "a broken traced model": (
        ["explain", "song.wav", "--model", "my_model:misshapen"],
        "`my_model:misshapen` failed: TypeError",
    ),
    "an impossible seed": (["explain", "song.wav", "--seed", "99999999999999999999"], "`--seed`"),
    "no top component": (["explain", "song.wav", "--top-k", "0"], "`--top-k`"),
    "an empty batch": (["explain", "song.wav", "--batch-size", "0"], "`--batch-size`"),
    "a kernel without width": (
        ["explain", "song.wav", "--kernel-width", "nan"],
        "`--kernel-width`",
    ),
    "a negative penalty": (["explain", "song.wav", "--alpha", "-1"], "`--alpha`"),
    "a module that is not there": (["explain", "song.wav", "--model", "no.such:model"], "no.such"),
    "one sample": (
        ["explain", "song.wav", "--model", "my_model:halves", "--num-samples", "1"],
        "at least 2",
    ),
    "samples beyond counting": (
        ["explain", "song.wav", "--model", "my_model:halves", "--num-samples", "99999999999"],
        "`--num-samples`",
    ),
    "a foreign folder": (
        ["explain", "song.wav", "--model", "my_model:halves", "--output-dir", "stems"],
        "stems",
    ),
    "a separator without need": (
        ["explain", "song.wav", "--separator", "spleeter:2stems"],
        "goes with `--components stems` or `stems-time`, got time",
    ),
    "an unknown separator": (
        ["explain", "song.wav", "--components", "stems", "--separator", "spleeter:6stems"],
        "did you mean 'spleeter:",
    ),
    "a separator without weights": (
        ["explain", "song.wav", "--components", "stems", "--separator", "spleeter:5stems"],
        "run `lime-jax models fetch spleeter:5stems`",
    ),
    "weights of a separator that are none": (
        ["explain", "song.wav", "--components", "stems", "--separator", "spleeter:5stems",
         "--separator-weights", "stems"],
        "model.index` cannot be read",
    ),
    "two separators": (
        ["explain", "song.wav", "--components", "stems", "--separator", "spleeter:2stems",
         "--separator-command", "demucs {audio} -o {output_dir}"],
        "`--separator` does not go with `--separator-command`",
    ),
    "a separator beside stems": (
        ["explain", "song.wav", "--components", "stems-time", "--stems", "stems",
         "--separator", "spleeter:2stems"],
        "`--stems` does not go with a separator",
    ),
    "a cross-fade without a separator": (
        ["explain", "song.wav", "--crossfade", "1"],
        "`--crossfade` goes with `--separator`",
    ),
    "a separator's command without places": (
        ["explain", "song.wav", "--components", "stems", "--separator-command", "demucs"],
        "`--separator-command` must hold {audio}",
    ),
    "a run with an unknown separator": (
        ["run", "stems", "store", "--components", "stems", "--separator", "spleeter"],
        "did you mean 'spleeter:",
    ),
    "an unknown model to read about": (["models", "info", "vgg"], "did you mean"),
    "a wheel that is none": (["models", "fetch", "musicnn", "--wheel", "song.wav"], "song.wav"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_gets_one_clear_line(arguments, message, place, capsys, monkeypatch):
    monkeypatch.setenv("LIME_JAX_CACHE", str(place / "cache"))
    (place / "empty.wav").touch()
    (place / "short").mkdir()
    for name in ("left", "right"):
        io.save(place / "short" / f"{name}.wav", np.full(9000, 0.1, np.float32), 8000)
    before = {path for path in place.rglob("*") if "__pycache__" not in path.parts}
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("lime-jax: ") and error.count("\n") == 1, error
    assert message in error and "Traceback" not in error
    after = {path for path in place.rglob("*") if "__pycache__" not in path.parts}
    assert {path for path in after - before if "cache" not in str(path)} == set()


def test_a_wrong_flag_is_refused_by_the_parser(place, capsys):
    assert run("explain", "song.wav", "--component", "time") == 2
    assert "--components" in capsys.readouterr().err


def test_help_names_units_and_defaults(capsys):
    assert run("explain", "--help") == 0
    text = re.sub(r"\s+", " ", re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out))
    assert "in seconds" in text and "default: 1000" in text
    assert "{cosine,l2,hamming}" in text and "{None}" not in text
    assert run("--help") == 0
    assert "LIME_JAX_TRACEBACK=1" in capsys.readouterr().out


def test_says_its_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"lime-jax {importlib.metadata.version('lime-jax')}\n"


def test_where_an_error_comes_from_is_shown_on_request(place, monkeypatch):
    monkeypatch.setenv("LIME_JAX_TRACEBACK", "1")
    with pytest.raises(AudioError, match="does not exist"):
        run("explain", "nothing.wav", "--model", "my_model:halves")


def test_runs_as_a_program_without_a_terminal(place):
    program = [sys.executable, "-m", "lime_jax.cli", "explain", "nothing.wav"]
    done = subprocess.run(program, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("lime-jax: ") and len(done.stderr.splitlines()) == 1
