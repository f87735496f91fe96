"""What is in the cache is whole and unharmed, whoever writes it and whatever happens."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lime_jax.errors import ModelError
from lime_jax.models import cache

MODELS = {"one": {"a.kernel": np.arange(6, dtype=np.float32)}, "two": {"b": np.ones((2, 2))}}


@pytest.fixture
def folder(tmp_path):
    cache.write(tmp_path / "cache" / "nets", MODELS, origin="test")
    return tmp_path / "cache" / "nets"


def assert_whole(folder):
    assert cache.is_complete(folder)
    for model, arrays in MODELS.items():
        found = cache.read(folder, model)
        assert found is not None
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)


def test_arrays_come_back_and_nothing_else_is_left(folder):
    assert_whole(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["nets"]
    assert cache.read(folder, "three") is None


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "manifest", "half", "format"])
def test_damage_is_noticed_and_mended(folder, damage, monkeypatch):
    data = max((folder / "one").rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    content = data.read_bytes()
    match damage:
        case "truncate":
            data.write_bytes(content[:-1])
        case "flip":
            data.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "remove":
            data.unlink()
        case "manifest":
            (folder / "manifest.json").write_text("{", encoding="utf-8")
        case "half":
            (folder / "manifest.json").unlink()
        case "format":
            monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    assert not cache.is_complete(folder)
    assert cache.read(folder, "one") is None
    cache.write(folder, MODELS, origin="test")
    assert_whole(folder)


def test_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_digests", fail)
    with pytest.raises(ModelError, match=r"No space left on device.*LIME_JAX_CACHE"):
        cache.write(tmp_path / "nets", MODELS, origin="test")
    assert not list(tmp_path.iterdir())


def test_only_old_leftovers_are_swept(folder):
    leftover = folder.parent / ".nets-killed"
    leftover.mkdir()
    cache.write(folder, MODELS, origin="test")
    assert leftover.exists()
    os.utime(leftover, (0, 0))
    cache.write(folder, MODELS, origin="test")
    assert not leftover.exists()


@pytest.mark.slow
def test_processes_may_write_at_the_same_time(tmp_path):
    code = (
        "import pathlib, numpy as np; from lime_jax.models import cache;"
        f"folder = pathlib.Path({str(tmp_path / 'nets')!r});"
        "models = {'one': {'a.kernel': np.arange(6, dtype=np.float32)},"
        " 'two': {'b': np.ones((2, 2))}};"
        "[cache.write(folder, models, origin='test') for _ in range(5)];"
        "assert cache.is_complete(folder)"
    )
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert_whole(tmp_path / "nets")
    assert [path.name for path in tmp_path.iterdir()] == ["nets"]


def test_place_of_the_cache(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for name in ("LIME_JAX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache.cache_folder() == Path("/home/me/.cache/lime_jax")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert cache.cache_folder() == Path("/var/cache/lime_jax")
    monkeypatch.setenv("LIME_JAX_CACHE", "~/weights")
    assert cache.cache_folder() == Path("/home/me/weights")
