"""Memory that stays with the process."""

import ctypes
import subprocess
import sys

import pytest

from lime_jax.core.execution import allocator

CODE = """
import resource, sys
from lime_jax.core.execution.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
import numpy as np
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(2):
    np.ones(50_000_000, np.uint8)
before = faults()
for _ in range(10):
    np.ones(50_000_000, np.uint8)
print(faults() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a matter of the C library")
def test_pages_are_mapped_once():
    def faults(how):
        command = [sys.executable, "-c", CODE, how]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults("kept") < 0.1 * faults("returned")


def test_all_settings_must_take_effect(monkeypatch):
    class Library:
        def mallopt(self, name, value):
            return value == 0

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    assert not allocator.keep_freed_memory()


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not allocator.keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not allocator.keep_freed_memory()
