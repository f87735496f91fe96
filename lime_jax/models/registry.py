"""The models that come by name: one row each.

A new network is a file with the network and a row here. Its card stands in the row and not beside
the network, since `lime-jax models list` must not import what networks need.
"""

import dataclasses
import functools
from pathlib import Path

from lime_jax.errors import ModelError
from lime_jax.models import tags
from lime_jax.models.base import Tagger, WaveformModel
from lime_jax.models.table import Entry, Table


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """What is known of a model without loading it.

    Attributes:
      name: what `load` takes.
      description: in one line.
      sample_rate: of the waveforms it takes, in Hz.
      patch_seconds: the shortest waveform it takes.
      output_names: one per output.
      licence: of the weights.
      citation: the work to cite.
      source: where the weights come from.
      collection: what `lime-jax models fetch` takes; None if the weights are part of lime_jax.
    """

    name: str
    description: str
    sample_rate: int
    patch_seconds: float
    output_names: tuple[str, ...]
    licence: str
    citation: str
    source: str
    collection: str | None = None


ModelEntry = Entry[ModelCard, WaveformModel]

LISTENERS = ("amaru", "bruno", "clara", "freja", "kavya", "mila", "otis")
"""Whose recommenders are part of lime_jax, in `data/lemons/recommenders`."""


def available() -> tuple[ModelCard, ...]:
    """Returns the cards of all models that `load` knows."""
    return _MODELS.cards()


def names() -> tuple[str, ...]:
    """Returns what `load` and `card` take."""
    return _MODELS.names()


def card(name: str) -> ModelCard:
    """Returns the card of a model.

    Raises:
      ModelError: if there is no such model; names that come close are in the message.
    """
    return _MODELS.entry(name).card


def load(name: str) -> WaveformModel:
    """Loads a model by name, ready to be explained: waveforms in, one probability per output.

    Nothing is downloaded: weights that are not part of lime_jax come from the cache that `fetch`
    (or `lime-jax models fetch`) fills.

    Args:
      name: one of `names()`.

    Raises:
      ModelError: if there is no such model, or its weights have not been fetched.
    """
    return _MODELS.entry(name).load()


def fetch(name: str, *, wheel: Path | None = None) -> Path:
    """Puts the weights of a collection of models into the cache, unless they are there.

    Args:
      name: of the collection ("musicnn"), or of a model in it.
      wheel: a copy of the published wheel, for machines without a package index; None downloads it.

    Returns:
      The folder in the cache.

    Raises:
      ModelError: if there is nothing of that name to fetch, or it cannot be fetched.
    """
    members = (entry for entry in _MODELS.entries if entry.card.collection == name)
    entry = next(members, None) or _MODELS.entry(name)
    if entry.fetch is None:
        raise ModelError(f"`{name}` is part of lime_jax; there is nothing to fetch. Just load it.")
    return entry.fetch(wheel)


def is_fetched(name: str) -> bool:
    """Returns whether `load(name)` finds its weights on this machine.

    Raises:
      ModelError: if there is no such model.
    """
    return _MODELS.entry(name).is_fetched()


def _musicnn(name: str, description: str, output_names: tuple[str, ...]) -> ModelEntry:
    """A network of musicnn's wheel."""
    return ModelEntry(
        ModelCard(
            name=name,
            description=description,
            sample_rate=16_000,
            patch_seconds=2.976,
            output_names=output_names,
            licence="ISC",
            citation="J. Pons and X. Serra, musicnn: Pre-trained convolutional neural networks for "
            "music audio tagging, late-breaking demo, ISMIR 2019",
            source="the wheel musicnn==0.1.0 on PyPI",
            collection="musicnn",
        ),
        functools.partial(_load_musicnn, name, output_names),
        _is_musicnn_fetched,
        _fetch_musicnn,
    )


def _load_musicnn(name: str, output_names: tuple[str, ...]) -> Tagger:
    from lime_jax.models import musicnn, musicnn_weights

    return Tagger(
        musicnn_weights.load(name),
        musicnn.SAMPLE_RATE,
        musicnn.PATCH_NUM_SAMPLES,
        output_names,
        resampler="kaiser-best",
    )


def _fetch_musicnn(wheel: Path | None) -> Path:
    from lime_jax.models import musicnn_weights

    return musicnn_weights.fetch(wheel=wheel)


def _is_musicnn_fetched() -> bool:
    from lime_jax.models import musicnn_weights

    return musicnn_weights.is_fetched()


def _load_instrument_tagger() -> Tagger:
    from lime_jax.models.instrument_tagger import load_instrument_tagger

    return load_instrument_tagger()


def _load_singing_voice() -> Tagger:
    from lime_jax.models.singing_voice import load_singing_voice

    return load_singing_voice()


def _recommender(listener: str) -> ModelEntry:
    """The network of one of LEMONS' listeners."""
    return ModelEntry(
        ModelCard(
            name=f"recommender-{listener}",
            description=f"whether {listener.capitalize()}, a listener of LEMONS, plays a track",
            sample_rate=16_000,
            patch_seconds=0.496,
            output_names=("relevant",),
            licence="CC0-1.0",
            citation="A. B. Melchiorre, V. Haunschmid, M. Schedl and G. Widmer, LEMONS: Listenable "
            "Explanations for Music recOmmeNder Systems, ECIR 2021, for the network; this library "
            "for the weights",
            source="scripts/training/recommender.py",
        ),
        functools.partial(_load_recommender, f"lemons/recommenders/{listener}.npz"),
        _is_packaged,
    )


def _load_recommender(file: str) -> WaveformModel:
    from lime_jax.models import recommender, weights

    return recommender.from_arrays(weights.read_packaged(file), source=file)


def _is_packaged() -> bool:
    return True


_MODELS: Table[ModelCard, WaveformModel] = Table(
    "model",
    (
        _musicnn("mtt-musicnn", "musicnn trained on MagnaTagATune", tags.MAGNATAGATUNE),
        _musicnn(
            "msd-musicnn", "musicnn trained on the Million Song Dataset", tags.MILLION_SONG_DATASET
        ),
        _musicnn("mtt-vgg", "VGG trained on MagnaTagATune", tags.MAGNATAGATUNE),
        _musicnn("msd-vgg", "VGG trained on the Million Song Dataset", tags.MILLION_SONG_DATASET),
        ModelEntry(
            ModelCard(
                name="instrument-tagger",
                description="which instrument families play; small, and part of lime_jax",
                sample_rate=16_000,
                patch_seconds=2.528,
                output_names=("piano", "guitar", "bass", "drums", "strings"),
                licence="CC0-1.0",
                citation="this library",
                source="scripts/training/instrument_tagger.py",
            ),
            _load_instrument_tagger,
            _is_packaged,
        ),
        ModelEntry(
            ModelCard(
                name="singing-voice",
                description="whether someone sings; part of lime_jax",
                sample_rate=22_050,
                patch_seconds=1.675,
                output_names=("singing",),
                licence="CC0-1.0",
                citation="J. Schlüter and T. Grill, Exploring Data Augmentation for Improved "
                "Singing Voice Detection with Neural Networks, ISMIR 2015, and S. Mishra, E. "
                "Benetos, B. L. Sturm and S. Dixon, Reliable Local Explanations for Machine "
                "Listening, IJCNN 2020, for the network; this library for the weights",
                source="scripts/training/singing_voice.py",
            ),
            _load_singing_voice,
            _is_packaged,
        ),
        *map(_recommender, LISTENERS),
    ),
)
