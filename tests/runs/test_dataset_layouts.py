"""Layouts: every data set, as it was published, gives its items, stems, splits and labels."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lime_jax.errors import StoreError
from lime_jax.runs import dataset_layouts, manifest
from lime_jax.runs.items import Item
from lime_jax.runs.reader import AudioRequirements, Failure, load
from lime_jax.separation import musdb_mp4

RATE = 16_000
REQUIREMENTS = AudioRequirements(
    sample_rate=RATE,
    shortest=100,
    with_stems=True,
    snippet=None,
    hop=0,
    resampler="soxr",
    max_channels=2,
)
# Tones of their own frequency and level, so that the spectrum tells a stem from all others.
LEVELS = {200: 0.1, 400: 0.2, 800: 0.05, 1600: 0.15}

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="the package musdb cannot be imported without ffmpeg"
)


def tone(*frequencies, seconds=1.0):
    time = np.arange(round(seconds * RATE)) / RATE
    # 0 Hz is silence.
    return sum(LEVELS.get(hz, 0.0) * np.sin(2 * np.pi * hz * time) for hz in frequencies)


def write(path, *frequencies, num_channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.tile(tone(*frequencies)[:, None], num_channels), RATE)


def write_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_files(root):
    for name in ("a.wav", "deep/b.flac", "deep/er/c.OGG", ".d.wav", ".trash/e.wav"):
        write(root / name, 200)
    write_text(root / "notes.txt", "no sound")


def write_stems(root):
    for song in ("one", "train/two"):
        write(root / song / "Drums.wav", 200)
        write(root / song / "bass.wav", 400)
    write(root / "one" / "mix.wav", 200, 400)
    write(root / "train" / "two" / "Mixture.flac", 200, 400)
    write(root / "test" / "three" / "voice.aiff", 800)
    write_text(root / "test" / "three" / "licence.txt", "free")


SLAKH = """UUID: 1a81ae092884234f3264e2f45927f00a
audio_dir: stems
normalized: true
overall_gain: 0.18270259567062658
stems:
  S00: {audio_rendered: true, inst_class: Guitar, is_drum: false, plugin_name: elektrik.nkm}
  S01: {audio_rendered: true, inst_class: Drums, is_drum: true, plugin_name: funk.nkm}
  S02: {audio_rendered: true, inst_class: Guitar, is_drum: false, plugin_name: acoustic.nkm}
  S03: {audio_rendered: false, inst_class: Piano, is_drum: false, plugin_name: None}
  S10: {audio_rendered: true, inst_class: Strings (continued), is_drum: false}
"""


def write_slakh(root):
    for track, suffix in {"train/Track00001": "flac", "test/Track01876": "wav"}.items():
        write(root / track / f"mix.{suffix}", *LEVELS)
        for number, hz in {"S00": 200, "S01": 400, "S02": 800, "S10": 1600}.items():
            write(root / track / "stems" / f"{number}.{suffix}", hz)
        write_text(root / track / "metadata.yaml", SLAKH)
        write_text(root / track / "MIDI" / "S00.mid", "MThd")


def write_jamendo(root):
    """The splits as folders, and labels of two of three files."""
    for name in ("train/01 - A.ogg", "train/no labels.ogg", "test/02 - B.mp3"):
        write(root / "audio" / name, 200)
    write_text(root / "labels" / "01 - A.lab", "0.000 0.300 nosing\n0.300 0.75 sing\n\n")
    write_text(root / "labels" / "02 - B.lab", "0\t0.5\tsing along \n")


def write_jamendo_lists(root):
    """The splits as lists of names."""
    for name in ("01 - A.ogg", "02 - B.wav", "03 - C.ogg"):
        write(root / "audio" / name, 200)
    write_text(root / "filelists" / "train", "01 - A.ogg\n")
    write_text(root / "filelists" / "test.txt", "\n02 - B.wav \nmissing.ogg\n")
    write_text(root / "labels" / "01 - A.lab", "0.25 0.5 sing\n")


def write_ccmixter(root):
    for song, suffix in {"The Mix": "wav", "other": "flac"}.items():
        write(root / song / f"mix.{suffix}", 200, 400)
        write(root / song / f"source-01.{suffix}", 200)
        write(root / song / f"source-02.{suffix}", 400)
        write(root / song / f"source-03.{suffix}", 800)
    (root / "empty").mkdir()


MUSDB = {"drums": 200, "bass": 400, "other": 800, "vocals": 1600}


def write_musdb(root):
    for track in ("train/A - B", "test/C - D (Live)"):
        write(root / track / "mixture.wav", *LEVELS, num_channels=2)
        for name, hz in MUSDB.items():
            write(root / track / f"{name}.wav", hz, num_channels=2)


def write_musdb_mp4(root):
    for track in ("train/A - B", "test/C - D (Live)"):
        encode_mp4(root / f"{track}.stem.mp4", list(LEVELS), *([hz] for hz in MUSDB.values()))


def encode_mp4(path, *streams):
    """A file with an AAC stream for every list of frequencies, as MUSDB18's are made."""
    raw = path.parent / f"{path.name} raw"
    command = ["ffmpeg", "-v", "error"]
    for number, frequencies in enumerate(streams):
        write(raw / f"{number}.wav", *frequencies, num_channels=2)
        command += ["-i", raw / f"{number}.wav"]
    for number in range(len(streams)):
        command += ["-map", str(number)]
    subprocess.run([*command, "-c:a", "aac", "-b:a", "128k", path], check=True, timeout=60)
    shutil.rmtree(raw)


def song(group, *stems, has_mix=True):
    return {"group": group, "stems": stems, "has_mix": has_mix}


# Layout, what writes the data set, and the items it must give.
DATA_SETS = {
    "files": (
        "files",
        write_files,
        {name: song(None) for name in ("a.wav", "deep/b.flac", "deep/er/c.OGG")},
    ),
    "stems": (
        "stems",
        write_stems,
        {
            "one": song(None, "Drums", "bass"),
            "train/two": song("train", "Drums", "bass"),
            "test/three": song("test", "voice", has_mix=False),
        },
    ),
    "slakh2100": (
        "slakh2100",
        write_slakh,
        {
            f"{split}/{track}": song(split, "drums", "guitar", "strings (continued)")
            for split, track in {"train": "Track00001", "test": "Track01876"}.items()
        },
    ),
    "jamendo": (
        "jamendo",
        write_jamendo,
        {
            "audio/train/01 - A.ogg#0000": song("train"),
            "audio/train/01 - A.ogg#0001": song("train"),
            "audio/train/no labels.ogg": song("train"),
            "audio/test/02 - B.mp3#0000": song("test"),
        },
    ),
    "jamendo with lists": (
        "jamendo",
        write_jamendo_lists,
        {
            "audio/01 - A.ogg#0000": song("train"),
            "audio/02 - B.wav": song("test"),
            "audio/03 - C.ogg": song(None),
        },
    ),
    "ccmixter": (
        "ccmixter",
        write_ccmixter,
        {name: song(None, "accompaniment", "vocals") for name in ("The Mix", "other")},
    ),
    "musdb18-hq": (
        "musdb18",
        write_musdb,
        {
            "train/A - B": song("train", "bass", "drums", "other", "vocals"),
            "test/C - D (Live)": song("test", "bass", "drums", "other", "vocals"),
        },
    ),
    "musdb18-hq as stems": (
        "stems",
        write_musdb,
        {
            "train/A - B": song("train", "bass", "drums", "other", "vocals"),
            "test/C - D (Live)": song("test", "bass", "drums", "other", "vocals"),
        },
    ),
    "musdb18": (
        "musdb18",
        write_musdb_mp4,
        {
            "train/A - B": song("train", "drums", "bass", "other", "vocals"),
            "test/C - D (Live)": song("test", "drums", "bass", "other", "vocals"),
        },
    ),
}


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    """Writes a data set once and returns its folder."""
    folders = {}

    def make(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("data")
            DATA_SETS[name][1](folders[name])
        return folders[name]

    return make


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=needs_ffmpeg if DATA_SETS[n][0] == "musdb18" else ())
        for n in DATA_SETS
    ],
)
class TestEveryLayout:
    def test_items_are_those_of_the_data_set(self, data_set, name):
        layout, _, expected = DATA_SETS[name]
        items = dataset_layouts.items_of(str(data_set(name)), layout)
        assert [item.id for item in items] == sorted(expected)
        for item in items:
            assert item.group == expected[item.id]["group"]
            assert (item.path is not None) == expected[item.id]["has_mix"]

    def test_every_item_loads_with_its_stems(self, data_set, name):
        layout, _, expected = DATA_SETS[name]
        for item in dataset_layouts.items_of(str(data_set(name)), layout):
            stems = expected[item.id]["stems"]
            loaded = load(
                item,
                REQUIREMENTS
                if stems
                else AudioRequirements(**{**vars(REQUIREMENTS), "with_stems": False}),
            )
            assert not isinstance(loaded, Failure), loaded.reason
            assert loaded[0].names == stems

    def test_a_manifest_keeps_them(self, data_set, name, tmp_path):
        items = dataset_layouts.items_of(str(data_set(name)), DATA_SETS[name][0])
        manifest.write_manifest(tmp_path / "items.parquet", items)
        assert dataset_layouts.items_of(str(tmp_path / "items.parquet"), "files") == items

    def test_ids_do_not_depend_on_where_the_folder_is(self, data_set, name, monkeypatch):
        items = dataset_layouts.items_of(str(data_set(name)), DATA_SETS[name][0])
        monkeypatch.chdir(data_set(name))
        here = dataset_layouts.items_of(".", DATA_SETS[name][0])
        assert [item.id for item in here] == [item.id for item in items]
        assert [item.path and item.path.absolute() for item in here] == [i.path for i in items]


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(n, marks=needs_ffmpeg if n == "musdb18" else ())
        for n in dataset_layouts.LAYOUTS
    ],
)
def test_a_folder_without_sound_is_refused(tmp_path, layout):
    write_text(tmp_path / "read me.txt", "no sound")
    with pytest.raises(StoreError, match="holds no sound"):
        dataset_layouts.items_of(str(tmp_path), layout)


class TestItemsOf:
    def test_a_folder_a_glob_and_a_manifest_give_the_same(self, tmp_path):
        write_files(tmp_path / "songs")
        items = dataset_layouts.items_of(str(tmp_path / "songs"), "files")
        assert (
            dataset_layouts.items_of(str(tmp_path / "songs" / "**" / "*.*[!t]"), "files") == items
        )
        for suffix in ("csv", "parquet"):
            manifest.write_manifest(tmp_path / f"songs.{suffix}", items)
            assert dataset_layouts.items_of(str(tmp_path / f"songs.{suffix}"), "files") == items

    @pytest.mark.parametrize("name", ["a.wav", "b.FLAC"])
    def test_a_file_is_an_item(self, tmp_path, name):
        write(tmp_path / name, 200)
        assert dataset_layouts.items_of(str(tmp_path / name), "files") == [
            Item(name, tmp_path / name)
        ]

    def test_a_folder_with_wildcards_in_its_name_is_a_folder(self, tmp_path):
        write(tmp_path / "live [2003]" / "a.wav", 200)
        [item] = dataset_layouts.items_of(str(tmp_path / "live [2003]"), "files")
        assert item.path == tmp_path / "live [2003]" / "a.wav"

    @pytest.mark.parametrize(
        ("source", "layout", "message"),
        [
            ("nowhere", "files", "nowhere` does not exist. Name a folder, a glob or a manifest"),
            ("nowhere.csv", "files", "nowhere.csv` does not exist"),
            ("notes.txt", "files", "notes.txt` is no audio, .csv or .parquet file"),
            ("*.aiff", "files", "finds no file"),
            ("no/*/where", "files", "finds no file"),
            ("bad.csv", "files", "neither a column `path` nor `stems`"),
            (".", "stem", "layout 'stem' is unknown; did you mean 'stems'"),
            (".", "musdb", "layout 'musdb' is unknown; did you mean 'musdb18'"),
            (".", "Slakh", "layout 'Slakh' is unknown; did you mean 'slakh2100'"),
            (".", "x", "layout 'x' is unknown; known: files, stems, musdb18, slakh2100, jamendo"),
        ],
    )
    def test_anything_else_is_refused(self, tmp_path, monkeypatch, source, layout, message):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "notes.txt").write_text("no sound")
        (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
        with pytest.raises(StoreError) as caught:
            dataset_layouts.items_of(source, layout)
        assert message in str(caught.value)


class TestStemFolders:
    def test_the_mixture_is_not_among_the_stems(self, data_set):
        root = data_set("stems")
        one, three, two = dataset_layouts.items_of(str(root), "stems")
        assert (one.path, one.stems) == (root / "one/mix.wav", root / "one")
        assert (two.path, two.stems) == (root / "train/two/Mixture.flac", root / "train/two")
        assert (three.path, three.stems) == (None, root / "test/three")

    @pytest.mark.parametrize("name", [".trash/song/drums.wav", "covers/._drums.wav"])
    def test_hidden_files_make_no_items(self, tmp_path, name):
        write(tmp_path / "song" / "drums.wav", 200)
        write(tmp_path / name, 200)
        assert [item.id for item in dataset_layouts.items_of(str(tmp_path), "stems")] == ["song"]


class TestSlakh:
    def test_stems_of_a_class_are_summed(self, data_set):
        item = dataset_layouts.items_of(str(data_set("slakh2100")), "slakh2100")[1]
        [snippet] = load(item, REQUIREMENTS)
        expected = np.stack([tone(400), tone(200, 800), tone(1600)])
        np.testing.assert_allclose(snippet.waveforms, expected, atol=2e-4)
        guitars = [path.name for path in item.stems["guitar"]]
        assert guitars == ["S00.flac", "S02.flac"] and "piano" not in item.stems

    @pytest.mark.parametrize(
        "text",
        ["", "[]", "stems", "{", "no: 1", "stems: {S00: {}}", "stems: {S00: Guitar}", "\ufffe: 1"],
    )
    def test_other_descriptions_are_refused(self, tmp_path, text):
        write_slakh(tmp_path)
        write_text(tmp_path / "train" / "Track00001" / "metadata.yaml", text)
        with pytest.raises(StoreError, match=r"metadata\.yaml` does not describe a track of Slakh"):
            dataset_layouts.items_of(str(tmp_path), "slakh2100")

    def test_a_list_in_place_of_tracks_is_refused(self, tmp_path):
        write_slakh(tmp_path)
        write_text(tmp_path / "train" / "Track00001" / "metadata.yaml", "stems: [S00, S01]")
        with pytest.raises(StoreError, match="does not describe a track of Slakh"):
            dataset_layouts.items_of(str(tmp_path), "slakh2100")


class TestJamendo:
    def test_passages_are_excerpts_with_labels(self, data_set):
        items = dataset_layouts.items_of(str(data_set("jamendo")), "jamendo")
        passages = [(item.start, item.duration, item.label) for item in items]
        wanted = [
            (0.0, 0.5, "sing along"),
            (0.0, 0.3, "nosing"),
            (0.3, 0.45, "sing"),
            (0, None, None),
        ]
        for passage, (start, duration, label) in zip(passages, wanted, strict=True):
            assert passage == (start, pytest.approx(duration), label)
        [snippet] = load(items[2], AudioRequirements(**{**vars(REQUIREMENTS), "with_stems": False}))
        assert (snippet.start, snippet.num_samples) == (0.3, round(0.45 * RATE))

    @pytest.mark.parametrize("line", ["0.0 1.0", "0.0", "0:00 0:01 sing", "from 0.0 sing"])
    def test_other_labels_are_refused(self, tmp_path, line):
        write_jamendo(tmp_path)
        write_text(tmp_path / "labels" / "01 - A.lab", f"0.0 0.5 sing\n{line}\n")
        with pytest.raises(StoreError, match=r"01 - A\.lab`, line 2 is not start, end and label"):
            dataset_layouts.items_of(str(tmp_path), "jamendo")

    @pytest.mark.parametrize("name", ["labels/01 - A.lab", "filelists/.DS_Store"])
    def test_files_that_are_no_text_are_refused_or_left_out(self, tmp_path, name):
        write_jamendo_lists(tmp_path)
        (tmp_path / name).write_bytes(b"0 1 \xff\xfe\n")
        try:
            dataset_layouts.items_of(str(tmp_path), "jamendo")
        except StoreError as error:
            assert name in str(error)

    def test_passages_that_end_before_they_start_are_refused(self, tmp_path):
        write_jamendo(tmp_path)
        write_text(tmp_path / "labels" / "01 - A.lab", "0.5 0.25 sing\n")
        with pytest.raises(StoreError, match="line 1"):
            dataset_layouts.items_of(str(tmp_path), "jamendo")


class TestCcmixter:
    def test_sources_have_their_names(self, data_set):
        root = data_set("ccmixter")
        item = dataset_layouts.items_of(str(root), "ccmixter")[0]
        assert item.path == root / "The Mix" / "mix.wav"
        assert item.stems == {
            "accompaniment": (root / "The Mix" / "source-01.wav",),
            "vocals": (root / "The Mix" / "source-02.wav",),
        }
        [snippet] = load(item, REQUIREMENTS)
        np.testing.assert_allclose(snippet.waveforms, [tone(200), tone(400)], atol=1e-4)


class TestMusdb:
    @needs_ffmpeg
    def test_paths_of_waves(self, data_set):
        root = data_set("musdb18-hq")
        item = dataset_layouts.items_of(str(root), "musdb18")[1]
        folder = root / "train" / "A - B"
        assert item.path == folder / "mixture.wav"
        assert item.stems == {name: (folder / f"{name}.wav",) for name in sorted(MUSDB)}
        [snippet] = load(item, REQUIREMENTS)
        expected = [tone(MUSDB[name]) for name in sorted(MUSDB)]
        np.testing.assert_allclose(snippet.waveforms, expected, atol=1e-4)

    @pytest.mark.parametrize("is_broken", [False, True])
    def test_without_the_package_or_ffmpeg_it_says_so(self, tmp_path, monkeypatch, is_broken):
        monkeypatch.setitem(sys.modules, "musdb", None)
        if is_broken:  # what musdb does where there is no ffmpeg
            monkeypatch.delitem(sys.modules, "musdb")
            write_text(tmp_path / "package" / "musdb.py", "raise RuntimeError('ffmpeg not found')")
            monkeypatch.syspath_prepend(str(tmp_path / "package"))
        with pytest.raises(StoreError, match=r"package `musdb` cannot be loaded .*ffmpeg"):
            dataset_layouts.items_of(str(tmp_path), "musdb18")


@pytest.fixture(scope="module")
def mp4(data_set):
    """A track of MUSDB18."""
    return dataset_layouts.items_of(str(data_set("musdb18")), "musdb18")[1]


@pytest.fixture(scope="module")
def mp4_stems(mp4):
    """All of it, loaded with its stems."""
    [snippet] = load(mp4, REQUIREMENTS)
    return snippet


@needs_ffmpeg
class TestMp4:
    def test_streams_become_stems_in_their_order(self, mp4, mp4_stems):
        assert mp4.path.name == "A - B.stem.mp4" and mp4.stems is None
        assert mp4_stems.names == musdb_mp4.NAMES == tuple(MUSDB)
        # A whole number of AAC frames of 1024 samples.
        assert RATE <= mp4_stems.num_samples < RATE + 1024
        for waveform, hz in zip(mp4_stems.waveforms, MUSDB.values(), strict=True):
            spectrum = np.abs(np.fft.rfft(waveform[:RATE]))
            assert np.argmax(spectrum) == hz
            energy = np.square(waveform[:RATE]).sum()
            assert energy == pytest.approx(np.square(tone(hz)).sum(), rel=0.05)

    def test_the_mixture_is_the_first_stream(self, mp4):
        [snippet] = load(mp4, AudioRequirements(**{**vars(REQUIREMENTS), "with_stems": False}))
        assert snippet.waveforms.shape[0] == 1 and snippet.names == ()
        spectrum = np.abs(np.fft.rfft(snippet.waveforms[0, :RATE]))
        assert set(np.argsort(spectrum)[-4:]) == set(LEVELS)
        energy = np.square(snippet.waveforms[:, :RATE]).sum()
        assert energy == pytest.approx(np.square(tone(*LEVELS)).sum(), rel=0.05)

    def test_other_rates_keep_time_and_pitch(self, mp4):
        sample_rate = 22_050
        [snippet] = load(
            mp4, AudioRequirements(**{**vars(REQUIREMENTS), "sample_rate": sample_rate})
        )
        assert 1 <= snippet.num_samples / sample_rate < 1 + 1025 / RATE
        for waveform, hz in zip(snippet.waveforms, MUSDB.values(), strict=True):
            assert np.argmax(np.abs(np.fft.rfft(waveform[:sample_rate]))) == hz

    def test_excerpts_are_parts_of_the_whole(self, mp4, mp4_stems):
        # Not a whole number of periods from the start, so that a wrong offset shows.
        first = RATE // 4 + 20
        excerpt = Item("x", mp4.path, start=first / RATE, duration=0.5)
        [snippet] = load(excerpt, REQUIREMENTS)
        assert (snippet.start, snippet.num_samples) == (first / RATE, RATE // 2)
        part = mp4_stems.waveforms[:, first : first + RATE // 2]
        difference = np.square(snippet.waveforms[:, : RATE // 2] - part).sum()
        assert difference < 0.02 * np.square(part).sum()

    @pytest.mark.slow
    def test_other_files_fail_with_a_reason(self, tmp_path):
        encode_mp4(tmp_path / "two.stem.mp4", [200], [400])
        encode_mp4(tmp_path / "one.stem.mp4", [200])
        (tmp_path / "rubbish.stem.mp4").write_bytes(bytes(range(256)) * 20)
        (tmp_path / "empty.stem.mp4").touch()
        for name, message in {
            "two": "has 2 streams, not a mixture and 4 stems",
            "one": "has 1 streams, not a mixture and 4 stems",
            "rubbish": "cannot be decoded",
            "empty": "cannot be decoded",
            "missing": "cannot be decoded",
        }.items():
            path = tmp_path / f"{name}.stem.mp4"
            failure = load(Item(name, path), REQUIREMENTS)
            assert isinstance(failure, Failure) and str(path) in failure.reason
            assert message in failure.reason and "\n" not in failure.reason

    @pytest.mark.parametrize("problem", ["silent", "too short"])
    def test_what_wave_files_are_refused_for_is_refused(self, mp4, tmp_path, problem):
        if problem == "silent":
            encode_mp4(tmp_path / "silent.stem.mp4", *[[0]] * 5)
            mp4 = Item("silent", tmp_path / "silent.stem.mp4")
        else:
            mp4 = Item("too short", mp4.path, duration=5.0)
        assert isinstance(load(mp4, REQUIREMENTS), Failure)


def test_only_files_of_that_name_are_stem_files():
    for path, expected in {
        Path("a.stem.mp4"): True,
        Path("a.mp4"): False,
        Path("stem.mp4"): False,
        Path("a.stem.mp4/mixture.wav"): False,
    }.items():
        assert musdb_mp4.is_stem_mp4(path) == expected
