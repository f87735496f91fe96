import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lime_jax.errors import AudioError, LimeJaxError, StoreError
from lime_jax.lemons import library, listeners, relevance
from lime_jax.lemons.library import load_catalogue, load_library
from lime_jax.lemons.listeners import load_personas, plays_of

SOURCES = ["vocals", "piano", "drums", "bass", "other"]
RATE = 8000


def entry(name, **changed):
    track = {
        "id": name,
        "title": "Rain & 'Über' Rain",
        "artist": "Maggie & the Motors",
        "album": "No More Rain",
        "style": "Rock",
        "tempo": 120.5,
        "duration": 1.0,
        "sources": ["piano", "bass"],
        "levels_db": {"piano": -3.0, "bass": -3.0},
        "split": "test",
    }
    return {**track, **changed}


def index(*tracks, **changed):
    head = {"name": "Mine", "sample_rate": RATE, "sources": SOURCES, "licence": "CC0-1.0"}
    return {**head, "tracks": list(tracks), **changed}


def write_index(folder, content):
    (folder / "library.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    """Two tracks with audio and one without."""
    rng = np.random.default_rng(0)
    for name in ("tr-1", "tr-2"):
        (tmp_path / "audio" / name).mkdir(parents=True)
        for source in ("piano", "bass"):
            path = tmp_path / "audio" / name / f"{source}.ogg"
            soundfile.write(path, rng.normal(0, 0.1, RATE), RATE)
    write_index(tmp_path, index(entry("tr-1"), entry("tr-2"), entry("tr-3", audio=False)))
    who = {"name": "Otis", "taste": "Bass.", "loves": ["bass"], "rule": "Bass."}
    people = [{"id": "otis", **who}, {"id": "mila", **who, "loves": []}]
    (tmp_path / "personas.json").write_text(json.dumps(people), encoding="utf-8")
    lines = "otis\ttr-3\t2\notis\ttr-1\t2\notis\ttr-2\t7\nmila\ttr-1\t1\n"
    (tmp_path / "plays.tsv").write_text(lines, encoding="utf-8")
    return tmp_path


class TestTracks:
    def test_a_library_holds_the_tracks_with_audio(self, folder):
        library = load_library(folder)
        assert (library.name, library.sample_rate, library.sources) == (
            "Mine",
            RATE,
            tuple(SOURCES),
        )
        assert list(library.tracks) == ["tr-1", "tr-2"]
        assert list(load_catalogue(folder)) == ["tr-1", "tr-2", "tr-3"]

    def test_tracks_are_those_of_the_index(self, folder):
        track = load_library(folder).tracks["tr-1"]
        fields = {k: v for k, v in entry("tr-1").items() if k != "levels_db"}
        assert dataclasses.asdict(track) == {**fields, "sources": ("piano", "bass")}

    def test_a_catalogue_is_read_only(self, folder):
        with pytest.raises(TypeError):
            load_catalogue(folder)["tr-9"] = None


class TestStems:
    def test_sources_that_do_not_play_are_silent(self, folder):
        stems = load_library(folder).stems("tr-2")
        assert stems.names == tuple(SOURCES) and stems.sample_rate == RATE
        assert stems.waveforms.shape == (5, RATE) and stems.waveforms.dtype == np.float32
        assert not stems.waveforms[[0, 2, 4]].any()
        for row, source in ((1, "piano"), (3, "bass")):
            path = folder / "audio" / "tr-2" / f"{source}.ogg"
            expected, _ = soundfile.read(path, dtype="float32")
            np.testing.assert_array_equal(stems.waveforms[row], expected)

    def test_flac_is_read_too(self, folder):
        path = folder / "audio" / "tr-1" / "piano.ogg"
        sound, _ = soundfile.read(path)
        path.unlink()
        soundfile.write(path.with_suffix(".flac"), sound, RATE)
        assert load_library(folder).stems("tr-1").waveforms[1].any()

    def test_digests_are_those_of_the_files(self, folder):
        library = load_library(folder)
        expected = hashlib.sha256(f"{' '.join(SOURCES)}\n{RATE} {RATE}\n".encode())
        for source in ("piano", "bass"):
            content = (folder / "audio" / "tr-1" / f"{source}.ogg").read_bytes()
            expected.update(f"{source}\n".encode() + hashlib.sha256(content).digest())
        assert library.digest("tr-1") == expected.hexdigest() != library.digest("tr-2")

    @pytest.mark.parametrize(
        ("track", "head"),
        [({"duration": 0.999}, {}), ({}, {"sources": SOURCES[::-1]}), ({}, {"sample_rate": 4000})],
    )
    def test_digests_change_with_what_the_index_says(self, folder, track, head):
        before = load_library(folder).digest("tr-1")
        write_index(folder, index(entry("tr-1", **track), **head))
        assert load_library(folder).digest("tr-1") != before

    @pytest.mark.parametrize("method", ["stems", "digest"])
    def test_missing_files_are_named(self, folder, method):
        (folder / "audio" / "tr-1" / "bass.ogg").unlink()
        with pytest.raises(AudioError, match=r"tr-1/bass\.ogg` does not exist\. Write the library"):
            getattr(load_library(folder), method)("tr-1")

    def test_damaged_files_are_named(self, folder):
        (folder / "audio" / "tr-1" / "bass.ogg").write_bytes(b"OggS nonsense")
        with pytest.raises(AudioError, match=r"bass\.ogg"):
            load_library(folder).stems("tr-1")

    def test_lengths_must_be_those_of_the_index(self, folder):
        write_index(folder, index(entry("tr-1", duration=2.0)))
        with pytest.raises(AudioError, match=r"lasts 1\.00 s where .* says 2\.00 s"):
            load_library(folder).stems("tr-1")

    @pytest.mark.parametrize("name", ["tr-3", "tr-9", "../tr-1", "", "tr-1/../tr-2", "\0"])
    @pytest.mark.parametrize("method", ["stems", "digest"])
    def test_only_names_of_the_index_become_paths(self, folder, method, name):
        with pytest.raises(StoreError, match="is unknown"):
            getattr(load_library(folder), method)(name)

    def test_links_out_of_the_library_are_refused(self, folder, tmp_path_factory):
        secret = tmp_path_factory.mktemp("elsewhere") / "secret.ogg"
        path = folder / "audio" / "tr-1" / "bass.ogg"
        path.rename(secret)
        path.symlink_to(secret)
        for method in ("stems", "digest"):
            with pytest.raises(AudioError, match="leads out of"):
                getattr(load_library(folder), method)("tr-1")

    def test_the_library_itself_may_be_a_link(self, folder, tmp_path_factory):
        link = tmp_path_factory.mktemp("elsewhere") / "link"
        link.symlink_to(folder)
        assert load_library(link).stems("tr-1").waveforms.any()


HOSTILE = {
    "no list": [],
    "no tracks": {"name": "Mine", "sample_rate": RATE, "sources": SOURCES},
    "a track that is none": index("tr-1"),
    "no audio": index(entry("tr-1", audio=False)),
    "twice": index(entry("tr-1"), entry("tr-1")),
    "upward id": index(entry("../../etc")),
    "long id": index(entry("a" * 65)),
    "id of a newline": index(entry("tr-1\n")),
    "id of capitals": index(entry("TR-1")),
    "id of another script": index(entry("tr-１")),
    "number as an id": index(entry(1)),
    "no title": index({k: v for k, v in entry("tr-1").items() if k != "title"}),
    "empty title": index(entry("tr-1", title="")),
    "long title": index(entry("tr-1", title="a" * 501)),
    "control code in a title": index(entry("tr-1", title="a\x1b[2J")),
    "half a character in a title": index(entry("tr-1", title="\ud800")),
    "no duration": index(entry("tr-1", duration=None)),
    "negative duration": index(entry("tr-1", duration=-1.0)),
    "endless duration": index(entry("tr-1", duration=1e9)),
    "true tempo": index(entry("tr-1", tempo=True)),
    "huge tempo": index(entry("tr-1", tempo=10**400)),
    "unknown source": index(entry("tr-1", sources=["piano", "harp"])),
    "list as a source": index(entry("tr-1", sources=[["piano"]])),
    "no source": index(entry("tr-1", sources=[])),
    "upward source": index(entry("tr-1"), sources=["../piano"]),
    "sources twice": index(entry("tr-1"), sources=["piano", "piano"]),
    "many sources": index(entry("tr-1"), sources=[f"s{n}" for n in range(33)]),
    "no rate": index(entry("tr-1"), sample_rate=None),
    "huge rate": index(entry("tr-1"), sample_rate=10**9),
    "no name": index(entry("tr-1"), name=None),
}


class TestIndexes:
    @pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
    def test_unusable_indexes_are_errors_of_one_line(self, folder, content):
        write_index(folder, content)
        with pytest.raises(StoreError, match=r"library\.json`.*render_library\.py") as raised:
            load_library(folder)
        assert "\n" not in str(raised.value) and len(str(raised.value)) < 500

    @pytest.mark.parametrize(
        "text", ["", "{", "[" * 100_000, '{"tracks": [NaN]}', "\udcff", "9" * 5000]
    )
    def test_an_index_that_is_not_json_is_an_error(self, folder, text):
        path = folder / "library.json"
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(StoreError, match=r"library\.json` cannot be used"):
            load_library(folder)

    def test_huge_indexes_are_not_read(self, folder, monkeypatch):
        monkeypatch.setattr(library, "_MOST_BYTES", 10)
        with pytest.raises(StoreError, match="larger than 10 bytes"):
            load_catalogue(folder)

    def test_a_missing_index_is_an_error_that_says_what_to_do(self, tmp_path):
        for load in (load_library, load_catalogue):
            with pytest.raises(LimeJaxError, match=r"does not exist\. Name the folder"):
                load(tmp_path / "nowhere")

    def test_a_folder_in_place_of_the_index_is_an_error(self, tmp_path):
        (tmp_path / "library.json").mkdir()
        with pytest.raises(StoreError, match="cannot be read"):
            load_library(tmp_path)


class TestPersonas:
    def test_listeners_are_those_of_the_file(self, folder):
        otis, mila = load_personas(folder)
        assert otis == listeners.Persona("otis", "Otis", "Bass.", ("bass",), "Bass.")
        assert mila.loves == ()

    def test_plays_are_sorted_by_count_then_track(self, folder):
        assert plays_of(folder, "otis") == (("tr-2", 7), ("tr-1", 2), ("tr-3", 2))
        assert plays_of(folder, "mila") == (("tr-1", 1),)

    def test_unknown_listeners_are_errors(self, folder):
        with pytest.raises(StoreError, match="'ottis' is unknown; did you mean 'otis'"):
            plays_of(folder, "ottis")

    @pytest.mark.parametrize(
        "line",
        ["otis\ttr-1", "otis\ttr-1\t0", "otis\ttr-1\t-1", "otis\ttr-1\t1.5", "otis\ttr-1\t1\t1",
         "otis\t../x\t1", "Otis\ttr-1\t1", "otis\ttr-1\t٣", "otis\ttr-1\t99999999999", ""],
    )  # fmt: skip
    def test_unusable_lines_of_plays_are_errors_with_their_number(self, folder, line):
        (folder / "plays.tsv").write_text(f"otis\ttr-1\t2\n{line}\n", encoding="utf-8")
        with pytest.raises(StoreError, match=r"plays\.tsv`, line 2"):
            plays_of(folder, "otis")

    @pytest.mark.parametrize("content", [b"\xff", None])
    def test_plays_must_be_readable(self, folder, content):
        path = folder / "plays.tsv"
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(StoreError, match=r"plays\.tsv`"):
            plays_of(folder, "otis")

    @pytest.mark.parametrize(
        "change",
        [{"id": "../otis"}, {"name": None}, {"taste": ""}, {"rule": 3}, {"loves": "bass"},
         {"loves": ["../bass"]}, {"name": "\x1b"}],
    )  # fmt: skip
    def test_unusable_listeners_are_errors(self, folder, change):
        path = folder / "personas.json"
        people = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps([people[0], people[1] | change]), encoding="utf-8")
        with pytest.raises(StoreError, match="listener 2 lacks"):
            load_personas(folder)

    @pytest.mark.parametrize("content", ["[]", "{}", "[3]", "null"])
    def test_a_file_without_listeners_is_an_error(self, folder, content):
        (folder / "personas.json").write_text(content, encoding="utf-8")
        with pytest.raises(StoreError, match=r"personas\.json`"):
            load_personas(folder)

    def test_a_listener_listed_twice_is_an_error(self, folder):
        path = folder / "personas.json"
        people = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps([people[0]] * 2), encoding="utf-8")
        with pytest.raises(StoreError, match="twice"):
            load_personas(folder)


DAMAGED = [
    b"",
    b"[" * 100_000,
    b"\xff",
    b"[1]",
    b"{}",
    b'{"algorithm": 1}',
    b'{"algorithm": 1, "relevance": 1}',
    b'{"algorithm": 1, "relevance": {"w": 1}}',
    b'{"algorithm": 1, "relevance": {"w": {"t": NaN}}}',
    b'{"algorithm": 1, "relevance": {"w": {"t": 1.5}}}',
    b'{"algorithm": 1, "relevance": {"w": {"t": true}}}',
    b'{"algorithm": 1, "relevance": {"w": {"t": "0.5"}}}',
]


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_precomputed_relevance_is_ignored(tmp_path, content):
    (tmp_path / relevance.PRECOMPUTED).write_bytes(content)
    assert relevance.read_precomputed(tmp_path, "w") == {}


@pytest.fixture
def home():
    """The library that the package ships."""
    return Path(library.__file__).parents[1] / "data" / "lemons"


class TestSampler:
    def test_every_style_can_be_heard(self, home):
        tracks, catalogue = load_library(home).tracks, load_catalogue(home)
        assert len(catalogue) == 800 and len(tracks) == 28
        assert {track.style for track in tracks.values()} == {t.style for t in catalogue.values()}
        assert {track.split for track in tracks.values()} == {"test"}

    def test_audio_takes_five_megabytes_at_most(self, home):
        assert sum(path.stat().st_size for path in home.rglob("*.ogg")) < 5e6

    def test_sounds_have_the_length_of_the_index(self, home):
        sampler = load_library(home)
        stems = sampler.stems(next(iter(sampler.tracks)))
        assert stems.waveforms.shape == (5, 256_000)
        assert np.abs(stems.waveforms).sum(axis=0).max() <= 1.0

    def test_listeners_play_tracks_of_the_catalogue(self, home):
        catalogue = load_catalogue(home)
        for persona in load_personas(home):
            plays = plays_of(home, persona.id)
            assert 200 < len(plays) < 400 and {track for track, _ in plays} <= set(catalogue)
