from importlib.resources import files

import numpy as np
import pytest

from lime_jax import examples

FOLDER = files("lime_jax") / "data" / "song"


@pytest.fixture(scope="module")
def song():
    return examples.song()


def test_is_ten_seconds_of_five_stems(song):
    assert song.stems.shape == (5, 10 * song.sample_rate)
    assert song.stems.dtype == song.waveform.dtype == np.float32


def test_is_under_a_megabyte():
    assert sum(len(path.read_bytes()) for path in FOLDER.iterdir()) < 1e6


def test_the_mix_is_the_sum_of_the_stems(song):
    np.testing.assert_allclose(song.waveform, song.stems.sum(axis=0, dtype=np.float64), atol=1e-6)


def test_no_subset_of_stems_clips(song):
    assert np.abs(song.stems).sum(axis=0).max() <= 1.0


def test_every_stem_sounds_in_every_second(song):
    seconds = song.stems.reshape(5, 10, song.sample_rate)
    levels = 10 * np.log10(np.square(seconds).mean(axis=-1))
    assert levels.min() > -40


def test_begins_and_ends_without_a_click(song):
    assert np.abs(song.stems[:, [0, -1]]).max() < 1e-3


def test_stems_are_named_like_the_tags(song):
    assert examples.tagger().output_names == song.names


def test_stems_are_different_signals(song):
    assert np.abs(np.corrcoef(song.stems) - np.eye(5)).max() < 0.3
