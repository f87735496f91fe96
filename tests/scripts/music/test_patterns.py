"""Harmony and rhythm, before any instrument plays them."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def patterns(script):
    return script("music.patterns")


@pytest.mark.parametrize("swing", [0.5, 0.66])
def test_time_runs_forwards_and_keeps_its_beat(patterns, swing):
    harmony = patterns.Harmony(120.0, 4, swing, 0, "major", (0,), 3)
    times = [harmony.seconds(beat) for beat in np.arange(0, 8, 0.25)]
    assert np.diff(times).min() > 0
    np.testing.assert_allclose(times[::4], np.arange(8) * 0.5)


def test_chords_are_stacked_thirds(patterns):
    harmony = patterns.Harmony(120.0, 4, 0.5, 9, "minor", (0, 5), 4)
    assert harmony.chord(0) == (9, {9, 0, 4, 7})
    assert harmony.chord(3) == (5, {5, 9, 0, 4})


@pytest.mark.parametrize("num_bars", [1, 2, 17])
def test_sections_fill_the_song(patterns, num_bars):
    for seed in range(20):
        sections = patterns.draw_sections(np.random.default_rng(seed), num_bars)
        assert [bar for section in sections for bar in section] == list(range(num_bars))
        assert all(sections) and len(sections) <= 4


def test_notes_end_with_the_song(patterns):
    late, early, beyond = (patterns.Note(start, 1.0, 60, 80) for start in (1.5, 0.0, 1.96))
    assert patterns.in_time([late, early, beyond], 2.0) == (
        early,
        patterns.Note(1.5, 0.5, 60, 80),
    )
