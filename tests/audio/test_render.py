import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.audio import render, segment

RATE = 8_000
N = 4_000
TONES = np.stack([np.sin(2 * np.pi * hz * np.arange(N) / RATE) for hz in (200.0, 1_000.0, 3_000.0)])
MIX = TONES.sum(axis=0).astype(np.float32)


def likeness(weights, waveforms):
    """How much of each tone a waveform holds."""
    return jnp.matmul(waveforms, weights, precision="highest") / N


MODEL = jax.tree_util.Partial(likeness, jnp.asarray(TONES.T, jnp.float32))


@pytest.fixture(scope="module")
def audio():
    return segment.by_frequency(MIX, RATE, 6)


@pytest.fixture(scope="module")
def explanation(audio):
    return lj.explain(render.hearing(MODEL, audio), audio.components, lj.exhaustive())


def test_models_of_waveforms_are_used_as_they_are():
    assert render.hearing(MODEL, segment.by_time(MIX, RATE, 3)) is MODEL


def test_the_unperturbed_spectrogram_sounds_like_the_input(audio):
    heard = render.hearing(MODEL, audio)(audio.components.sources)
    np.testing.assert_allclose(heard, MODEL(MIX[None]), atol=1e-5)


def test_the_model_hears_what_is_rendered(audio):
    masks = jax.random.bernoulli(jax.random.key(0), shape=(20, 6))
    _, outputs = lj.predict_neighbourhood(render.hearing(MODEL, audio), audio.components, masks)
    rendered = jax.jit(jax.vmap(lambda mask: render.render(audio, mask)))(masks)
    np.testing.assert_allclose(outputs, MODEL(rendered), atol=1e-5)


def test_each_tone_is_found_in_its_band(audio, explanation):
    for output, hz in enumerate((200.0, 1_000.0, 3_000.0)):
        piece = audio.pieces[int(explanation.coefficients[output].argmax())]
        assert piece.low < hz < piece.high


def test_weights_stay_leaves(audio):
    heard = render.hearing(MODEL, audio)
    leaves = jax.tree.leaves(heard)
    assert len(leaves) == 1
    assert leaves[0] is MODEL.args[0]


def test_new_weights_and_clips_do_not_recompile():
    num_traces = []

    def model(weights, waveforms):
        num_traces.append(waveforms.shape)
        return likeness(weights, waveforms)

    def explain(scale):
        partial = jax.tree_util.Partial(model, scale * MODEL.args[0])
        clip = segment.by_frequency(scale * MIX, RATE, 6)
        lj.explain(render.hearing(partial, clip), clip.components, lj.exhaustive(), batch_size=16)
        return len(num_traces)

    assert explain(1.0) == explain(2.0) > 0


def test_host_models_hear_the_same(audio, explanation):
    def model(waveforms):
        assert isinstance(waveforms, np.ndarray)
        return waveforms @ TONES.T.astype(np.float32) / N

    hosted = lj.host_model(model, sample_rate=RATE, output_names=("low", "middle", "high"))
    heard = render.hearing(hosted, audio)
    assert (heard.sample_rate, heard.output_names) == (RATE, ("low", "middle", "high"))
    ours = lj.explain(heard, audio.components, lj.exhaustive())
    np.testing.assert_allclose(ours.coefficients, explanation.coefficients, atol=1e-5)
