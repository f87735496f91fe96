"""SLIME's segments, contents and samples, against the published code's numbers and the library."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lime_jax as lj
from lime_jax.models.singing_voice import SingingVoice
from lime_jax.models.singing_voice_front_end import FLOOR
from lime_jax.models.singing_voice_network import SvdNet
from scripts.experiments.slime import neighbourhoods
from tests.networks import initialise


@pytest.fixture(scope="module")
def voice():
    rng = np.random.default_rng(0)
    mean, std = (rng.uniform(low, low + 2, 80).astype(np.float32) for low in (-2, 1))
    return SingingVoice(
        initialise(lambda: SvdNet(rngs=nnx.Rngs(0))), jnp.asarray(mean), jnp.asarray(std)
    )


@pytest.fixture(scope="module")
def excerpt():
    return jax.random.normal(jax.random.key(0), (115, 80)) + 0.3


@pytest.fixture(scope="module")
def outputs():
    """Of a smooth function of masks that no linear one equals."""
    masks = neighbourhoods.MASKS.astype(np.float32)
    weights = np.random.default_rng(1).normal(size=(6, 10)).astype(np.float32)
    return 1 / (1 + np.exp(-masks @ weights.T - (masks[:, :1] * masks[:, 1:2]))).T


EDGES = {
    "temporal": [11 * n for n in range(10)] + [115],
    "spectral": [8 * n for n in range(11)],
}


@pytest.mark.parametrize("segmentation", list(EDGES))
def test_segments_are_those_of_the_published_code(segmentation):
    labels = np.asarray(neighbourhoods.LABELS[segmentation]).ravel()
    edges = EDGES[segmentation]
    expected = np.repeat(np.arange(10), np.diff(edges))
    np.testing.assert_array_equal(labels, expected)


def test_the_last_temporal_segment_takes_the_remainder():
    labels = np.asarray(neighbourhoods.LABELS["temporal"]).ravel()
    assert np.flatnonzero(labels == 9).tolist() == list(range(99, 115))


def test_time_frequency_segments_of_2017():
    """24 of them; the number is 4 · time + mel."""
    labels = np.asarray(lj.grid((6, 4), (115, 80)))
    times, mels = (0, 19, 38, 57, 76, 95, 115), (0, 20, 40, 60, 80)
    for time in range(6):
        for mel in range(4):
            block = labels[times[time] : times[time + 1], mels[mel] : mels[mel + 1]]
            assert (block == 4 * time + mel).all()


def test_contents_are_the_papers(voice, excerpt):
    def content(name):
        return np.asarray(neighbourhoods.content(name, excerpt, voice), np.float64)

    x, mean, std = (np.asarray(v, np.float64) for v in (excerpt, voice.mean, voice.std))
    silence = (np.log(FLOOR) - mean) / std
    drawn = np.random.RandomState(0).standard_normal((115, 80))
    assert drawn.ravel()[:3].round(5).tolist() == [1.76405, 0.40016, 0.97874]
    expected = {
        "zero": 0.0,
        "min_data": silence.min(),
        "min_inp": x.min(),
        "mean_inp": x.mean(),
        "noise": (drawn - mean) / std,
    }
    assert set(expected) == set(neighbourhoods.CONTENTS)
    for name, values in expected.items():
        np.testing.assert_allclose(content(name), np.broadcast_to(values, content(name).shape),
                                   rtol=1e-5, atol=1e-6, err_msg=name)  # fmt: skip


def test_an_unknown_content_is_named(voice, excerpt):
    with pytest.raises(
        ValueError, match="one of zero, min_data, min_inp, mean_inp, noise, got 'silence'"
    ):
        neighbourhoods.content("silence", excerpt, voice)


@pytest.mark.parametrize("name", neighbourhoods.CONTENTS)
def test_perturbed_excerpts_are_copied_bins(voice, excerpt, name):
    fill = neighbourhoods.content(name, excerpt, voice)
    components = lj.from_labels(excerpt, neighbourhoods.LABELS["temporal"], 10, fill=fill)
    mask = jnp.arange(10) != 4
    found = np.asarray(lj.recompose(components, mask))
    expected = np.asarray(excerpt).copy()
    expected[44:55] = np.broadcast_to(fill, (115, 80))[44:55]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("segmentation", neighbourhoods.SEGMENTATIONS)
def test_outputs_are_those_of_the_network(voice, excerpt, segmentation):
    fill = neighbourhoods.content("mean_inp", excerpt, voice)
    found = neighbourhoods.outputs_of(voice, excerpt, segmentation, fill)
    components = lj.from_labels(excerpt, neighbourhoods.LABELS[segmentation], 10, fill=fill)
    some = np.array([0, 1, 37, 512, 1000, 1023])
    inputs = jnp.stack(
        [lj.recompose(components, jnp.asarray(neighbourhoods.MASKS[n])) for n in some]
    )
    np.testing.assert_allclose(found[some], np.asarray(voice.network(inputs))[:, 0], atol=1e-5)


def test_excerpts_are_drawn_as_published():
    expected = np.random.RandomState(3).randint(200, 1800, size=25)
    np.testing.assert_array_equal(neighbourhoods.excerpt_indices(3, 2000, 25), expected)
    with pytest.raises(ValueError, match="at least 401"):
        neighbourhoods.excerpt_indices(0, 400, 1)


@pytest.mark.parametrize("num_samples", [1000, 70_000])
def test_counts_are_those_of_fair_coins(num_samples):
    counts = neighbourhoods.drawn(np.random.default_rng(0), num_samples, 400)
    assert (counts.sum(axis=1) == num_samples).all() and (
        counts[:, neighbourhoods.EVERYTHING] >= 1
    ).all()
    share = (num_samples - 1) / 1024
    others = counts[:, : neighbourhoods.EVERYTHING]
    assert abs(others.mean() - share) < 0.02 * share
    # A count is Poisson but for 1 in 1024.
    assert abs(others.var() / share - 1) < 0.05


@pytest.mark.parametrize("distance", ["l2", "cosine"])
def test_even_counts_are_the_exhaustive_explanation(outputs, distance):
    found, fidelity = neighbourhoods.explained(
        outputs, neighbourhoods.evenly(70_000), lj.lime(70_000, distance=distance)
    )
    table = jnp.asarray(outputs.T)
    index = jnp.asarray(2 ** np.arange(10))

    def predict(x):
        return table[(x.astype(jnp.int32) * index[None]).sum(axis=1)]

    components = lj.from_labels(jnp.ones(10), jnp.arange(10), 10)
    method = lj.exhaustive(distance=distance, equivalent_num_samples=70_000)
    expected = lj.explain(predict, components, method)
    np.testing.assert_allclose(found[:, 0], expected.coefficients, atol=2e-6, rtol=1e-4)
    np.testing.assert_allclose(fidelity[:, 0], expected.fidelity, atol=1e-4)


@pytest.mark.slow
def test_counts_scatter_as_the_librarys_own_samples(outputs):
    """Same mean and deviation over many repeats, though the random numbers differ."""
    table, index = jnp.asarray(outputs[:1].T), jnp.asarray(2 ** np.arange(10))

    def predict(x):
        return table[(x.astype(jnp.int32) * index[None]).sum(axis=1)]

    components = lj.from_labels(jnp.ones(10), jnp.arange(10), 10)
    keys = jax.random.split(jax.random.key(0), 300)
    same = jax.tree.map(lambda x: jnp.broadcast_to(x[None], (300, *x.shape)), components)
    ours = lj.explain_batch(predict, same, lj.slime(5000), key=keys).coefficients[:, 0]
    counts = neighbourhoods.drawn(np.random.default_rng(0), 5000, 300)
    drawn = neighbourhoods.explained(outputs[:1], counts, lj.slime(5000))[0][0]
    error = np.sqrt(2 / 300) * drawn.std(axis=0)
    assert (np.abs(ours.mean(axis=0) - drawn.mean(axis=0)) < 4 * error).all()
    np.testing.assert_allclose(ours.std(axis=0), drawn.std(axis=0), rtol=0.25)


def test_under_l2_a_coefficient_is_occlusion_times_its_count(outputs):
    """SPEC of the published setting: coefficients are 2 % of the occlusion, n e^-8/(1 + n e^-8)."""
    occluded = neighbourhoods.occlusion(outputs)
    found = neighbourhoods.explained(outputs, neighbourhoods.evenly(70_000), lj.slime())[0][:, 0]
    weight = 70_000 / 1024 * np.exp(-8)
    np.testing.assert_allclose(found, occluded * weight / (1 + weight), rtol=0.05, atol=2e-4)


def test_occlusion_is_what_one_segment_takes_away(outputs):
    for segment in range(10):
        mask = np.arange(10) != segment
        (row,) = np.flatnonzero((neighbourhoods.MASKS == mask).all(axis=1))
        expected = outputs[:, -1] - outputs[:, row]
        np.testing.assert_array_equal(neighbourhoods.occlusion(outputs)[:, segment], expected)


def test_top_segments_are_positive_ones():
    rows = np.array([[0.1, -0.5, 0.3, 0.0], [-1.0, -2.0, 0.2, -0.1]], np.float32)
    assert neighbourhoods.tops(rows) == [[2, 0], [2]]
    assert neighbourhoods.tops(rows, k=2, sign="absolute") == [[1, 2], [1, 0]]


def test_planted_segments_are_the_voices():
    music, sung = jnp.zeros((115, 80)), jnp.ones((115, 80))
    found = neighbourhoods.planted(music, sung, [0, 9])
    assert (found[:11] == 1).all() and (found[11:99] == 0).all() and (found[99:] == 1).all()
