"""The separators that come by name."""

import dataclasses
from pathlib import Path

from lime_jax.errors import ModelError, unknown_name
from lime_jax.separation.base import Separator

FAMILY = "spleeter"
ONE_VS_ALL = "one-vs-all"
_WIDE = "-16kHz"
# To be raised whenever `spleeter.py` would make other stems of the same weights.
_ALGORITHM = 1


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
    licence: str = "MIT"
    citation: str = (
        "R. Hennequin, A. Khlif, F. Voituret, M. Moussallam, Spleeter: a fast and efficient music "
        "source separation tool with pre-trained models, JOSS 2020"
    )


_STEMS = {
    "2stems": ("vocals", "accompaniment"),
    "4stems": ("vocals", "drums", "bass", "other"),
    "5stems": ("vocals", "piano", "drums", "bass", "other"),
}
_CARDS = (
    *(
        SeparatorCard(
            f"{FAMILY}:{size}{ending}",
            stems,
            f"Spleeter, up to {kilohertz} kHz",
            f"lime-jax models fetch {FAMILY}:{size}",
        )
        for ending, kilohertz in (("", 11), (_WIDE, 16))
        for size, stems in _STEMS.items()
    ),
    SeparatorCard(
        ONE_VS_ALL,
        ("piano", "guitar", "bass", "drums", "strings"),
        "small networks for experiments, up to 8 kHz",
        "uv run python -m scripts.training.separator",
        licence="yours",
        citation="this library",
    ),
)


def available() -> tuple[SeparatorCard, ...]:
    """The cards of all separators that `load` knows."""
    return _CARDS


def card(name: str) -> SeparatorCard:
    """The card of a separator.

    Raises:
      ModelError: if there is no such separator; names that come close are in the message.
    """
    cards = {entry.name: entry for entry in _CARDS}
    if name not in cards:
        raise ModelError(unknown_name("separator", name, cards))
    return cards[name]


def load(name: str, *, checkpoint: Path | None = None, crossfade: float = 0.0) -> Separator:
    """A separator by name. Nothing is downloaded: weights come from the cache that `fetch` fills.

    Args:
      name: one of `available()`.
      checkpoint: weights from elsewhere than the cache: a folder with a TensorFlow checkpoint of
        that Spleeter, such as the original's pretrained_models/5stems; for one-vs-all the output of
        scripts/training/separator.py.
      crossfade: of Spleeter, see `lime_jax.separation.Spleeter`.

    Raises:
      ModelError: if there is no such separator, or its weights are not there or damaged.
      ValueError: for an impossible cross-fade.
    """
    from lime_jax.models import weights
    from lime_jax.separation import spleeter, spleeter_weights

    card(name)
    if name == ONE_VS_ALL:
        return _one_vs_all(checkpoint, crossfade)
    spleeter.check_crossfade(crossfade)
    network = spleeter_weights.load(_size(name), checkpoint=checkpoint)
    return spleeter.Spleeter(
        network,
        name,
        f"{_ALGORITHM} {weights.digest(network)} crossfade {crossfade:g} s",
        spleeter.NUM_BINS["16kHz" if name.endswith(_WIDE) else "11kHz"],
        crossfade,
    )


def fetch(name: str, *, archive: Path | None = None) -> Path:
    """Puts the weights of a separator into the cache, unless they are there.

    Args:
      name: one of `available()`.
      archive: a copy of the published archive, for machines without a network; None downloads it.

    Returns:
      The folder in the cache.

    Raises:
      ModelError: if there is no such separator, or its weights cannot be had.
    """
    from lime_jax.separation import spleeter_weights

    if name == ONE_VS_ALL:
        raise ModelError(f"`{name}` has no published weights. Train it with {card(name).weights}.")
    card(name)
    return spleeter_weights.fetch(_size(name), archive=archive)


def is_fetched(name: str) -> bool:
    """Whether `load(name)` finds its weights on this machine."""
    from lime_jax.separation import one_vs_all, spleeter_weights

    if name == ONE_VS_ALL:
        return one_vs_all.is_trained()
    return spleeter_weights.is_fetched(_size(name))


def _one_vs_all(folder: Path | None, crossfade: float) -> Separator:
    from lime_jax.separation import one_vs_all

    if crossfade:
        raise ValueError("`crossfade` goes with Spleeter; one-vs-all hears sounds as a whole.")
    return one_vs_all.load(folder)


def _size(name: str) -> str:
    return name.removeprefix(f"{FAMILY}:").removesuffix(_WIDE)
