"""Several devices of one process share the items of a batch and change nothing."""

import os
import subprocess
import sys

import pytest

from lime_jax.runs.verify import verify
from tests.runs.conftest import assert_same

pytestmark = pytest.mark.slow


def test_four_devices_give_the_numbers_of_one(songs, model_folder, whole, tmp_path):
    store = tmp_path / "store"
    command = [sys.executable, "-m", "lime_jax.cli", "run", str(songs), str(store)]
    options = ["--model", "loudness:make", "--components", "stems"]
    asked = ["--num-samples", "100", "--part-items", "5"]
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    environment = {**os.environ, "XLA_FLAGS": flags}
    subprocess.run([*command, *options, *asked], cwd=model_folder, env=environment, check=True)
    assert verify(store).is_whole
    assert_same(store, whole)
