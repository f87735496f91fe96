"""Play counts as they lie on disk, examples of them, and metrics beside scikit-learn's."""

import gzip
import json

import numpy as np
import pytest
import soundfile
from sklearn.metrics import average_precision_score, roc_auc_score

from lime_jax.errors import StoreError
from scripts.experiments.lemons import play_counts
from scripts.experiments.lemons.play_counts import Example

TEXT = "ada\tone\t3\nbob\ttwo\t1\nada\ttwo\t0\nada\tone\t4\n"
TRACKS = [f"track-{number}" for number in range(50)]
PLAYS = {f"track-{number}": 1 + number for number in range(0, 40, 2)} | {"elsewhere": 7}


class TestTriplets:
    @pytest.mark.parametrize("name", ["plays.tsv", "plays.txt.gz"])
    def test_plain_and_packed(self, tmp_path, name):
        data = TEXT.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        found = play_counts.read_triplets(tmp_path / name)
        assert found == {"ada": {"one": 7, "two": 0}, "bob": {"two": 1}}

    @pytest.mark.parametrize(
        "line",
        ["ada\tone", "ada one 3", "ada\tone\t3\t4", "ada\tone\t-1", "ada\t\t1", "", "a\tb\t²"],
    )
    def test_others_are_named_by_their_line(self, tmp_path, line):
        path = tmp_path / "plays.tsv"
        path.write_text(f"ada\tone\t3\n{line}\nbad\n", encoding="utf-8")
        with pytest.raises(StoreError, match=r"line 2 of `.*plays\.tsv` must hold a user, a track"):
            play_counts.read_triplets(path)

    @pytest.mark.parametrize("name", ["nowhere.tsv", "damaged.gz", "cut.gz", "latin.tsv"])
    def test_unreadable_files_are_named(self, tmp_path, name):
        (tmp_path / "damaged.gz").write_bytes(b"no gzip")
        (tmp_path / "cut.gz").write_bytes(gzip.compress(TEXT.encode())[:-9])
        (tmp_path / "latin.tsv").write_bytes("é\tone\t1\n".encode("latin-1"))
        with pytest.raises(StoreError, match=rf"{name}` cannot be read as play counts"):
            play_counts.read_triplets(tmp_path / name)

    def test_empty_files_are_refused(self, tmp_path):
        (tmp_path / "plays.tsv").touch()
        with pytest.raises(StoreError, match="holds no play counts"):
            play_counts.read_triplets(tmp_path / "plays.tsv")


class TestListing:
    def test_splits_by_track(self, tmp_path):
        tracks = [{"id": "one", "split": "test", "title": "x"}, {"id": "two", "split": "train"}]
        path = tmp_path / "library.json"
        path.write_text(json.dumps({"tracks": tracks}), encoding="utf-8")
        assert play_counts.read_splits(path) == {"one": "test", "two": "train"}

    @pytest.mark.parametrize(
        "text", ["", "[]", '{"tracks": [1]}', '{"tracks": [{"id": "one"}]}', '{"tracks": 1}']
    )
    def test_others_are_refused(self, tmp_path, text):
        (tmp_path / "library.json").write_text(text, encoding="utf-8")
        with pytest.raises(StoreError, match="does not list tracks and their splits"):
            play_counts.read_splits(tmp_path / "library.json")

    def test_unknown_splits_are_named(self, tmp_path):
        text = '{"tracks": [{"id": "one", "split": "dev"}]}'
        (tmp_path / "library.json").write_text(text, encoding="utf-8")
        with pytest.raises(StoreError, match="track 'one' has the split 'dev'"):
            play_counts.read_splits(tmp_path / "library.json")


class TestAudio:
    @pytest.fixture
    def folder(self, tmp_path):
        rng = np.random.default_rng(0)
        for name in ("one/bass", "one/drums", "two"):
            path = tmp_path / f"{name}.flac"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, rng.uniform(-0.4, 0.4, 2000), 16_000)
        (tmp_path / "notes.txt").touch()
        (tmp_path / ".three.partial").mkdir()
        return tmp_path

    def test_files_and_folders_of_stems(self, folder):
        found = play_counts.audio_files(folder)
        assert found == {"one": folder / "one", "two": folder / "two.flac"}
        stems = [soundfile.read(folder / "one" / f"{s}.flac")[0] for s in ("bass", "drums")]
        told = play_counts.load_track(found["one"], 16_000)
        np.testing.assert_allclose(told, sum(stems), atol=1e-6)
        alone = play_counts.load_track(found["two"], 16_000)
        np.testing.assert_allclose(alone, soundfile.read(folder / "two.flac")[0], atol=1e-6)

    def test_two_of_one_track_are_refused(self, folder):
        (folder / "one.wav").touch()
        with pytest.raises(StoreError, match="holds the track 'one' twice"):
            play_counts.audio_files(folder)

    def test_nothing_is_refused(self, tmp_path):
        with pytest.raises(StoreError, match="holds no audio"):
            play_counts.audio_files(tmp_path)
        with pytest.raises(StoreError, match="is not a folder"):
            play_counts.audio_files(tmp_path / "nowhere")


class TestExamples:
    def test_all_that_was_played_and_as_many_others(self):
        found = play_counts.examples_of(PLAYS, TRACKS, 3)
        positives = {example.track for example in found if example.is_relevant}
        negatives = [example.track for example in found if not example.is_relevant]
        assert positives == PLAYS.keys() - {"elsewhere"}
        assert len(set(negatives)) == len(negatives) == 20
        assert not set(negatives) & positives and set(negatives) <= set(TRACKS)

    def test_a_count_of_zero_is_no_play(self):
        found = play_counts.examples_of({"one": 0, "two": 1}, ["one", "two"], 0)
        assert sorted(found, key=lambda e: e.track) == [Example("one", False), Example("two", True)]

    def test_the_seed_decides_and_the_order_of_tracks_does_not(self):
        found = play_counts.examples_of(PLAYS, TRACKS, 3)
        assert play_counts.examples_of(PLAYS, TRACKS[::-1], 3) == found
        other = play_counts.examples_of(PLAYS, TRACKS, 4)
        assert {e.track for e in other} != {e.track for e in found}

    def test_there_may_be_fewer_others(self):
        found = play_counts.examples_of({"one": 1, "two": 2}, ["one", "two", "three"], 0)
        assert sorted(e.is_relevant for e in found) == [False, True, True]

    @pytest.mark.parametrize(
        ("number", "sizes"), [(40, (32, 4, 4)), (17, (14, 1, 2)), (1, (1, 0, 0))]
    )
    def test_splits_at_random_are_80_10_10(self, number, sizes):
        examples = [Example(str(i), i % 2 == 0) for i in range(number)]
        parts = play_counts.split(examples, 5)
        assert list(parts) == ["train", "validation", "test"]
        assert tuple(map(len, parts.values())) == sizes
        together = [example for part in parts.values() for example in part]
        assert sorted(together, key=lambda e: int(e.track)) == examples
        assert play_counts.split(examples, 5) == parts
        assert number == 1 or play_counts.split(examples, 6) != parts


@pytest.mark.parametrize("num_levels", [2, 5, 10_000])
@pytest.mark.parametrize("size", [2, 13, 300])
def test_metrics_are_those_of_scikit_learn(num_levels, size):
    rng = np.random.default_rng(size)
    for _ in range(20):
        scores = rng.integers(num_levels, size=size) / 7
        labels = rng.permutation(np.arange(size) % max(2, size // 4) == 0)
        expected = roc_auc_score(labels, scores), average_precision_score(labels, scores)
        found = play_counts.roc_auc(labels, scores), play_counts.average_precision(labels, scores)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("metric", [play_counts.roc_auc, play_counts.average_precision])
@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([True, True], [0.0, 1.0], "positives and negatives"),
        ([False, False], [0.0, 1.0], "positives and negatives"),
        ([True, False], [0.0, np.nan], "finite and one per label"),
        ([True, False], [0.0], "finite and one per label"),
    ],
)
def test_metrics_refuse_what_has_none(metric, labels, scores, message):
    with pytest.raises(ValueError, match=message):
        metric(labels, scores)
