"""Training with early stopping, and trained weights kept on disk."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np

from lime_jax.models import cache

State = TypeVar("State")
_NETWORK = "network"


def best_of(epochs: Iterable[tuple[float, State]], patience: int) -> State:
    """Returns what training had reached when its validation loss was lowest.

    Args:
      epochs: validation loss and state after every epoch; those that are not needed are not run.
      patience: so many epochs without a lower loss end the training.

    Raises:
      ValueError: without an epoch, or if no loss is a number.
    """
    best: tuple[float, State] | None = None
    since = 0
    for loss, state in epochs:
        since += 1
        if np.isfinite(loss) and (best is None or loss < best[0]):
            best, since = (loss, state), 0
        if since >= patience:
            break
    if best is None:
        raise ValueError("`epochs` must reach a finite validation loss. Lower the learning rate.")
    return best[1]


def keep(folder: Path, arrays: dict[str, np.ndarray], *, origin: str) -> None:
    """Stores weights with checksums; `folder` appears whole."""
    cache.write(folder, {_NETWORK: arrays}, origin=origin)


def kept(folder: Path) -> dict[str, np.ndarray] | None:
    """Returns what `keep` stored, or None if it is not there or damaged."""
    return cache.read(folder, _NETWORK)
