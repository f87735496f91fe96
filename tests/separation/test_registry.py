"""The cards tell the truth, and a name gives its separator or one line that says what to do."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lime_jax import separation
from lime_jax.errors import ModelError
from lime_jax.separation import Separator, Spleeter, spleeter, spleeter_weights
from lime_jax.separation.one_vs_all import NAME, OneVsAllConfig
from lime_jax.separation.unet import CONFIGS, SpleeterConfig

NAMES = [name for name in separation.names() if name != "one-vs-all"]
SIZES = ["2stems", "4stems", "5stems"]


@dataclasses.dataclass(frozen=True)
class Network:
    """In place of the published ones."""

    config: SpleeterConfig


@pytest.fixture
def asked(monkeypatch):
    """What weights were asked for; nothing is read."""
    calls = []

    def load(size, *, checkpoint=None):
        calls.append((size, checkpoint))
        return Network(CONFIGS[size])

    monkeypatch.setattr(spleeter_weights, "load", load)
    return calls


def test_names_are_the_promised_ones():
    assert NAMES == [f"spleeter:{size}{wide}" for wide in ("", "-16kHz") for size in SIZES]
    assert separation.names() == (*NAMES, "one-vs-all")
    assert separation.card(NAME).stems == OneVsAllConfig().instruments


@pytest.mark.parametrize("name", NAMES)
def test_cards_are_complete(name):
    card = separation.card(name)
    assert all((card.description, card.licence, card.citation, card.stems))
    assert (
        card.stems
        == CONFIGS[card.weights.removeprefix("lime-jax models fetch spleeter:")].instruments
    )
    assert ("16 kHz" in card.description) == name.endswith("-16kHz")


@pytest.mark.parametrize("name", NAMES)
def test_separators_are_as_their_cards_say(name, asked, tmp_path):
    separator = separation.load(name, checkpoint=tmp_path)
    assert isinstance(separator, Separator) and isinstance(separator, Spleeter)
    assert separator.name == name
    assert separator.network.config.instruments == separation.card(name).stems
    assert separator.num_bins == (1536 if name.endswith("-16kHz") else 1024)
    assert asked == [(name.split(":")[1].removesuffix("-16kHz"), tmp_path)]


def test_versions_change_with_weights_cross_fade_and_algorithm(monkeypatch):
    def version(weight=1.0, **options):
        network = {"kernel": np.full(3, weight, np.float32)}
        monkeypatch.setattr(spleeter_weights, "load", lambda *_, **__: network)
        return separation.load("spleeter:2stems", **options).version

    versions = [version(), version(weight=2.0), version(crossfade=1.0)]
    assert version() == versions[0]
    monkeypatch.setattr(spleeter, "_ALGORITHM", spleeter._ALGORITHM + 1)
    assert len({*versions, version()}) == 4


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("spleeter:5stem", "did you mean 'spleeter:5stems'"),
        ("Spleeter:2Stems", "did you mean 'spleeter:2stems'"),
        ("spleeter:3stems", "did you mean 'spleeter:"),
        ("spleeter", "did you mean 'spleeter:"),
        ("spleeter:5stems-16khz", "did you mean 'spleeter:5stems-16kHz'"),
        ("demucs", "known: spleeter:2stems, "),
        ("", "known: spleeter:2stems, "),
    ],
)
def test_unknown_names_get_a_hint(name, hint):
    for call in (separation.card, separation.load, separation.fetch):
        with pytest.raises(ModelError, match=f"separator '{name}' is unknown; {hint}"):
            call(name)


@pytest.mark.parametrize("crossfade", [-0.1, 6.0, float("nan")])
def test_impossible_cross_fades_are_refused_before_weights_are_read(crossfade, asked):
    with pytest.raises(ValueError, match=r"`crossfade` must lie between 0 and 5\.94 s"):
        separation.load("spleeter:2stems", crossfade=crossfade)
    assert asked == []


@pytest.mark.parametrize("name", NAMES)
def test_without_weights_it_says_what_to_run(name, cache_folder):
    assert not separation.is_fetched(name)
    with pytest.raises(ModelError, match=f"run `{separation.card(name).weights}`"):
        separation.load(name)
    assert not cache_folder.exists()


def test_the_wide_variant_has_the_weights_of_the_other(monkeypatch):
    monkeypatch.setattr(spleeter_weights, "fetch", lambda size, **_: Path(size))
    for name in ("spleeter:4stems", "spleeter:4stems-16kHz"):
        assert separation.fetch(name) == Path("4stems")


def test_there_is_no_separator_of_any_other_kind():
    with pytest.raises(AttributeError, match="'Demucs'"):
        separation.Demucs  # noqa: B018
