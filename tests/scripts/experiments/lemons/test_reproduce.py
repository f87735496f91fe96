"""LEMONS' experiment, on sines and listeners who like one of them."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from lime_jax.errors import StoreError
from lime_jax.lemons import explain_track, selections
from lime_jax.lemons import library as libraries
from lime_jax.lemons.listeners import Persona
from tests.scripts import lemons_library
from tests.scripts.lemons_library import SOURCES, Likes

SIZES = (64, 128)
EVERY = np.array(list(itertools.product([True, False], repeat=5)))


@pytest.fixture(scope="module")
def lemons(script):
    names = (
        "experiments.lemons.figures",
        "experiments.lemons.measures",
        "experiments.lemons.reproduce",
    )
    return script(*names)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return lemons_library.write_library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def library(folder):
    return libraries.load_library(folder)


def listener(*loves):
    return Persona("ada", "Ada", "I like it.", loves, "Plays what it likes.")


@pytest.fixture(scope="module")
def rows_of(lemons, library):
    """Rows by kind of a track explained to who likes drums, or another source."""

    def measure(track, likes="drums", seed=0, num_repeats=2, of=library, loves=("drums",)):
        chosen = {"sizes": SIZES, "num_repeats": num_repeats, "seed": seed}
        rows = lemons.measured(Likes(likes), of, listener(*loves), track, **chosen)
        return {row["kind"]: row for row in rows}

    return measure


class TestMasks:
    @pytest.mark.slow
    def test_times_and_sources_are_masks_of_both(self, lemons, library):
        """All 32 masks of each, and the same sound as from components of their own."""
        stems = library.stems("all")
        both = explain_track.segment_track(stems, "time-source").components
        masks = lemons.masks_of(64, 2, 0)
        assert masks.shape == (2 * 32 + 2 * 64, 25)
        for kind, of in (("time", masks[:32]), ("source", masks[32:64])):
            alone = explain_track.segment_track(stems, kind).components
            assert len({row.tobytes() for row in of}) == 32
            found = jax.vmap(both.recomposed)(jnp.asarray(of))
            expected = jax.vmap(alone.recomposed)(jnp.asarray(EVERY))
            np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=kind)

    def test_fewer_samples_are_the_first_of_more(self, lemons):
        few, many = (lemons.masks_of(size, 3, 7)[64:].reshape(3, size, 25) for size in (64, 100))
        np.testing.assert_array_equal(many[:, :64], few)

    def test_repeats_are_what_other_seeds_draw(self, lemons):
        drawn = lemons.masks_of(100, 3, 7)[64:].reshape(3, 100, 25)
        sampler = explain_track.method_of("time-source", 100).sampler
        for n, masks in enumerate(drawn):
            np.testing.assert_array_equal(masks, sampler(jax.random.key(7 + n), 25).masks)
        assert len({masks.tobytes() for masks in drawn}) == 3


class TestMeasured:
    @pytest.mark.parametrize(
        ("track", "seed"), [pytest.param("all", 0, marks=pytest.mark.slow), ("late", 3)]
    )
    def test_rows_are_the_explanations_of_the_application(self, rows_of, library, track, seed):
        stems = library.stems(track)
        rows = rows_of(track, seed=seed)
        assert tuple(rows) == explain_track.TYPES
        for kind, row in rows.items():
            told = explain_track.explain_track(Likes("drums"), stems, kind, seed=seed)
            assert row["top"] == selections.top(told, 1)[0], kind
            assert row["fidelity"] == pytest.approx(told.fidelity, abs=1e-4), kind
            assert row["relevance"] == pytest.approx(told.prediction, abs=1e-5)
            if kind != "time":
                assert row["source"] == told.components[row["top"]].source == "drums"
        assert [row["is_loved"] for row in rows.values()] == [None, True, True]
        assert rows["source"]["top"] == 2 and rows["time-source"]["top"] % 5 == 2
        assert {(row["persona"], row["track"]) for row in rows.values()} == {("ada", track)}

    def test_what_is_not_loved_is_marked(self, rows_of):
        rows = rows_of("all", likes="piano")
        assert rows["source"]["is_loved"] is False and rows["source"]["source"] == "piano"

    def test_who_loves_nothing_is_not_judged(self, rows_of):
        rows = rows_of("duo", loves=())
        assert all(r["is_loved"] is None and r["by_chance"] is None for r in rows.values())

    def test_all_rows_have_all_columns(self, rows_of):
        assert len({tuple(sorted(row)) for row in rows_of("all").values()}) == 1

    @pytest.mark.slow
    def test_stability_is_that_of_explanations_with_other_seeds(self, rows_of, library):
        """Where four of five are equally loud, so that repeats differ."""
        both = rows_of("soft", likes="bass", seed=5, num_repeats=3)["time-source"]
        stems = library.stems("soft")
        for size in SIZES:

            def ask(n, size=size):
                return explain_track.explain_track(
                    Likes("bass"), stems, "time-source", num_samples=size, seed=5 + n
                )

            told = [ask(n) for n in range(3)]
            tops = [index for one in told for index in selections.top(one, 3)]
            assert both[f"u_n_{size}"] == len(set(tops)) > 3
            fidelity = np.mean([one.fidelity for one in told])
            assert both[f"fidelity_{size}"] == pytest.approx(fidelity, abs=1e-4)
        assert len(SIZES) == sum(name.startswith("u_n") for name in both)

    def test_nothing_on_top_is_not_loved(self, lemons, library):
        constant = Likes("drums", slope=0.0)
        chosen = {"sizes": SIZES, "num_repeats": 2, "seed": 0}
        rows = lemons.measured(constant, library, listener("drums"), "all", **chosen)
        for row in rows:
            assert row["top"] == -1 and row["source"] is None and not row["is_loved"]
        assert rows[2]["without_top"] is None and rows[2]["u_n_64"] == 0
        rows = lemons.with_loudest(rows, library, [listener("drums")])
        figures = lemons.figures_of([score()], rows, SIZES)
        assert not any("nan" in figure.ours for figure in figures)
        assert lemons.drawn([score()], rows, SIZES)


def sounding(stems, start, end):
    """Sources that are heard between two samples, one by one."""
    return [s for s, x in zip(SOURCES, stems.waveforms, strict=True) if any(x[start:end] != 0)]


@pytest.mark.parametrize("track", ["all", "duo", "late", "piano"])
@pytest.mark.parametrize("loves", [("drums",), ("piano", "bass")])
def test_chance_counts_what_is_heard(rows_of, library, track, loves):
    stems = library.stems(track)
    parts = {
        "source": [(0, 1003)],
        "time-source": [(0, 200), (200, 400), (400, 600), (600, 800), (800, 1003)],
    }
    rows = rows_of(track, loves=loves)
    for kind, cuts in parts.items():
        heard = [source for cut in cuts for source in sounding(stems, *cut)]
        expected = sum(source in loves for source in heard) / len(heard)
        assert rows[kind]["by_chance"] == pytest.approx(expected), kind


def test_the_last_segment_ends_with_the_track(rows_of, tmp_path):
    """The three samples that five segments leave over are heard as well."""
    of = lemons_library.write_library(
        tmp_path, {"end": {"drums": (0.9, 0.9, 0, 0, 0)}}, played=PLAYED_END
    )
    end = np.zeros(lemons_library.NUM_SAMPLES)
    end[-2:] = 0.5
    soundfile.write(tmp_path / "audio" / "end" / "bass.flac", end, lemons_library.RATE)
    listing = tmp_path / "library.json"
    changed = listing.read_text(encoding="utf-8").replace('["drums"]', '["drums", "bass"]', 1)
    listing.write_text(changed, encoding="utf-8")
    rows = rows_of("end", of=libraries.load_library(of))
    assert rows["source"]["by_chance"] == 1 / 2
    assert rows["time-source"]["by_chance"] == pytest.approx(2 / 3)


PLAYED_END = dict.fromkeys(lemons_library.PERSONAS, ("end",))


class TestMissed:
    @pytest.mark.parametrize("track", ["all", "duo", "late"])
    def test_the_loved_part_is_missed_more_than_another(self, rows_of, library, track):
        row = rows_of(track)["time-source"]
        stems = library.stems(track)
        without = {}
        for index in range(25):
            waveforms = stems.waveforms.copy()
            segment, source = divmod(index, 5)
            waveforms[source, 200 * segment : (200 * (segment + 1), 1003)[segment == 4]] = 0
            is_heard = (waveforms != stems.waveforms).any()
            relevance = float(Likes("drums")(jnp.asarray(waveforms.sum(axis=0)[None]))[0, 0])
            without |= {index: relevance} if is_heard else {}
        assert row["without_top"] == pytest.approx(without.pop(row["top"]), abs=1e-5)
        assert min(abs(row["without_other"] - other) for other in without.values()) < 1e-5
        assert row["without_top"] < row["without_other"] <= row["relevance"] + 1e-6

    def test_silent_components_are_no_others(self, rows_of, tmp_path):
        """Only one other is heard, so it is that one whatever the seed."""
        two = {"drums": (0.9, 0, 0.7, 0, 0)}
        tracks = {"two": {name: two.get(name, (0,) * 5) for name in SOURCES}}
        tracks["one"] = {"drums": (0, 0, 0.9, 0, 0)}
        played = dict.fromkeys(lemons_library.PERSONAS, ("two",))
        of = libraries.load_library(lemons_library.write_library(tmp_path, tracks, played=played))
        waveform = of.stems("two").mono().waveforms.sum(axis=0)[None]
        waveform[:, 400:600] = 0
        rest = float(Likes("drums")(jnp.asarray(waveform))[0, 0])
        for seed in range(3):
            row = rows_of("two", seed=seed, of=of)["time-source"]
            assert row["top"] == 2 and row["without_other"] == pytest.approx(rest)
        alone = rows_of("one", of=of)["time-source"]
        assert alone["top"] == 12
        assert alone["without_top"] is None and alone["without_other"] is None

    def test_another_is_drawn_for_each_track(self, lemons, library):
        """Not that of the same place in all tracks, which would be one segment."""
        plays = lemons.plays_of(
            explain_track.segment_track(library.stems("all"), "time-source").components
        )
        assert plays.all() and plays.shape == (5, 5)
        found = {lemons.another(plays, 12, 0, f"track-{n}") for n in range(60)}
        assert len(found) > 15 and 12 not in found and found <= set(range(25))
        seeds = {lemons.another(plays, 12, seed, "all") for seed in range(60)}
        assert len(seeds) > 15
        assert lemons.another(plays, 12, 0, "all") == lemons.another(plays, 12, 0, "all")


@pytest.mark.parametrize("track", ["all", "duo", "late", "piano", "soft"])
def test_the_loudest_has_the_highest_rms(lemons, library, track):
    stems = library.stems(track)

    def rms(cut):
        return np.sqrt(np.mean(stems.waveforms[:, cut].astype(float) ** 2, axis=1))

    cuts = [slice(0, 200), slice(200, 400), slice(400, 600), slice(600, 800), slice(800, 1003)]
    loudest = {
        "source": SOURCES[int(rms(slice(None)).argmax())],
        "time-source": max(
            (x, name) for c in cuts for x, name in zip(rms(c), SOURCES, strict=True)
        )[1],
    }
    assert lemons.loudest_of(stems) == loudest


def test_a_loud_moment_is_not_a_loud_track(lemons, tmp_path):
    tracks = {"one": {"drums": (0, 0, 0.9, 0, 0), "bass": (0.7,) * 5}}
    played = dict.fromkeys(lemons_library.PERSONAS, ("one",))
    of = libraries.load_library(lemons_library.write_library(tmp_path, tracks, played=played))
    rows = [explanation(kind, track="one") for kind in ("source", "time-source")]
    rows.append(explanation("time", track="unknown", is_loved=None))
    for loves, expected in (("bass", [True, False, None]), ("drums", [False, True, None])):
        found = lemons.with_loudest(rows, of, [listener(loves)])
        assert [row["loudest_is_loved"] for row in found] == expected


def score(name="ada", auc=0.75, average=0.73):
    return {"persona": name, "num_tracks": 6, "auc": auc, "map": average}


def explanation(kind="time-source", persona="ada", **changes):
    row = {"persona": persona, "kind": kind, "is_loved": True, "by_chance": 0.25, "fidelity": 0.5}
    row |= {
        "loudest_is_loved": True,
        "relevance": 0.9,
        "without_top": 0.5,
        "without_other": 0.6,
        "u_n_64": 5,
        "u_n_128": 4,
    }
    return row | changes


class TestFigures:
    @pytest.mark.parametrize(
        ("auc", "average", "passed"),
        [(0.75, 0.73, [True, True]), (0.74, 0.73, [False, True]), (0.75, 0.72, [True, False])],
    )
    def test_scores_are_asked_as_much_as_in_the_paper(self, lemons, auc, average, passed):
        figures = lemons.score_figures([score(auc=auc, average=average)] * 4)
        assert [figure.passed for figure in figures[:2]] == passed
        assert figures[2].ours.startswith(f"ada {auc:.2f}, ada")

    @pytest.mark.parametrize(("num_loved", "passed"), [(8, True), (7, False), (10, True)])
    def test_eight_of_ten_are_enough(self, lemons, num_loved, passed):
        rows = [explanation(is_loved=n < num_loved, persona=f"p{n % 2}") for n in range(10)]
        rows += [explanation("source", is_loved=False), explanation(is_loved=None, by_chance=None)]
        source, _, _, _, both, each, _, _ = lemons.love_figures(rows)
        assert (both.ours, both.passed) == (f"{10 * num_loved} % of 10", passed)
        assert (source.ours, source.passed) == ("0 % of 1", False)
        assert "by chance 25 %" in both.what and each.ours.count("of 5") == 2

    @pytest.mark.parametrize(("other", "passed"), [(0.6, True), (0.5, False), (0.4, False)])
    def test_the_top_must_be_missed_more(self, lemons, other, passed):
        rows = [explanation(without_other=other), explanation(without_top=None)]
        found = lemons.missed_figure([*rows, explanation("source", without_top=0.9)])
        assert found.passed is passed
        assert found.ours == f"0.40 and {0.9 - other:.2f}; more in {100 * passed} % of 1"

    def test_loudness_is_counted_beside_explanations(self, lemons):
        rows = [
            explanation(is_loved=loved, loudest_is_loved=loudest)
            for loved, loudest in [(True, True), (True, False), (False, False), (True, False)]
        ]
        rows.append(explanation("time", is_loved=None, by_chance=None, loudest_is_loved=None))
        *_, loudest, elsewhere = lemons.love_figures(rows)
        assert "the loudest component belongs to what is loved, Time + Source" in loudest.what
        assert (loudest.ours, elsewhere.ours) == ("25 % of 4", "67 % of 3")

    @pytest.mark.parametrize(
        ("values", "passed"),
        [((5, 4), True), ((5, 5), False), ((5, 6), False), ((3, 3), True), ((3, 4), False)],
    )
    def test_more_samples_must_be_more_stable(self, lemons, values, passed):
        """Unless even the fewest were as stable as can be."""
        rows = [explanation(u_n_64=values[0], u_n_128=values[1])]
        rows.append(explanation("source", u_n_64=None, u_n_128=None))
        first, _, both = lemons.stability_figures(rows, SIZES)
        assert first.ours == f"median {values[0]}, mean {values[0]:.2f}, up to {values[0]}"
        assert (both.ours, both.passed) == (f"{values[0]}, {values[1]}", passed)
        assert both.condition == "mean with 128 below that with 64, or 3 with both"

    def test_the_paper_has_numbers_for_its_sizes_alone(self, lemons):
        few, many, _ = lemons.stability_figures([], (512, 2048))
        assert "4 to 5" in few.paper and many.paper is None
        assert "3 to 4" in lemons.stability_figures([], (512, 4096))[1].paper

    def test_nothing_explained_fails_nothing(self, lemons):
        figures = lemons.figures_of([score()], [], SIZES)
        assert all(figure.passed is None for figure in figures[3:])
        assert {figure.ours for figure in figures[3:]} == {"none"}
        assert not any("nan" in f"{figure.what} {figure.ours}" for figure in figures)
        for picture, _ in lemons.drawn([score()], [], SIZES).values():
            assert picture.axes

    def test_pictures_show_every_listener(self, lemons):
        rows = [
            explanation(kind, persona, is_loved=persona == "ada")
            for kind in ("time", "source", "time-source")
            for persona in ("ada", "bob")
        ]
        drawn = lemons.drawn([score("bob"), score("ada"), score("cy")], rows, SIZES)
        axes = drawn["loved"][0].axes[0]
        assert [label.get_text() for label in axes.get_xticklabels()] == ["Bob", "Ada"]
        assert sorted(bar.get_height() for bar in axes.patches) == [0, 0, 100, 100]
        assert len(axes.get_legend().get_texts()) == 2


class TestRun:
    @pytest.fixture
    def config(self, lemons, folder, tmp_path):
        return lemons.Config(folder, output_dir=tmp_path / "out", smoke=True)

    @pytest.fixture(autouse=True)
    def likes(self, lemons, monkeypatch):
        """What stands for the networks, by listener; and short explanations."""
        likes = {name: Likes(source) for name, source in lemons_library.LIKED.items()}
        monkeypatch.setattr(
            "scripts.experiments.lemons.reproduce.recommender_in", lambda _, persona: likes[persona]
        )
        monkeypatch.setitem(lemons.SIZES, "smoke", lemons.Size(2, 2, SIZES))
        return likes

    @pytest.mark.slow
    def test_all_results_are_in_the_record(self, lemons, config):
        summary = lemons.run(config)
        figures = {figure.what: figure for figure in summary.figures}
        told = figures["ROC-AUC of each listener"].ours
        assert told.startswith("ada 1.00, bob 1.00, cy ")
        loved = [figure for name, figure in figures.items() if "instrument on top, " in name]
        assert [figure.ours for figure in loved] == ["100 % of 4"] * 2
        assert all(figure.passed for figure in loved)
        assert figures["fidelity, Time"].ours.startswith("0.")
        for picture in summary.pictures:
            assert (config.folder / picture.file).read_bytes().startswith(b"\x89PNG")
        rows = lemons.results.read_table(config.folder / "relevances-ada.parquet")
        assert {r["track"]: r["relevance"] >= 0.5 for r in rows} == {
            name: name in ("all", "duo", "late") for name in lemons_library.TRACKS
        }
        rows = lemons.results.read_table(config.folder / "explanations-ada.parquet")
        assert list(dict.fromkeys(row["track"] for row in rows)) == ["all", "duo"]

    @pytest.mark.slow
    def test_what_is_stored_is_not_made_again(self, lemons, config, likes):
        first = lemons.run(config)
        likes.clear()
        again = lemons.run(config)
        assert again.figures == first.figures
        with pytest.raises(StoreError, match="begun with other settings: seed"):
            lemons.run(dataclasses.replace(config, seed=1))
        (config.folder / "relevances-bob.parquet").unlink()
        with pytest.raises(KeyError, match="bob"):
            lemons.run(config)

    def test_nothing_recommended_rightly_is_reported(self, lemons, config, likes, tmp_path):
        likes |= dict.fromkeys(likes, Likes("drums", slope=-1e3))
        played = dict.fromkeys(lemons_library.PERSONAS, ("all", "duo"))
        other = lemons_library.write_library(tmp_path / "library", played=played)
        summary = lemons.run(dataclasses.replace(config, library=other))
        assert [one.passed for one in summary.figures[3:]] == [None] * len(summary.figures[3:])
        assert all((config.folder / picture.file).exists() for picture in summary.pictures)

    @pytest.mark.parametrize(("loves", "expected"), [("piano", ["duo"]), (None, ["duo", "voice"])])
    def test_what_holds_nothing_loved_is_left_out(self, lemons, config, library, loves, expected):
        persona = listener(*filter(None, [loves]))
        rows = [
            {"track": track, "is_relevant": True, "relevance": relevance}
            for track, relevance in (("voice", 0.9), ("duo", 0.5), ("piano", 0.49))
        ]
        found = lemons.explained(config, lemons.SIZES["smoke"], library, persona, rows)
        assert list(dict.fromkeys(row["track"] for row in found)) == expected

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["library.json", "plays.tsv", "personas.json"])
    def test_other_libraries_go_elsewhere(self, lemons, config, tmp_path, name):
        other = lemons_library.write_library(tmp_path / "library")
        lemons.run(dataclasses.replace(config, library=other))
        with (other / name).open("a", encoding="utf-8") as file:
            file.write("\n")
        with pytest.raises(StoreError, match=f"begun with other settings: {name}"):
            lemons.run(dataclasses.replace(config, library=other))

    def test_how_networks_were_trained_is_reported(self, lemons, config, tmp_path):
        networks = tmp_path / "networks"
        networks.mkdir()
        config = dataclasses.replace(config, recommenders=networks)
        before = lemons.differences(config, lemons.SIZES["smoke"])
        training = {"epochs": 90, "validate_every": 7, "precision": "default", "time_limit": 12.0}
        record = {
            "epochs": 35,
            "config": training,
            "machine": {"device": "NVIDIA X"},
            "data": "--export-mixes",
        }
        (networks / "scores.json").write_text(json.dumps(record), encoding="utf-8")
        told, *others = lemons.differences(config, lemons.SIZES["smoke"])
        assert others == before
        assert told == (
            "Training of the networks: 35 of 90 epochs, where a limit of 12 s stopped it; products "
            "in tf32 (precision default), validation every 7 epochs, weights kept in 16 bits. "
            "Data: --export-mixes, that is, encoded once more."
        )

    def test_other_networks_go_elsewhere(self, lemons, config, tmp_path):
        (tmp_path / "others").mkdir()
        (tmp_path / "others" / "ada.npz").write_bytes(b"other weights")
        lemons.run(config)
        with pytest.raises(StoreError, match="begun with other settings: recommenders"):
            lemons.run(dataclasses.replace(config, recommenders=tmp_path / "others"))


def test_scores_are_of_played_tracks_and_as_many_others(lemons):
    rows = [
        {"persona": "ada", "track": f"t{n}", "is_relevant": n < 3, "relevance": relevance}
        for n, relevance in enumerate([0.9, 0.8, 0.1, 0.2, 0.3, 0.4])
    ]
    found = lemons.scores_of(rows, 0)
    assert found["num_tracks"] == 6 and found["auc"] == pytest.approx(6 / 9)
    assert found["map"] == pytest.approx((1 + 1 + 3 / 6) / 3)
    assert lemons.scores_of([*rows, rows[0] | {"track": "t6", "is_relevant": False}], 0)
