"""Summaries: the same numbers as pandas and NumPy in float64 give."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lime_jax.core.explanation import Status
from lime_jax.core.metrics import n_ce, u_n
from lime_jax.errors import StoreError
from lime_jax.runs import aggregate, representatives, schema, store, writer
from lime_jax.runs.items import Item

OUTPUTS, STEMS = ("rock", "pop", "talk"), ("bass", "drums", "voice", "keys")
NUM_ITEMS, NUM_SNIPPETS = 40, 2


def make_store(folder, seed=0, labels=True, groups=True):
    """A store of random numbers: 40 items of two snippets, three outputs, four stems."""
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    config = {"model": "random", "components": "stems", "outputs": "all", "seed": seed}
    target = store.create_or_join(folder, {**config, "output_names": list(OUTPUTS)})
    ids = [f"i{number:02}" for number in range(NUM_ITEMS)]
    store.store_items(
        target,
        [
            Item(
                id,
                Path(f"/music/{id}.wav"),
                label=OUTPUTS[number % 2] if labels else None,
                group="ab"[number % 2] if groups else None,
            )
            for number, id in enumerate(ids)
        ],
    )
    number = NUM_ITEMS * NUM_SNIPPETS * len(OUTPUTS)
    weights = rng.standard_normal((number, len(STEMS))).round(3).astype(np.float32)
    status = np.where(rng.random(number) < 0.1, "CONSTANT_OUTPUT", Status.OK.name)
    prediction = rng.uniform(size=number)
    order = np.argsort(-weights, axis=1)[:, :2]
    tops = [[i for i in row if w[i] > 0] for row, w in zip(order, weights, strict=True)]
    per_item = NUM_SNIPPETS * len(OUTPUTS)
    frame = pd.DataFrame(
        {
            "id": np.repeat(ids, per_item),
            "snippet": np.tile(np.repeat(np.arange(NUM_SNIPPETS), len(OUTPUTS)), NUM_ITEMS),
            "num_snippets": NUM_SNIPPETS,
            "start": 0.0,
            "duration": 3.0,
            "output": np.tile(OUTPUTS, NUM_ITEMS * NUM_SNIPPETS),
            "output_index": np.tile(np.arange(len(OUTPUTS)), NUM_ITEMS * NUM_SNIPPETS),
            "status": status,
            "prediction": prediction,
            "local_prediction": prediction + rng.normal(0, 0.2, number),
            "fidelity": rng.uniform(-0.1, 1, number),
            "intercept": 0.0,
            "coefficients": list(weights),
            "std_error": list(np.abs(weights) / 10),
            "top_components": tops,
            "layout": "stems",
            "num_evaluations": 16,
            "explain_seconds": 0.1,
            "load_seconds": 0.1,
        }
    )
    columns = schema.results_schema()
    table = pa.Table.from_arrays(
        [pa.array(frame[field.name].tolist()).cast(field.type) for field in columns], schema=columns
    )
    layout = [
        {
            "index": i,
            "name": name,
            "source": name,
            "start": 0.0,
            "end": 1.0,
            "low": 0.0,
            "high": 1.0,
        }
        for i, name in enumerate(STEMS)
    ]
    empty = schema.errors_schema().empty_table()
    for first, count in ((0, 60), (60, number - 60)):
        part = table.slice(first, count)
        writer.write_part(target, part, empty, {"stems": layout}, ids=[f"part {first}"])
    return target, frame


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store") / "store")


@pytest.fixture(scope="module")
def summary(made):
    return aggregate.aggregate(made[0], num_picked=4)


def of_group(frame, group):
    explained = frame[frame["status"] == "OK"]
    if group is None:
        return explained
    return explained[explained["id"].str[1:].astype(int) % 2 == "ab".index(group)]


CASES = list(itertools.product(range(len(OUTPUTS)), (None, "a", "b")))


def row_of(table, index, group, **rest):
    frame = table.to_pandas()
    keep = (frame["output_index"] == index) & (
        frame["group"].isna() if group is None else frame["group"] == group
    )
    for name, value in rest.items():
        keep &= frame[name] == value
    [(_, row)] = frame[keep].iterrows()
    return row


@pytest.mark.parametrize(("index", "group"), CASES)
def test_components_have_the_statistics_of_numpy(made, summary, index, group):
    chosen = of_group(made[1], group).query("output_index == @index")
    weights = np.stack(chosen["coefficients"]).astype(float)
    for number, name in enumerate(STEMS):
        row = row_of(summary.components, index, group, component=name)
        w = weights[:, number]
        expected = {
            "num_explanations": len(w),
            "mean": w.mean(),
            "median": np.median(w),
            "std": w.std(ddof=1),
            "lower_quartile": np.quantile(w, 0.25),
            "upper_quartile": np.quantile(w, 0.75),
            "mean_std_error": np.abs(w).mean() / 10,
            "positive_share": (w > 0).mean(),
            "sign_consistency": max((w > 0).mean(), (w < 0).mean()),
            "top_positive_share": ((weights.argmax(1) == number) & (w > 0)).mean(),
            "top_negative_share": ((weights.argmin(1) == number) & (w < 0)).mean(),
            "top_absolute_share": (np.abs(weights).argmax(1) == number).mean(),
        }
        for what, value in expected.items():
            assert row[what] == pytest.approx(value, rel=1e-5, abs=1e-6), what


@pytest.mark.parametrize(("index", "group"), CASES)
def test_faithfulness_has_the_statistics_of_numpy(made, summary, index, group):
    chosen = of_group(made[1], group).query("output_index == @index")
    p = chosen["prediction"].to_numpy(np.float32).astype(float)
    q = chosen["local_prediction"].to_numpy(np.float32).astype(float)
    row = row_of(summary.faithfulness, index, group)
    assert row["correlation"] == pytest.approx(np.corrcoef(p, q)[0, 1], rel=1e-5)
    r2 = 1 - np.square(p - q).sum() / np.square(p - p.mean()).sum()
    assert row["r2"] == pytest.approx(r2, rel=1e-4)
    assert row["mean_absolute_difference"] == pytest.approx(np.abs(p - q).mean(), rel=1e-5)
    fidelity = chosen["fidelity"].to_numpy()
    assert row["median_fidelity"] == pytest.approx(np.median(fidelity), rel=1e-5)
    assert row["fidelity_decile"] == pytest.approx(np.quantile(fidelity, 0.1), abs=1e-5)
    bins = summary.fidelities.to_pandas().query("output_index == @index")
    bins = bins[bins["group"].isna() if group is None else bins["group"] == group]
    assert bins["num_explanations"].sum() == len(chosen)
    counts, _ = np.histogram(np.clip(fidelity, 0, 0.999), bins=20, range=(0, 1))
    filled = dict(zip(bins["low"].round(4), bins["num_explanations"], strict=True))
    assert [filled.get(round(low, 4), 0) for low in np.arange(20) / 20] == counts.tolist()


def test_items_of_several_snippets_are_summed_up(made, summary):
    frame = made[1].query("status == 'OK' and output == 'pop' and id == 'i07'")
    row = summary.items.to_pandas().query("output == 'pop' and id == 'i07'").iloc[0]
    assert row["num_explanations"] == len(frame)
    difference = (frame["prediction"] - frame["local_prediction"]).abs().mean()
    assert row["mean_absolute_difference"] == pytest.approx(difference, rel=1e-4)


def test_cells_count_the_top_components(made, summary):
    frame = made[1].copy()
    frame["number"] = frame["id"].str[1:].astype(int)
    best = frame.sort_values("prediction").groupby(["id", "snippet"]).tail(1)
    best = best.query("status == 'OK'")
    cells = summary.cells.to_pandas()
    assert cells["num_explanations"].sum() == len(best)
    for label, predicted in itertools.product(OUTPUTS[:2], OUTPUTS):
        chosen = best[(best["number"] % 2 == OUTPUTS.index(label)) & (best["output"] == predicted)]
        tops = [w.argmax() if w.max() > 0 else None for w in chosen["coefficients"]]
        for number, name in enumerate(STEMS):
            counted = cells[(cells["label"] == label) & (cells["predicted"] == predicted)]
            counted = counted[counted["component"] == name]
            assert counted["num_explanations"].sum() == tops.count(number)
            assert counted["share"].sum() == pytest.approx(tops.count(number) / max(len(tops), 1))


def test_unexplained_outputs_are_counted(made, summary):
    counted = summary.outputs.to_pandas()
    counted = counted[counted["group"].isna()].groupby("status")["num_explanations"].sum()
    assert counted.to_dict() == made[1]["status"].value_counts().to_dict()


def test_a_store_may_lack_groups_and_labels(tmp_path):
    target, frame = make_store(tmp_path / "store", labels=False, groups=False)
    summary = aggregate.aggregate(target)
    assert summary.components.to_pandas()["group"].isna().all()
    assert len(summary.components) == len(OUTPUTS) * len(STEMS)
    assert summary.cells.to_pandas()["label"].isna().all()
    assert not summary.stability.num_rows and "stability" not in summary.tables()
    assert len(frame)


def test_stability_is_u_n_and_n_ce(made, tmp_path):
    others = [make_store(tmp_path / f"{seed}", seed) for seed in (1, 2)]
    table = aggregate.aggregate(made[0], compare=[other for other, _ in others]).stability
    stability = table.to_pandas().set_index(["id", "snippet", "output"])
    frames = [
        frame.set_index(["id", "snippet", "output"])
        for frame in (made[1], others[0][1], others[1][1])
    ]
    for key in frames[0].index:
        if any(frame.loc[key, "status"] != "OK" for frame in frames):
            assert key not in stability.index
            continue
        tops = [[int(i) for i in frame.loc[key, "top_components"]] for frame in frames]
        assert stability.loc[key, "u_n"] == u_n(tops)
        shared = [n_ce(tops[0], top) for top in tops[1:]]
        assert stability.loc[key, "n_ce"] == pytest.approx(np.mean(shared))


def test_stores_of_other_data_are_not_compared(made, tmp_path):
    config = {"model": "random", "components": "stems", "outputs": "all", "output_names": ["x"]}
    empty = store.create_or_join(tmp_path / "empty", config)
    with pytest.raises(StoreError, match="no explanation is in all of the stores"):
        aggregate.aggregate(made[0], compare=[empty])
    with pytest.raises(StoreError, match="holds no results yet"):
        aggregate.aggregate(empty)


def test_every_table_is_written_as_csv_and_parquet(summary):
    import pyarrow as pa
    from pyarrow import csv, parquet

    files = aggregate.encode_tables(summary)
    assert {name for name in files} == {
        f"{name}.{kind}" for name in summary.tables() for kind in ("csv", "parquet")
    }
    for name, table in summary.tables().items():
        assert parquet.read_table(pa.BufferReader(files[f"{name}.parquet"])).num_rows == len(table)
        assert csv.read_csv(pa.BufferReader(files[f"{name}.csv"])).num_rows == len(table)


@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", "+1", "-1", "\t=1"])
def test_spreadsheets_see_no_formulas(name):
    import pyarrow as pa

    text = aggregate._csv(pa.table({"id": [name], "weight": [-0.5]})).decode()
    assert text.splitlines()[1].startswith("\"'") and text.endswith("-0.5\n")


class TestPick:
    def test_is_the_greedy_choice(self):
        rng = np.random.default_rng(3)
        weights = rng.standard_normal((30, 4)).astype(np.float32)
        signed = np.concatenate([weights.clip(0), (-weights).clip(0)], axis=1)
        importance = np.sqrt(signed.sum(axis=0))
        share = signed / np.abs(weights).sum(axis=1, keepdims=True)
        chosen = []

        def value(rows):
            return importance @ share[list(rows)].max(axis=0)

        for row, covered in representatives.pick(weights, 5):
            best = max(range(30), key=lambda other: value([*chosen, other]))
            assert value([*chosen, row]) == pytest.approx(value([*chosen, best]))
            chosen.append(row)
            assert covered == pytest.approx(value(chosen) / (importance @ share.max(axis=0)))
        assert len(chosen) == 5

    def test_gains_fall_and_end(self):
        weights = np.eye(3, dtype=np.float32)[[0, 0, 1, 2, 2]]
        shares = [share for _, share in representatives.pick(weights, 5)]
        assert len(shares) == 3 and shares[-1] == pytest.approx(1.0)
        gains = np.diff([0.0, *shares])
        assert (np.diff(gains) <= 1e-9).all()

    def test_nothing_to_pick_from(self):
        assert not list(representatives.pick(np.zeros((0, 3), np.float32), 3))
        assert not list(representatives.pick(np.zeros((4, 3), np.float32), 3))

    def test_representatives_are_faithful_and_ranked(self, summary):
        picked = summary.representatives.to_pandas()
        assert (picked["fidelity"] > 0.5).all()
        for _, of_output in picked.groupby("output_index"):
            assert list(of_output["rank"]) == list(range(len(of_output)))
            assert of_output["coverage"].is_monotonic_increasing and len(of_output) <= 4

    def test_a_sample_does_not_depend_on_files(self, made, tmp_path):
        with aggregate.connect(made[0]) as connection:
            some = representatives.sample(connection, 1, 10)
            everything = representatives.sample(connection, 1, 1000)
        assert some.rows["id"].to_pylist() == everything.rows["id"].to_pylist()[:10]
        assert some.names == STEMS
        expected = [np.asarray(row) for row in some.rows["coefficients"].to_pylist()]
        np.testing.assert_array_equal(some.weights, np.stack(expected).astype(np.float32))
