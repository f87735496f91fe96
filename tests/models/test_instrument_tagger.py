"""The shipped tagger: its front end, its weights, and whether it recognises instruments."""

import json
from importlib.resources import files

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax import examples
from lime_jax.errors import ModelError
from lime_jax.models import instrument_tagger, weights
from lime_jax.models.instrument_tagger import Config

DATA = files("lime_jax") / "data"
FAMILIES = Config().output_names


@jax.jit
def predict(tagger, waveforms):
    return tagger(waveforms)


@jax.jit
def front_end(tagger, waveforms):
    return tagger.network.front_end(waveforms)


@pytest.fixture(scope="module")
def tagger():
    return instrument_tagger.load_instrument_tagger()


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).normal(0, 0.1, (3, 48_000)).astype(np.float32)


@pytest.fixture(scope="module")
def song():
    return examples.song()


@pytest.fixture(scope="module")
def neighbourhood(tagger, song):
    """Outputs `(32, 5)` for every subset of the stems, by its mask."""
    components = lj.from_stems(song.stems)
    masks = np.array(list(np.ndindex((2,) * len(FAMILIES))), bool)
    _, outputs = lj.predict_neighbourhood(tagger, components, jnp.asarray(masks), batch_size=8)
    return {tuple(mask): np.asarray(output) for mask, output in zip(masks, outputs, strict=True)}


def off(*names):
    return tuple(family not in names for family in FAMILIES)


def only(*names):
    return tuple(family in names for family in FAMILIES)


class TestShape:
    @pytest.mark.parametrize(("batch", "num_samples"), [(1, 40_448), (3, 48_000), (1, 160_000)])
    def test_one_probability_per_waveform_and_family(self, tagger, batch, num_samples):
        waveforms = jax.ShapeDtypeStruct((batch, num_samples), jnp.float32)
        outputs = jax.eval_shape(predict, tagger, waveforms)
        assert outputs.shape == (batch, len(FAMILIES)) and outputs.dtype == jnp.float32

    def test_outputs_are_probabilities(self, neighbourhood):
        outputs = np.stack(list(neighbourhood.values()))
        assert ((outputs >= 0) & (outputs <= 1)).all()

    def test_has_at_most_300_000_parameters(self, tagger):
        assert sum(leaf.size for leaf in jax.tree.leaves(tagger)) <= 300_000

    def test_needs_one_patch(self, tagger):
        with pytest.raises(ValueError, match=r"40448 \(2\.53 s\)"):
            tagger(jnp.zeros((1, 40_447)))

    def test_waveforms_of_a_batch_do_not_meet(self, tagger, noise):
        alone = np.concatenate([predict(tagger, waveform[None]) for waveform in noise])
        np.testing.assert_allclose(predict(tagger, noise), alone, atol=1e-5)

    def test_weights_are_leaves(self, tagger, noise):
        """Another network of the same shape must not be compiled again."""

        @jax.jit
        @chex.assert_max_traces(n=1)
        def apply(tagger, waveforms):
            return tagger(waveforms)

        again = instrument_tagger.load_instrument_tagger()
        scaled = jax.tree.map(lambda leaf: 0.5 * np.asarray(leaf), again)
        outputs = [np.asarray(apply(model, noise[:1])) for model in (tagger, again, scaled)]
        assert (outputs[0] == outputs[1]).all() and (outputs[0] != outputs[2]).any()


class TestFrontEnd:
    @pytest.mark.parametrize("num_samples", [40_448, 50_000, 160_000, 163_333])
    def test_sees_every_sample(self, tagger, num_samples):
        clicks = np.zeros((12, num_samples), np.float32)
        clicks[np.arange(12), np.linspace(0, num_samples - 1, 12).round().astype(int)] = 1
        patches = np.asarray(front_end(tagger, clicks))
        assert (patches.max(axis=(1, 2, 3)) > 0).all()

    def test_silence_is_zero(self, tagger):
        assert not np.asarray(front_end(tagger, np.zeros((3, 48_000), np.float32))).any()

    def test_patches_overlap_little(self, tagger):
        waveforms = jax.ShapeDtypeStruct((1, 160_000), jnp.float32)
        assert jax.eval_shape(front_end, tagger, waveforms).shape == (1, 4, 80, 64)


class TestWeights:
    def test_are_small(self):
        assert len((DATA / instrument_tagger.WEIGHTS).read_bytes()) < 2e6

    def test_come_back(self, tagger, noise):
        arrays = weights.arrays_of(tagger.network)
        network = instrument_tagger.from_arrays(Config(), arrays, source="memory")
        again = instrument_tagger.as_tagger(network)
        np.testing.assert_array_equal(predict(again, noise), predict(tagger, noise))

    def test_of_another_network_are_refused(self, tagger):
        arrays = weights.arrays_of(tagger.network)
        with pytest.raises(ModelError, match=r"`hidden\.bias` has shape \(64,\) instead of \(8,\)"):
            instrument_tagger.from_arrays(Config(num_hidden=8), arrays, source="memory")

    def test_come_with_their_scores(self):
        card = json.loads((DATA / "instrument_tagger.json").read_text(encoding="utf-8"))
        assert card["licence"] == "CC0-1.0"
        assert card["num_songs"]["test"] >= 30
        assert set(FAMILIES) <= set(card["test"]["songs"])


class TestRecognition:
    def test_silence_has_no_instruments(self, tagger):
        assert np.max(predict(tagger, np.zeros((1, 160_000), np.float32))) < 0.05

    @pytest.mark.parametrize("family", FAMILIES)
    def test_a_stem_alone_is_recognised(self, neighbourhood, family):
        outputs = neighbourhood[only(family)]
        assert FAMILIES[outputs.argmax()] == family
        assert outputs.max() > 0.5

    def test_all_are_recognised_in_the_mix(self, neighbourhood):
        assert neighbourhood[only(*FAMILIES)].min() > 0.5

    @pytest.mark.parametrize("family", FAMILIES)
    def test_a_removed_stem_is_not_recognised(self, neighbourhood, family):
        assert neighbourhood[off(family)][FAMILIES.index(family)] < 0.5

    @pytest.mark.parametrize("family", FAMILIES)
    def test_removing_its_stem_hurts_a_tag_most(self, neighbourhood, family):
        tag = FAMILIES.index(family)
        without = {other: neighbourhood[off(other)][tag] for other in FAMILIES}
        assert min(without, key=without.get) == family

    def test_lime_names_its_own_stem_for_every_tag(self, tagger, song):
        explanation = lj.explain(tagger, lj.from_stems(song.stems), lj.exhaustive(), batch_size=8)
        coefficients = np.asarray(explanation.coefficients)
        assert coefficients.argmax(axis=1).tolist() == list(range(len(FAMILIES)))
