"""Weights of networks as arrays by name, saved with Orbax and checked against the network."""

import hashlib
import importlib.resources
import threading
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lime_jax.errors import ModelError

Arrays = Mapping[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]
Network = TypeVar("Network", bound=nnx.Module)

_NUM_LISTED = 20
# NumPy parses headers with `ast`, which in Python 3.11 fails if two threads do it at once.
_READING = threading.Lock()
_UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)


def save(folder: Path, arrays: Arrays) -> None:
    """Writes arrays as an Orbax checkpoint; `folder` must not exist yet."""
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.absolute(), dict(arrays))


def restore(folder: Path) -> dict[str, np.ndarray]:
    """Reads what `save` wrote."""
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(folder.absolute())


def read_archive(path: Path, *, advice: str) -> dict[str, np.ndarray]:
    """Reads a NumPy archive.

    Args:
      path: of an .npz file.
      advice: the sentence that ends the message.

    Raises:
      ModelError: if the file is none, is damaged, or holds objects.
    """
    try:
        # Unlike `np.load`, this reads nothing but archives.
        with _READING, path.open("rb") as file:
            with np.lib.npyio.NpzFile(file, allow_pickle=False) as arrays:
                return {name: np.asarray(arrays[name]) for name in arrays.files}
    except _UNREADABLE as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise ModelError(f"`{path}` cannot be read ({reason}). {advice}") from error


def read_packaged(name: str) -> dict[str, np.ndarray]:
    """Reads an archive of weights that is part of lime_jax; `name` is its path in `data`.

    Raises:
      ModelError: if the installation is damaged.
    """
    packaged = importlib.resources.files("lime_jax").joinpath("data", name)
    with importlib.resources.as_file(packaged) as path:
        return read_archive(path, advice="Install lime_jax again.")


def arrays_of(network: nnx.Module) -> dict[str, np.ndarray]:
    """Returns weights and statistics of a network by path, such as `blocks.0.conv.kernel`."""
    state = nnx.state(network, nnx.Any(nnx.Param, nnx.BatchStat))
    return {_name(path): np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(state)}


def shapes_of(make: Callable[[], nnx.Module]) -> Shapes:
    """Returns the shapes of `arrays_of` the network that `make` builds; computes no weights."""
    return _shapes(nnx.eval_shape(make))


def network_of(make: Callable[[], Network], arrays: Arrays, *, source: str) -> Network:
    """Builds a network with `arrays` in place of its initial weights.

    Args:
      make: builds the network; its initial weights are never computed.
      arrays: as from `arrays_of`.
      source: where they come from, for the message.

    Raises:
      ModelError: if names or shapes differ; it lists them, twenty at most.
    """
    abstract = nnx.eval_shape(make)
    check_shapes(_shapes(abstract), {name: a.shape for name, a in arrays.items()}, source=source)
    graph, state = nnx.split(abstract)
    filled = [
        (path, leaf.replace(jnp.asarray(arrays[_name(path)], leaf.dtype)))
        for path, leaf in nnx.to_flat_state(state)
    ]
    return nnx.merge(graph, nnx.from_flat_state(filled))


def check_shapes(expected: Shapes, given: Shapes, *, source: str) -> None:
    """Compares two sets of named shapes.

    Raises:
      ModelError: if they differ; it lists the differences, twenty at most.
    """
    missing = [f"missing `{name}` {expected[name]}" for name in expected.keys() - given.keys()]
    surplus = [f"unexpected `{name}` {given[name]}" for name in given.keys() - expected.keys()]
    reshaped = [
        f"`{name}` has shape {given[name]} instead of {expected[name]}"
        for name in expected.keys() & given.keys()
        if given[name] != expected[name]
    ]
    if problems := [*sorted(missing), *sorted(surplus), *sorted(reshaped)]:
        more = f" and {len(problems) - _NUM_LISTED} more" if len(problems) > _NUM_LISTED else ""
        listed = "; ".join(problems[:_NUM_LISTED])
        raise ModelError(
            f"the weights in `{source}` do not fit the network: {listed}{more}. Use the "
            "weights of this network, or the configuration they were trained with."
        )


def digest(model: Any) -> str | None:
    """Returns the SHA-256 of all arrays in a model; None if it has none, as a plain function."""
    leaves = [leaf for leaf in jax.tree.leaves(model) if isinstance(leaf, (jax.Array, np.ndarray))]
    if not leaves:
        return None
    total = hashlib.sha256()
    for leaf in leaves:
        array = np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
        total.update(f"{array.dtype} {array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _shapes(network: nnx.Module) -> Shapes:
    return {_name(path): leaf.shape for path, leaf in nnx.to_flat_state(nnx.state(network))}


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
