"""Compiled programs are let go after every file."""

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Every program maps memory, and a process that has 65530 maps (Linux) crashes in XLA."""
    yield
    jax.clear_caches()
