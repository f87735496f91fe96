"""The original Spleeter: refused without a trained model, and the referee of ours with one."""

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lime_jax import cli

SCRIPT = Path(__file__).parents[2] / "scripts" / "separate_with_spleeter.py"
FILES = (".probe", "checkpoint", "model.index", "model.data-00000-of-00001")

TRAINED = """
# /// script
# requires-python = ">=3.10,<3.12"
# dependencies = ["spleeter==2.4.2"]
# ///
import sys
import tensorflow as tf
from spleeter.model import EstimatorSpecBuilder, InputProviderFactory
from spleeter.utils.configuration import load_configuration

parameters = load_configuration("spleeter:2stems")
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    features = InputProviderFactory.get(parameters).get_input_dict_placeholders()
    assert EstimatorSpecBuilder(features, parameters).outputs
    tf.compat.v1.train.get_or_create_global_step()
    session.run(tf.compat.v1.global_variables_initializer())
    tf.compat.v1.train.Saver().save(session, sys.argv[1] + "/model")
open(sys.argv[1] + "/.probe", "w").write("OK")
"""


@pytest.fixture
def script():
    """The script as a module; what only its own environment has is imported in functions."""
    spec = importlib.util.spec_from_file_location("separate_with_spleeter", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("missing", FILES)
def test_a_model_without_all_its_files_is_not_trained(script, tmp_path, missing):
    for name in FILES:
        (tmp_path / name).touch()
    assert script.untrained(tmp_path) == ""
    (tmp_path / missing).unlink()
    assert missing in script.untrained(tmp_path)


def test_nothing_runs_on_an_untrained_model(script, tmp_path, monkeypatch, capsys):
    """What a broken download of the original leaves: an empty folder."""
    (tmp_path / "models" / "5stems").mkdir(parents=True)
    words = [
        str(SCRIPT),
        "song.wav",
        str(tmp_path / "out"),
        "--model-path",
        str(tmp_path / "models"),
    ]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(script, "separate", lambda *_: pytest.fail("separated"))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert script.main() == 2
    told = capsys.readouterr().err
    assert "holds no trained model" in told and told.count("\n") == 1
    assert (tmp_path / "models" / "5stems").is_dir()


def test_a_failed_download_leaves_no_folder(script, tmp_path, monkeypatch, capsys):
    def download(folder):
        folder.mkdir(parents=True)
        raise RuntimeError("no network")

    words = [
        str(SCRIPT),
        "song.wav",
        str(tmp_path / "out"),
        "--model-path",
        str(tmp_path / "models"),
    ]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(script, "download", download)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert script.main() == 2
    assert "no network" in capsys.readouterr().err
    assert not (tmp_path / "models" / "5stems").exists()


@pytest.mark.network
@pytest.mark.slow
def test_ours_and_the_original_make_the_same_stems(tmp_path, monkeypatch):
    """Both from one checkpoint that TensorFlow wrote, of a stereo song of two chunks."""
    if shutil.which("uv") is None:
        pytest.skip("uv makes the environment of the original")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIME_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    model = tmp_path / "models" / "2stems"
    model.mkdir(parents=True)
    Path("trained.py").write_text(TRAINED, encoding="utf-8")
    uv = ["uv", "run", "--quiet", "--no-project"]
    subprocess.run([*uv, "trained.py", str(model)], check=True, capture_output=True, timeout=600)
    rng = np.random.default_rng(0)
    time = np.arange(14 * 44_100)[:, None] / 44_100
    song = 0.3 * np.sin(2 * np.pi * time * [220, 330]) + 0.05 * rng.standard_normal((len(time), 2))
    soundfile.write("song.wav", song, 44_100, "FLOAT")

    script = shlex.join([*uv, str(SCRIPT)])
    line = f"{script} {{audio}} {{output_dir}} --model 2stems --model-path models"
    weights = ["--separator-weights", str(model)]
    ours = ["--separator", "spleeter:2stems", *weights, "--output-dir", "ours"]
    theirs = ["--separator-command", line, "--output-dir", "theirs"]
    for options in (ours, theirs):
        assert cli.main(["separate", "song.wav", *options]) == 0
    for name in ("vocals", "accompaniment"):
        found, expected = (
            soundfile.read(Path(folder) / f"{name}.wav")[0] for folder in ("ours", "theirs")
        )
        assert np.abs(expected).max() > 0.05
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    listing = json.loads(Path("theirs/stems.json").read_text(encoding="utf-8"))
    assert listing["num_samples"] == len(song)
