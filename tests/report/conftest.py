"""A two-second song in three stems, explanations of it, and one report with hostile names."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax import report
from lime_jax.audio.segment import by_stems
from lime_jax.core import pooling

SAMPLE_RATE = 16_000
NUM_SAMPLES = 2 * SAMPLE_RATE

HOSTILE = "</script><img src=x onerror=alert(1)>"
STEM_NAMES = (HOSTILE, "bass & drums", "日本語 $\\frac{")
OUTPUT_NAMES = ("../../etc/passwd", HOSTILE, "{{ 7 * 7 }}", 'a" onload="alert(1)')


@pytest.fixture(scope="session")
def stems():
    """A beat, a low tone and a chord, `(3, num_samples)`."""
    time = np.arange(NUM_SAMPLES) / SAMPLE_RATE
    beat = np.random.default_rng(0).normal(size=NUM_SAMPLES) * np.exp(-30 * (time % 0.5)) / 8
    tone = 0.25 * np.sin(2 * np.pi * 110 * time)
    chord = sum(0.08 * np.sin(2 * np.pi * f * time) for f in (440, 554, 659)) * (time > 0.5)
    return np.stack([beat, tone, chord]).astype(np.float32)


@pytest.fixture(scope="session")
def song(stems):
    return by_stems(stems, STEM_NAMES, SAMPLE_RATE)


@pytest.fixture(scope="session")
def explain():
    """Makes an explanation with given coefficients, one row per output."""

    def make(coefficients, **fields):
        coefficients = np.array(coefficients, np.float32)
        num_outputs = len(coefficients)
        values = {
            "coefficients": coefficients,
            "intercept": np.full(num_outputs, 0.1),
            "fidelity": np.full(num_outputs, 0.9),
            "local_prediction": coefficients.sum(axis=1) + 0.1,
            "prediction": np.linspace(0.9, 0.2, num_outputs),
            "std_error": np.full_like(coefficients, 0.01),
            "deviations": np.full((4, *coefficients.shape), 0.005),
            "degrees_of_freedom": 3,
            "status": np.zeros(num_outputs),
            "num_evaluations": 8,
            "num_lime_samples": np.full(num_outputs, 100),
            **fields,
        }
        whole = ("status", "degrees_of_freedom", "num_evaluations")
        arrays = {
            name: jnp.asarray(value, jnp.int32 if name in whole else jnp.float32)
            for name, value in values.items()
        }
        return lj.Explanation(**arrays, num_samples=100)

    return make


@pytest.fixture(scope="session")
def explanation(explain):
    """Four outputs: a good one, a poor one, one without positive weight, one that failed."""
    nan = np.nan
    return explain(
        [[0.6, -0.1, 0.03], [0.02, 0.01, 0.0], [-0.2, -0.1, 0.0], [nan, nan, nan]],
        fidelity=[0.93, 0.2, 0.7, nan],
        status=[0, 0, 0, lj.Status.NONFINITE_OUTPUT],
        prediction=[0.9, 0.8, 0.7, nan],
    )


@pytest.fixture(scope="session")
def varied(explain):
    """Two outputs in three repeats with two fills, and what `report.write` takes of them.

    The second output failed. The top two of the first are 0 and 2, in one repeat 0 and 1; with
    the second fill only component 1 speaks for it.
    """
    ok, bad = lj.Status.OK, lj.Status.NONFINITE_OUTPUT
    nan = np.full(3, np.nan)
    firsts = [[0.6, -0.1, 0.03], [0.6, 0.05, 0.03], [0.6, -0.1, 0.09]]
    repeats = pooling.stack([explain([row, nan], status=[ok, bad]) for row in firsts])
    pooled = pooling.pool(repeats)
    each = [[1.3, -0.2, 0.2], [-0.1, 0.1, -0.1]]
    fills = pooling.stack([explain([row, nan], status=[ok, bad]) for row in each])
    spread = jnp.stack([jnp.array([0.99, 0.21, 0.21]), jnp.full(3, np.nan)]).astype(jnp.float32)
    over_fills = lj.FillAverage(pooled, fills, spread)
    return {
        "explanation": pooled,
        "repeats": repeats,
        "over_fills": over_fills,
        "fills": ["zero", "noise"],
    }


@pytest.fixture(scope="session")
def varied_folder(varied, song, tmp_path_factory):
    """A report of repeats and fills."""
    path = tmp_path_factory.mktemp("report") / "varied"
    report.write(path, audio=song, output_names=("a", HOSTILE), outputs=[0, 1], top_k=2, **varied)
    return path


@pytest.fixture(scope="session")
def folder(explanation, song, tmp_path_factory):
    """A report of all four outputs."""
    path = tmp_path_factory.mktemp("report") / "deep" / "folder"
    report.write(
        path, explanation, song, output_names=OUTPUT_NAMES, outputs=[0, 1, 2, 3], top_k=2,
        title=f"Song {HOSTILE}", config={"seed": 7, "model": HOSTILE, "audio": Path("\udcff.wav")},
    )  # fmt: skip
    return path
