"""What commands print arrives in every encoding."""

import io
import os
import subprocess
import sys

import pytest

from lime_jax.commands import encoding

# Texts of our commands and names of theirs, in ASCII and in the old code page of Windows.
TEXTS = {
    "ours": (
        "0.5 ± 0.1 – 2×3 … ≥ 85 %",
        "0.5 +- 0.1 - 2x3 ... >= 85 %",
        "0.5 ± 0.1 – 2×3 … >= 85 %",
    ),
    "letters": ("Ünïcødé", "Unic?de", "Ünïcødé"),
    "music": ("音楽 ♪", "?? ?", "?? ?"),
    "bytes of file names": ("caf\udce9.wav", "caf?.wav", "caf?.wav"),
    "plain": ("R2 = 0.5", "R2 = 0.5", "R2 = 0.5"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_cannot_be_encoded_is_replaced(name, monkeypatch):
    text, in_ascii, in_cp1252 = TEXTS[name]
    for codec, expected in (("ascii", in_ascii), ("cp1252", in_cp1252), ("utf-8", None)):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=codec, errors="strict") for _ in "12"]
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        encoding.write_anything()
        for stream in streams:
            stream.write(text)
            stream.flush()
            if expected is not None:
                assert stream.buffer.getvalue().decode(codec) == expected


def test_streams_of_notebooks_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", None)
    encoding.write_anything()


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["ascii", "cp1252"])
def test_commands_end_well_in_poor_encodings(place, codec):
    """They ended with exit code 2 after the report was written."""
    arguments = ("explain", "song.wav", "--model", "my_model:halves", "--segments", "4")
    environment = {**os.environ, "PYTHONIOENCODING": codec, "JAX_PLATFORMS": "cpu"}
    for command in (arguments, ("models", "list"), ("explain", "--help"), ("explain", "né.wav")):
        done = subprocess.run(
            [sys.executable, "-m", "lime_jax.cli", *command], env=environment, capture_output=True
        )
        assert done.returncode == (2 if command[-1] == "né.wav" else 0), done.stderr
        assert (done.stdout + done.stderr).decode(codec)
    assert (place / "explanation-of-song.wav" / "report.html").exists()
