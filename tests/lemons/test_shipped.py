"""The library that comes with the package is what the application needs, and says what is true."""

import json

import numpy as np
import pytest

from lime_jax.lemons import HOME, relevance
from lime_jax.lemons.application import DEFAULT_PERSONA, Application

pytestmark = pytest.mark.skipif(
    not (HOME / relevance.PRECOMPUTED).exists(), reason="needs the shipped library"
)


@pytest.fixture(scope="module")
def application(tmp_path_factory):
    made = Application(HOME, cache=tmp_path_factory.mktemp("cache"))
    yield made
    made.close()


def test_the_relevance_of_all_shipped_tracks_is_precomputed(application):
    """A changed track or recommender fails here: run lime_jax.lemons.precompute_relevance again."""
    (library,) = application.tracks.libraries
    for persona in application.audience.personas:
        relevance_of_tracks = application.recommendations.of_library(persona, library)
        assert isinstance(relevance_of_tracks, dict), persona
        assert len(relevance_of_tracks) == len(application.tracks.libraries[library].tracks)
    content = json.loads((HOME / relevance.PRECOMPUTED).read_text())
    assert len(content["relevance"]) == len(application.audience.personas), (
        "leftovers of other weights"
    )


@pytest.mark.slow
def test_precomputed_relevance_equals_the_recommenders(application):
    (library,) = application.tracks.libraries
    tracks = list(application.tracks.libraries[library].tracks)[::9]
    for persona in list(application.audience.personas)[::3]:
        recommender, _ = application.audience.recommender(persona)
        for track in tracks:
            known = application.recommendations.of_track(persona, library, track)
            mix = application.tracks.audio(library, track).mix
            np.testing.assert_allclose(known, relevance.compute(recommender, mix), atol=1e-4)


def test_there_are_seven_listeners_as_in_lemons(application):
    assert len(application.audience.personas) == 7
    assert 0 <= DEFAULT_PERSONA < 7
    for persona in application.audience.personas:
        assert len(application.audience.plays(persona)) > 100
