"""SLIME's experiments: what is counted, and the whole on two short songs."""

import dataclasses
import itertools
import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lime_jax as lj
from lime_jax.errors import LimeJaxError
from lime_jax.models.singing_voice import SingingVoice
from lime_jax.models.singing_voice_network import SvdNet
from scripts.experiments.common import results
from scripts.experiments.slime import neighbourhoods
from tests.networks import initialise
from tests.scripts.training.test_singing_voice import write_songs

PARTS = [(s, c) for s in neighbourhoods.SEGMENTATIONS for c in neighbourhoods.CONTENTS]


@pytest.fixture(scope="module")
def measures(script):
    return script("experiments.slime.measures")


@pytest.fixture(scope="module")
def figures(script):
    pytest.importorskip("matplotlib", reason="pictures need the extra `report`")
    return script("experiments.slime.figures", "experiments.slime.claims")


@pytest.fixture(scope="module")
def reproduce(script, figures):
    return script("experiments.slime.reproduce", "experiments.slime.study")


def outputs_of(weights):
    """Probabilities of a function that is steep enough to be no linear one."""
    return (1 / (1 + np.exp(-(neighbourhoods.MASKS @ np.asarray(weights, float).T)))).T.astype(
        np.float32
    )


@pytest.fixture(scope="module")
def outputs():
    return outputs_of(np.random.default_rng(0).normal(size=(12, 10)))


@pytest.fixture(scope="module")
def which():
    return [
        {"song": f"song {n // 3}", "index": n, "probability": 0.5, "sung": n % 3 == 1}
        for n in range(12)
    ]


@pytest.mark.slow
def test_stability_counts_the_components_of_five_lists(measures, which, outputs):
    every = measures.stability(which, outputs, seed=0)
    assert len(every) == 12 * len(measures.NUM_SAMPLES) * 2 * 2
    rows = results.where(every, sign="absolute")
    assert all(3 <= row["u_n"] <= 10 for row in rows)

    def mean(**some):
        return np.mean([row["u_n"] for row in results.where(rows, **some)])

    assert mean(distance="l2", num_samples=1000) > mean(distance="l2", num_samples=70_000)
    assert mean(distance="cosine", num_samples=1000) < mean(distance="l2", num_samples=1000)
    assert every == measures.stability(which, outputs, seed=0)
    assert every != measures.stability(which, outputs, seed=1)


def test_equal_evaluations_are_one_explanation_and_others_are_not(measures, which, outputs):
    rows = measures.exact_stability(which, outputs, [outputs.copy()] * 4)
    assert all(row["u_n"] == row["found"] for row in rows)
    assert all(row["u_n"] == 3 for row in results.where(rows, sign="absolute"))
    changed = measures.exact_stability(which, outputs, [outputs[::-1]])
    assert any(row["u_n"] > row["found"] for row in changed)


def test_contents_are_compared_with_zero(measures, which, outputs):
    """Content noise speaks against all segments: it shares no positive component with zero."""
    rng = np.random.default_rng(1)
    up, down = outputs_of(1 + rng.random((12, 10))), outputs_of(-1 - rng.random((12, 10)))
    said = {part: down if part[1] == "noise" else up for part in PARTS}
    rows = measures.grid_rows(which, said, seed=0, sign="positive")
    assert len(rows) == 12 * len(PARTS)
    for row in rows:
        expected = 0 if row["content"] == "noise" else 3
        assert row["n_ce_l2"] == row["n_ce_cosine"] == expected
        assert row["n_ce"] == 3 or row["content"] != "zero"


def test_table_2_has_a_sung_and_an_unsung_excerpt_of_four_songs(measures, which, outputs):
    rows = measures.grid_rows(which, dict.fromkeys(PARTS, outputs), seed=0, sign="positive")
    table = measures.table_2(rows)
    assert [row["song"] for row in table] == [f"song {n}" for n in (0, 0, 1, 1, 2, 2, 3, 3)]
    assert [row["sung"] for row in table] == [False, True] * 4
    assert [row["segmentation"] for row in table] == ["temporal"] * 4 + ["spectral"] * 4
    for row in table:
        assert set(neighbourhoods.CONTENTS) < set(row)


@pytest.mark.slow
def test_planted_segments_are_found_where_they_matter(measures):
    rng = np.random.default_rng(0)
    segments = [np.sort(rng.choice(10, 3, replace=False)).tolist() for _ in range(20)]
    weights = np.zeros((20, 10))
    for row, some in zip(weights, segments, strict=True):
        row[some] = 2.0
    which = [{"song": "a", "index": n, "segments": s} for n, s in enumerate(segments)]
    said = dict.fromkeys(measures.PLANTED_CONTENTS, outputs_of(weights))
    rows = measures.planted_rows(which, said, seed=0, sign="positive")
    assert all(row["n_ce"] == 3 for row in rows)
    assert {row["content"] for row in rows} == {*measures.PLANTED_CONTENTS, measures.MARGINAL}
    assert len({row["method"] for row in rows}) == 4


def test_the_mean_over_contents_is_the_marginal_explanation(measures, outputs):
    """A surrogate is linear in the outputs."""
    method = lj.exhaustive(distance="l2", equivalent_num_samples=70_000)

    def fit(y):
        return neighbourhoods.explained(y, neighbourhoods.evenly(70_000), method)[0][:, 0]

    both = fit((outputs + outputs[::-1]) / 2)
    np.testing.assert_allclose(both, (fit(outputs) + fit(outputs[::-1])) / 2, atol=1e-6)


def test_the_analysis_knows_the_published_setting(measures, outputs):
    found = measures.analysis(outputs, seed=0)
    assert abs(found["mean number of rows that miss only a given segment"] - 68.4) < 1
    assert abs(found["its standard deviation"] - 8.3) < 1
    assert abs(found["coefficient as a share of occlusion"] - 0.0224) < 1e-3
    assert found["correlation with occlusion"] > 0.99
    assert found["scatter explained by the counts"] > 0.95
    assert abs(found["relative scatter of a coefficient"] - 0.118) < 0.02
    assert found["median fidelity under l2"] < 0.1 < found["median fidelity under cosine"]


def test_counts_of_figure_7_add_up(measures, figures):
    rows = [
        {"content": "zero", "method": figures.SAMPLED, "n_ce": shared} for shared in (3, 3, 2, 0)
    ]
    assert figures.counts_of(rows, "zero", figures.SAMPLED) == [2, 1, 0, 1]
    assert all(sum(counts) == 656 for counts in figures.FIGURE_7.values())


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slime") / "songs"
    return write_songs(folder, ["train", "test", "test"], seconds=8.0)


@pytest.fixture
def quick(reproduce, monkeypatch):
    """A network that hears voices everywhere, and one planted excerpt per song."""
    network = initialise(lambda: SvdNet(rngs=nnx.Rngs(0)))
    network.output.bias[...] = jnp.ones(1)
    voice = SingingVoice(network, jnp.zeros(80), jnp.ones(80))
    monkeypatch.setattr(reproduce, "detector", lambda config: voice)
    monkeypatch.setattr(reproduce, "NUM_TIMES", 1)
    monkeypatch.setattr(reproduce, "NUM_MIXES", 1)
    return reproduce


@pytest.mark.slow
def test_the_whole_runs_and_goes_on_without_new_work(quick, songs, tmp_path, capsys):
    config = quick.Config(
        songs=songs, output_dir=tmp_path / "out", excerpts_per_song=1, planted_songs=2
    )
    summaries = quick.run(config)
    assert len(summaries) == 3
    for name, pictures in {
        "num-samples": {"figure-3.png", "figure-3-absolute.png"},
        "contents": {"figure-5.png", "figure-6.png"},
        "ground-truth": {"figure-7.png"},
    }.items():
        folder = tmp_path / "out" / f"slime-{name}"
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        module = "scripts.experiments.slime.reproduce"
        start = f"uv run python -m {module} --experiment {name} --songs songs"
        assert summary["command"].startswith(start)
        assert {picture["file"] for picture in summary["pictures"]} == pictures
        for file in pictures:
            assert (folder / file).read_bytes().startswith(b"\x89PNG")
    exact = results.read_table(tmp_path / "out" / "slime-num-samples" / "exhaustive.parquet")
    assert all(row["u_n"] == row["found"] for row in exact)
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "parts").iterdir()}
    again = quick.run(config)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "parts").iterdir()} == stamps
    for one, other in zip(again, summaries, strict=True):
        # All but the time that counting took.
        same = [f for f in one.figures if "what the answers took" not in f.what]
        assert same == [f for f in other.figures if "what the answers took" not in f.what]
        assert len(same) == len(one.figures) - 1
    quick.tell(again)
    assert "How many samples does SLIME need?" in capsys.readouterr().out
    with pytest.raises(LimeJaxError, match="was begun with other settings: excerpts_per_song"):
        quick.run(dataclasses.replace(config, excerpts_per_song=2))


@pytest.mark.slow
def test_figures_and_the_page_say_what_the_tables_hold(script, measures, figures, which, outputs):
    """From outputs of no network: every sentence and every cell has its number."""
    said = dict.fromkeys(PARTS, outputs)
    planted = [{**row, "segments": [0, 1, 2]} for row in which]
    by_content = dict.fromkeys(measures.PLANTED_CONTENTS, outputs)
    grid = measures.grid_rows(which, said, seed=0, sign="positive")
    tables = {
        "num-samples": {
            "u_n": measures.stability(which, outputs, 0),
            "exhaustive": measures.exact_stability(which, outputs, [outputs] * 4),
            "analysis": [measures.analysis(outputs, 0)],
        },
        "contents": {"grid": grid, "table-2": measures.table_2(grid)},
        "ground-truth": {
            "planted": measures.planted_rows(planted, by_content, 0, "positive"),
            "kept": [{"made": 40, "kept": 12}],
        },
    }
    found = {
        f"slime-{name}": {
            "title": figures.OF[name].title,
            "machine": {"num_cpus": 2},
            "figures": [dataclasses.asdict(f) for f in figures.OF[name].figures(some, 60.0)],
        }
        for name, some in tables.items()
    }
    asked = {f["what"]: f["passed"] for one in found.values() for f in one["figures"]}
    assert asked["five explanations from all 1024 masks agree, absolute weights, l2"] is True
    assert asked["planted excerpts that the network hears a voice in"] is False
    assert asked["content closest to zero, temporal"] is False  # all contents say the same
    page = script("experiments.slime.page").page(found)
    assert "{" not in page and "nan" not in page
    tables_of_page = [line for line in page.splitlines() if line.startswith("|")]
    for above, below in itertools.pairwise(tables_of_page):
        if below.startswith("|---"):
            assert above.count("|") == below.count("|")
    assert "| 1 000 |" in page and "12 of 40 that were made" in page


@pytest.mark.parametrize("name", ["max_songs", "excerpts_per_song", "planted_songs"])
@pytest.mark.parametrize("value", [0, -1])
def test_numbers_of_nothing_are_refused(reproduce, name, value):
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(ValueError, match=f"`{flag}` must be at least 1, got {value}"):
        reproduce.run(reproduce.Config(**{name: value}))


def test_streams_of_parts_differ(measures):
    draws = {measures.generator(0, *parts).integers(2**60) for parts in ((2,), (2, 0), (0, 2))}
    assert len(draws) == 3


def test_weights_need_their_statistics(reproduce, tmp_path):
    with pytest.raises(ValueError, match="`--weights` and `--mean-std` belong together"):
        reproduce.detector(reproduce.Config(weights=tmp_path / "model"))


def test_songs_without_stems_have_no_ground_truth(quick, songs, tmp_path):
    folder = tmp_path / "rwc"
    folder.mkdir()
    (folder / "one.flac").write_bytes((songs / "song-1" / "drums.flac").read_bytes())
    config = quick.Config("ground-truth", songs=folder, output_dir=tmp_path / "out")
    with pytest.raises(LimeJaxError, match="has no stems of voice and accompaniment"):
        quick.run(config)
