"""Explanations of tracks, and the sounds of their components."""

import dataclasses
import itertools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.lemons import audio_responses, explain_track, explanation_body, selections, wording
from lime_jax.separation.base import Stems

RATE, NUM_SAMPLES = 1000, 1003
NAMES = ("vocals", "piano", "drums", "bass", "other")


def make_stems(seed=0):
    rng = np.random.default_rng(seed)
    waveforms = 0.1 * rng.standard_normal((5, NUM_SAMPLES)).astype(np.float32)
    waveforms[2, :300] = 0.0
    return Stems(waveforms, NAMES, RATE)


def likes(stems, source, start=0, end=NUM_SAMPLES):
    """Likes a source between two samples, by how much of its own waveform it hears."""
    favourite = np.zeros(NUM_SAMPLES, np.float32)
    favourite[start:end] = stems.waveforms[NAMES.index(source), start:end]
    favourite /= np.square(favourite).sum()
    return jax.tree_util.Partial(_similarity, favourite)  # all share their programs


def _similarity(favourite, waveforms):
    return jnp.clip(waveforms @ favourite, 0, 1)[:, None]


@pytest.mark.parametrize(
    "kind, num_components, num_evaluations", [("time", 5, 32), ("source", 5, 32)]
)
def test_times_or_sources_alone_are_explained_from_all_masks(kind, num_components, num_evaluations):
    record = explain_track.explain_track(likes(make_stems(), "piano"), make_stems(), kind)
    assert len(record.components) == num_components
    assert record.num_evaluations == num_evaluations
    assert record.num_samples == 2048
    assert all(component.std_error == 0 for component in record.components)


def test_times_and_sources_together_draw_2048_masks_as_lemons_does():
    stems = make_stems()
    record = explain_track.explain_track(likes(stems, "piano", 250, 350), stems, "time-source")
    assert len(record.components) == 25 and record.num_evaluations == record.num_samples == 2048
    assert [component.index for component in record.components] == list(range(25))
    for index, (segment, source) in enumerate(itertools.product(range(5), NAMES)):
        component = record.components[index]
        assert (component.segment, component.source) == (segment, source)
        assert component.name == f"{source} T{segment + 1}"
        assert component.std_error > 0
    best = record.components[selections.top(record, 1)[0]]
    assert best.name == "piano T2" and (best.start, best.end) == (0.2, 0.4)
    assert record.fidelity > 0.9 and record.status == "ok"
    song = stems.waveforms.sum(axis=0)[None]
    assert record.prediction == pytest.approx(float(likes(stems, "piano", 250, 350)(song)[0, 0]))


@pytest.mark.parametrize("kind", explain_track.TYPES)
def test_records_survive_json(kind):
    record = explain_track.explain_track(
        likes(make_stems(), "bass"), make_stems(), kind, num_samples=512
    )
    stored = json.dumps({**record.to_json(), "persona": "x"}, allow_nan=False)
    assert explain_track.Record.from_json(json.loads(stored)) == record


def test_a_constant_model_has_no_fidelity():
    record = explain_track.explain_track(
        lambda waveforms: jnp.full((len(waveforms), 1), 0.5), make_stems(), "source"
    )
    assert math.isnan(record.fidelity) and "same value for every perturbation" in record.status
    assert selections.top(record, 3) == ()
    again = explain_track.Record.from_json(
        json.loads(json.dumps(record.to_json(), allow_nan=False))
    )
    assert again.components == record.components


@pytest.mark.parametrize("status", [s for s in lj.Status if s is not lj.Status.OK])
def test_what_is_wrong_is_said_with_its_cure(status, monkeypatch):
    def explain(*arguments, **options):
        found = lj.explain(*arguments, **options)
        wrong = {"status": jnp.full_like(found.status, status)}
        if status is lj.Status.NOT_SOLVED:
            wrong["coefficients"] = jnp.full_like(found.coefficients, jnp.nan)
        return dataclasses.replace(found, **wrong)

    monkeypatch.setattr(explain_track, "explain", explain)
    record = explain_track.explain_track(likes(make_stems(), "bass"), make_stems(), "source")
    assert record.status == status.advice and selections.top(record, 3) == ()
    assert json.dumps(record.to_json(), allow_nan=False)
    is_constant = status is lj.Status.CONSTANT_OUTPUT
    sentence = "whatever is left out" if is_constant else status.advice
    assert sentence in wording.fidelity(record.fidelity, record.status)


@pytest.mark.slow
def test_the_same_seed_draws_the_same_masks():
    stems = make_stems()
    model = likes(stems, "piano", 250, 350)
    first, again, other = (
        explain_track.explain_track(model, stems, "time-source", num_samples=512, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first.components == again.components != other.components


@pytest.mark.parametrize("kind", ["", "both", "Time"])
def test_unknown_kinds_are_errors(kind):
    with pytest.raises(ValueError, match="`kind`"):
        explain_track.explain_track(likes(make_stems(), "bass"), make_stems(), kind)


def test_records_without_a_field_are_refused():
    with pytest.raises(ValueError, match="lacks kind, prediction"):
        explain_track.Record.from_json({"num_samples": 1})


@pytest.fixture(scope="module")
def record():
    stems = make_stems()
    return explain_track.explain_track(likes(stems, "piano"), stems, "time-source", num_samples=512)


def test_top_components_have_falling_positive_coefficients(record):
    indices = selections.top(record, 25)
    coefficients = [record.components[index].coefficient for index in indices]
    assert coefficients == sorted(coefficients, reverse=True) and min(coefficients) > 0
    assert selections.top(record, 3) == indices[:3]


def test_top_components_of_one_source_belong_to_it(record):
    indices = selections.top(record, 25, source="drums")
    assert {record.components[index].source for index in indices} <= {"drums"}


def test_unusable_choices_of_top_components_are_errors(record):
    with pytest.raises(ValueError, match="ask about one of bass, drums"):
        selections.top(record, 1, source="guitar")
    with pytest.raises(ValueError, match="`k` must be at least 1"):
        selections.top(record, 0)


def test_a_selection_and_the_rest_add_up_to_the_track(record):
    stems = make_stems()
    indices = (6, 7, 23)
    part = selections.render_selection(stems, record, indices)
    rest = selections.render_without(stems, record, indices)
    # Both fade within what is on: beside the edges they are the song.
    edges = np.array([200, 400, 800])
    distance = np.abs(np.arange(NUM_SAMPLES)[:, None] - edges).min(axis=1)
    inside = distance > fade_length()
    song = stems.waveforms.sum(axis=0)
    np.testing.assert_allclose((part.mix + rest)[inside], song[inside], atol=1e-6)
    assert set(part.sources) == {"piano", "drums", "bass"}
    np.testing.assert_allclose(sum(part.sources.values()), part.mix, atol=1e-6)


def fade_length():
    from lime_jax.audio.render import FADE_SECONDS

    return round(FADE_SECONDS * RATE) + 1


def test_trimmed_selections_lack_the_silence_at_their_ends(record):
    stems = make_stems()
    part = selections.render_selection(
        stems, record, [7]
    )  # drums from .2 to .4 s, silent before .3
    assert part.start == pytest.approx(0.3, abs=0.002) and part.end == pytest.approx(0.4, abs=0.002)
    first, last = round(part.start * RATE), round(part.end * RATE)
    np.testing.assert_array_equal(part.trimmed, part.mix[first:last])
    assert not part.mix[:first].any() and not part.mix[last:].any()


@pytest.mark.parametrize("kind", ["source", "time-source"])
def test_silent_components_are_never_on_top(kind):
    """Sampling and the penalty give silent sources small coefficients."""
    stems = make_stems()
    stems.waveforms[3:] = 0.0
    record = explain_track.explain_track(likes(stems, "piano"), stems, kind, num_samples=512)
    silent = [component.index for component in record.components if component.is_silent]
    assert {record.components[index].source for index in silent} == {"bass", "other"} | (
        {"drums"} if kind == "time-source" else set()
    )
    assert not set(silent) & set(selections.top(record, 25))
    assert selections.top(record, 3, source="bass") == ()


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
def test_a_silent_selection_is_a_tenth_of_a_second_of_silence(suffix):
    """It was an error of the server."""
    stems = make_stems()
    stems.waveforms[3:] = 0.0
    record = explain_track.explain_track(likes(stems, "piano"), stems, "source")
    waveform = explanation_body.waveform(stems, record, "component-3-trimmed")
    assert len(waveform) == RATE // 10 and not waveform.any()
    assert audio_responses.encode(waveform, 16_000, suffix)


def test_an_empty_selection_is_silent(record):
    part = selections.render_selection(make_stems(), record, [])
    assert not part.mix.any() and len(part.trimmed) == 0 and part.sources == {}
    song = make_stems().waveforms.sum(axis=0)
    np.testing.assert_allclose(selections.render_without(make_stems(), record, []), song, atol=1e-6)


def test_a_selected_time_sounds_like_the_track():
    stems = make_stems()
    record = explain_track.explain_track(likes(stems, "bass", 400, 600), stems, "time")
    part = selections.render_selection(stems, record, selections.top(record, 1))
    assert set(part.sources) == {selections.SONG}
    middle = slice(420, 580)
    np.testing.assert_allclose(part.mix[middle], stems.waveforms.sum(axis=0)[middle], atol=1e-6)
    with pytest.raises(ValueError, match="it is about times"):
        selections.top(record, 1, source="bass")


def test_stems_with_channels_are_explained_by_their_mean():
    stems = make_stems()
    stereo = Stems(np.stack([stems.waveforms, stems.waveforms], axis=1), NAMES, RATE)
    model = likes(stems, "vocals")
    ours = explain_track.explain_track(model, stems, "source")
    theirs = explain_track.explain_track(model, stereo, "source")
    for mono, mean in zip(ours.components, theirs.components, strict=True):
        assert mono.coefficient == pytest.approx(mean.coefficient, abs=1e-5)
