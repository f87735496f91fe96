"""Training learns, repeats itself, and leaves weights where the separator finds them."""

import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from lime_jax import separation
from lime_jax.errors import LimeJaxError, ModelError
from lime_jax.separation import one_vs_all
from tests.song_folders import write_songs

pytest.importorskip("soundfile")


@pytest.fixture(scope="module")
def trainer(script):
    pytest.importorskip("optax", reason="training needs the extra `train`")
    return script("training.separator")


@pytest.fixture(scope="module")
def stems(trainer, tmp_path_factory):
    folder = write_songs(tmp_path_factory.mktemp("songs"), 3, splits=("train",))
    songs = trainer.corpus.songs_of(folder)
    return trainer.read_stems(trainer.Config(), songs, "train")


def test_examples_are_excerpts_of_stems_with_gains(trainer, stems):
    rng = np.random.default_rng(0)
    examples = trainer.draw_batch(rng, stems, 24)
    assert examples.shape == (24, 5, trainer.NUM_SAMPLES) and examples.dtype == np.float32
    heard = examples.any(axis=2)
    assert 0.5 < heard.mean() < 0.95
    bass = [song[2].astype(float) for song in stems]
    for example in examples[heard[:, 2], 2][:4]:
        correlations = [
            np.abs(np.corrcoef(example, song[start : start + len(example)])[0, 1])
            for song in bass
            for start in range(0, len(song) - len(example), 400)
        ]
        assert max(correlations) > 0.5


def test_no_masks_are_right_about_silence_and_open_ones_about_a_lone_stem(trainer):
    tone = np.sin(np.arange(trainer.NUM_SAMPLES) / 10).astype(np.float32)
    alone = np.zeros((1, 5, trainer.NUM_SAMPLES), np.float32)
    alone[0, 3] = tone

    class Masks:
        config = trainer.NETWORK

        def __init__(self, *values):
            self.values = jnp.array(values)[:, None, None, None]

        def __call__(self, magnitudes):
            return self.values * jnp.ones_like(magnitudes)[None]

    right = float(trainer.loss_of(Masks(0.0, 0.0, 0.0, 1.0, 0.0), jnp.asarray(alone)))
    wrong = float(trainer.loss_of(Masks(1.0, 0.0, 0.0, 0.0, 0.0), jnp.asarray(alone)))
    half = float(trainer.loss_of(Masks(0.0, 0.0, 0.0, 0.5, 0.0), jnp.asarray(alone)))
    assert right < 1e-6 < half < wrong


def test_si_sdr_ignores_scale_and_counts_noise(trainer):
    rng = np.random.default_rng(0)
    target, noise = rng.normal(size=(2, 1, 50_000))
    found = trainer.si_sdr(3 * (target + 0.1 * noise), target)
    np.testing.assert_allclose(found, 20, atol=0.1)


def test_folders_that_hold_something_else_and_missing_splits_are_refused(trainer, tmp_path):
    songs = write_songs(tmp_path / "songs", 1)
    with pytest.raises(ModelError, match="holds something else"):
        trainer.run(trainer.Config(songs, output=songs))
    with pytest.raises(LimeJaxError, match="holds no validation songs"):
        trainer.run(trainer.Config(songs, output=tmp_path / "new"))


@pytest.mark.slow
def test_weights_can_be_used_and_repeat(tmp_path):
    """In processes of their own: gradients need the optimisations that tests do without."""
    songs = write_songs(tmp_path / "songs", 3)
    options = "--num-epochs 1 --steps-per-epoch 2 --batch-size 4".split()
    command = [sys.executable, "-m", "scripts.training.separator", "--songs", str(songs)]
    command += ["--output", str(tmp_path / "weights"), *options]
    found = []
    for _ in range(2):  # the second takes the place of the one before
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean())
        assert "drums +" in done.stdout or "drums -" in done.stdout
        found.append(separation.load("one-vs-all", checkpoint=tmp_path / "weights"))
    first, second = found
    assert first.version == second.version
    stems = first(np.ones(1000, np.float32), 16_000)
    assert stems.names == one_vs_all.OneVsAllConfig().instruments


def clean():
    return {k: v for k, v in os.environ.items() if k != "JAX_DISABLE_MOST_OPTIMIZATIONS"}
