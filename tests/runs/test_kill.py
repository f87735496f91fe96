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


def wait_for_success(process):
    """What a process wrote to stderr."""
    _, messages = process.communicate()
    assert process.returncode == 0, messages.decode()
    return messages.decode()


def test_a_run_killed_at_random_moments_goes_on(start, songs, tmp_path):
    rng, killed = random.Random(5), tmp_path / "killed"
    for _ in range(3):
        process = start(songs, killed)
        wait_for_parts(killed, parts(killed) + 1 if killed.exists() else 1, process)
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 3 <= parts(killed) < 12
    wait_for_success(start(songs, killed))
    wait_for_success(start(songs, tmp_path / "whole"))
    assert verify(killed).is_whole
    assert_same(killed, tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_the_part(start, songs, tmp_path, number):
    process = start(songs, tmp_path / "store", "--part-items", "100", "--batch-size", "1")
    while not (tmp_path / "store" / "log").exists():
        time.sleep(0.01)
    while not list((tmp_path / "store" / "log").iterdir()):
        time.sleep(0.01)
    process.send_signal(number)
    messages = process.communicate()[1].decode()
    assert process.returncode in (128 + number, 0), messages
    if process.returncode:
        assert f"stopped by {number.name}" in messages and "same command again" in messages
    stored = set(frame(tmp_path / "store")["id"])
    assert f"{len(stored)} explained" in messages
    wait_for_success(start(songs, tmp_path / "store", "--part-items", "100"))
    assert verify(tmp_path / "store").is_whole


def test_shards_of_which_one_was_killed_equal_one_run(start, songs, tmp_path):
    store = tmp_path / "store"
    first, second = (start(songs, store, "--shard", f"{i}/2") for i in range(2))
    wait_for_parts(store, 1, first)
    second.send_signal(signal.SIGKILL)
    second.wait()
    assert "0 left of" in wait_for_success(first)
    assert not verify(store).is_whole
    wait_for_success(start(songs, store, "--shard", "1/2"))
    wait_for_success(start(songs, tmp_path / "whole"))
    assert verify(store).is_whole
    assert_same(store, tmp_path / "whole")


def test_a_second_run_on_a_folder_is_refused(start, songs, tmp_path):
    store = tmp_path / "store"
    first = start(songs, store)
    wait_for_parts(store, 1, first)
    os.kill(first.pid, signal.SIGSTOP)
    for options in ((), ("--shard", "0/2")):
        second = start(songs, store, *options)
        messages = second.communicate()[1].decode()
        assert second.returncode == 2 and "in use by another run" in messages
    os.kill(first.pid, signal.SIGCONT)
    wait_for_success(first)
    assert verify(store).is_whole
