"""A run that is killed at any moment loses nothing that was stored and repeats nothing."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from lime_jax.errors import StoreError
from lime_jax.runs.verify import verify
from tests.runs.conftest import assert_same, frame, run_into

pytestmark = pytest.mark.slow


ASKED = {"components": "stems-time", "segments": "3", "num_samples": 600}


def command(songs, store, *options):
    """A run as a process that asks the same."""
    return [
        *(sys.executable, "-m", "lime_jax.cli", "run", str(songs), str(store)),
        *("--model", "loudness:make", "--components", "stems-time", "--segments", "3"),
        *("--part-items", "1", "--num-samples", "600", *options),
    ]


@pytest.fixture
def go_on(songs, model):
    """Runs the same in this process, which has its programs already."""

    def call(store, **options):
        return run_into(store, songs, model, **{"part_items": 1, **ASKED, **options})

    return call


@pytest.fixture(scope="module")
def uninterrupted(songs, model, tmp_path_factory):
    """A store of a run that nothing disturbed."""
    store = tmp_path_factory.mktemp("uninterrupted") / "store"
    run_into(store, songs, model, part_items=1, **ASKED)
    return store


@pytest.fixture
def start(model_folder):
    """Starts a run as a process of its own, in the folder of the model."""
    running = []

    def begin(*arguments):
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(model_folder / "compiled")}
        process = subprocess.Popen(
            command(*arguments), cwd=model_folder, env=environment, stderr=subprocess.PIPE
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.wait()
        process.stderr.close()


def parts(store):
    return len(list((store / "results.parquet").glob("*.parquet"))) - 1


def wait_for_parts(store, number, process):
    while not (store / "results.parquet").exists() or parts(store) < number:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)


def wait_for_success(process):
    """What a process wrote to stderr."""
    _, messages = process.communicate()
    assert process.returncode == 0, messages.decode()
    return messages.decode()


def test_a_run_killed_at_random_moments_goes_on(start, go_on, songs, uninterrupted, tmp_path):
    rng, store = random.Random(5), tmp_path / "store"
    for _ in range(2):
        process = start(songs, store)
        wait_for_parts(store, parts(store) + 1 if store.exists() else 1, process)
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 2 <= parts(store) < 12
    go_on(store)
    assert verify(store).is_whole
    assert_same(store, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_the_part(start, go_on, songs, tmp_path, number):
    store = tmp_path / "store"
    process = start(songs, store, "--part-items", "100", "--batch-size", "1")
    while not (store / "log").exists() or not list((store / "log").iterdir()):
        time.sleep(0.01)
    process.send_signal(number)
    messages = process.communicate()[1].decode()
    assert process.returncode in (128 + number, 0), messages
    if process.returncode:
        assert f"stopped by {number.name}" in messages and "same command again" in messages
    stored = set(frame(store)["id"])
    assert f"{len(stored)} explained" in messages
    go_on(store)
    assert verify(store).is_whole


def test_shards_of_which_one_was_killed_equal_one_run(start, go_on, songs, uninterrupted, tmp_path):
    store = tmp_path / "store"
    first, second = (start(songs, store, "--shard", f"{i}/2") for i in range(2))
    wait_for_parts(store, 1, first)
    second.send_signal(signal.SIGKILL)
    second.wait()
    assert "0 left of" in wait_for_success(first)
    assert not verify(store).is_whole
    go_on(store, shard="1/2")
    assert verify(store).is_whole
    assert_same(store, uninterrupted)


def test_a_second_run_on_a_folder_is_refused(start, go_on, songs, tmp_path):
    store = tmp_path / "store"
    first = start(songs, store)
    wait_for_parts(store, 1, first)
    os.kill(first.pid, signal.SIGSTOP)
    for shard in (None, "0/2"):
        with pytest.raises(StoreError, match="in use by another run"):
            go_on(store, shard=shard)
    os.kill(first.pid, signal.SIGCONT)
    wait_for_success(first)
    assert verify(store).is_whole
