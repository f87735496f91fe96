import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.audio import render, segment
from tests import programs

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
    return lj.explain(render.waveform_predictor(MODEL, audio), audio.components, lj.exhaustive())


def test_models_of_waveforms_are_used_as_they_are():
    assert render.waveform_predictor(MODEL, segment.by_time(MIX, RATE, 3)) is MODEL


def test_the_unperturbed_spectrogram_renders_the_input(audio):
    heard = render.waveform_predictor(MODEL, audio)(audio.components.sources)
    np.testing.assert_allclose(heard, MODEL(MIX[None]), atol=1e-5)


def test_the_model_gets_what_is_rendered(audio):
    masks = jax.random.bernoulli(jax.random.key(0), shape=(20, 6))
    _, outputs = lj.predict_neighbourhood(
        render.waveform_predictor(MODEL, audio), audio.components, masks
    )
    rendered = jax.jit(jax.vmap(lambda mask: render.render(audio, mask)))(masks)
    np.testing.assert_allclose(outputs, MODEL(rendered), atol=1e-5)


def test_each_tone_is_found_in_its_band(audio, explanation):
    for output, hz in enumerate((200.0, 1_000.0, 3_000.0)):
        piece = audio.extents[int(explanation.coefficients[output].argmax())]
        assert piece.low < hz < piece.high


def test_weights_stay_leaves(audio):
    heard = render.waveform_predictor(MODEL, audio)
    leaves = jax.tree.leaves(heard)
    assert len(leaves) == 1
    assert leaves[0] is MODEL.args[0]


def test_new_weights_and_excerpts_do_not_recompile():
    def explain(scale):
        partial = jax.tree_util.Partial(likeness, scale * MODEL.args[0])
        clip = segment.by_frequency(scale * MIX, RATE, 6)
        lj.explain(
            render.waveform_predictor(partial, clip),
            clip.components,
            lj.exhaustive(),
            batch_size=16,
        )

    explain(1.0)
    with programs.counted() as made:
        explain(2.0)
    assert not made


def test_host_models_get_the_same_waveforms(audio, explanation):
    def model(waveforms):
        assert isinstance(waveforms, np.ndarray)
        return waveforms @ TONES.T.astype(np.float32) / N

    hosted = lj.host_model(model, sample_rate=RATE, output_names=("low", "middle", "high"))
    heard = render.waveform_predictor(hosted, audio)
    assert (heard.sample_rate, heard.output_names) == (RATE, ("low", "middle", "high"))
    ours = lj.explain(heard, audio.components, lj.exhaustive())
    np.testing.assert_allclose(ours.coefficients, explanation.coefficients, atol=1e-5)


class TestRenderFaded:
    """What listeners hear: `render` without the clicks."""

    STEMS = np.random.default_rng(0).standard_normal((2, N)).astype(np.float32)
    CUTS = {
        "time": lambda stems: segment.by_time(stems[0], RATE, 5),
        "time in noise": lambda stems: segment.by_time(
            stems[0], RATE, 5, fill="noise", key=jax.random.key(3)
        ),
        "stems": lambda stems: segment.by_stems(stems, "ab", RATE),
        "stems-time": lambda stems: segment.by_stems_and_time(stems, "ab", RATE, 5),
    }

    @pytest.fixture(params=CUTS.values(), ids=CUTS)
    def cut(self, request):
        return request.param(self.STEMS)

    def test_all_on_is_the_input(self, cut):
        everything = np.ones(len(cut.extents), bool)
        np.testing.assert_allclose(render.render_faded(cut, everything), cut.waveform, atol=1e-6)

    def test_is_the_render_but_for_the_fades(self, cut):
        mask = np.arange(len(cut.extents)) % 3 == 0
        rendered = np.asarray(render.render(cut, jnp.asarray(mask)))
        faded = render.render_faded(cut, mask)
        edges = np.arange(0, N + 1, N // 5)
        near = np.abs(np.arange(N)[:, None] - edges).min(axis=1) <= round(0.01 * RATE)
        np.testing.assert_allclose(faded[~near], rendered[~near], atol=1e-6)

    def test_without_a_fade_it_is_the_render(self, cut):
        mask = np.arange(len(cut.extents)) % 2 == 0
        rendered = render.render(cut, jnp.asarray(mask))
        np.testing.assert_allclose(render.render_faded(cut, mask, fade=0.0), rendered, atol=1e-6)


def test_fades_leave_no_step_at_the_edges():
    """A constant switched on and off: no step is larger than that of a fade over 10 ms."""
    audio = segment.by_time(np.ones(N, np.float32), RATE, 5)
    for mask in ([0, 1, 0, 1, 0], [1, 0, 1, 1, 0], [0, 0, 0, 0, 1]):
        played = render.render_faded(audio, np.array(mask, bool))
        assert np.abs(np.diff(played)).max() < 1.6 / (0.01 * RATE)
        off = np.repeat(np.array(mask) == 0, N // 5)
        assert not played[off].any() and played.max() == 1.0


def test_nothing_is_heard_of_what_is_off():
    audio = segment.by_stems_and_time(np.stack([TONES[0], TONES[2]]), "ab", RATE, 4)
    played = render.render_faded(audio, np.arange(8) == 2)
    inside = slice(N // 4, N // 2)
    assert not played[: N // 4].any() and not played[N // 2 :].any()
    gain = played[inside] / np.where(np.abs(TONES[0][inside]) > 0.1, TONES[0][inside], np.nan)
    assert np.nanmin(gain) >= 0 and np.nanmax(gain) <= 1 + 1e-6


def test_components_of_a_spectrogram_are_faded_by_the_stft_alone(audio):
    mask = np.arange(6) < 3
    expected = render.render(audio, jnp.asarray(mask))
    np.testing.assert_array_equal(render.render_faded(audio, mask), expected)


def test_components_shorter_than_two_fades_stay_audible():
    audio = segment.by_time(np.ones(N, np.float32), RATE, 100)
    assert 0.1 < render.render_faded(audio, np.arange(100) == 50).max() < 1


class TestTrimSilence:
    def test_silence_at_the_ends_is_cut_off(self):
        waveform = np.zeros(N, np.float32)
        waveform[1500:2000] = 0.5
        trimmed = render.trim_silence(waveform, RATE)
        margin = round(0.05 * RATE)
        assert len(trimmed) == 500 + 2 * margin
        np.testing.assert_array_equal(trimmed[margin:-margin], waveform[1500:2000])

    def test_silence_inside_stays(self):
        waveform = np.zeros(N, np.float32)
        waveform[[1000, 3000]] = 1
        assert len(render.trim_silence(waveform, RATE)) == 2001 + 2 * round(0.05 * RATE)

    @pytest.mark.parametrize("level", [1.0, 1e-4])
    def test_silence_is_relative_to_the_peak(self, level):
        waveform = np.zeros(N, np.float32)
        waveform[1500:2000] = level
        assert len(render.trim_silence(waveform, RATE)) == 500 + 2 * round(0.05 * RATE)

    def test_a_loud_beginning_and_end_fade(self):
        trimmed = render.trim_silence(np.ones(N, np.float32), RATE)
        assert len(trimmed) == N and trimmed[0] < 0.01 and trimmed[-1] < 0.01
        assert trimmed[round(0.01 * RATE) : -round(0.01 * RATE)].min() == 1.0

    def test_silence_throughout_stays(self):
        assert len(render.trim_silence(np.zeros(100, np.float32), RATE)) == 100
