"""Taggers say how much of a waveform each patch hears; snippets are judged on their own."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lime_jax as lj
from lime_jax.models import musicnn, vgg
from lime_jax.models.base import Tagger

SMALL = {
    "musicnn": lambda: musicnn.Musicnn(
        musicnn.MusicnnConfig(num_filters=4, num_units=8, num_outputs=3), rngs=nnx.Rngs(0)
    ),
    "vgg": lambda: vgg.Vgg(vgg.VggConfig(num_filters=4, num_outputs=3), rngs=nnx.Rngs(0)),
}


@pytest.fixture(params=SMALL)
def tagger(request):
    network = SMALL[request.param]()
    network.eval()
    return Tagger(network, 16_000, musicnn.PATCH_NUM_SAMPLES, ("a", "b", "c"))


def noise(num_samples):
    return jax.random.normal(jax.random.key(0), (1, num_samples)) / 10


@pytest.mark.parametrize(
    "num_samples",
    [95_488, *(pytest.param(n, marks=pytest.mark.slow) for n in (47_616, 95_487, 160_001))],
)
@pytest.mark.slow
def test_patches_are_what_the_whole_front_end_makes(tagger, num_samples):
    waveforms = noise(num_samples)
    patches = tagger.network.front_end(waveforms).shape[1]
    assert tagger.receptive_field.num_windows(num_samples) == patches
    lj.receptive_fields.check_receptive_field(tagger, waveforms)


@pytest.mark.slow
def test_a_song_is_explained_from_patches(tagger):
    """Seven times over three patches; two neighbours share a time, where the patches' edges lie."""
    waveform = noise(150_000)[0]
    components = lj.from_labels(waveform, lj.equal_segments(150_000, 7), 7)
    few = lj.explain(tagger, components, lj.shapley())
    assert few.num_evaluations < 50

    def whole(waveforms):
        return tagger(waveforms)

    many = lj.explain(whole, components, lj.shapley())
    np.testing.assert_allclose(few.coefficients, many.coefficients, atol=1e-6)


def test_the_shipped_tagger_declares_nothing_as_its_patches_overlap():
    assert lj.examples.tagger().receptive_field is None
    with pytest.raises(ValueError, match="declares no receptive field"):
        lj.receptive_fields.check_receptive_field(lj.examples.tagger())


class TestSnippets:
    @pytest.mark.slow
    def test_a_snippet_knows_nothing_of_its_neighbours(self, tagger):
        snippets = lj.models.Snippets(tagger, 48_000)
        waveforms = noise(3 * 48_000 + 77)
        each = [tagger(waveforms[:, i * 48_000 : (i + 1) * 48_000]) for i in range(3)]
        np.testing.assert_allclose(snippets(waveforms), sum(each) / 3, atol=1e-6)
        lj.receptive_fields.check_receptive_field(snippets)

    def test_names_and_rates_are_those_of_the_model(self, tagger):
        snippets = lj.models.Snippets(tagger, 48_000)
        assert (snippets.sample_rate, snippets.output_names) == (16_000, ("a", "b", "c"))
        assert snippets.patch_num_samples == 48_000 and snippets.resampler == "soxr"

    @pytest.mark.slow
    def test_new_weights_do_not_recompile(self):
        from lime_jax.core.receptive_fields import sums_executor

        components = lj.cross(lj.from_stems(jnp.ones((3, 40))), lj.equal_segments(40, 5), 5)

        def model(weights, x):
            return x @ weights

        before = sums_executor._tables._cache_size()
        for seed in range(3):
            weights = jax.random.normal(jax.random.key(seed), (8, 2))
            predict = lj.models.Snippets(jax.tree_util.Partial(model, weights), 8)
            lj.explain(predict, components, lj.banzhaf())
        assert sums_executor._tables._cache_size() - before == 1

    def test_impossible_snippets_are_named(self):
        with pytest.raises(ValueError, match="`model` is a host model"):
            lj.models.Snippets(lj.host_model(np.asarray, sample_rate=8000), 10)
        with pytest.raises(ValueError, match="`num_samples` must be at least 1, got 0"):
            lj.models.Snippets(lambda x: x, 0)

    def test_too_short_a_waveform_is_named(self):
        with pytest.raises(ValueError, match="at least one snippet of 100 samples"):
            lj.models.Snippets(lambda x: x, 100)(jnp.ones((1, 99)))


def test_a_wrong_patch_is_an_error(tagger):
    wrong = dataclasses.replace(tagger.receptive_field, pad=0)
    with pytest.raises(ValueError, match="differ from `whole`"):
        lj.receptive_fields.check_receptive_field(wrong, noise(100_000))
