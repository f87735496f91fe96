"""What may be wrong with an explanation is said wherever it is shown, with its cure."""

import html
from pathlib import Path

import numpy as np
import pytest

import lime_jax as lj
from lime_jax import report
from lime_jax.commands import explanation_tables, terminal
from lime_jax.core import pooling
from lime_jax.runs import schema
from lime_jax.runs.items import Item
from lime_jax.runs.reader import Snippet

BAD = [status for status in lj.Status if status is not lj.Status.OK]
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def failed(explain):
    """An output of every status that is not OK; those that were not solved have no numbers."""
    coefficients = np.tile([0.5, -0.25, 0.125], (len(BAD), 1))
    coefficients[BAD.index(lj.Status.NOT_SOLVED)] = np.nan
    return explain(coefficients, status=list(BAD))


@pytest.fixture(scope="module")
def page(failed, song, tmp_path_factory):
    folder = tmp_path_factory.mktemp("statuses") / "report"
    names = [status.name for status in BAD]
    outputs = range(len(BAD))
    return report.write(folder, failed, song, output_names=names, outputs=outputs)


@pytest.mark.parametrize("name", ["store-schema.md", "explanation-schema.md"])
def test_every_status_is_documented(name):
    text = (DOCS / name).read_text(encoding="utf-8")
    assert all(f"`{status.name}`" in text for status in lj.Status)


def test_the_record_and_the_page_name_it(page):
    for output, status in zip(report.read(page.parent)["outputs"], BAD, strict=True):
        assert output["status"] == status.name and output["top_components"] == []
        assert status.advice in html.unescape(page.read_text(encoding="utf-8"))


def test_the_table_names_it(page, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "2000")
    assert explanation_tables.show(page) == 1
    printed = capsys.readouterr().out
    for status in BAD:
        assert f"not explained: {terminal.in_flags(status.advice)}" in printed


def test_the_store_names_it(failed):
    snippet = Snippet(Item("a"), 0, 1, 0.0, 4, np.zeros((1, 4), np.float32), (), 0.0)
    batch = pooling.stack([failed])
    outputs = np.arange(len(BAD))[None]
    table = schema.results_table(
        [snippet], batch, outputs, [status.name for status in BAD],
        layouts=["x"], top_k=3, sample_rate=8000, explain_seconds=0.0,
    )  # fmt: skip
    assert table["status"].to_pylist() == table["output"].to_pylist()
    assert table["top_components"].to_pylist() == [[]] * len(BAD)
