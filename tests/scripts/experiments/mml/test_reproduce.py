import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from scripts.experiments.common import corpus

SAMPLE_RATE = 16_000


@pytest.fixture(scope="module")
def mml(script):
    return script(
        "experiments.mml.reproduce", "experiments.mml.questions", "experiments.mml.figures"
    )


@pytest.fixture
def songs(tmp_path):
    """Three test songs of noise and tones."""
    soundfile = pytest.importorskip("soundfile")
    rng = np.random.default_rng(0)
    time = np.arange(30 * SAMPLE_RATE) / SAMPLE_RATE
    for number in range(3):
        folder = tmp_path / "songs" / f"{number}"
        folder.mkdir(parents=True)
        (folder / "song.json").write_text('{"split": "test"}')
        tone = 0.2 * np.sin(2 * np.pi * 110 * (number + 2) * time)
        soundfile.write(folder / "piano.flac", tone, SAMPLE_RATE)
        bursts = rng.uniform(-0.3, 0.3, len(time)) * (time % 0.5 < 0.05)
        soundfile.write(folder / "drums.flac", bursts, SAMPLE_RATE)
    return tmp_path / "songs"


def test_bands_sum_to_the_waveform(mml):
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, 20_000).astype(np.float32)
    bands = mml.bands(waveform)
    assert bands.shape == (5, 20_000)
    np.testing.assert_allclose(bands.sum(axis=0), waveform, atol=1e-5)


@pytest.mark.slow
def test_a_component_holds_one_band_in_one_segment(mml):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 90_000).astype(np.float32)
    question = mml.snippet_question(None, mml.bands(noise), 10)
    segment, band = 4, 2
    mask = lj.mask_of(jnp.array([segment * 5 + band]), 45)
    kept = np.asarray(lj.recompose(question.components, mask))
    assert not kept[:40_000].any() and not kept[50_000:].any()
    energy = np.square(np.abs(np.fft.rfft(kept[40_000:50_000])))
    hertz_per_band = SAMPLE_RATE / 2 / 1025 * 205
    band_of = np.fft.rfftfreq(10_000, 1 / SAMPLE_RATE) // hertz_per_band
    assert energy[band_of == band].sum() > 0.99 * energy.sum()


def test_the_best_are_kept_and_the_random_ones_are_others_that_are_positive(mml):
    positive = np.array([7, 3, 20, 11, 0, 15, 9])
    rows = mml.subsets(positive, 3, 200, np.random.default_rng(0))
    assert rows.shape == (201, 3)
    assert rows[0].tolist() == [7, 3, 20]
    assert set(rows[1:].ravel()) == {11, 0, 15, 9}
    assert all(len(set(row)) == 3 for row in rows)


def test_a_component_that_alone_decides_is_counted(mml):
    def decides(masks):
        return np.stack([masks[:, 3], np.full(len(masks), 0.5)], axis=1)

    rng = np.random.default_rng(0)
    for first, is_kept in ((3, True), (29, False)):
        positive = np.array([first, *(i for i in range(30) if i not in (3, first))])
        same = mml.unchanged(decides, positive, 0, 30, 8, rng)
        assert list(same) == [3, 5, 7, 9, 11]
        assert all(answers.tolist() == [is_kept] + [False] * 8 for answers in same.values())


def test_few_positive_components_are_skipped(mml):
    def outputs(masks):
        return np.stack([masks.sum(axis=1), np.zeros(len(masks))], axis=1)

    def count_masks(number):
        return list(mml.unchanged(outputs, np.arange(number), 0, 50, 2, np.random.default_rng(0)))

    assert count_masks(22) == [3, 5, 7, 9, 11]
    assert count_masks(21) == [3, 5, 7, 9]
    assert count_masks(6) == [3]
    assert count_masks(5) == []


def test_a_question_is_explained_and_judged(mml):
    """Component 3 raises output 0, others hardly do; half of them lower it."""
    weights = jnp.where(jnp.arange(16) % 2 == 1, 0.01, -0.01).at[3].set(1.0)

    def predict(x):
        return jnp.stack([x @ weights, jnp.full(len(x), 0.5)], axis=1)

    question = mml.Question(predict, lj.from_stems(jnp.eye(16)), lj.lime(500), np.ones(16, bool))
    rows = mml.judge(question, "audioLIME", jax.random.key(0), np.random.default_rng(0))
    told = {(row["kind"], row["k"]): row["unchanged"] for row in rows}
    assert len(told) == 10
    assert told["audioLIME", 3] == 1.0 and told["random", 3] == 0.0
    assert told["audioLIME", 5] is told["random", 11] is None
    assert {row["k"] for row in rows if row["skipped"]} == {5, 7, 9, 11}
    assert {row["label"] for row in rows} == {0} and {row["num_positive"] for row in rows} == {8}
    only = mml.judge(question, "SLIME", jax.random.key(0), np.random.default_rng(0))
    assert [row["kind"] for row in only] == ["SLIME"] * 5


@pytest.mark.slow
def test_looking_snippets_up_equals_evaluating_songs(mml, monkeypatch, getkey):
    monkeypatch.setattr(mml, "NUM_SNIPPETS", 3)
    sources = np.asarray(jax.random.normal(getkey(), (5, 24)))
    mixing = jax.random.normal(getkey(), (8, 3))

    def tagger(x):
        return jax.nn.sigmoid(jnp.square(x) @ mixing)

    question = mml.song_question(tagger, sources, 1000)
    components = lj.cross(lj.from_stems(sources), lj.equal_segments(24, 3), 3)
    whole = mml.Question(
        lj.models.Snippets(tagger, 8), components, question.method, question.sounds
    )
    masks = np.asarray(jax.random.bernoulli(getkey(), 0.4, (40, 15)))
    np.testing.assert_allclose(question.outputs_of(masks), whole.outputs_of(masks), atol=1e-6)
    found, expected = (lj.explain(q.predict, q.components, q.method) for q in (question, whole))
    assert int(found.num_evaluations) == int(expected.num_evaluations) == 96
    np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=1e-5)


def test_shares_leave_out_what_was_skipped(mml):
    def row(unchanged):
        return {"unchanged": unchanged, "skipped": unchanged is None}

    told = mml.summed_up([row(1.0), row(None), row(0.0), row(1.0)])
    assert told["share"] == pytest.approx(2 / 3)
    assert (told["num_clips"], told["num_skipped"]) == (3, 1)
    assert mml.summed_up([row(None)])["share"] is None


def test_above_means_above_everywhere(mml):
    assert mml.is_ahead([0.1, None, 0.2])
    assert not mml.is_ahead([0.1, 0.0])
    assert mml.is_ahead([None, None]) is None

    def rows(*shares):
        return [
            {"clip": n, "unchanged": share, "skipped": share is None}
            for n, share in enumerate(shares)
        ]

    # The second clip is missing in one, the third in the other.
    assert mml.lead_of(rows(1.0, None, 0.0, 1.0), rows(0.5, 0.0, None, 0.0)) == 0.75
    assert mml.lead_of(rows(None), rows(1.0)) is None


def test_silent_components_are_not_kept(mml):
    sources = np.ones((2, 90))
    sources[1, 30:60] = 0
    expected = [True, True, True, False, True, True]
    assert mml.sounding(sources, 3).tolist() == expected
    question = mml.snippet_question(None, sources.astype(np.float32), 10)
    assert question.sounds.sum() == 18 - 3


def test_songs_that_are_too_short_are_named(mml, songs):
    import soundfile

    for stem in (songs / "0").glob("*.flac"):
        soundfile.write(stem, soundfile.read(stem)[0][:SAMPLE_RATE], SAMPLE_RATE)
    (song,) = (song for song in mml.corpus.songs_of(songs) if song.name == "0")
    with pytest.raises(lj.errors.AudioError, match="at least 30 s"):
        mml.excerpt(song, SAMPLE_RATE, np.random.default_rng(0))


def test_more_songs_begin_with_the_same(mml, songs):
    found = corpus.songs_of(songs)

    def chosen(number):
        return mml.chosen_songs(mml.Config(smoke=True, num_songs=number), found)

    assert chosen(2) == chosen(3)[:2]


def test_sizes_exclude_each_other(mml):
    with pytest.raises(ValueError, match="does not go with"):
        _ = mml.Config(smoke=True, full=True).size
    with pytest.raises(ValueError, match="at least 1"):
        _ = mml.Config(num_songs=0).size


@pytest.mark.slow
def test_runs_goes_on_and_repeats(mml, songs, tmp_path, monkeypatch):
    config = mml.Config(songs=songs, output_dir=tmp_path / "one", smoke=True, num_songs=2)
    summary = mml.run(config)
    names = {"clips.parquet", "curves.parquet", "curves.png", "settings.json", "summary.json"}
    assert {path.name for path in config.output_dir.iterdir()} == names
    assert len(summary.figures) == 6
    assert json.loads((config.output_dir / "summary.json").read_text())["config"]["smoke"]

    def table(folder):
        return mml.results.read_table(folder / "clips.parquet")

    rows = table(config.output_dir)
    assert len(rows) == 2 * 2 * 3 * 5
    assert len(mml.results.read_table(config.output_dir / "curves.parquet")) == 2 * 3 * 5

    other = dataclasses.replace(config, output_dir=tmp_path / "other", num_songs=1)
    mml.run(other)

    def untimed(rows):
        return [{**row, "seconds": None} for row in rows]

    assert untimed(table(other.output_dir)) == untimed(rows[:30])

    monkeypatch.delattr(mml, "judge_song")
    assert mml.run(config) == summary
    assert table(config.output_dir) == rows
