"""Mixtures hold what the experiment says, and the classifier learns to tell them apart."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lime_jax as lj
from lime_jax.errors import LimeJaxError
from lime_jax.models import weights
from scripts.experiments.common import corpus
from scripts.experiments.confounder import classifier
from scripts.experiments.confounder import excerpts as confounder
from scripts.experiments.confounder.classifier import NUM_SAMPLES, Clips, Training
from scripts.experiments.confounder.vgg16 import Vgg16
from tests.networks import initialise
from tests.song_folders import write_songs

pytest.importorskip("soundfile")

TINY = Training(width=2, num_units=4, num_epochs=2, batch_size=4)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    return corpus.songs_of(write_songs(tmp_path_factory.mktemp("songs"), 6))


@pytest.mark.parametrize("variant", confounder.VARIANTS)
def test_drums_play_with_whom_they_should(songs, variant):
    some = confounder.songs_for(songs, variant, "test")
    names = confounder.stem_names(variant)
    for test_set, with_whom in confounder.TEST_SETS.items():
        excerpts = confounder.excerpts_of(some, variant, seed=0)[test_set]
        assert excerpts.labels == ("guitar", "piano") * 2
        assert excerpts.stems.shape == (4, len(names), NUM_SAMPLES)
        for stems, label in zip(excerpts.stems, excerpts.labels, strict=True):
            heard = {name for name, stem in zip(names, stems, strict=True) if stem.any()}
            drums = {"drums"} if label == with_whom else set()
            assert heard == {label, *confounder.VARIANTS[variant], *drums}


def test_training_clips_are_guitar_with_drums_and_piano_without(songs):
    train = confounder.songs_for(songs, "gpdb", "train")
    clips = confounder.clips_of(train, "gpdb")
    assert clips.is_piano.tolist() == [False, True] * 2
    stems = dict(zip(corpus.FAMILIES, corpus.load(train[0], corpus.FAMILIES, 16_000), strict=True))
    expected = [sum(stems[n] for n in ("guitar", "bass", "drums")), stems["piano"] + stems["bass"]]
    for mix, sound in zip(clips.mixes, expected, strict=False):
        np.testing.assert_allclose(mix / 32767, sound, atol=1e-4)


def test_places_depend_on_the_seed_alone(songs):
    some = confounder.songs_for(songs, "gpdb", "test")
    first, same, other = (
        confounder.excerpts_of(some, "gpdb", seed=s)["t_dr-pno"] for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.stems, same.stems)
    assert not np.array_equal(first.stems, other.stems)


def test_one_excerpt_of_every_song(songs):
    some = confounder.songs_for(songs, "gpdb", "test")
    excerpts = confounder.excerpts_of(some, "gpdb", seed=0)["t_dr-pno"]
    for seed in range(5):
        chosen = confounder.one_per_song(excerpts, seed=seed)
        assert [excerpts.songs[n] for n in chosen] == [song.name for song in some]


def test_songs_that_lack_a_stem_are_left_out(songs):
    lacking = [corpus.Song(s.name, s.split, {n: f for n, f in s.stems.items() if n != "strings"})
               for s in songs]  # fmt: skip
    assert len(confounder.songs_for(lacking, "gpdb", "test")) == 2
    assert len(confounder.songs_for(songs, "gpdbs", "test", max_songs=1)) == 1
    with pytest.raises(LimeJaxError, match="no test song has the stems"):
        confounder.songs_for(lacking, "gpdbs", "test")


class TestClassifier:
    @pytest.mark.slow
    def test_probabilities_sum_to_one_and_the_logit_is_for_piano(self):
        model = classifier.untrained(TINY.network, 0)
        waveforms = jnp.asarray(
            np.random.default_rng(0).normal(0, 0.1, (3, NUM_SAMPLES)), jnp.float32
        )
        found = model(waveforms)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
        logits = model.network(classifier.front_end(waveforms))[:, 0]
        assert classifier.OUTPUT_NAMES == ("guitar", "piano")
        np.testing.assert_allclose(found[:, 1], 1 / (1 + np.exp(-logits)), rtol=1e-5)

    def test_the_front_end_has_the_published_size(self):
        found = classifier.front_end(jnp.zeros((1, NUM_SAMPLES)))
        assert found.shape == (1, 128, 63)
        np.testing.assert_allclose(found, np.log(1e-5), rtol=1e-5)

    def test_snippets_are_two_seconds_of_the_mixture(self):
        mix = np.arange(40_000).astype(np.int16)
        np.testing.assert_allclose(classifier.snippet(mix, 0.0), mix[:32_000] / 32768)
        np.testing.assert_allclose(classifier.snippet(mix, 1.0), mix[8000:] / 32768)

    @pytest.mark.slow
    def test_dropout_and_statistics_are_for_training_alone(self):
        network = initialise(lambda: Vgg16(TINY.network, rngs=nnx.Rngs(0)))
        spectrograms = jnp.asarray(np.random.default_rng(0).normal(size=(2, 64, 64)), jnp.float32)
        with pytest.raises(ValueError, match="rngs"):
            network(spectrograms)
        network.eval()
        before = weights.arrays_of(network)
        np.testing.assert_array_equal(network(spectrograms), network(spectrograms))
        after = weights.arrays_of(network)
        assert all(np.array_equal(before[name], after[name]) for name in before)

    @pytest.mark.slow
    def test_weights_make_the_network_again(self):
        model = classifier.untrained(TINY.network, 3)
        again = classifier.from_arrays(
            TINY.network, weights.arrays_of(model.network), source="a test"
        )
        waveforms = jnp.ones((1, NUM_SAMPLES)) * 0.1
        np.testing.assert_array_equal(model(waveforms), again(waveforms))
        other = classifier.untrained(TINY.network, 4)
        assert not np.array_equal(model(waveforms), other(waveforms))


@pytest.fixture(scope="module")
def clips():
    """Noise is guitar, a tone is piano."""
    rng = np.random.default_rng(0)
    tone = np.sin(2 * np.pi * 440 * np.arange(40_000) / 16_000)
    mixes = [rng.uniform(-1, 1, 40_000) if n % 2 == 0 else tone for n in range(8)]
    return Clips([(6000 * mix).astype(np.int16) for mix in mixes], np.arange(8) % 2 == 1)


def test_too_few_clips_for_a_step_are_refused(clips):
    how = Training(width=2, num_units=8, batch_size=16)
    with pytest.raises(LimeJaxError, match="too few for a batch of 16"):
        classifier.train(how, clips, clips, seed=0)


@pytest.mark.slow
def test_training_repeats_itself_and_learns(clips, monkeypatch):
    """Gradients through pooling need the optimisations that other tests do without."""
    how = Training(width=2, num_units=8, num_epochs=6, num_snippets=4, batch_size=8)
    first, again = (classifier.train(how, clips, clips, seed=0) for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    model = classifier.from_arrays(how.network, first, source="a test")
    sounds = np.stack([classifier.snippet(mix, 0.3) for mix in clips.mixes])
    predicted = np.asarray(model(jnp.asarray(sounds))).argmax(axis=1)
    assert predicted.tolist() == clips.is_piano.astype(int).tolist()
    stems = np.stack([sounds[:2]])  # noise and a tone at once
    explanation = lj.explain(model, lj.from_stems(jnp.asarray(stems[0])), lj.exhaustive())
    assert int(np.asarray(explanation.coefficients[0]).argmax()) == 0
