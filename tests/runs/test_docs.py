"""The documented columns are those that are written."""

import re
from pathlib import Path

from lime_jax.runs import aggregate, schema
from tests.runs.test_aggregate import make_store

SCHEMA = Path(__file__).parents[2] / "docs" / "store-schema.md"


def documented(title):
    text = SCHEMA.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    columns = []
    for line in text.splitlines():
        if line.startswith("| `"):
            columns += re.findall(r"`([a-z0-9_]+)`", line.split("|")[1])
    return columns


def test_columns_of_stores_are_documented():
    assert documented("results.parquet") == schema.results_schema().names
    assert documented("components.parquet") == schema.layouts_schema().names
    assert documented("sources.parquet") == schema.sources_schema().names
    assert documented("errors.parquet") == schema.errors_schema().names


def test_columns_of_summaries_are_documented(tmp_path):
    text = SCHEMA.read_text(encoding="utf-8").split("## Summaries\n")[1]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    described = {re.findall(r"`(\w+)`", line)[0]: line for line in lines}
    others = [make_store(tmp_path / f"{seed}", seed)[0] for seed in (0, 1)]
    tables = aggregate.aggregate(others[0], compare=others[1:]).tables()
    assert set(described) == set(tables)
    documented_elsewhere = {
        "output",
        "output_index",
        "group",
        "status",
        "component",
        "id",
        "snippet",
    }
    documented_elsewhere |= {"label", "predicted", "rank", *schema.results_schema().names}
    for name, table in tables.items():
        line = described["faithfulness"] if name == "items" else described[name]
        for column in set(table.column_names) - documented_elsewhere:
            assert f"`{column}`" in line, f"{name}: {column}"
