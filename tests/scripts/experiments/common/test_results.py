"""What experiments leave behind can be read again."""

import json
from pathlib import Path

import pytest

from lime_jax.errors import StoreError
from scripts.experiments.common import results
from scripts.experiments.common.results import Figure, Picture, Summary

SUMMARY = Summary(
    title="A title",
    paper="A paper",
    claim="A claim.",
    command="uv run scripts/one.py",
    figures=[Figure("accuracy", "99.87 ± 0.28", "98.00 ± 1.00", "≥ 97", True)],
    differences=["Other songs."],
    pictures=[Picture("one.png", "A picture.")],
    minutes=1.5,
    config={"songs": Path("songs"), "sizes": (1, 2)},
)


def test_summaries_are_strict_json_with_versions_and_machine(tmp_path):
    path = results.write(tmp_path / "new", SUMMARY)
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["figures"][0]["paper"] == "99.87 ± 0.28"
    assert record["config"] == {"songs": "songs", "sizes": [1, 2]}
    assert record["machine"]["versions"]["jax"] and record["machine"]["num_cpus"] >= 1
    assert [file.name for file in path.parent.iterdir()] == ["summary.json"]


def test_tables_come_back(tmp_path):
    rows = [
        {"song": "a", "weights": [0.5, -1.0], "top": None},
        {"song": "b", "weights": [], "top": "x"},
    ]
    path = results.write_table(tmp_path / "deep" / "rows.parquet", rows)
    assert results.read_table(path) == rows


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], "none"),
        ([99.9], "99.90"),
        ([1.0, 2.0, 3.0], "2.00 ± 1.00"),
        ([99.87, 99.87], "99.87 ± 0.00"),
    ],
)
def test_means_are_printed_as_in_papers(values, text):
    assert results.mean_and_deviation(values) == text


def test_summaries_are_shown_with_what_failed(capsys):
    figure = Figure("share [%]", None, "12 %", "≥ 90 %", False)
    results.show(Summary(**{**vars(SUMMARY), "figures": [*SUMMARY.figures, figure]}))
    assert capsys.readouterr().out == (
        "accuracy: holds\n    here 98.00 ± 1.00; paper 99.87 ± 0.28; asked ≥ 97\n"
        "share [%]: FAILS\n    here 12 %; asked ≥ 90 %\n"
    )


def test_where_keeps_rows_with_all_values():
    rows = [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}]
    assert results.where(rows, a=1, b="x") == [rows[0]]
    assert results.where(rows) == rows


def test_folders_go_on_with_the_same_settings_alone(tmp_path):
    settings = {"seed": 0, "size": SUMMARY.figures[0]}
    for _ in range(2):
        results.begin(tmp_path / "new", settings)
    with pytest.raises(StoreError, match="begun with other settings: seed, more"):
        results.begin(tmp_path / "new", {**settings, "seed": 1, "more": 2})


def test_places_on_the_machine_are_not_told(tmp_path):
    summary = Summary(**{**vars(SUMMARY), "config": {"songs": Path("/home/me/songs"), "seed": 3}})
    record = json.loads(results.write(tmp_path, summary).read_text(encoding="utf-8"))
    assert record["config"] == {"songs": "songs", "seed": 3}
