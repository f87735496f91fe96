import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile


@pytest.fixture
def script():
    """The script as a module."""
    from scripts import fetch_music

    return fetch_music


@pytest.fixture
def unpacks(script, tmp_path, monkeypatch):
    """In place of dpkg-deb: what the package holds, with silence for music."""
    made = tmp_path / "made"
    for song in ("Feelings", "Metal madness"):
        (made / "songs" / song).mkdir(parents=True)
        for name in ("guitar.ogg", "song.ogg"):
            soundfile.write(made / "songs" / song / name, np.zeros(1000), 44_100)
        (made / "songs" / song / "notes.mid").write_bytes(b"")
    (made / "doc").mkdir()
    (made / "doc" / "copyright").write_text("MIT", encoding="utf-8")
    commands = []

    def run(*command, cwd=None):
        commands.append(command)
        if command[0] == "dpkg-deb":
            shutil.copytree(made, command[-1])
        else:
            (cwd / "fretsonfire-songs-sectoid_1_all.deb").touch()

    monkeypatch.setattr(script, "run", run)
    return commands


def test_songs_become_folders_of_stems(script, unpacks, tmp_path):
    songs = script.fetch(tmp_path / "music")
    assert [song.name for song in songs] == ["feelings", "metal-madness"]
    assert [command[0] for command in unpacks] == ["apt-get", "dpkg-deb"]
    for song in songs:
        assert {path.name for path in song.iterdir()} == {"guitar.ogg", "backing.ogg", "copyright"}
    assert sorted(path.name for path in (tmp_path / "music").iterdir()) == [
        "feelings",
        "metal-madness",
    ]


def test_songs_that_are_there_stay(script, unpacks, tmp_path):
    (tmp_path / "music" / "feelings").mkdir(parents=True)
    script.fetch(tmp_path / "music", tmp_path / "copy.deb")
    assert not list((tmp_path / "music" / "feelings").iterdir())
    assert [command[0] for command in unpacks] == ["dpkg-deb"]


@pytest.mark.parametrize(
    ("program", "message"),
    [("no-such-program-here", "songs come from Debian"), ("false", "`false` failed")],
)
def test_a_program_that_is_missing_or_fails_is_named(script, program, message):
    with pytest.raises(RuntimeError, match=message):
        script.run(program)


def test_another_package_is_refused_in_one_line(script, tmp_path):
    (tmp_path / "other.deb").write_bytes(b"no package")
    command = [
        sys.executable,
        "-m",
        "scripts.fetch_music",
        tmp_path / "music",
        "--package",
        tmp_path / "other.deb",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "music").exists()


@pytest.mark.network
def test_real_songs_have_stems_that_go_together(script, tmp_path):
    from lime_jax.separation import precomputed

    if shutil.which("apt-get") is None:
        pytest.skip("the songs come from a Debian archive")
    songs = script.fetch(tmp_path)
    assert len(songs) == 4
    for song in songs:
        names, stems = precomputed.load(song, 16_000, start=30.0, duration=5.0)
        assert names == ("backing", "guitar") and stems.shape == (2, 80_000)
        assert np.abs(stems).max() > 0.1
        assert "Carlos Viola Iborra" in (song / "copyright").read_text(encoding="utf-8")
