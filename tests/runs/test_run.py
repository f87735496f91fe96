"""Runs: the numbers of `explain`, once for every item, whatever happens meanwhile."""

import hashlib
import json
import os
import shutil

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

import lime_jax as lj
from lime_jax import runs
from lime_jax.audio import fills, io, segment
from lime_jax.audio.render import waveform_predictor
from lime_jax.errors import LimeJaxError, ModelError, StoreError
from lime_jax.runs import reload, sources, store, writer
from lime_jax.runs.items import Item
from lime_jax.runs.verify import verify
from tests.runs.conftest import RATE, STEMS, assert_same, frame, log, parts_of, write_song

KINDS = {
    "stems": (),
    "stems-time": ("2",),
    "time": ("4",),
    "frequency": ("3",),
    "grid": ("2x2",),
    "superpixels": ("4",),
}


def key_of(id, snippet=0, seed=0):
    name = int.from_bytes(hashlib.sha256(id.encode()).digest()[:4], "big")
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), name), snippet)


def cut(kind, segments, songs, id, seconds=None):
    """The components of a song, as `lime-jax explain` would make them."""
    names, stems = io.load_stems(songs / id, RATE)
    if seconds is not None:
        stems = np.pad(stems, ((0, 0), (0, round(seconds * RATE) - stems.shape[1])))
    numbers = [int(part) for text in segments for part in text.split("x")]
    if kind == "stems":
        return segment.by_stems(stems, names, RATE)
    if kind == "stems-time":
        return segment.by_stems_and_time(stems, names, RATE, numbers[0])
    make = getattr(segment, f"by_{kind}")
    return make(stems.sum(axis=0), RATE, tuple(numbers) if kind == "grid" else numbers[0])


SLOW = ("stems", "time", "frequency", "grid", "superpixels")


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.slow if k in SLOW else ()) for k in KINDS]
)
def test_numbers_are_those_of_explain(run, songs, model, tmp_path, kind):
    segments = KINDS[kind]
    items = runs.items_of(str(songs), "stems")[:3]
    options = {"segments": segments[0]} if segments else {}
    run(items=items, components=kind, top_k=2, **options)
    rows = frame(tmp_path / "store")
    assert list(rows["id"]) == [item.id for item in items for _ in range(3)]
    for item in items:
        audio = cut(kind, segments, songs, item.id)
        expected = lj.explain(
            waveform_predictor(model, audio), audio.components, lj.lime(100), key=key_of(item.id)
        )
        for output in range(3):
            [row] = rows[(rows["id"] == item.id) & (rows["output_index"] == output)].itertuples()
            assert row.output == model.output_names[output] and row.status == "OK"
            for name in ("coefficients", "std_error", "fidelity", "prediction", "intercept"):
                wanted = np.asarray(getattr(expected, name))[output]
                np.testing.assert_allclose(getattr(row, name), wanted, rtol=2e-3, atol=2e-4)
            top, _ = lj.top_k(expected, output, 2)
            assert list(row.top_components) == top.tolist()
    import pandas as pd

    components = pd.read_parquet(tmp_path / "store" / "components.parquet").sort_values("index")
    assert list(components[components["layout"] == row.layout]["name"]) == list(audio.names)


@pytest.mark.slow
def test_random_fills_have_keys_of_their_own(run, songs, model, tmp_path):
    """Their key was that of a row of masks, and the same for every fill."""
    item = runs.items_of(str(songs), "stems")[0]
    run(items=[item], components="time", segments="4", fill="noise", num_samples=100)
    _, stems = io.load_stems(songs / item.id, RATE)
    key = key_of(item.id)
    fill_key = fills.fill_key(key, "noise")
    audio = segment.by_time(stems.sum(axis=0), RATE, 4, fill="noise", key=fill_key)
    expected = lj.explain(waveform_predictor(model, audio), audio.components, lj.lime(100), key=key)
    stored = np.stack(frame(tmp_path / "store").sort_values("output_index")["coefficients"])
    np.testing.assert_allclose(stored, expected.coefficients, rtol=2e-3, atol=2e-4)


@pytest.mark.slow
def test_other_lengths_are_filled_with_silence_that_no_segment_but_the_last_has(
    model, tmp_path, run
):
    write_song(tmp_path / "songs" / "odd", 1, seconds=1.03)
    run(source=str(tmp_path / "songs"), components="time", segments="4", layout="stems")
    [row] = frame(tmp_path / "store").query("output == 'total'").itertuples()
    assert row.duration == pytest.approx(1.03)
    _, stems = io.load_stems(tmp_path / "songs" / "odd", RATE)
    mix, num_samples = stems.sum(axis=0), stems.shape[1]
    padded = np.pad(mix, (0, round(1.125 * RATE) - num_samples))
    labels = np.minimum(np.arange(len(padded)) // (num_samples // 4), 3).astype(np.int32)
    components = lj.from_labels(padded, labels, 4)
    expected = lj.explain(model, components, lj.lime(100), key=key_of("odd"))
    np.testing.assert_allclose(row.coefficients, expected.coefficients[2], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_items_of_like_lengths_share_programs(run, model, tmp_path):
    for seed, seconds in enumerate(np.linspace(1.001, 1.249, 8)):
        write_song(tmp_path / "songs" / f"{seed}", seed, seconds)
    traced = []

    class Counting(type(model)):
        def __call__(self, waveforms):
            traced.append(waveforms.shape[1])
            return super().__call__(waveforms)

    run(source=str(tmp_path / "songs"), use=Counting())
    assert set(traced) == {round(1.125 * RATE), round(1.25 * RATE)}


@pytest.mark.slow
def test_order_batches_resume_and_processes_change_nothing(run, songs, whole, tmp_path):
    items = runs.items_of(str(songs), "stems")
    run("reversed", items=items[::-1], batch_size=3, num_workers=1, part_items=2)
    run("resumed", items=items[4:7])
    run("resumed")
    for index in range(3):
        run("shards", shard=f"{index}/3")
    for other in ("reversed", "resumed", "shards"):
        assert_same(whole, tmp_path / other)
        assert verify(tmp_path / other).is_whole
    assert not (frame(whole)["coefficients"].map(np.ptp) == 0).any()


def test_another_seed_gives_other_numbers(run, songs, whole, tmp_path):
    run(items=runs.items_of(str(songs), "stems")[:4], seed=1)
    rows, others = frame(whole)[:12], frame(tmp_path / "store")
    assert list(rows["id"]) == list(others["id"])
    assert np.abs(np.stack(rows["coefficients"]) - np.stack(others["coefficients"])).max() > 1e-4


def test_what_is_done_is_not_done_again(run, stored):
    before = {path: path.stat().st_mtime_ns for path in stored.rglob("*.parquet")}
    progress = run().progress
    assert progress.done == 12 and progress.left == 0 and log(stored)[-2]["left"] == 0
    assert before == {path: path.stat().st_mtime_ns for path in stored.rglob("*.parquet")}


@pytest.mark.slow
def test_snippets_are_explained_as_excerpts(run, songs, model, tmp_path):
    run("snippets", snippet=0.5, hop=0.25, components="stems", num_samples=100)
    rows = frame(tmp_path / "snippets")
    assert len(rows) == 12 * 3 * 3 and set(rows["num_snippets"]) == {3}
    assert list(rows[rows["id"] == "s00"]["start"].unique()) == [0.0, 0.25, 0.5]
    assert set(rows["duration"]) == {0.5}
    _, stems = io.load_stems(songs / "s03", RATE)
    part = lj.from_stems(stems[:, RATE // 4 : RATE // 4 + RATE // 2])
    expected = lj.explain(model, part, lj.lime(100), key=key_of("s03", 1))
    [row] = rows.query("id == 's03' and snippet == 1 and output_index == 0").itertuples()
    np.testing.assert_allclose(row.coefficients, expected.coefficients[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("outputs", "names"), [("top:1", {"total"}), ("middle,low", {"low", "middle"})]
)
def test_outputs_asked_for_are_stored(run, songs, tmp_path, outputs, names):
    run(items=runs.items_of(str(songs), "stems")[:4], outputs=outputs)
    rows = frame(tmp_path / "store")
    assert len(rows) == 4 * len(names) and set(rows["output"]) == names
    assert verify(tmp_path / "store").is_whole


def test_another_configuration_is_refused_with_the_difference(run, stored):
    with pytest.raises(StoreError, match="`--num-samples` is 100 there, 60 now"):
        run(num_samples=60)
    with pytest.raises(StoreError, match="`--components` is stems there, time now"):
        run(components="time", layout="stems")


def test_other_weights_are_another_configuration(run, model, tmp_path):
    class Weighted(type(model)):
        def __init__(self, weight):
            self.weight = weight

        def __call__(self, waveforms):
            return super().__call__(waveforms) * self.weight

    jax.tree_util.register_pytree_node(
        Weighted, lambda m: ((m.weight,), None), lambda _, leaves: Weighted(*leaves)
    )
    # Nothing is there to be explained, so that no program is compiled.
    items = [Item("a", stems=tmp_path / "nowhere")]
    run(items=items, use=Weighted(jax.numpy.float32(1.0)))
    run(items=items, use=Weighted(jax.numpy.float32(1.0)))
    with pytest.raises(StoreError, match="SHA-256 of the model's weights"):
        run(items=items, use=Weighted(jax.numpy.float32(2.0)))


def test_a_data_set_may_grow_and_shrink(run, songs, tmp_path):
    items = runs.items_of(str(songs), "stems")
    assert run(items=items[:5]).progress.total == 5
    assert run(items=items[3:8]).progress.total == 8
    assert verify(tmp_path / "store").num_explained == 8


def test_an_id_keeps_its_sound(run, songs, stored):
    moved = Item("s00", stems=songs / "s01")
    with pytest.raises(StoreError, match="knows the id 's00' as another sound"):
        run(items=[moved])


def bad_files(folder):
    """Files that are not what they say, and what the reason must tell."""
    folder.mkdir()
    tone = 0.1 * np.sin(np.arange(RATE) / 5).astype(np.float32)

    def write(name, data, **options):
        soundfile.write(folder / name, data, RATE, **options)

    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("not sound at all, but text " * 40)
    write("whole.wav", tone)
    whole = (folder / "whole.wav").read_bytes()
    (folder / "truncated.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "rate.wav").write_bytes(whole[:24] + (1).to_bytes(4, "little") + whole[28:])
    write("nan.wav", np.where(np.arange(RATE) == 7, np.nan, tone), subtype="FLOAT")
    write("nothing.wav", tone[:0])
    write("eight.wav", np.tile(tone[:, None], 8))
    write("short.wav", tone[:100])
    (folder / "whole.wav").unlink()
    return {
        "missing.wav": "does not exist",
        "empty.wav": "is empty",
        "text.wav": "is not audio",
        "truncated.wav": "is truncated",
        "rate.wav": "sample rate of 1 Hz",
        "nan.wav": "NaN",
        "nothing.wav": "holds no samples",
        "eight.wav": "8 channels",
        "short.wav": "needs 0.25 s",
    }


@pytest.mark.slow
def test_every_bad_file_is_a_failure_with_its_reason(run, tmp_path):
    rng = np.random.default_rng(0)
    bad = bad_files(tmp_path / "audio")
    good = [f"good-{number:03}.wav" for number in range(171)]
    for name in good:
        soundfile.write(tmp_path / "audio" / name, 0.1 * rng.standard_normal(RATE), RATE)
    items = [Item(name, tmp_path / "audio" / name) for name in (*bad, *good)]
    runs.write_manifest(tmp_path / "clips.csv", items)
    result = run(source=str(tmp_path / "clips.csv"), components="time", segments="2")
    assert (result.progress.done, result.progress.failed) == (171, 9)
    import pandas as pd

    errors = pd.read_parquet(tmp_path / "store" / "errors.parquet").set_index("id")
    assert set(errors.index) == set(bad)
    for name, reason in bad.items():
        assert reason in errors.loc[name, "reason"], errors.loc[name, "reason"]
    assert set(errors["stage"]) == {"load"}
    assert set(frame(tmp_path / "store")["id"]) == set(good)
    verification = verify(tmp_path / "store")
    assert verification.is_whole and verification.num_explained + verification.num_failed == len(
        items
    )


def test_failures_can_be_tried_again(run, songs, stored, tmp_path):
    broken = shutil.copytree(songs / "s00", tmp_path / "songs" / "s12")
    (broken / "voice.wav").write_text("no")
    items = [*runs.items_of(str(songs), "stems"), Item("s12", stems=broken)]
    assert run(items=items).progress.failed == 1
    assert run(items=items).progress.failed == 1
    shutil.copy(songs / "s00" / "voice.wav", broken / "voice.wav")
    progress = run(items=items, retry_failed=True).progress
    assert (progress.done, progress.failed) == (13, 0)
    assert verify(stored).is_whole


def test_failures_are_tried_again_without_shards_only(run, stored):
    with pytest.raises(StoreError, match="does not go with"):
        run(retry_failed=True, shard="0/2")


@pytest.mark.slow
def test_one_bad_snippet_fails_its_item_only(run, songs, model, tmp_path):
    calls = []

    def judge(waveforms):
        calls.append(len(waveforms))
        if any(abs(w[0] - first) < 1e-7 for w in waveforms):
            raise RuntimeError("the fifth sound is too much")
        return np.asarray(model(waveforms))

    _, stems = io.load_stems(songs / "s05", RATE)
    first = stems.sum(axis=0)[RATE // 2]
    host = lj.host_model(judge, sample_rate=RATE, output_names=model.output_names)
    result = run(use=host, snippet=0.5, components="stems", num_samples=8)
    assert (result.progress.done, result.progress.failed) == (11, 1)
    [row] = store.errors(lj.runs.open_store(tmp_path / "store"), 3)
    assert row["id"] == "s05" and "too much" in row["reason"] and row["stage"] == "explain"
    assert "s05" not in set(frame(tmp_path / "store")["id"])
    assert verify(tmp_path / "store").is_whole


@pytest.mark.slow
def test_a_model_that_always_fails_ends_the_run(run, songs, model):
    def judge(waveforms):
        raise RuntimeError("no weights")

    host = lj.host_model(judge, sample_rate=RATE, output_names=model.output_names)
    items = [Item(f"{n:02}", stems=songs / f"s{n % 12:02}") for n in range(40)]
    with pytest.raises(ModelError, match=r"all of the first \d+ sounds failed.*no weights"):
        run(use=host, items=items, part_items=16)
    assert run(use=host, items=items[:3], store="few").progress.failed == 3


def test_a_damaged_part_is_set_aside_and_computed_again(run, whole, stored):
    damaged = parts_of(stored)[0]
    damaged.write_bytes(damaged.read_bytes()[:-20])
    verification = verify(stored)
    assert verification.damaged == (damaged,) and not verification.is_whole
    result = run()
    assert result.set_aside == (damaged,) and result.progress.done == 12
    assert list((stored / "damaged").iterdir())
    assert verify(stored).is_whole
    assert_same(stored, whole)


def test_verify_finds_a_flipped_bit_in_the_data_of_a_column(stored):
    part = parts_of(stored)[0]
    content = bytearray(part.read_bytes())
    column = pq.read_metadata(part).row_group(0).column(0)
    content[column.dictionary_page_offset + column.total_compressed_size - 1] ^= 1
    part.write_bytes(content)
    assert verify(stored).damaged == (part,)


def test_a_vanished_part_is_computed_again(run, whole, stored):
    parts_of(stored)[1].unlink()
    assert verify(stored).num_missing == 4
    run()
    assert verify(stored).is_whole
    assert_same(stored, whole)


@pytest.mark.slow
def test_a_full_disk_loses_nothing_that_was_stored(run, tmp_path, monkeypatch):
    replace, number = os.replace, 0

    def fill_up(source, target):
        nonlocal number
        number += "results.parquet" in str(target) and "none" not in str(target)
        if number == 3:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fill_up)
    with pytest.raises(StoreError, match=r"cannot be written \(No space left.*run the same"):
        run(part_items=2)
    monkeypatch.setattr(os, "replace", replace)
    assert not list((tmp_path / "store").rglob("*.partial"))
    stored = verify(tmp_path / "store").num_explained
    assert 2 <= stored < 12
    assert run().progress.done == 12 and verify(tmp_path / "store").is_whole


def test_what_killed_runs_left_half_written_is_swept_away(run, stored):
    names = [stored / "results.parquet" / f".{n}.parquet.0.partial" for n in "ab"]
    for path in names:
        path.write_text("half")
    os.utime(names[0], (0, 0))
    assert verify(stored).is_whole
    run()
    assert [path.exists() for path in names] == [False, True], "the other may be at work"


def test_readers_need_no_code_of_ours(whole):
    import duckdb
    import pandas as pd
    import polars as pl

    by_pandas = pd.read_parquet(whole / "results.parquet")
    by_polars = pl.read_parquet(whole / "results.parquet" / "*.parquet")
    query = f"FROM read_parquet('{whole}/results.parquet/*.parquet')"
    by_duckdb = duckdb.sql(query)
    assert len(by_pandas) == len(by_polars) == len(by_duckdb) == 36
    weights = by_polars.filter(pl.col("id") == "s07", pl.col("output") == "low")["coefficients"]
    [(other,)] = duckdb.sql(
        f"SELECT coefficients {query} WHERE id = 's07' AND output = 'low'"
    ).fetchall()
    assert weights.to_list() == [other] and len(other) == len(STEMS)
    assert len(pd.read_parquet(whole / "errors.parquet")) == 0
    assert len(pl.read_parquet(whole / "errors.parquet" / "*.parquet")) == 0
    assert runs.read_manifest(whole / "items.parquet")[3].id == "s03"


@pytest.mark.slow
def test_progress_is_reported_and_logged(run, tmp_path):
    reports = []
    run(report=reports.append, part_items=3, num_samples=600, components="stems-time", segments="3")
    assert reports[-1].done == 12 and reports[-1].seconds_left == 0
    assert [p.done for p in reports] == sorted(p.done for p in reports)
    last = reports[-1]
    assert last.items_per_s > 0 and last.evaluations_per_s == pytest.approx(
        512 * last.items_per_s, rel=0.2
    )
    assert 0 < last.busy_share <= 1
    events = log(tmp_path / "store")
    assert [e["event"] for e in events][:: len(events) - 1] == ["start", "end"]
    assert sum(e["items"] for e in events if e["event"] == "part") == 12
    assert json.dumps(events)


def test_settings_are_checked_before_anything_is_read(run):
    for options, message in {
        ("hop", 1.0): "goes with `--snippet`",
        ("part_items", 0): "`--part-items` must be at least 1",
        ("part_seconds", 0.0): "`--part-seconds` must be positive",
        ("max_channels", 0): "`--max-channels` must be at least 1",
        ("shard", "3/2"): "index below the number of shards",
        ("snippet", 0.1): "`--snippet` must be at least 0.250 s",
        ("outputs", "lwo"): "did you mean 'low'",
    }.items():
        name, value = options
        with pytest.raises((ValueError, LimeJaxError), match=message):
            run(**{name: value})


def test_a_folder_of_something_else_is_refused(run, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match=r"holds 'thesis.tex' and no store"):
        run()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a file"):
        run("file")


def test_ids_are_never_paths(run, songs, tmp_path):
    ids = ("../../escape", "<img src=x onerror=alert(1)>", "ü" * 300, "=1+1")
    items = [Item(id, stems=songs / "s00") for id in ids]
    run(items=items)
    assert set(frame(tmp_path / "store")["id"]) == set(ids)
    assert not (tmp_path.parent / "escape").exists()
    with pytest.raises(StoreError, match="printable"):
        run("other", items=[Item("a\nb", stems=songs / "s00")])


def test_a_single_bad_item_fails_at_every_try(run, songs, model, tmp_path):
    def judge(waveforms):
        raise RuntimeError("poison")

    items = runs.items_of(str(songs), "stems")[:1]
    host = lj.host_model(judge, sample_rate=RATE, output_names=model.output_names)
    for _ in range(2):
        result = run(use=host, items=items, retry_failed=True)
        assert (result.progress.done, result.progress.failed) == (0, 1)
    assert verify(tmp_path / "store").is_whole


def test_failures_alone_are_stored_in_parts(run, tmp_path):
    items = [Item(f"{n:02}", stems=tmp_path / "nowhere") for n in range(9)]
    reports = []
    run(items=items, part_items=3, report=reports.append)
    assert len(parts_of(tmp_path / "store", "errors.parquet")) == 3 and reports[2].failed == 3


def test_labels_may_be_corrected(run, songs, tmp_path):
    run(items=[Item("a", stems=songs / "s00")])
    run(items=[Item("a", stems=songs / "s00", label="rock", group="x")])
    [item] = runs.open_store(tmp_path / "store").items()
    assert (item.label, item.group) == ("rock", "x")


def test_parts_of_other_items_have_other_names(tmp_path):
    target = store.create_or_join(tmp_path / "store", {"a": 1})
    from lime_jax.runs import schema
    from lime_jax.runs.reader import Failure

    empty = schema.results_schema().empty_table()
    for ids in (["a", "b c"], ["a b", "c"]):
        failures = schema.errors_table([Failure(Item(id), "load", "no") for id in ids])
        writer.write_part(target, empty, failures, {}, ids=ids)
    assert store.stored_ids(target)[1] == {"a", "b c", "a b", "c"}


@pytest.mark.slow
def test_stems_may_have_any_name(run, songs, tmp_path):
    folder = tmp_path / "songs" / "odd"
    shutil.copytree(songs / "s00", folder)
    os.rename(folder / "bass.wav", os.fsencode(folder) + b"/ba\xff.wav")
    (folder / "drums.wav").rename(folder / "$x_{$.wav")
    result = run(source=str(tmp_path / "songs"))
    assert result.progress.done == 1
    from lime_jax.report import summary

    page = summary.write_report(tmp_path / "report", runs.open_store(tmp_path / "store"))
    assert "$x_{$" in page.read_text() and r"ba\udcff" in page.read_text()


def test_stores_with_pattern_characters_are_refused(run):
    with pytest.raises(StoreError, match="take for patterns"):
        run("st[1]")


def test_components_are_stored_once(whole):
    import pandas as pd

    assert len(parts_of(whole)) > 2
    components = pd.read_parquet(whole / "components.parquet")
    assert len(components) == len(STEMS) and components["layout"].nunique() == 1


class TestChangedFiles:
    """A clip that was cut anew under the same name stayed "done"."""

    @pytest.fixture
    def clips(self, songs, run, tmp_path):
        """Three songs that are explained, in one part."""
        for name in ("s00", "s01", "s02"):
            shutil.copytree(songs / name, tmp_path / "clips" / name)
        items = runs.items_of(str(tmp_path / "clips"), "stems")
        assert run(items=items).progress.done == 3
        return items

    def test_a_changed_file_is_explained_again(self, run, songs, clips, tmp_path):
        before = frame(tmp_path / "store")
        shutil.copy(songs / "s05" / "voice.wav", clips[1].stems / "voice.wav")
        said = []
        result = run(items=clips, say=said.append)
        assert result.changed == ("s01",) and result.progress.done == 3
        [line] = said
        assert "1 item is explained again" in line and "'s01'" in line
        after = frame(tmp_path / "store")
        is_new = after["id"] == "s01"
        assert np.abs(after["prediction"] - before["prediction"])[is_new].max() > 1e-3
        assert (after[~is_new]["prediction"] == before[~is_new]["prediction"]).all()
        assert verify(tmp_path / "store").is_whole
        assert run(items=clips).changed == ()

    def test_files_that_were_only_touched_are_left_alone(self, run, clips, tmp_path):
        for path in clips[0].stems.iterdir():
            os.utime(path, (1, 1))
        assert run(items=clips).changed == ()
        records = len(parts_of(tmp_path / "store", "sources.parquet"))
        assert run(items=clips).changed == ()
        assert len(parts_of(tmp_path / "store", "sources.parquet")) == records

    def test_vanished_files_keep_their_explanations(self, run, clips):
        shutil.rmtree(clips[0].stems)
        result = run(items=clips)
        assert result.changed == () and result.progress.done == 3

    def test_a_file_beside_the_stems_changes_nothing(self, run, clips):
        (clips[0].stems / "notes.txt").write_text("louder")
        (clips[0].stems / "._voice.wav").write_text("of another system")
        assert run(items=clips).changed == ()

    def test_a_further_stem_is_a_change(self, run, clips):
        shutil.copy(clips[0].stems / "voice.wav", clips[0].stems / "choir.wav")
        assert run(items=clips).changed == ("s00",)

    def test_a_mended_file_is_no_failure_any_more(self, run, songs, clips, tmp_path):
        missing = Item("s03", stems=tmp_path / "clips" / "s03")
        broken = Item("s04", stems=shutil.copytree(songs / "s04", tmp_path / "clips" / "s04"))
        (broken.stems / "bass.wav").write_text("no sound")
        items = [*clips, missing, broken]
        assert run(items=items).progress.failed == 2
        assert run(items=items).progress.failed == 2
        shutil.copytree(songs / "s03", missing.stems)
        shutil.copy(songs / "s04" / "bass.wav", broken.stems)
        result = run(items=items)
        assert set(result.changed) == {"s03", "s04"} and result.progress.failed == 0
        assert verify(tmp_path / "store").is_whole

    def test_stores_without_the_record_go_on(self, run, songs, clips, tmp_path):
        shutil.rmtree(tmp_path / "store" / "sources.parquet")
        assert verify(tmp_path / "store").is_whole
        shutil.copy(songs / "s05" / "voice.wav", clips[1].stems / "voice.wav")
        result = run(items=clips)
        assert result.changed == () and result.progress.done == 3

    def test_other_shards_are_left_alone(self, run, songs, clips, tmp_path):
        for clip in clips:
            shutil.copy(songs / "s05" / "voice.wav", clip.stems / "voice.wav")
        changed = [run(items=clips, shard=f"{index}/2").changed for index in range(2)]
        assert sorted([*changed[0], *changed[1]]) == ["s00", "s01", "s02"]
        assert verify(tmp_path / "store").is_whole

    def test_changed_sounds_are_not_played_beside_old_weights(self, songs, clips, tmp_path):
        target = runs.open_store(tmp_path / "store")
        assert reload.segmented_audio(target, clips[1], 0).names == STEMS
        shutil.copy(songs / "s05" / "voice.wav", clips[1].stems / "voice.wav")
        with pytest.raises(LimeJaxError, match="is not what it was when it was explained"):
            reload.segmented_audio(target, clips[1], 0)


def test_contents_are_read_only_where_size_or_time_differ(tmp_path, monkeypatch):
    paths = [tmp_path / f"{number}.wav" for number in range(100)]
    for path in paths:
        path.write_bytes(path.name.encode())
    items = [Item(path.name, path) for path in paths]
    known = {item.id: sources.source_of(item) for item in items}
    read = []
    monkeypatch.setattr(sources.storage, "digest_of_file", lambda path: read.append(path) or "x")
    assert sources.compare(items, known) == sources.Comparison((), {})
    assert not read
    os.utime(paths[7], (5, 5))
    assert sources.compare(items, known).changed == ("7.wav",) and read == [paths[7]]
