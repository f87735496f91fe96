"""Sounds, a separator that counts, and a program that separates."""

import sys

import numpy as np
import pytest
import soundfile

from lime_jax.separation import Stems

RATE = 8_000

# Two stems: a half and a quarter of the sound, so a quarter of it is left over.
PROGRAM = """
import sys
from pathlib import Path
import soundfile

sound, rate = soundfile.read(sys.argv[1], always_2d=True)
folder = Path(sys.argv[2]) / "model" / "audio"
folder.mkdir(parents=True)
for name, gain in (("low", 0.25), ("high", 0.5)):
    soundfile.write(folder / f"{name}.wav", gain * sound, rate, "FLOAT")
"""


def noise(*shape, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def write(path, frames, rate=RATE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, frames, rate, **{"subtype": "FLOAT", **options})
    return path


def read(path):
    return soundfile.read(path, dtype="float32", always_2d=True)[0]


class Halves:
    """Two stems; it counts how often it was asked."""

    names = ("half", "quarter")

    def __init__(self, name="halves", version="1", gains=(0.5, 0.25)):
        self.name, self.version, self.gains, self.num_calls = name, version, gains, 0

    def __call__(self, waveform, sample_rate):
        self.num_calls += 1
        stems = np.stack([np.float32(gain) * waveform for gain in self.gains])
        return Stems(stems, self.names, sample_rate)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """No test looks into the cache of the user."""
    monkeypatch.setenv("LIME_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def song(tmp_path):
    """A second of stereo noise."""
    return write(tmp_path / "song.wav", noise(RATE, 2))


@pytest.fixture
def program(tmp_path):
    """The arguments that start `PROGRAM`."""
    script = tmp_path / "separate.py"
    script.write_text(PROGRAM, encoding="utf-8")
    return sys.executable, str(script), "{audio}", "{output_dir}"
