"""Several devices and several processes give the answer of one device."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import lime_jax as lj

COMPONENTS = lj.from_stems(jnp.eye(3))
HERE = Path(__file__).parent


def start(num_devices, *arguments, script="on_devices.py"):
    flags = f"--xla_force_host_platform_device_count={num_devices}"
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}",
    }
    return subprocess.Popen(
        [sys.executable, HERE / script, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_four_devices_agree_with_one():
    output, _ = (process := start(4)).communicate(timeout=300)
    assert process.returncode == 0, output
    assert "4 devices agree" in output


@pytest.mark.slow
def test_the_lines_of_the_readme_run_on_eight_devices():
    output, _ = (process := start(8, script="readme_on_devices.py")).communicate(timeout=300)
    assert process.returncode == 0, output
    assert "8 devices agree" in output


@pytest.mark.slow
def test_two_processes_agree_with_one_device():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"localhost:{free.getsockname()[1]}"
    processes = [start(2, coordinator, "2", str(index)) for index in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert all("4 devices agree" in output for output in outputs)


@pytest.mark.slow
def test_only_sums_travel_between_devices():
    """Masks of one input are shared: statistics are added up. Items are shared: nothing is."""
    process = start(8, script="traffic_on_devices.py")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    result = json.loads(output.splitlines()[-1])
    assert result["devices"] == 8
    kinds = {kind for kind, _ in result["masks"]}
    moved = sum(number for _, number in result["masks"])
    # Statistics of 16 blocks, 11 components and 3 outputs, against 2.2 MB of input.
    assert kinds == {"all-reduce"} and 0 < moved < 20_000 < result["input"] / 100
    explanations = sum(number for _, number in result["items"])
    assert explanations < result["input"] / 10, "explanations alone are gathered"


def total(inputs):
    return inputs.sum(axis=1, keepdims=True)


def test_progress_over_a_mesh_is_reported_once_in_full():
    mesh = jax.sharding.Mesh(jax.devices()[:1], ("devices",))
    reports = []
    lj.explain(
        total, COMPONENTS, lj.exhaustive(), mesh=mesh, progress=lambda *now: reports.append(now)
    )
    assert reports == [(8, 8)]


def test_a_host_model_refuses_a_mesh():
    mesh = jax.sharding.Mesh(jax.devices()[:1], ("devices",))
    with pytest.raises(ValueError, match="host model"):
        lj.explain(lj.host_model(total), COMPONENTS, lj.exhaustive(), mesh=mesh)
