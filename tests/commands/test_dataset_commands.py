"""`lime-jax run`, `verify`, `aggregate` and `report`: what they print, write and return."""

import json
import re
import shutil

import pytest

from lime_jax import runs
from tests.runs.conftest import write_song

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def in_model_folder(model_folder, monkeypatch):
    """Commands run in the folder of the model."""
    monkeypatch.chdir(model_folder)


MODEL = ("--model", "loudness:make")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Six songs."""
    root = tmp_path_factory.mktemp("six")
    for seed in range(6):
        write_song(root / f"{'ab'[seed % 2]}" / f"s{seed}", seed)
    return root


@pytest.fixture(scope="module")
def stores(small, model, tmp_path_factory):
    """Stores of the songs with seeds 0 and 1, as `lime-jax run` writes them; not to be changed."""
    root = tmp_path_factory.mktemp("stores")
    for seed in (0, 1):
        config = runs.RunConfig(
            source=str(small), output_dir=root / str(seed), model=MODEL[1], components="stems",
            seed=seed,
        )  # fmt: skip
        runs.run(config, model=model)
    return root


@pytest.fixture
def store(stores, tmp_path):
    """A copy of the store with seed 0."""
    return shutil.copytree(stores / "0", tmp_path / "store")


@pytest.mark.slow
def test_run_prints_how_it_ended(call, small, tmp_path):
    arguments = ("run", small, tmp_path / "store", *MODEL, "--components", "stems")
    code, _, printed = call(*arguments)
    assert code == 0 and "6 explained, 0 failed, 0 left of 6 items" in printed
    code, _, printed = call(*arguments, "--alpha", "2")
    assert code == 2 and "`--alpha` is 1.0 there, 2.0 now" in printed
    code, _, printed = call(*arguments, "--shard", "0/2")
    assert code == 0 and "shard 0 of 2 (from --shard)" in printed


@pytest.mark.slow
def test_the_exit_code_counts_failures(call, small, tmp_path):
    shutil.copytree(small, tmp_path / "songs")
    for name in ("a/s0", "a/s2", "b/s1"):
        (tmp_path / "songs" / name / "bass.wav").write_text("no audio")
    code, _, printed = call(
        "run", tmp_path / "songs", tmp_path / "store", *MODEL, "--components", "stems"
    )
    assert code == 13 and "3 failed" in printed
    assert re.search(r"a/s0: `.*bass.wav` is not audio that can be read", printed)
    code, _, printed = call("verify", tmp_path / "store")
    assert code == 0 and "3 explained + 3 failed + 0 missing = 6 items" in printed


@pytest.mark.slow
def test_shards_come_from_the_batch_system(call, small, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    arguments = ("run", small, tmp_path / "store", *MODEL, "--components", "stems")
    code, _, printed = call(*arguments)
    assert code == 0 and "shard 1 of 2 (from SLURM_ARRAY_TASK_ID)" in printed
    code, _, printed = call("verify", tmp_path / "store")
    assert code == 1 and "is not whole" in printed
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    assert call(*arguments)[0] == 0 and call("verify", tmp_path / "store")[0] == 0


BAD = {
    "no such source": (("run", "nowhere", "STORE"), "`nowhere` does not exist"),
    "no such model": (("run", "SONGS", "STORE", "--model", "mussicnn"), "did you mean"),
    "no stems": (("run", "SONGS", "STORE", "--fill", "mean", "--components", "stems"), "--fill"),
    "hop alone": (("run", "SONGS", "STORE", "--hop", "1"), "`--snippet`"),
    "both": (("run", "SONGS", "STORE", "--ray", "auto", "--shard", "0/2"), "does not go with"),
    "no store": (("verify", "SONGS"), "holds no store"),
    "no store to sum up": (("aggregate", "SONGS"), "holds no store"),
    "no store to show": (("report", "nowhere"), "holds no store"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_arguments_give_one_line(call, small, tmp_path, arguments, message):
    places = {"SONGS": small, "STORE": tmp_path / "store"}
    code, out, printed = call(*(places.get(argument, argument) for argument in arguments))
    assert code == 2 and not out
    assert message in printed and len(printed.strip().splitlines()) == 1


@pytest.mark.slow
def test_repaired_stores_are_computed_again(call, store, small):
    [part] = [p for p in (store / "results.parquet").iterdir() if p.stem != "none"]
    part.write_bytes(part.read_bytes()[:100])
    code, _, printed = call("verify", store)
    assert (
        code == 1 and f"`{part}` is damaged" in printed and "--repair" in printed and part.exists()
    )
    assert call("verify", store, "--repair")[0] == 1 and not part.exists()
    assert call("run", small, store, *MODEL, "--components", "stems")[0] == 0
    assert call("verify", store)[0] == 0


@pytest.mark.slow
def test_verify_finds_rows_that_are_wrong(call, store):
    [part] = [p for p in (store / "results.parquet").iterdir() if p.stem != "none"]
    shutil.copy(part, part.with_name("copy.parquet"))
    code, _, printed = call("verify", store)
    assert code == 1 and "6 items have rows twice" in printed
    part.with_name("copy.parquet").unlink()
    config = json.loads((store / "config.json").read_text())
    config["config"]["alpha"] = 3.0
    (store / "config.json").write_text(json.dumps(config))
    code, _, printed = call("verify", store)
    assert code == 2 and "config.json` was changed" in printed


def test_aggregate_writes_tables_in_its_own_folder_only(call, store):
    code, out, printed = call("aggregate", store)
    assert code == 0 and "low" in out and "voice" in out and "tables:" in printed
    folder = store.with_name("store-summary")
    record = json.loads((folder / "summary.json").read_text())
    assert set(record["files"]) == {path.name for path in folder.iterdir()}
    assert (folder / "components.csv").read_text().startswith('"output","output_index","group"')
    assert call("aggregate", store)[0] == 0  # in place of the earlier one
    (folder / "notes.txt").write_text("mine")
    code, _, printed = call("aggregate", store)
    assert code == 2 and "notes.txt" in printed


@pytest.mark.slow
def test_a_report_is_one_page_with_pictures_sounds_and_stability(call, store, stores):
    code, _, printed = call("report", store, "--compare", stores / "1", "--num-outputs", "2")
    assert code == 0 and "report.html" in printed
    folder = store.with_name("store-report")
    html = (folder / "report.html").read_text()
    assert html.count('<section class="output"') == 2
    assert "audio/flac;base64," in html or "audio/mpeg;base64," in html
    assert "Stability" in html and (folder / "u-n.png").exists()
    assert "http://" not in html.replace("http://www.w3.org", "") and "https://" not in html
    assert "<td>a</td>" in html and (folder / "cells.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_a_report_without_the_sounds(call, store, small, tmp_path):
    moved = small.rename(small.with_name("elsewhere"))
    try:
        code, _, _ = call("report", store, "--output-dir", tmp_path / "report")
    finally:
        moved.rename(small)
    assert code == 0
    assert "is not a folder" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.slow
def test_hostile_names_stay_text(call, tmp_path, small):
    rows = ["id,stems,label,group", f'"{HOSTILE}",a/s0,"{HOSTILE}","{HOSTILE}"', "=1+1,b/s1,x,y"]
    (small / "clips.csv").write_text("\n".join(rows))
    arguments = (small / "clips.csv", tmp_path / "store", *MODEL, "--components", "stems")
    assert call("run", *arguments)[0] == 0
    assert call("report", tmp_path / "store", "--output-dir", tmp_path / "report")[0] == 0
    html = (tmp_path / "report" / "report.html").read_text()
    assert "<img src=x" not in html and "&lt;img src=x" in html
    assert "'=1+1" in (tmp_path / "report" / "representatives.csv").read_text()


def test_names_cannot_control_the_terminal(call, tmp_path):
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs" / "\x1b]0;pwned\x07bad.wav").write_text("no audio")
    code, _, printed = call("run", tmp_path / "songs", tmp_path / "store", *MODEL)
    assert code == 11 and "pwned" in printed and "\x1b" not in printed and "\x07" not in printed
