"""Several devices of one process share the items of a batch and change nothing."""

import os
import subprocess
import sys

import pytest

from lime_jax.runs.verify import verify
from tests.runs.conftest import assert_same

pytestmark = pytest.mark.slow


def test_four_devices_are_one(songs, model_folder, tmp_path):
    for number in (1, 4):
        command = [
            sys.executable,
            "-m",
            "lime_jax.cli",
            "run",
            str(songs),
            str(tmp_path / f"{number}"),
        ]
        options = ["--model", "loudness:make", "--components", "stems", "--part-items", "5"]
        count = f"--xla_force_host_platform_device_count={number}"
        flags = f"{os.environ.get('XLA_FLAGS', '')} {count}"
        environment = {**os.environ, "XLA_FLAGS": flags}
        subprocess.run([*command, *options], cwd=model_folder, env=environment, check=True)
    assert verify(tmp_path / "4").is_whole
    assert_same(tmp_path / "1", tmp_path / "4")
