"""A run that is killed at any moment loses nothing that was stored and repeats nothing."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from lime_jax.runs.verify import verify
from tests.runs.conftest import assert_same, frame

pytestmark = pytest.mark.slow


def command(songs, store, *options):
    return [
        *(sys.executable, "-m", "lime_jax.cli", "run", str(songs), str(store)),
        *("--model", "loudness:make", "--components", "stems-time", "--segments", "3"),
        *("--part-items", "1", "--num-samples", "600", *options),
    ]


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


def finished(process):
    _, told = process.communicate()
    assert process.returncode == 0, told.decode()
    return told.decode()


def test_kills_at_random_moments(start, songs, tmp_path):
    rng, killed = random.Random(5), tmp_path / "killed"
    for _ in range(3):
        process = start(songs, killed)
        wait_for_parts(killed, parts(killed) + 1 if killed.exists() else 1, process)
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 3 <= parts(killed) < 12
    finished(start(songs, killed))
    finished(start(songs, tmp_path / "whole"))
    assert verify(killed).is_whole
    assert_same(killed, tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_part(start, songs, tmp_path, number):
    process = start(songs, tmp_path / "store", "--part-items", "100", "--batch-size", "1")
    while not (tmp_path / "store" / "log").exists():
        time.sleep(0.01)
    while not list((tmp_path / "store" / "log").iterdir()):
        time.sleep(0.01)
    process.send_signal(number)
    told = process.communicate()[1].decode()
    assert process.returncode in (128 + number, 0), told
    if process.returncode:
        assert f"stopped by {number.name}" in told and "same command again" in told
    stored = set(frame(tmp_path / "store")["id"])
    assert f"{len(stored)} explained" in told
    finished(start(songs, tmp_path / "store", "--part-items", "100"))
    assert verify(tmp_path / "store").is_whole


def test_two_shards_are_one_run_even_if_one_is_killed(start, songs, tmp_path):
    store = tmp_path / "store"
    first, second = (start(songs, store, "--shard", f"{i}/2") for i in range(2))
    wait_for_parts(store, 1, first)
    second.send_signal(signal.SIGKILL)
    second.wait()
    assert "0 left of" in finished(first)
    assert not verify(store).is_whole
    finished(start(songs, store, "--shard", "1/2"))
    finished(start(songs, tmp_path / "whole"))
    assert verify(store).is_whole
    assert_same(store, tmp_path / "whole")


def test_two_runs_on_one_folder(start, songs, tmp_path):
    store = tmp_path / "store"
    first = start(songs, store)
    wait_for_parts(store, 1, first)
    os.kill(first.pid, signal.SIGSTOP)
    for options in ((), ("--shard", "0/2")):
        second = start(songs, store, *options)
        told = second.communicate()[1].decode()
        assert second.returncode == 2 and "in use by another run" in told
    os.kill(first.pid, signal.SIGCONT)
    finished(first)
    assert verify(store).is_whole
