"""What the commands' tests share with each other and with those of what they call."""

import json

import numpy as np
import pytest

from lime_jax import cli
from lime_jax.audio import io
from tests.runs.conftest import model as model
from tests.runs.conftest import model_folder as model_folder

MODEL = '''
import jax.numpy as jnp
import numpy as np
import lime_jax as lj

class Halves:
    """How loud the first and the second half of a waveform are."""
    sample_rate = 8000
    output_names = ("first <b>half</b>", "second half")
    def __call__(self, waveforms):
        halves = waveforms.reshape(len(waveforms), 2, -1)
        return jnp.sqrt(jnp.square(halves).mean(axis=2))

def broken(batch):
    raise RuntimeError("no such layer")

class Misshapen(Halves):
    def __call__(self, waveforms):
        return waveforms @ jnp.ones((3, 2))

class Raising(Halves):
    def __call__(self, waveforms):
        raise ValueError("boom inside the model")

class Constant(Halves):
    def __call__(self, waveforms):
        return jnp.ones((len(waveforms), 2))

class Miscounted(Halves):
    output_names = ("one", "two", "three")

class Alike(Halves):
    output_names = ("Rock", "ROCK")

_MODELS = {cls: cls() for cls in (Halves, Misshapen, Raising, Constant, Miscounted, Alike)}

def halves():
    return _MODELS[Halves]  # one object, so that the tests share its programs
def misshapen():
    return _MODELS[Misshapen]
def raising():
    return _MODELS[Raising]
def constant():
    return _MODELS[Constant]
def miscounted():
    return _MODELS[Miscounted]
def alike():
    return _MODELS[Alike]
def host():
    call = lambda batch: np.sqrt(np.square(batch.reshape(len(batch), 2, -1)).mean(axis=2))
    return lj.host_model(call, sample_rate=8000)
def broken_host():
    return lj.host_model(broken, sample_rate=8000)
'''


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a song, its stems and a model of the user."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_model.py").write_text(MODEL, encoding="utf-8")
    rng = np.random.default_rng(0)
    loud = np.linspace(0, 1, 16_000)[None] * rng.standard_normal((2, 16_000)) * 0.1
    (tmp_path / "stems").mkdir()
    for name, stem in zip(("left", "right"), loud.astype(np.float32), strict=True):
        io.save(tmp_path / "stems" / f"{name}.wav", stem, 8000)
    io.save(tmp_path / "song.wav", loud.sum(axis=0).astype(np.float32), 8000)
    return tmp_path


def run(*arguments):
    """The exit code of a command, from its return value or its `SystemExit`."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code


def record_of(folder):
    """The record of the explanation in a folder."""
    return json.loads((folder / "explanation.json").read_text("utf-8"))


@pytest.fixture
def call(capsys, monkeypatch):
    """Calls a command; returns its exit code and what it wrote to stdout and stderr."""
    monkeypatch.setattr(cli, "_prepare_process", lambda: None)

    def call_command(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return call_command
