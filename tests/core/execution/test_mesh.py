"""Several devices and several processes give the answer of one device."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import lime_jax as lj

SCRIPT = Path(__file__).with_name("on_devices.py")


def start(num_devices, *arguments):
    flags = f"--xla_force_host_platform_device_count={num_devices}"
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}",
    }
    return subprocess.Popen(
        [sys.executable, SCRIPT, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_four_devices_agree_with_one():
    said, _ = (process := start(4)).communicate(timeout=300)
    assert process.returncode == 0, said
    assert "4 devices agree" in said


@pytest.mark.slow
def test_two_processes_agree_with_one_device():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"localhost:{free.getsockname()[1]}"
    processes = [start(2, coordinator, "2", str(index)) for index in range(2)]
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert all("4 devices agree" in text for text in said)


def test_a_mesh_of_one_device_can_tell_progress_and_no_host_model_runs_on_it():
    mesh = jax.sharding.Mesh(jax.devices()[:1], ("devices",))
    components = lj.from_stems(jnp.eye(3))
    told = []
    total = lambda inputs: inputs.sum(axis=1, keepdims=True)
    lj.explain(
        total, components, lj.exhaustive(), mesh=mesh, progress=lambda *now: told.append(now)
    )
    assert told == [(8, 8)]
    with pytest.raises(ValueError, match="host model"):
        lj.explain(lj.host_model(total), components, lj.exhaustive(), mesh=mesh)
