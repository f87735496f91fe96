"""The real weights of musicnn."""

import pytest

from tests.checkpoints import CheckpointWriter


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
