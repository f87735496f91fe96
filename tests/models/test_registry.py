"""Cards describe the models, and reading them loads nothing."""

import importlib.resources
import json
import subprocess
import sys

import pytest

from lime_jax import models
from lime_jax.errors import ModelError
from lime_jax.models import musicnn, tags
from lime_jax.models.base import WaveformModel

FETCHED = ("mtt-musicnn", "msd-musicnn", "mtt-vgg", "msd-vgg")
LISTENERS = ("amaru", "bruno", "clara", "freja", "kavya", "mila", "otis")
SHIPPED = ("instrument-tagger", "singing-voice", *(f"recommender-{name}" for name in LISTENERS))
NAMES = (*FETCHED, *SHIPPED)


def test_names_are_the_promised_ones():
    assert models.names() == NAMES == tuple(card.name for card in models.available())


def test_every_shipped_recommender_has_a_name():
    folder = importlib.resources.files("lime_jax") / "data" / "lemons" / "recommenders"
    files = {file.name for file in folder.iterdir() if file.name.endswith(".npz")}
    assert files == {f"{listener}.npz" for listener in LISTENERS}


@pytest.mark.parametrize("name", NAMES)
def test_cards_are_complete(name):
    card = models.card(name)
    assert len(card.output_names) == len(set(card.output_names)) > 0
    assert all((card.description, card.licence, card.citation, card.source))
    assert card.patch_seconds > 0


@pytest.mark.parametrize("name", FETCHED)
def test_musicnn_cards_know_the_patch(name):
    card = models.card(name)
    num_samples = round(card.patch_seconds * card.sample_rate)
    assert (num_samples, card.sample_rate) == (musicnn.PATCH_NUM_SAMPLES, musicnn.SAMPLE_RATE)
    assert card.collection == "musicnn"


def check_card(name):
    card, model = models.card(name), models.load(name)
    assert isinstance(model, WaveformModel)
    assert model.output_names == card.output_names
    assert model.sample_rate == card.sample_rate
    assert model.patch_num_samples == round(card.patch_seconds * card.sample_rate)


@pytest.mark.parametrize("name", ["instrument-tagger", "singing-voice", "recommender-freja"])
def test_shipped_models_are_what_their_cards_say(name):
    check_card(name)


@pytest.mark.network
@pytest.mark.parametrize("name", FETCHED)
def test_fetched_models_are_what_their_cards_say(name, musicnn_cache, monkeypatch):
    monkeypatch.setenv("LIME_JAX_CACHE", str(musicnn_cache))
    check_card(name)


def test_tags_are_in_the_order_of_the_original(reference):
    labels = json.loads((reference / "musicnn" / "musicnn_labels.json").read_text())
    assert list(tags.MAGNATAGATUNE) == labels["MTT"]
    assert list(tags.MILLION_SONG_DATASET) == labels["MSD"]


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("msd-musicn", "'msd-musicnn'"),
        ("instrument", "'instrument-tagger'"),
        ("singing_voice", "'singing-voice'"),
    ],
)
def test_unknown_names_get_a_hint(name, close):
    for use in (models.load, models.card, models.fetch, models.is_fetched):
        with pytest.raises(ModelError, match=rf"'{name}' is unknown; did you mean .*{close}"):
            use(name)


@pytest.mark.parametrize("name", SHIPPED)
def test_there_is_nothing_to_fetch_of_shipped_models(name):
    assert models.is_fetched(name)
    with pytest.raises(ModelError, match="nothing to fetch"):
        models.fetch(name)


@pytest.mark.slow
def test_reading_cards_imports_no_heavy_library():
    code = (
        "import sys, lime_jax.models as models; models.available(); models.card('msd-vgg');"
        "sys.exit(bool({'flax', 'orbax'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
