"""The page: inert, self-contained, and every sound in it is what it says."""

import base64
import hashlib
import html.parser
import io
import json
import re

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from lime_jax import report
from lime_jax.audio.render import render, render_faded, trim_silence
from lime_jax.report import players as players_of

TAGS = set(
    "html head meta title style body header h1 ul li details summary p b main section h2 h3 span "
    "figure img div button svg path rect input fieldset legend label table caption thead tr th "
    "tbody td pre noscript script".split()
)
ATTRIBUTES = set(
    "lang charset http-equiv content name class aria-labelledby id role src alt aria-label hidden "
    "type viewbox aria-hidden d min max step value checked scope data-track aria-pressed "
    "preserveaspectratio x y width height tabindex".split()
)


class Page(html.parser.HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.styles, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.scripts.append("") if tag == "script" else self.styles.append("")

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        elif self.cdata_elem == "style":
            self.styles[-1] += data
        else:
            self.text += data

    def attributes(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def radios(self):
        return [found for found in self.attributes("input") if found["type"] == "radio"]


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def sounds(page):
    """Every embedded sound, decoded."""
    encoded = json.loads(page.scripts[0])["tracks"]
    return [soundfile.read(io.BytesIO(base64.b64decode(sound))) for sound in encoded]


def test_hostile_names_are_text(page, folder):
    assert {tag for tag, _ in page.tags} <= TAGS
    assert {name for _, attributes in page.tags for name in attributes} <= ATTRIBUTES
    record = report.read(folder)
    shown = [record["title"], *(c["name"] for c in record["components"])]
    for name in shown + [output["name"] for output in record["outputs"]]:
        assert name in page.text


def test_nothing_is_loaded(page):
    sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
    assert len(sources) == 4
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "url(" not in page.styles[0] and "@import" not in page.styles[0]


def test_policy_admits_only_our_script_and_style(page):
    policy = next(a["content"] for a in page.attributes("meta") if "http-equiv" in a)
    script, style = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (page.scripts[1], page.styles[0])
    )
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; "
        "img-src data:; media-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    assert len(page.scripts) == 2 and len(page.styles) == 1
    assert page.attributes("script")[0]["type"] == "application/json"


def test_script_never_parses_html(page):
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|Function\(|fetch\("
    assert not re.search(forbidden, page.scripts[1])


def test_sounds_have_the_length_of_the_song(sounds, song):
    assert sounds
    for sound, sample_rate in sounds:
        assert (sample_rate, len(sound)) == (song.sample_rate, len(song.waveform))
        assert np.sqrt(np.mean(sound**2)) > 1e-3


def test_sounds_are_what_their_labels_say(page, sounds, song, folder):
    record = report.read(folder)
    names = [component["name"] for component in record["components"]]
    players = [players_of.choices(output, names) for output in record["outputs"]]
    chosen = [int(attributes["value"]) for attributes in page.radios]
    wanted = [choice.mask for player in players for choice in player]
    rendered = {mask: np.asarray(render(song, jnp.array(mask))) for mask in wanted}
    for track, mask in zip(chosen, wanted, strict=True):
        likeness = {m: np.corrcoef(sounds[track][0], rendered[m])[0, 1] for m in rendered}
        assert max(likeness, key=likeness.get) == mask
        assert likeness[mask] > 0.9
    assert set(chosen) == set(range(len(sounds)))


def test_each_sound_is_embedded_once(page):
    encoded = json.loads(page.scripts[0])["tracks"]
    assert len(encoded) == len(set(encoded)) == 6  # the song, three stems, two pairs


def test_one_radio_group_and_one_checked_entry_per_player(page):
    groups = {attributes["name"] for attributes in page.radios}
    checked = [attributes["name"] for attributes in page.radios if "checked" in attributes]
    assert sorted(checked) == sorted(groups) and len(groups) == 4


def test_controls_have_names(page):
    for tag in ("button", "img"):
        for attributes in page.attributes(tag):
            assert attributes.get("aria-label") or attributes.get("alt")


def test_warnings_and_silence_are_shown(page):
    assert "Low fidelity" in page.text
    assert "Do not read these weights: the model returned NaN" in page.text
    assert "because no weight is positive" in page.text
    assert "removed many times at random" in page.text


def test_pictures_of_the_page_are_the_files(page, folder):
    names = [output["picture"] for output in report.read(folder)["outputs"]]
    shown = [a["src"].removeprefix("data:image/png;base64,") for a in page.attributes("img")]
    assert [base64.b64decode(picture) for picture in shown] == [
        (folder / name).read_bytes() for name in names
    ]


def test_folder_holds_what_the_record_lists(folder):
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(report.read(folder)["files"])
    assert names == [
        "0-etc-passwd-top-2.wav", "0-etc-passwd-top-highlight.wav", "0-etc-passwd.png",
        "1-script-img-src-x-onerror-alert-1.png", "2-7-7.png", "3-a-onload-alert-1.png",
        "explanation.json", "report.html",
    ]  # fmt: skip


def test_heard_explanation(folder, song):
    for name, components in (("top-highlight", [0]), ("top-2", [0, 2])):
        sound, sample_rate = soundfile.read(folder / f"0-etc-passwd-{name}.wav")
        expected = trim_silence(
            render_faded(song, np.isin(np.arange(3), components)), song.sample_rate
        )
        assert sample_rate == song.sample_rate
        np.testing.assert_allclose(sound, expected, atol=2**-15)


@pytest.mark.slow
def test_no_positive_component_means_no_sound(explain, song, tmp_path):
    page = report.write(tmp_path / "x", explain([[-0.3, -0.2, 0.0]]), song, output_names=["rock"])
    record = report.read(tmp_path / "x")
    assert record["sounds"] == {"top_highlight": None, "top_k": None}
    assert not list(tmp_path.rglob("*.wav"))
    assert "no weight is positive" in Page(page.read_text(encoding="utf-8")).text


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        ([2, 0], {"Original": "111", "Top 2 together": "101", "Without top 2": "010"}),
        ([2], {"Original": "111", "Without c": "110"}),
        ([], {"Original": "111"}),
    ],
)
def test_listeners_can_compare(top, expected):
    output = {"top_components": top, "coefficients": [0.1, -0.2, 0.5]}
    offered = players_of.choices(output, ["a", "b", "c"])
    masks = {choice.label: "".join(str(int(on)) for on in choice.mask) for choice in offered}
    assert masks == {**expected, "c": "001", "b": "010", "a": "100"}
    assert [choice.component for choice in offered[-3:]] == [2, 1, 0]


def test_the_page_has_room_for_a_fixed_amount_of_sound():
    players = [
        [
            players_of.Choice("", tuple(i == j for i in range(50)), j)
            for j in range(start, start + 30)
        ]
        for start in (0, 20)
    ]
    short = players_of.masks_that_fit(players, 1000)
    assert len(short) == players_of.MAX_TRACKS
    assert short[:2] == [players[0][0].mask, players[1][0].mask]
    assert len(players_of.masks_that_fit(players, players_of.MAX_SAMPLES // 3)) == 3
    assert len(players_of.masks_that_fit(players, players_of.MAX_SAMPLES * 9)) == 2


def test_rates_without_mp3_are_embedded_losslessly():
    sound = np.sin(np.arange(2000) / 9).astype(np.float32)
    (encoded,) = players_of.encode([sound], 10_000)
    decoded, sample_rate = soundfile.read(io.BytesIO(base64.b64decode(encoded)))
    assert sample_rate == 10_000
    np.testing.assert_allclose(decoded, sound, atol=2**-14)


def test_loud_parts_are_scaled_together(stems):
    from lime_jax.audio.segment import by_stems

    loud = by_stems(8 * stems, ("a", "b", "c"), 16_000)
    whole, part = players_of.render(loud, [(True, True, True), (True, False, False)])
    assert np.abs(whole).max() <= 1 and np.abs(part).max() <= 1
    ratio = np.abs(part).max() / np.abs(whole).max()
    assert ratio == pytest.approx(
        np.abs(stems[0]).max() / np.abs(stems.sum(axis=0)).max(), rel=1e-4
    )
