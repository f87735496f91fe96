"""Fetching ends in a whole cache or in one clear sentence, and never happens by itself."""

import hashlib
import shutil
import subprocess

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lime_jax import models
from lime_jax.errors import ModelError
from lime_jax.models import conversion, musicnn_weights, weights
from lime_jax.models.crc32c import crc32c
from lime_jax.models.vgg import Vgg, VggConfig

SMALL = VggConfig(num_filters=2, num_outputs=3)


def make_small_vgg(*, rngs):
    return Vgg(SMALL, rngs=rngs)


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LIME_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def network():
    return make_small_vgg(rngs=nnx.Rngs(7))


@pytest.fixture
def wheel(tf, tmp_path, network, monkeypatch):
    """An archive like the published one, with one small network, taken for the published one."""
    arrays = weights.arrays_of(network)
    tensors = {conversion._variable(n, conversion.VGG_LAYERS): a for n, a in arrays.items()}
    tf(crc=crc32c).write(tmp_path / "wheel" / "musicnn" / "MTT_vgg", "", tensors)
    archive = tmp_path / musicnn_weights.WHEEL_NAME
    shutil.make_archive(str(tmp_path / "archive"), "zip", tmp_path / "wheel")
    (tmp_path / "archive.zip").rename(archive)
    source = musicnn_weights._Source("MTT_vgg", make_small_vgg, conversion.VGG_LAYERS)
    monkeypatch.setattr(musicnn_weights, "_SOURCES", {"mtt-vgg": source})
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(musicnn_weights, "WHEEL_SHA256", digest)
    return archive


@pytest.mark.slow
def test_fetched_weights_are_those_of_the_wheel(wheel, cache_folder, network):
    assert not models.is_fetched("mtt-vgg")
    assert models.fetch("musicnn", wheel=wheel) == cache_folder / "musicnn"
    assert models.is_fetched("mtt-vgg")
    patches = jnp.ones((1, 187, 96))
    loaded = musicnn_weights.load("mtt-vgg")
    np.testing.assert_array_equal(loaded(patches), network(patches))


def test_a_damaged_cache_is_fetched_again(wheel, cache_folder):
    models.fetch("mtt-vgg", wheel=wheel)
    (cache_folder / "musicnn" / "mtt-vgg" / "manifest.ocdbt").write_bytes(b"")
    with pytest.raises(ModelError, match="lime-jax models fetch musicnn"):
        musicnn_weights.load("mtt-vgg")
    models.fetch("mtt-vgg", wheel=wheel)
    musicnn_weights.load("mtt-vgg")


def test_loading_never_fetches(cache_folder, monkeypatch):
    monkeypatch.setattr(subprocess, "run", pytest.fail)
    with pytest.raises(
        ModelError, match=r"`msd-musicnn`.*`lime-jax models fetch musicnn`.*--wheel"
    ):
        models.load("msd-musicnn")
    assert not cache_folder.exists()


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b"text", lambda b: b""])
def test_another_wheel_is_refused(wheel, cache_folder, change):
    wheel.write_bytes(change(wheel.read_bytes()))
    with pytest.raises(ModelError, match=r"is not the published .*sha256"):
        models.fetch("musicnn", wheel=wheel)
    assert not cache_folder.exists()


def test_a_wheel_that_is_not_there_is_named(cache_folder, tmp_path):
    for path in (tmp_path / "nowhere.whl", tmp_path):
        with pytest.raises(ModelError, match=rf"`{path}` cannot be read.*--wheel"):
            models.fetch("musicnn", wheel=path)


@pytest.mark.slow
def test_pip_is_quoted_when_it_fails(cache_folder, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(ModelError, match=r"ERROR: No matching distribution.*--wheel FILE"):
        models.fetch("musicnn")
    assert not cache_folder.exists()


def test_pip_may_be_missing(cache_folder, monkeypatch):
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(command, 1, "", "No module named pip\n"),
    )
    with pytest.raises(ModelError, match="No module named pip"):
        models.fetch("musicnn")


def test_a_cache_that_cannot_be_written_is_named(wheel, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LIME_JAX_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot be written.*LIME_JAX_CACHE"):
        models.fetch("musicnn", wheel=wheel)
