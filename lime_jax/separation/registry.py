"""The separators that come by name: one row each.

A new separator is a file and a row here. Its card stands in the row and not beside the networks,
since `lime-jax models list` must not import what they need.
"""

import dataclasses
import functools
from pathlib import Path

from lime_jax.errors import ModelError
from lime_jax.models.table import Entry, Table
from lime_jax.separation.base import Separator


@dataclasses.dataclass(frozen=True)
class SeparatorCard:
    """What is known of a separator without loading it.

    Attributes:
      name: what `load` takes.
      stems: their names, in their order.
      description: in one line.
      weights: how to get them.
      licence: of the weights.
      citation: the work to cite.
    """

    name: str
    stems: tuple[str, ...]
    description: str
    weights: str
    licence: str
    citation: str


SeparatorEntry = Entry[SeparatorCard, Separator]


def available() -> tuple[SeparatorCard, ...]:
    """Returns the cards of all separators that `load` knows."""
    return _SEPARATORS.cards()


def names() -> tuple[str, ...]:
    """Returns what `load`, `card` and `fetch` take."""
    return _SEPARATORS.names()


def card(name: str) -> SeparatorCard:
    """Returns the card of a separator.

    Raises:
      ModelError: if there is no such separator; names that come close are in the message.
    """
    return _SEPARATORS.entry(name).card


def load(name: str, *, checkpoint: Path | None = None, crossfade: float = 0.0) -> Separator:
    """Loads a separator by name.

    Nothing is downloaded: weights come from the cache that `fetch` fills.

    Args:
      name: one of `names()`.
      checkpoint: weights from elsewhere than the cache: a folder with a TensorFlow checkpoint of
        that Spleeter, such as the original's pretrained_models/5stems; for one-vs-all the output of
        scripts/training/separator.py.
      crossfade: of Spleeter, see `lime_jax.separation.Spleeter`.

    Raises:
      ModelError: if there is no such separator, or its weights are not there or damaged.
      ValueError: for an impossible cross-fade.
    """
    return _SEPARATORS.entry(name).load(checkpoint, crossfade)


def fetch(name: str, *, archive: Path | None = None) -> Path:
    """Puts the weights of a separator into the cache, unless they are there.

    Args:
      name: one of `names()`.
      archive: a copy of the published archive, for machines without a network; None downloads it.

    Returns:
      The folder in the cache.

    Raises:
      ModelError: if there is no such separator, or its weights cannot be had.
    """
    entry = _SEPARATORS.entry(name)
    if entry.fetch is None:
        raise ModelError(f"`{name}` has no published weights. Train it with {entry.card.weights}.")
    return entry.fetch(archive)


def is_fetched(name: str) -> bool:
    """Returns whether `load(name)` finds its weights on this machine.

    Raises:
      ModelError: if there is no such separator.
    """
    return _SEPARATORS.entry(name).is_fetched()


def _spleeter(size: str, stems: tuple[str, ...], bandwidth: str) -> SeparatorEntry:
    """One of the published networks of Spleeter, up to "11kHz" or "16kHz"."""
    name = f"spleeter:{size}" if bandwidth == "11kHz" else f"spleeter:{size}-{bandwidth}"
    return SeparatorEntry(
        SeparatorCard(
            name=name,
            stems=stems,
            description=f"Spleeter, up to {bandwidth.removesuffix('kHz')} kHz",
            weights=f"lime-jax models fetch spleeter:{size}",
            licence="MIT",
            citation="R. Hennequin, A. Khlif, F. Voituret, M. Moussallam, Spleeter: a fast and "
            "efficient music source separation tool with pre-trained models, JOSS 2020",
        ),
        functools.partial(_load_spleeter, name, size, bandwidth),
        functools.partial(_is_spleeter_fetched, size),
        functools.partial(_fetch_spleeter, size),
    )


def _load_spleeter(
    name: str, size: str, bandwidth: str, checkpoint: Path | None, crossfade: float
) -> Separator:
    from lime_jax.separation import spleeter, spleeter_weights

    spleeter.check_crossfade(crossfade)
    network = spleeter_weights.load(size, checkpoint=checkpoint)
    return spleeter.as_separator(network, name, bandwidth, crossfade)


def _fetch_spleeter(size: str, archive: Path | None) -> Path:
    from lime_jax.separation import spleeter_weights

    return spleeter_weights.fetch(size, archive=archive)


def _is_spleeter_fetched(size: str) -> bool:
    from lime_jax.separation import spleeter_weights

    return spleeter_weights.is_fetched(size)


def _load_one_vs_all(checkpoint: Path | None, crossfade: float) -> Separator:
    from lime_jax.separation import one_vs_all

    if crossfade:
        raise ValueError(
            f"`crossfade` goes with Spleeter, got {crossfade:g} s for one-vs-all, which separates "
            "a track as a whole. Leave it out."
        )
    return one_vs_all.load(checkpoint)


def _is_one_vs_all_trained() -> bool:
    from lime_jax.separation import one_vs_all

    return one_vs_all.is_trained()


_STEMS = {
    "2stems": ("vocals", "accompaniment"),
    "4stems": ("vocals", "drums", "bass", "other"),
    "5stems": ("vocals", "piano", "drums", "bass", "other"),
}

_SEPARATORS: Table[SeparatorCard, Separator] = Table(
    "separator",
    (
        *(_spleeter(size, stems, "11kHz") for size, stems in _STEMS.items()),
        *(_spleeter(size, stems, "16kHz") for size, stems in _STEMS.items()),
        SeparatorEntry(
            SeparatorCard(
                name="one-vs-all",
                stems=("piano", "guitar", "bass", "drums", "strings"),
                description="small networks for experiments, up to 8 kHz",
                weights="uv run python -m scripts.training.separator",
                licence="yours",
                citation="this library",
            ),
            _load_one_vs_all,
            _is_one_vs_all_trained,
        ),
    ),
)
