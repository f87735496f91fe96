"""`lime-jax models`: list, info and fetch."""

import pytest

from tests.commands.conftest import run


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and a file that is no archive."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIME_JAX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "song.wav").write_text("no archive")


def test_models_are_listed_and_described(capsys):
    assert run("models", "list") == 0
    assert "msd-musicnn" in capsys.readouterr().out
    assert run("models", "info", "mtt-vgg") == 0
    text = capsys.readouterr().out
    assert "licence: ISC" in text and "choral" in text and "sample rate: 16000 Hz" in text
    assert run("models", "info", "instrument-tagger") == 0
    assert "None" not in capsys.readouterr().out


def test_separators_are_listed_and_described(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    code, out, _ = call("models", "list")
    assert code == 0 and "spleeter:5stems-16kHz" in out
    code, out, _ = call("models", "info", "spleeter:4stems")
    assert code == 0 and "stems: vocals, drums, bass, other" in out and "licence: MIT" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("info", "spleeter:7stems"), "did you mean 'spleeter:"),
        (("fetch", "spleeter:7stems"), "did you mean 'spleeter:"),
        (("fetch", "spleeter:2stems", "--archive", "song.wav"), "not the published 2stems"),
        (("fetch", "spleeter:2stems", "--archive", "none.gz"), "`none.gz` cannot be read"),
        (("fetch", "spleeter:2stems", "--wheel", "x.whl"), "`--wheel` goes with musicnn"),
        (("fetch", "musicnn", "--archive", "x.tar.gz"), "`--archive` goes with spleeter"),
    ],
)
def test_bad_names_and_files_get_one_clear_line(call, arguments, message):
    code, out, error = call("models", *arguments)
    assert code == 2 and not out and message in error and error.count("\n") == 1
