"""What is counted about a collection, on rows whose answers are known."""

import numpy as np
import pytest

from lime_jax.errors import LimeJaxError
from lime_jax.runs.items import Item
from tests.song_folders import write_songs


@pytest.fixture(scope="module")
def tagging(script):
    return script("experiments.global_tagging.reproduce")


def row(song, snippet, weights, prediction=0.5, local=0.5):
    return {
        "id": song, "snippet": snippet, "names": list(weights), "prediction": prediction,
        "coefficients": list(weights.values()), "local_prediction": local, "fidelity": 0.9,
    }  # fmt: skip


def test_the_top_stem_is_that_of_largest_positive_weight(tagging):
    assert tagging.top_source(row("a", 0, {"drums": 0.1, "bass": 0.3, "vocals": -0.9})) == "bass"
    assert tagging.top_source(row("a", 0, {"drums": -0.1, "bass": 0.0})) is None


def test_stems_that_a_separator_lacks_are_in_its_rest(tagging):
    true = [
        row("a", 0, {"drums": 0.3, "guitar": 0.1}),
        row("a", 1, {"drums": 0.1, "guitar": 0.3}),
        row("b", 0, {"drums": 0.1, "guitar": 0.3}),
        row("b", 1, {"drums": 0.3, "guitar": 0.1}),
        row("c", 0, {"drums": 0.3, "guitar": 0.1}),
    ]
    separated = [
        row("b", 1, {"drums": 0.1, "other": 0.3}),
        row("a", 0, {"drums": 0.3, "other": 0.1}),
        row("a", 1, {"drums": 0.1, "other": 0.3}),
        row("b", 0, {"drums": 0.3, "other": 0.1}),
    ]
    agreed = tagging.agreement(true, separated)
    assert [(r["id"], r["snippet"], r["same"]) for r in agreed] == [
        ("a", 0, True), ("a", 1, True), ("b", 0, False), ("b", 1, False),
    ]  # fmt: skip


def test_weights_are_averaged_over_the_snippets_that_have_the_stem(tagging):
    rows = [row("a", 0, {"drums": 0.2, "bass": 0.4}), row("b", 0, {"drums": 0.4})]
    assert tagging.mean_weights(rows) == pytest.approx({"bass": 0.4, "drums": 0.3})
    assert list(tagging.mean_weights(rows)) == ["bass", "drums"]


def test_songs_are_faithful_by_themselves(tagging):
    given = np.array([0.1, 0.4, 0.3, 0.8])
    rows = [row("a", n, {"drums": 1.0}, p, 2 * p - 0.1) for n, p in enumerate(given)]
    rows += [row("b", n, {"drums": 1.0}, 0.5, 0.6) for n in range(4)]
    a, b = tagging.faithfulness(rows)
    assert a["r2"] == pytest.approx(1.0) and a["num_snippets"] == 4
    assert a["mean_difference"] == pytest.approx(np.abs(given - 0.1).mean())
    assert b["r2"] is None and b["mean_difference"] == pytest.approx(0.1)


def test_songs_with_the_tag_are_chosen(tagging, monkeypatch, tmp_path):
    tags = {"a": "jazz", "b": "rock", "c": "jazz"}
    monkeypatch.setattr(tagging, "top_tags", lambda config, items: tags)
    items = [Item(id, tmp_path / id) for id in tags]
    tag, some = tagging.chosen(tagging.Config(), items)
    assert tag == "jazz" and [(item.id, item.label) for item in some] == [
        ("a", "jazz"), ("c", "jazz"),
    ]  # fmt: skip
    assert len(tagging.chosen(tagging.Config(num_songs=1), items)[1]) == 1
    assert tagging.chosen(tagging.Config(tag="rock"), items)[1][0].id == "b"
    with pytest.raises(LimeJaxError, match=r"'Hip-Hop' is the top tag of no song.*jazz \(2\)"):
        tagging.chosen(tagging.Config(tag="Hip-Hop"), items)


def test_layouts_are_found_out_and_mixtures_written_once(tagging, tmp_path):
    folder = write_songs(tmp_path / "songs", 2)
    config = tagging.Config(songs=folder, output_dir=tmp_path / "out")
    assert tagging.layout_of(folder) == "stems"
    items = tagging.items_of(config)
    stamps = {item.id: item.path.stat().st_mtime_ns for item in items}
    assert {item.id: item.path.stat().st_mtime_ns for item in tagging.items_of(config)} == stamps
    (tmp_path / "songs" / "metadata.yaml").write_text("stems: {}")
    assert tagging.layout_of(folder) == "slakh2100"
