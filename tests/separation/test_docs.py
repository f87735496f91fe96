"""docs/stems.md: its code runs, and the table of audioLIME's factorisations is true."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax import separation
from lime_jax.audio import io
from lime_jax.audio.segment import SegmentedAudio

PAGE = Path(__file__).parents[2] / "docs" / "stems.md"
TEXT = PAGE.read_text(encoding="utf-8")
HALVES, SETUP = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
TABLE = re.findall(
    r"^\| (.+) \| `(.+)` \|$", TEXT.split("<!-- factorisations -->")[1], re.MULTILINE
)
RATE = 8_000
NAMES = ("vocals", "piano", "drums", "bass", "other")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What the page takes for granted: a song, stems in a folder, a separator for each name."""
    rng = np.random.default_rng(0)
    waveforms = (0.1 * rng.standard_normal((5, 10_007))).astype(np.float32)
    stems = separation.Stems(waveforms, NAMES, RATE)
    folder = tmp_path_factory.mktemp("page")
    (folder / "stems").mkdir()
    for name, waveform in zip(NAMES, waveforms, strict=True):
        io.save(folder / "stems" / f"{name}.wav", waveform, RATE)
    spectrogram = jnp.asarray(np.abs(rng.standard_normal((61, 43))).astype(np.float32))
    return folder, {
        "mix": waveforms.sum(axis=0), "rate": RATE, "stems": stems, "spectrogram": spectrogram,
    }  # fmt: skip


@pytest.fixture
def page(places, monkeypatch):
    """The names that the page works with, in the folder with the stems."""
    folder, given = places
    monkeypatch.chdir(folder)

    def apart(*_, **__):
        return lambda waveform, rate: given["stems"]

    monkeypatch.setattr(separation, "load", apart)
    monkeypatch.setattr(separation.Command, "from_line", apart)
    variables = dict(given)
    exec(SETUP, variables)
    return variables


def test_the_table_has_every_factorisation_and_baseline():
    left = " ".join(row[0] for row in TABLE)
    for name in (
        "SpleeterFactorization SpleeterPrecomputedFactorization SourceSeparationBasedFactorization "
        "DataBasedFactorization TimeOnlyFactorization TimeFrequencyTorchFactorization "
        "SoundLIMEFactorization ImageLikeFactorization"
    ).split():
        assert f"`{name}`" in left
    for baseline in ("zero", "min", "max", "mean", "unif", "shuffle"):
        assert f'baseline="{baseline}"' in left
    assert "slic" in left and "fsz" in left


@pytest.mark.parametrize(("name", "line"), TABLE, ids=[row[0] for row in TABLE])
class TestEveryLine:
    def test_all_on_is_the_input_and_none_on_is_finite(self, page, name, line):
        made = eval(line, page)
        components = made.components if isinstance(made, SegmentedAudio) else made
        num_components = components.num_components
        whole, none = (
            np.asarray(lj.recompose(components, jnp.full(num_components, on)))
            for on in (True, False)
        )
        expected = components.sources.sum(axis=0)
        np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-5)
        assert np.isfinite(none).all()

    def test_every_component_can_be_shown(self, page, name, line):
        """None maps to nothing, as the last superpixel and most times of audioLIME did."""
        made = eval(line, page)
        components = made.components if isinstance(made, SegmentedAudio) else made
        none = lj.recompose(components, jnp.zeros(components.num_components, bool))
        for mask in np.eye(components.num_components, dtype=bool):
            assert not np.array_equal(lj.recompose(components, jnp.asarray(mask)), none)


def test_components_have_the_order_and_names_of_audiolime(page):
    audio, stems = page["grid"](page["stems"]), page["stems"]
    (line,) = re.findall(r'\[f"\{extent\.source\}.*?audio\.extents\)\]', TEXT, re.DOTALL)
    names = eval(line, {"audio": audio, "stems": stems})
    assert names[:6] == ["vocals0", "piano0", "drums0", "bass0", "other0", "vocals1"]
    assert len(names) == 25
    # As audioLIME v0.0.3 makes them: id = segment * number of sources + source, zero elsewhere.
    length = 10_007 // 5
    for index, (segment, source) in enumerate(np.ndindex(5, 5)):
        expected = np.zeros(5 * length, np.float32)
        place = slice(segment * length, (segment + 1) * length)
        expected[place] = stems.waveforms[source, place]
        shown = lj.recompose(audio.components, lj.mask_of(jnp.array([index]), 25))
        np.testing.assert_array_equal(np.asarray(shown)[: 5 * length], expected)


def test_empty_selections_are_silent(page):
    for made in (page["grid"](page["stems"]), page["segment"].by_time(page["mix"], RATE, 5)):
        none = jnp.zeros(made.components.num_components, bool)
        assert not np.asarray(lj.recompose(made.components, none)).any()


@pytest.mark.parametrize("baseline", ["minimum", "maximum", "mean", "uniform", "shuffle"])
def test_baselines_stand_where_components_are_off(page, baseline, getkey):
    """As output = spectrogram * mask + baseline * (1 - mask), the baseline drawn once."""
    spectrogram = page["spectrogram"]
    fill = getattr(lj.fills, baseline)
    drawn = baseline in ("uniform", "shuffle")
    filling = fill(spectrogram, key=getkey()) if drawn else fill(spectrogram)
    labels = lj.grid((6, 4), spectrogram.shape)
    components = lj.from_labels(spectrogram, labels, 24, filling)
    mask = jax.random.bernoulli(getkey(), shape=(24,))
    expected = np.where(np.asarray(mask)[np.asarray(labels)], spectrogram, filling)
    np.testing.assert_array_equal(lj.recompose(components, mask), expected)
    values = np.asarray(filling)
    assert values.min() >= 0 and values.max() <= float(spectrogram.max())


def test_the_separator_of_the_page_is_one(page):
    variables = {"np": np, "separation": separation}
    exec(HALVES, variables)
    halves = variables["Halves"]()
    assert isinstance(halves, separation.Separator)
    stems = halves(page["mix"], RATE)
    np.testing.assert_allclose(stems.waveforms.sum(axis=0), page["mix"], atol=1e-6)
