"""Models that several files test; none of them is changed."""

import pytest

from tests.checkpoints import CheckpointWriter
from tests.models import recommender_referee, singing_voice_referee


@pytest.fixture(scope="session")
def tf():
    return CheckpointWriter


@pytest.fixture(scope="session")
def musicnn_cache(tmp_path_factory):
    """A cache with the published weights, downloaded once per session."""
    from lime_jax.models import musicnn_weights

    folder = tmp_path_factory.mktemp("cache")
    musicnn_weights.fetch(cache_folder=folder)
    return folder


@pytest.fixture(scope="session")
def model():
    """A recommender of random weights."""
    return recommender_referee.model_of_random_weights()


@pytest.fixture(scope="session")
def voice():
    """A singing voice detector of random weights."""
    return singing_voice_referee.voice_of_random_weights()
