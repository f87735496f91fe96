"""The page is what the stored results say."""

import pytest

from scripts.experiments.common import results
from tests.scripts.experiments.common.test_results import SUMMARY


@pytest.fixture(scope="module")
def writer(script):
    return script("experiments.page")


@pytest.fixture
def docs(writer, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "RESULTS", tmp_path / "docs" / "results")
    monkeypatch.setattr(writer, "PAGE", tmp_path / "docs" / "experiments.md")
    return tmp_path / "docs"


def test_the_page_in_the_repository_is_up_to_date(writer, capsys):
    assert writer.run(writer.Config(check=True)) == 0, "run scripts/experiments/page.py"


def test_every_picture_is_there_and_every_condition_counted(writer):
    found = writer.stored()
    text = writer.page(found)
    for name, one in found.items():
        assert one["command"] in text
        for picture in one["pictures"]:
            data = (writer.RESULTS / name / picture["file"]).read_bytes()
            assert data.startswith(b"\x89PNG")


def test_results_are_taken_over_and_checked(writer, docs, tmp_path):
    folder = tmp_path / "one"
    results.write(folder, SUMMARY)
    (folder / "one.png").write_bytes(b"\x89PNG")
    (folder / "rows.parquet").write_bytes(b"large")
    assert writer.run(writer.Config(folders=(folder,))) == 0
    assert {path.name for path in (docs / "results" / "one").iterdir()} == {
        "summary.json",
        "one.png",
    }
    text = writer.PAGE.read_text(encoding="utf-8")
    assert "| accuracy | 99.87 ± 0.28 | 98.00 ± 1.00 | ≥ 97 | holds |" in text
    assert "| [A title](#a-title) | 1 of 1 | 2 |" in text
    assert writer.run(writer.Config(check=True)) == 0
    writer.PAGE.write_text(text + "by hand", encoding="utf-8")
    assert writer.run(writer.Config(check=True)) == 1


def test_unfinished_experiments_are_refused(writer, docs, tmp_path):
    (tmp_path / "one").mkdir()
    with pytest.raises(SystemExit, match=r"holds no summary\.json"):
        writer.run(writer.Config(folders=(tmp_path / "one",)))
