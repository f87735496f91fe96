"""The weights of Spleeter: from the published archives or a checkpoint into the networks."""

import http.client
import re
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from flax import nnx

from lime_jax.errors import ModelError
from lime_jax.models import cache, conversion, tf_checkpoint, weights
from lime_jax.separation.unet import CONFIGS, SpleeterConfig, SpleeterNetwork

RELEASE = "https://github.com/deezer/spleeter/releases/download/v1.4.0"
# As listed in the checksum.json of that release.
SHA256 = {
    "2stems": "f3a90b39dd2874269e8b05a48a86745df897b848c61f3958efc80a39152bd692",
    "4stems": "3adb4a50ad4eb18c7c4d65fcf4cf2367a07d48408a5eb7d03cd20067429dfaa8",
    "5stems": "25a1e87eb5f75cc72a4d2d5467a0a50ac75f05611f877c278793742513cc7218",
}

_CHECKPOINT = "model"
_FILES = re.compile(rf"{_CHECKPOINT}\.(index|data-\d{{5}}-of-\d{{5}})")
_MODEL = "network"
_BLOCK = 2**20
_TIMEOUT = 60.0  # seconds without an answer

# Numbers of layers per U-Net in the checkpoint; the last convolution makes the mask, and of the
# normalisations one belongs to the way down whose result is never used.
_NUM_DOWN, _NUM_CONV, _NUM_UP, _NUM_NORMS = 6, 7, 6, 12


def fetch(size: str, *, archive: Path | None = None, cache_folder: Path | None = None) -> Path:
    """Puts the weights of a network into the cache, unless they are there.

    Args:
      size: "2stems", "4stems" or "5stems".
      archive: a copy of the published archive, such as 5stems.tar.gz; None downloads it (73, 146 or
        182 MB).
      cache_folder: None takes `lime_jax.models.cache.cache_folder()`.

    Returns:
      The folder in the cache.

    Raises:
      ModelError: if the archive cannot be had, is not the published one, or the cache not written.
    """
    folder = _collection(size, cache_folder)
    if cache.is_complete(folder):
        return folder
    with tempfile.TemporaryDirectory() as scratch:
        if archive is None:
            archive = Path(scratch) / f"{size}.tar.gz"
            _download(size, archive)
        cache.check_published(
            archive, name=f"{size}.tar.gz", sha256=SHA256[size], option="--archive"
        )
        checkpoint = Path(scratch) / size
        _extract(archive, checkpoint)
        arrays = _read(size, checkpoint)
    origin = f"{RELEASE}/{size}.tar.gz sha256:{SHA256[size]}"
    cache.write(folder, {_MODEL: arrays}, origin=origin)
    return folder


def is_fetched(size: str, *, cache_folder: Path | None = None) -> bool:
    """Returns whether the weights are in the cache."""
    return cache.is_complete(_collection(size, cache_folder))


def load(
    size: str, *, checkpoint: Path | None = None, cache_folder: Path | None = None
) -> SpleeterNetwork:
    """Loads a network with its weights from the cache, or from a checkpoint; never downloads.

    Args:
      size: "2stems", "4stems" or "5stems".
      checkpoint: a folder with a TensorFlow checkpoint, as the original unpacks and trains them.
      cache_folder: None takes `lime_jax.models.cache.cache_folder()`.

    Raises:
      ModelError: if the weights have not been fetched, or the checkpoint is none of this network.
    """
    if checkpoint is not None:
        arrays = _read(size, checkpoint)
        return weights.network_of(_maker(CONFIGS[size]), arrays, source=str(checkpoint))
    folder = _collection(size, cache_folder)
    arrays = cache.read(folder, _MODEL)
    if arrays is None:
        raise ModelError(
            f"the weights of `spleeter:{size}` are not in the cache `{folder}`; run "
            f"`lime-jax models fetch spleeter:{size}`. {_offline(size)}"
        )
    return weights.network_of(_maker(CONFIGS[size]), arrays, source=str(folder))


def layers(num_instruments: int) -> dict[str, str]:
    """Maps layers of ours to scopes of variables, which count on from one U-Net to the next."""
    table = {}
    for i in range(num_instruments):
        for k in range(_NUM_DOWN):
            table[f"unets.{i}.down.{k}"] = _scope("conv2d", _NUM_CONV * i + k)
        table[f"unets.{i}.mask"] = _scope("conv2d", _NUM_CONV * i + _NUM_DOWN)
        for k in range(_NUM_UP):
            table[f"unets.{i}.up.{k}"] = _scope("conv2d_transpose", _NUM_UP * i + k)
        for k in range(_NUM_DOWN - 1):
            table[f"unets.{i}.down_norm.{k}"] = _scope("batch_normalization", _NUM_NORMS * i + k)
        for k in range(_NUM_UP):
            number = _NUM_NORMS * i + _NUM_DOWN + k
            table[f"unets.{i}.up_norm.{k}"] = _scope("batch_normalization", number)
    return table


def _scope(kind: str, number: int) -> str:
    return kind if number == 0 else f"{kind}_{number}"


def _maker(config: SpleeterConfig):
    return lambda: SpleeterNetwork(config, rngs=nnx.Rngs(0))


def _collection(size: str, cache_folder: Path | None) -> Path:
    return (cache_folder or cache.cache_folder()) / f"spleeter-{size}"


def _offline(size: str) -> str:
    return (
        f"Without a network, copy {size}.tar.gz of spleeter's release v1.4.0 here and run "
        f"`lime-jax models fetch spleeter:{size} --archive FILE`."
    )


def _download(size: str, archive: Path) -> None:
    url = f"{RELEASE}/{size}.tar.gz"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as response, archive.open("wb") as file:
            while block := response.read(_BLOCK):
                file.write(block)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise ModelError(f"{url} cannot be downloaded ({reason}). {_offline(size)}") from error


def _extract(archive: Path, folder: Path) -> None:
    """The files of the checkpoint alone, wherever in the archive they lie."""
    folder.mkdir()
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if member.isfile() and _FILES.fullmatch(name):
                    content = tar.extractfile(member)
                    assert content is not None
                    (folder / name).write_bytes(content.read())
    except tarfile.TarError as error:
        raise ModelError(f"`{archive}` is no archive that can be read ({error}).") from error


def _read(size: str, checkpoint: Path) -> dict[str, np.ndarray]:
    if not checkpoint.is_dir():
        raise ModelError(
            f"`{checkpoint}` is not a folder. Name the folder with model.index and its data, such "
            f"as pretrained_models/{size}."
        )
    config = CONFIGS[size]
    unused = {
        _scope("batch_normalization", _NUM_NORMS * i + _NUM_DOWN - 1)
        for i in range(len(config.instruments))
    }
    tensors = tf_checkpoint.read(checkpoint, stem=_newest(checkpoint))
    _check_size(size, tensors, checkpoint)
    used = {name: a for name, a in tensors.items() if name.split("/")[0] not in unused}
    return conversion.from_tensorflow(
        used, layers(len(config.instruments)), _maker(config), source=str(checkpoint)
    )


def _check_size(size: str, tensors: Mapping[str, np.ndarray], checkpoint: Path) -> None:
    """Says it in words where the checkpoint is of another number of instruments."""
    wanted = len(CONFIGS[size].instruments)
    masks = [_scope("conv2d", _NUM_CONV * i + _NUM_DOWN) for i in range(2 * wanted + 8)]
    number = sum(f"{mask}/kernel" in tensors for mask in masks)
    if number not in (0, wanted):
        raise ModelError(
            f"`{checkpoint}` holds the weights of {number} instruments, spleeter:{size} has "
            f"{wanted}. Use the weights of this network."
        )


def _newest(folder: Path) -> str:
    """What the files of the latest checkpoint are called; training writes one after the other."""
    try:
        text = (folder / "checkpoint").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return _CHECKPOINT
    match = re.search(r'^model_checkpoint_path: "(.+)"', text, re.MULTILINE)
    return PurePosixPath(match[1]).name if match else _CHECKPOINT
