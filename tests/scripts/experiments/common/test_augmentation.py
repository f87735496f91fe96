"""Variants of spectrograms against interpolation in float64, and cases with an exact answer."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scripts.experiments.common import augmentation
from scripts.experiments.common.augmentation import Variant

NUM_FRAMES, NUM_BINS = 90, 200

warped = jax.jit(augmentation.warped, static_argnames="num_frames")
filtered = jax.jit(augmentation.filtered)


def unchanged():
    """A variant that is none."""
    return Variant(*map(jnp.float32, (1, 1, 0, 1000, 1)))


def variant(**changes):
    changes = {name: jnp.float32(value) for name, value in changes.items()}
    return dataclasses.replace(unchanged(), **changes)


def noise(seed=0):
    return np.random.default_rng(seed).uniform(0, 1, (NUM_FRAMES, NUM_BINS)).astype(np.float32)


def interpolated(magnitudes, speed, pitch, num_frames):
    """`warped` in float64."""
    frames, bins = np.arange(NUM_FRAMES), np.arange(NUM_BINS)
    times = np.arange(num_frames) * speed
    columns = [np.interp(times, frames, column) for column in magnitudes.T.astype(float)]
    return np.array([np.interp(bins / pitch, bins, row, right=0) for row in np.transpose(columns)])


def test_no_change_changes_nothing():
    magnitudes, same = noise(), unchanged()
    np.testing.assert_array_equal(warped(magnitudes, same, NUM_FRAMES), magnitudes)
    centres = np.geomspace(30, 8000, NUM_BINS)
    np.testing.assert_array_equal(filtered(magnitudes, same, centres), magnitudes)


@pytest.mark.parametrize("speed", [0.7, 1.0, 1.23])
@pytest.mark.parametrize("pitch", [0.71, 1.0, 1.3])
def test_warping_is_linear_interpolation(speed, pitch):
    magnitudes = noise(1)
    found = warped(magnitudes, variant(speed=speed, pitch=pitch), 80)
    expected = interpolated(magnitudes, speed, pitch, 80)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize(("speed", "frame"), [(0.8, 75), (1.0, 60), (1.25, 48)])
def test_a_click_comes_earlier_where_songs_are_faster(speed, frame):
    click = np.zeros((NUM_FRAMES, NUM_BINS), np.float32)
    click[60] = 1
    found = np.asarray(warped(click, variant(speed=speed), 80))
    assert found.sum(axis=1).argmax() == frame
    np.testing.assert_allclose(found[frame], 1, atol=1e-5)


@pytest.mark.parametrize(("pitch", "place"), [(0.75, 90), (1.0, 120), (1.25, 150)])
def test_a_tone_moves_to_where_its_pitch_is(pitch, place):
    tone = np.zeros((NUM_FRAMES, NUM_BINS), np.float32)
    tone[:, 120] = 1
    found = np.asarray(warped(tone, variant(pitch=pitch), 80))
    assert (found.argmax(axis=1) == place).all()
    np.testing.assert_allclose(found[:, place], 1, atol=1e-5)


def test_the_last_frame_is_repeated_and_unknown_bins_are_silent():
    ones = np.ones((NUM_FRAMES, NUM_BINS), np.float32)
    ones[-1] = 2
    found = np.asarray(warped(ones, variant(speed=1.3, pitch=0.8), 100))
    known = np.arange(NUM_BINS) / 0.8 <= NUM_BINS - 1
    np.testing.assert_array_equal(found[0] > 0, known)
    np.testing.assert_array_equal(found[70:, known], 2)


@pytest.mark.parametrize("decibels", [-10.0, 0.0, 6.0])
@pytest.mark.parametrize("width", [5.0, 7.0])
def test_a_filter_is_a_bell_over_semitones(decibels, width):
    centre, octave = 440.0, 12.0
    semitones = np.array([-octave, -width, 0.0, width, octave])
    bands = noise(2)[:, :5] + 1
    found = filtered(
        bands,
        variant(decibels=decibels, width=width, centre=centre),
        centre * 2 ** (semitones / 12),
    )
    gains = decibels * np.exp([-0.5 * (octave / width) ** 2, -0.5, 0, -0.5, -72 / width**2])
    expected = np.broadcast_to(gains, bands.shape)
    np.testing.assert_allclose(20 * np.log10(np.asarray(found) / bands), expected, atol=1e-3)


BOUNDS = {
    "speed": (0.7, 1.3),
    "pitch": (0.7, 1.3),
    "decibels": (-10, 10),
    "centre": (150, 8000),
    "width": (5, 7),
}


def keys_of(key):
    return jax.random.split(key, 2000)


@pytest.fixture(scope="module")
def draws():
    return jax.jit(lambda key: jax.vmap(augmentation.draw)(keys_of(key)))(jax.random.key(0))


@pytest.mark.parametrize(("name", "bounds"), list(BOUNDS.items()), ids=BOUNDS)
def test_draws_are_even_between_their_bounds(draws, name, bounds):
    values = np.asarray(getattr(draws, name), np.float64)
    is_log = name == "centre"
    low, high = np.log(bounds) if is_log else bounds
    share = ((np.log(values) if is_log else values) - low) / (high - low)
    assert (share > -1e-6).all() and (share < 1 + 1e-6).all()
    np.testing.assert_allclose(np.histogram(share, 4, (0, 1))[0] / len(share), 0.25, atol=0.05)


def test_draws_differ_by_key_and_have_nothing_to_do_with_each_other(draws):
    values = np.array([getattr(draws, field.name) for field in dataclasses.fields(Variant)])
    assert all(len(np.unique(row)) > 1900 for row in values)
    assert np.abs(np.corrcoef(values) - np.eye(5)).max() < 0.1
    again = jax.jit(lambda key: augmentation.draw(keys_of(key)[7]))(jax.random.key(0))
    np.testing.assert_allclose(
        [getattr(again, field.name) for field in dataclasses.fields(Variant)],
        values[:, 7],
        rtol=1e-6,
    )
