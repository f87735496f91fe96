"""The recommender, explained layer by layer, says what it says of whole tracks."""

import jax
import numpy as np
import pytest
from flax import nnx

import lime_jax as lj
from lime_jax.models.recommender import Recommender
from lime_jax.models.recommender_network import Network
from tests.networks import initialise

STEPS = 2 * 8192


def made(key):
    network = initialise(lambda: Network(rngs=nnx.Rngs(key)))
    network.eval()
    return Recommender(network)


@pytest.mark.slow
def test_its_layers_are_those_it_declares(getkey):
    recommender = made(getkey())
    for num_samples in (8000, 8191, 8192, STEPS + 1):
        waveforms = 0.1 * jax.random.normal(getkey(), (2, num_samples))
        lj.receptive_fields.check_receptive_field(recommender, waveforms)


@pytest.mark.slow
def test_masks_find_what_the_network_says(getkey):
    recommender = made(getkey())
    stems = 0.1 * jax.random.normal(getkey(), (2, 2 * STEPS))
    stems = stems.at[0, :STEPS].set(0.0)
    components = lj.cross(lj.from_stems(stems), lj.equal_segments(stems.shape[1], 3), 3)
    masks = jax.random.bernoulli(getkey(), 0.5, (30, 6))
    _, found = lj.predict_neighbourhood(recommender, components, masks)
    _, expected = lj.predict_neighbourhood(lambda x: recommender(x), components, masks)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_explanations_take_no_more_than_its_weights_twice(getkey):
    leaves = jax.tree.leaves(made(getkey()).receptive_field)
    # The whole, and the parts; the front end and the head hold the network for its norm.
    assert sum(leaf.size for leaf in leaves) < 5 * 444_611
