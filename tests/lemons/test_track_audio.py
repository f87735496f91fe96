"""How loud the sounds of a track play."""

import numpy as np
import pytest

from lime_jax.lemons import audio_responses
from lime_jax.lemons.track_audio import TrackAudio
from lime_jax.separation.base import Stems
from tests.lemons import tiny_library


def test_common_gain_keeps_every_selection_below_full_scale():
    sources = np.array([[0.9, -0.2], [-0.9, 0.1]], np.float32)
    assert audio_responses.common_gain(sources) == pytest.approx(1 / 1.8)
    assert audio_responses.common_gain(sources / 10) == 1


@pytest.mark.parametrize("loudness, keeps_its_level", [(0.4, True), (1.5, False)])
def test_stems_of_uploads_do_not_clip(loudness, keeps_its_level):
    """Where sources take each other's place, they may be louder than their sum."""
    whole = Stems(np.array([[0.9, -0.5]], np.float32), ("mix",), tiny_library.RATE)
    apart = np.array([[0.9 + loudness, -0.5], [-loudness, 0.0]], np.float32)
    before = TrackAudio("digest", (), "song", "My song", whole, whole)
    after = TrackAudio(
        "digest", (), "song", "My song", whole, Stems(apart, ("a", "b"), tiny_library.RATE)
    )
    assert (after.gain == before.gain) == keeps_its_level
    assert after.gain * np.abs(apart).sum(axis=0).max() <= 1
