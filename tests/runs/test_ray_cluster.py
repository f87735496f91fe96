"""A run over Ray equals a run without, also when an engine is killed."""

import gc
import os
import signal
import sys
import threading
import time
import types
from pathlib import Path

import pytest

import lime_jax as lj
from lime_jax.errors import StoreError
from lime_jax.runs import ray_cluster, store
from lime_jax.runs.items import Item
from lime_jax.runs.progress import Log, Meter
from lime_jax.runs.ray_cluster import Chunk
from lime_jax.runs.verify import verify
from lime_jax.runs.writer import ResultWriter
from tests.runs.conftest import assert_same, log, write_song

ITEMS = tuple(Item(id, Path(f"/music/{id}.wav")) for id in "abcde")


def test_the_chunk_of_a_dead_engine_is_halved():
    first, second = Chunk(ITEMS, deaths=1).halves()
    assert first == Chunk(ITEMS[:3], 2) and second == Chunk(ITEMS[3:], 2)
    assert Chunk(ITEMS[:1]).halves() == [Chunk(ITEMS[:1], 1)]


def test_an_item_that_kills_engines_is_a_failure(tmp_path):
    target, chunks = store.create_or_join(tmp_path, {"a": 1}), []
    config = lj.runs.RunConfig(source="songs", output_dir=tmp_path)
    log = Log(tmp_path / "log" / "0-of-1.jsonl")
    writer = ResultWriter(target, config, Meter(6, 0, 0), log, None)
    ray_cluster._hand_out_again(target, Chunk(ITEMS[:2]), chunks, writer)
    assert [chunk.items for chunk in chunks] == [ITEMS[:1], ITEMS[1:2]] and not writer.reasons
    again = chunks.pop()
    ray_cluster._hand_out_again(target, again, chunks, writer)
    [(id, reason)] = writer.reasons
    assert id == ITEMS[1].id and "engines died" in reason


def test_an_address_where_nothing_listens_is_refused_at_once(monkeypatch):
    # Ray itself is not asked, so that it need not be there.
    monkeypatch.setitem(sys.modules, "ray", types.ModuleType("ray"))
    with pytest.raises(StoreError, match="no cluster can be reached"):
        with ray_cluster.connect("127.0.0.1:1"):
            pass


def engines():
    """Process ids of all engines of this machine."""
    ids = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::Engine"):
                ids.append(int(path.parent.name))
        except OSError:
            continue
    return ids


# What Ray leaves open itself.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_a_run_whose_engine_is_killed_equals_one_without_ray(tmp_path, model_folder, monkeypatch):
    pytest.importorskip("ray")
    from lime_jax import runs

    songs = tmp_path / "songs"
    for seed in range(24):
        write_song(songs / f"s{seed:02}", seed)
    monkeypatch.chdir(model_folder)
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    killed = []

    def config(name, **options):
        asked = {"source": str(songs), "components": "stems-time", "segments": "3"}
        return runs.RunConfig(
            output_dir=tmp_path / name, model="loudness:make", num_samples=600, **asked, **options
        )

    def kill_one():
        while not killed:
            parts = list((tmp_path / "ray" / "results.parquet").glob("*.parquet"))
            if len(parts) > 2 and (running := engines()):
                os.kill(running[0], signal.SIGKILL)
                killed.append(running[0])
            time.sleep(0.005)

    watcher = threading.Thread(target=kill_one, daemon=True)
    watcher.start()
    result = runs.run(config("ray", ray="local", num_engines=2, part_items=2, num_workers=1))
    gc.collect()
    watcher.join(timeout=10)
    assert killed
    assert result.progress.done == 24 and verify(tmp_path / "ray").is_whole
    runs.run(config("one"))
    assert_same(tmp_path / "ray", tmp_path / "one")
    assert log(tmp_path / "ray")[-1]["event"] == "end"
