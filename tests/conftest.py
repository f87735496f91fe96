"""Strict arithmetic and run-time shape checks for every test."""

import ctypes
import gc
import os
import sys
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
# The tests compile thousands of tiny programs and run each of them once.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if version("jaxlib").startswith("0.10."):
    # These take half the time to compile; later versions lack them, and end at unknown flags.
    os.environ.setdefault(
        "XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    )

# Modules with checks take longest to compile: once for all runs, workers and started processes.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

from jaxtyping import install_import_hook

install_import_hook("lime_jax", "beartype.beartype")

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# The command line keeps programs on disk; in this process no test is to get those of another.
jax.config.update("jax_enable_compilation_cache", False)

# Every program maps memory, and a process with 65530 maps (Linux) crashes in XLA.
_MOST_MAPS = 20_000
# With room for what a single test needs, a process stays below 1.5 GB.
_MOST_BYTES = 1_250_000_000
# What stays after that is not looked at again until so much is new.
_WORTH_BYTES = 100_000_000
_kept = {"bytes": 0}

# Tracing makes millions of objects that live on; looking through all of them takes its time.
gc.set_threshold(100_000, 20, 50)

REFERENCE = Path(__file__).parents[1].parent / "shared" / "data"


@pytest.fixture(autouse=True)
def forget_large_programs():
    """After a test, compiled programs are let go once they are large."""
    yield
    if _resident_bytes() > max(_MOST_BYTES, _kept["bytes"] + _WORTH_BYTES):
        _forget()
        _kept["bytes"] = _resident_bytes()


@pytest.fixture(scope="module", autouse=True)
def forget_many_programs():
    """After a file, compiled programs are let go once they are many."""
    yield
    if _mapped_regions() > _MOST_MAPS:
        _forget()


def _forget():
    jax.clear_caches()
    gc.collect()
    _give_back()


def _give_back():
    """Return freed memory to the system, where the C library (glibc) can be asked to."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def pytest_collection_finish():
    """Leave what is imported by now out of all later searches for garbage."""
    gc.collect()
    gc.freeze()


def _mapped_regions():
    maps = Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.exists() else 0


def _resident_bytes():
    sizes = Path("/proc/self/statm")
    if not sizes.exists():
        return 0
    return int(sizes.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def getkey():
    """A function that returns a fresh key at each call, the same ones in every run."""
    state = {"key": jax.random.key(5678)}

    def next_key():
        state["key"], key = jax.random.split(state["key"])
        return key

    return next_key


@pytest.fixture(scope="session")
def reference():
    """The folder of reference outputs of the original systems, or a skip."""
    if not REFERENCE.exists():
        pytest.skip("reference data are not part of the project; see CONTRIBUTING.md")
    return REFERENCE
