"""The models that come by name."""

import dataclasses
from pathlib import Path

from lime_jax.errors import ModelError, unknown_name
from lime_jax.models import tags
from lime_jax.models.base import Tagger

_MUSICNN_CITATION = (
    "J. Pons and X. Serra, musicnn: Pre-trained convolutional neural networks for music audio "
    "tagging, late-breaking demo, ISMIR 2019"
)


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """What is known of a model without loading it.

    Attributes:
      name: what `load` takes.
      description: in one line.
      sample_rate: of the waveforms it hears, in Hz.
      patch_seconds: the shortest waveform it can judge; longer ones are judged patch by patch.
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
    collection: str | None


def _musicnn_card(name: str, description: str, output_names: tuple[str, ...]) -> ModelCard:
    return ModelCard(
        name=name,
        description=description,
        sample_rate=16_000,
        patch_seconds=2.976,
        output_names=output_names,
        licence="ISC",
        citation=_MUSICNN_CITATION,
        source="the wheel musicnn==0.1.0 on PyPI",
        collection="musicnn",
    )


_CARDS = (
    _musicnn_card("mtt-musicnn", "musicnn trained on MagnaTagATune", tags.MAGNATAGATUNE),
    _musicnn_card(
        "msd-musicnn", "musicnn trained on the Million Song Dataset", tags.MILLION_SONG_DATASET
    ),
    _musicnn_card("mtt-vgg", "VGG trained on MagnaTagATune", tags.MAGNATAGATUNE),
    _musicnn_card("msd-vgg", "VGG trained on the Million Song Dataset", tags.MILLION_SONG_DATASET),
    ModelCard(
        name="instrument-tagger",
        description="which instrument families play; small, and part of lime_jax",
        sample_rate=16_000,
        patch_seconds=2.528,
        output_names=("piano", "guitar", "bass", "drums", "strings"),
        licence="CC0-1.0",
        citation="this library",
        source="scripts/training/instrument_tagger.py",
        collection=None,
    ),
    ModelCard(
        name="singing-voice",
        description="whether someone sings; part of lime_jax",
        sample_rate=22_050,
        patch_seconds=1.675,
        output_names=("singing",),
        licence="CC0-1.0",
        citation="J. Schlüter and T. Grill, Exploring Data Augmentation for Improved Singing Voice "
        "Detection with Neural Networks, ISMIR 2015, and S. Mishra, E. Benetos, B. L. Sturm and "
        "S. Dixon, Reliable Local Explanations for Machine Listening, IJCNN 2020, for the network; "
        "this library for the weights",
        source="scripts/training/singing_voice.py",
        collection=None,
    ),
)


def available() -> tuple[ModelCard, ...]:
    """The cards of all models that `load` knows."""
    return _CARDS


def card(name: str) -> ModelCard:
    """The card of a model.

    Raises:
      ModelError: if there is no such model; names that come close are in the message.
    """
    cards = {entry.name: entry for entry in _CARDS}
    if name not in cards:
        raise ModelError(unknown_name("model", name, cards))
    return cards[name]


def load(name: str) -> Tagger:
    """A model by name, ready to be explained: waveforms in, one probability per output.

    Nothing is downloaded: weights that are not part of lime_jax come from the cache that `fetch`
    (or `lime-jax models fetch`) fills.

    Args:
      name: one of `available()`.

    Raises:
      ModelError: if there is no such model, or its weights have not been fetched.
    """
    chosen = card(name)
    if chosen.collection is None:
        return _shipped(name)
    from lime_jax.models import musicnn, musicnn_weights

    network = musicnn_weights.load(name)
    return Tagger(
        network,
        musicnn.SAMPLE_RATE,
        musicnn.PATCH_NUM_SAMPLES,
        chosen.output_names,
        resampler="kaiser-best",
    )


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
    from lime_jax.models import musicnn_weights

    if name != musicnn_weights.COLLECTION and card(name).collection is None:
        raise ModelError(f"`{name}` is part of lime_jax; there is nothing to fetch. Just load it.")
    return musicnn_weights.fetch(wheel=wheel)


def is_fetched(name: str) -> bool:
    """Whether `load(name)` finds its weights on this machine."""
    if card(name).collection is None:
        return True
    from lime_jax.models import musicnn_weights

    return musicnn_weights.is_fetched()


def _shipped(name: str) -> Tagger:
    if name == "singing-voice":
        from lime_jax.models.singing_voice import load_singing_voice

        return load_singing_voice()
    from lime_jax.models.instrument_tagger import load_instrument_tagger

    return load_instrument_tagger()
