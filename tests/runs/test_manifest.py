"""Manifests: what is written is read, from any folder, and what is no manifest says why."""

import copy
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from pyarrow import parquet

from lime_jax.errors import StoreError
from lime_jax.runs import manifest
from lime_jax.runs.items import Item
from lime_jax.runs.reader import AudioRequirements, Failure, load
from tests.runs.conftest import RATE

REQUIREMENTS = AudioRequirements(
    sample_rate=RATE,
    shortest=100,
    with_stems=False,
    snippet=None,
    hop=0,
    resampler="soxr",
    max_channels=2,
)
MUSIC = Path("/music")
ITEMS = {
    "a number": Item("007", MUSIC / "a.flac"),
    "another number": Item("1e3", MUSIC / "a.flac"),
    "an excerpt": Item("excerpt", MUSIC / "a b.flac", start=0.1, duration=1 / 3),
    "annotated": Item("sub/x#0001", MUSIC / "c.wav", label='rock, "hard"', group="train"),
    "like nothing": Item("nothing", MUSIC / "NA.wav", label="NULL", group="nan"),
    "other scripts": Item("Ünïcødé 音楽 🎵", MUSIC / "音楽.ogg", label="ß;\té", group="\\n"),
    "lines": Item("lines", MUSIC / "d.wav", label="two\nlines"),
    "a folder of stems": Item("stems", stems=MUSIC / "stems, all"),
    "files of stems": Item(
        "files",
        MUSIC / "mix.wav",
        stems={
            "z": (MUSIC / "kick.wav", MUSIC / 'snare "2".wav'),
            "bass, tiefer": (MUSIC / "ü.wav",),
        },
    ),
    "everything": Item("all", MUSIC / "e.wav", 1e-7, 3600.0, MUSIC / "stems", "a", "b"),
}
SUFFIXES = ("csv", "parquet")


def write_tone(path):
    """A second of sound under any name that the file system takes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        tone = 0.1 * np.sin(np.arange(RATE) / 5)
        soundfile.write(file, tone, RATE, format="FLAC" if path.suffix == ".flac" else "WAV")
    return path


def named_tone(folder, name):
    """The same in a file whose name is given as bytes."""
    return write_tone(folder / os.fsdecode(name))


class TestRoundTrip:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    @pytest.mark.parametrize("name", ITEMS)
    def test_an_item_stays_what_it_is(self, tmp_path, suffix, name):
        path = tmp_path / f"items.{suffix}"
        manifest.write_manifest(path, [ITEMS[name]])
        assert manifest.read_manifest(path) == [ITEMS[name]]
        assert os.listdir(tmp_path) == [path.name]

    @pytest.mark.parametrize("suffix", ["csv", "CSV", "parquet", "Parquet"])
    def test_items_are_in_the_order_of_their_ids(self, tmp_path, suffix):
        path = tmp_path / f"items.{suffix}"
        items = list(ITEMS.values())
        manifest.write_manifest(path, items)
        assert manifest.read_manifest(path) == sorted(items, key=lambda item: item.id)
        manifest.write_manifest(path, iter(items[::-2]))
        assert len(manifest.read_manifest(path)) == len(items[::-2])

    def test_a_table_of_items_gives_the_items(self):
        items = list(ITEMS.values())
        table = manifest.to_table(items)
        assert tuple(table.column_names) == manifest.COLUMNS
        assert manifest.from_rows(table.to_pylist()) == items

    def test_both_kinds_of_file_hold_the_same(self, tmp_path):
        for suffix in SUFFIXES:
            manifest.write_manifest(tmp_path / f"items.{suffix}", ITEMS.values())
        one, other = (manifest.read_manifest(tmp_path / f"items.{suffix}") for suffix in SUFFIXES)
        assert one == other

    def test_relative_paths_are_written_as_absolute_ones(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        items = [
            Item("a", Path("a.wav"), stems=Path("stems")),
            Item("b", stems={"c": (Path("d"),)}),
        ]
        (tmp_path / "elsewhere").mkdir()
        manifest.write_manifest("elsewhere/items.csv", items)
        one, other = manifest.read_manifest("elsewhere/items.csv")
        assert (one.path, one.stems) == (tmp_path / "a.wav", tmp_path / "stems")
        assert other.stems == {"c": (tmp_path / "d",)}

    def test_labels_of_several_lines_may_cross_blocks_of_csv(self, tmp_path):
        # Blocks have a megabyte.
        items = [Item(str(n), MUSIC / "a.wav", label="a\n" * 10_000) for n in range(120)]
        manifest.write_manifest(tmp_path / "items.csv", items)
        assert len(manifest.read_manifest(tmp_path / "items.csv")) == len(items)


def test_items_may_hold_what_data_sets_give(tmp_path):
    """A data set's classes are integers; pyarrow refused them with an error of its own."""
    item = Item("7", Path("/music/a.wav"), 0.5, 2.0, label="3", group="1")
    given = copy.copy(item)
    kinds = {"id": np.int64(7), "path": "/music/a.wav", "start": np.float32(0.5), "duration": 2}
    for name, value in {**kinds, "label": np.int64(3), "group": 1}.items():
        object.__setattr__(given, name, value)
    manifest.write_manifest(tmp_path / "items.parquet", [given])
    assert manifest.read_manifest(tmp_path / "items.parquet") == [item]


CELLS = {
    "path is the id": ({"path": "sub/a.wav"}, {"id": "sub/a.wav"}),
    "folder of stems is the id": ({"stems": "songs/a"}, {"id": "songs/a", "path": None}),
    "no start": ({"path": "a.wav", "start": ""}, {"start": 0.0}),
    "start": ({"path": "a.wav", "start": "1.25"}, {"start": 1.25}),
    "no duration": ({"path": "a.wav", "duration": ""}, {"duration": None}),
    "duration": ({"path": "a.wav", "duration": "10"}, {"duration": 10.0}),
    "end": ({"path": "a.wav", "start": "1.5", "end": "4"}, {"start": 1.5, "duration": 2.5}),
    "end alone": ({"path": "a.wav", "end": "4"}, {"start": 0.0, "duration": 4.0}),
    "no end": ({"path": "a.wav", "start": "1", "end": ""}, {"start": 1.0, "duration": None}),
    "end beside duration": (
        {"path": "a.wav", "start": "1", "duration": "0.3333", "end": "1.33"},
        {"duration": 0.3333},
    ),
    "names in other cases": (
        {"Path": "a.wav", " START ": "1", "End": "3", "Label": "x"},
        {"start": 1.0, "duration": 2.0, "label": "x"},
    ),
    "times said twice": (
        {"path": "a.wav", "start": "1", "end": "3", "start_s": "1", "length": "9", "offset": "1"},
        {"start": 1.0, "duration": 2.0},
    ),
    "times of other things": (
        {"path": "a.wav", "time signature": "3/4", "song_length": "200", "tempo": "90"},
        {"start": 0.0, "duration": None},
    ),
    "no label": ({"path": "a.wav", "label": ""}, {"label": None}),
    "number as label": ({"path": "a.wav", "label": "01"}, {"label": "01"}),
    "other columns": ({"path": "a.wav", "bpm": "120", "title": "x"}, {"id": "a.wav"}),
    "one file of a stem": ({"stems": '{"a": "b.wav"}', "id": "x"}, {"id": "x", "path": None}),
}


def as_csv(row, path):
    quoted = ['"' + text.replace('"', '""') + '"' for text in row.values()]
    path.write_text(",".join(row) + "\n" + ",".join(quoted) + "\n", encoding="utf-8")


def as_csv_of_excel(row, path):
    as_csv(row, path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))


def as_parquet(row, path):
    parquet.write_table(pa.Table.from_pylist([row]), path)


WRITERS = {"csv": as_csv, "csv of Excel": as_csv_of_excel, "parquet": as_parquet}


class TestCells:
    @pytest.mark.parametrize("writer", WRITERS)
    @pytest.mark.parametrize("name", CELLS)
    def test_rows_give_items(self, tmp_path, writer, name):
        row, expected = CELLS[name]
        path = tmp_path / f"clips.{writer.split()[0]}"
        WRITERS[writer](row, path)
        [item] = manifest.read_manifest(path)
        for field, value in expected.items():
            assert getattr(item, field) == value

    def test_parquet_may_hold_numbers(self, tmp_path):
        rows = [{"id": 7, "path": "a.wav", "start": 2, "duration": 1.5, "label": 3, "group": None}]
        as_parquet(rows[0], tmp_path / "clips.parquet")
        [item] = manifest.read_manifest(tmp_path / "clips.parquet")
        assert item == Item("7", tmp_path / "a.wav", 2.0, 1.5, label="3")

    def test_paths_are_relative_to_the_manifest(self, tmp_path, monkeypatch):
        rows = ["path,stems", "a/b.wav,", "../c.wav,", "/d.wav,", 'e.wav,"{""f"": [""g.wav""]}"']
        (tmp_path / "lists").mkdir()
        (tmp_path / "lists" / "clips.csv").write_text("\n".join([*rows, ",stems/one"]))
        folder = tmp_path / "lists"
        paths = {folder / "a/b.wav", folder / "../c.wav", Path("/d.wav"), folder / "e.wav", None}
        items = manifest.read_manifest(folder / "clips.csv")
        assert {item.path for item in items} == paths
        stems = {item.id: item.stems for item in items if item.stems}
        assert stems == {"e.wav": {"f": (folder / "g.wav",)}, "stems/one": folder / "stems/one"}
        monkeypatch.chdir(folder)
        here = {item.path and item.path.absolute() for item in manifest.read_manifest("clips.csv")}
        assert here == paths

    def test_what_is_read_loads(self, tmp_path):
        write_tone(tmp_path / "audio" / "a.wav")
        (tmp_path / "clips.csv").write_text("path,start,duration\naudio/a.wav,0.25,0.5\n")
        [item] = manifest.read_manifest(tmp_path / "clips.csv")
        [snippet] = load(item, REQUIREMENTS)
        assert (snippet.start, snippet.num_samples) == (0.25, RATE // 2)


BAD = {
    "empty.csv": (b"", "not a manifest that can be read"),
    "empty.parquet": (b"", "not a manifest that can be read"),
    "blank.csv": (b"\n\n", "not a manifest that can be read"),
    "rubbish.csv": (bytes(range(256)) * 20, "not a manifest that can be read"),
    "rubbish.parquet": (bytes(range(256)) * 20, "not a manifest that can be read"),
    "footer.parquet": (b"PAR1" + bytes(100) + b"PAR1", "not a manifest that can be read"),
    "sound.csv": (b"RIFF\x24\x08\x00\x00WAVEfmt \x10" * 9, "not a manifest that can be read"),
    "latin-1.csv": (b"path\n\xe9.wav\n", "not a manifest that can be read.*UTF8"),
    "ragged.csv": (b"path,label\na.wav,b,c\n", "not a manifest .*Expected 2 columns, got 3"),
    "header.csv": (b"id,path\n", "holds no sound"),
    "no path.csv": (
        b"id,file\n1,a.wav\n",
        "neither a column `path` nor `stems`, only 'id', 'file'",
    ),
    "semicolons.csv": (b"id;path\n1;a.wav\n", "neither a column `path`.*only 'id;path'"),
    "no sound.csv": (b"id,path,stems\n1,a.wav,\n2,,\n", "'2' has neither a path nor stems"),
    "nothing.csv": (b"path,label\n,rock\n", "the id '' is not 1 to 1000 printable"),
    "long id.csv": (b"id,path\n" + b"x" * 1001 + b",a.wav\n", "not 1 to 1000 printable"),
    "odd id.csv": (b"id,path\na\x07b,a.wav\n", "not 1 to 1000 printable"),
    "twice.csv": (b"id,path\n7,a.wav\n8,b.wav\n7,c.wav\n", "the id '7' occurs twice"),
    "path twice.csv": (b"path\na.wav\na.wav\n", "the id 'a.wav' occurs twice"),
    "text.csv": (
        b"path,start\na.wav,0\nb.wav,soon\n",
        "row 2: `start` must be seconds, got 'soon'",
    ),
    "comma.csv": (b'path,start\na.wav,"1,5"\n', "row 1: `start` must be seconds, got '1,5'"),
    "clock.csv": (b"path,duration\na.wav,0:30\n", "row 1: `duration` must be seconds"),
    "negative.csv": (b"path,start\na.wav,-1\n", "row 1: `start` must be seconds, got '-1'"),
    "nan.csv": (b"path,duration\na.wav,nan\n", "row 1: `duration` must be seconds, got 'nan'"),
    "endless.csv": (b"path,duration\na.wav,inf\n", "row 1: `duration` must be seconds, got 'inf'"),
    "before.csv": (
        b"path,start,end\na.wav,3,2\n",
        "row 1: `end` must be after `start`, got 3 to 2",
    ),
    "nowhere.csv": (b"path,start,end\na.wav,3,3\n", "row 1: `end` must be after `start`"),
    "late.csv": (b"path,end\na.wav,soon\n", "row 1: `end` must be seconds, got 'soon'"),
    "contradiction.csv": (
        b"path,start,duration,end\na.wav,1,2,4\n",
        "row 1: `duration` 2 and `end` 4 contradict each other",
    ),
    "two starts.csv": (b"path,start,Start\na.wav,1,2\n", "the column `start` twice"),
    "cut json.csv": (b'id,stems\n1,"{""a"": "\n', "row 1: `stems` must be a folder or JSON"),
    "no stems.csv": (b"id,stems\n1,{}\n", "row 1: `stems` must be .*a stem without files"),
    "no files.csv": (b'id,stems\n1,"{""a"": []}"\n', "row 1: `stems` must be .*without files"),
    "number.csv": (b'id,stems\n1,"{""a"": 5}"\n', "row 1: `stems` must be a folder or JSON"),
    "numbers.csv": (b'id,stems\n1,"{""a"": [5]}"\n', "row 1: `stems` must be a folder or JSON"),
    "null.csv": (b'id,stems\n1,"{""a"": null}"\n', "row 1: `stems` must be a folder or JSON"),
}


# Names that others give to times, beside the columns `path` and perhaps `start`, and ours for them.
OTHER_TIMES = {
    **{
        f"path,{name}": "`start`"
        for name in ("start_s", "Start Time", "onset", "begin", "clip_start")
    },
    **{f"path,start,{name}": "`end`" for name in ("end_s", "end_time_ms", "stop", "End (sec)")},
    **{
        f"path,{name}": "`duration`"
        for name in ("length", "duration_ms", "dur", "segment_duration")
    },
    "path,offset": "`end` or `start`",
    "path,start,offset": "`end`",
}


@pytest.mark.parametrize("header", OTHER_TIMES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_times_in_other_words_are_not_passed_over(tmp_path, header, suffix):
    """They were: the whole sound was explained in place of the excerpt."""
    names = header.split(",")
    row = dict(zip(names, ["a.wav", "1", "2"], strict=False))
    path = tmp_path / f"clips.{suffix}"
    WRITERS[suffix](row, path)
    with pytest.raises(StoreError) as caught:
        manifest.read_manifest(path)
    assert f"has a column {names[-1]!r}, which would be ignored" in str(caught.value)
    assert f"Call it {OTHER_TIMES[header]} if" in str(caught.value)


class TestBadManifests:
    @pytest.mark.parametrize("name", BAD)
    def test_the_reason_is_named(self, tmp_path, name):
        content, message = BAD[name]
        (tmp_path / name).write_bytes(content)
        with pytest.raises(StoreError, match=message) as caught:
            manifest.read_manifest(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"start": [float("nan")]}, "row 1: `start` must be seconds, got nan"),
            ({"duration": [-0.5]}, "row 1: `duration` must be seconds, got -0.5"),
            ({"start": [[1.0]]}, "row 1: `start` must be seconds"),
            ({"id": [None], "path": [None]}, "the id '' is not"),
        ],
    )
    def test_values_of_parquet_are_checked_too(self, tmp_path, values, message):
        parquet.write_table(pa.table({"path": ["a.wav"], **values}), tmp_path / "a.parquet")
        with pytest.raises(StoreError, match=message):
            manifest.read_manifest(tmp_path / "a.parquet")

    @pytest.mark.parametrize("name", ["missing.csv", "missing.parquet", ""])
    def test_what_is_no_file_is_refused(self, tmp_path, name):
        with pytest.raises(StoreError, match="not a manifest that can be read"):
            manifest.read_manifest(tmp_path / name)

    def test_a_damaged_page_of_parquet_is_found(self, tmp_path):
        path = tmp_path / "items.parquet"
        manifest.write_manifest(path, [Item(str(n), MUSIC / f"{n}.wav") for n in range(1000)])
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 1
        path.write_bytes(content)
        with pytest.raises(StoreError, match="not a manifest that can be read"):
            manifest.read_manifest(path)

    def test_text_of_parquet_that_is_no_text_is_refused(self, tmp_path):
        broken = pa.array([b"\xff.wav"]).view(pa.string())
        parquet.write_table(pa.table({"path": broken}), tmp_path / "a.parquet")
        with pytest.raises(StoreError):
            manifest.read_manifest(tmp_path / "a.parquet")

    def test_an_object_is_no_list_of_files(self, tmp_path):
        (tmp_path / "a.csv").write_text('id,stems\n1,"{""a"": {""b"": ""c.wav""}}"\n')
        with pytest.raises(StoreError, match="row 1: `stems` must be"):
            manifest.read_manifest(tmp_path / "a.csv")

    @pytest.mark.parametrize(
        ("name", "items", "message"),
        [
            ("items.txt", [ITEMS["a number"]], r"must end in \.csv or \.parquet"),
            ("items", [ITEMS["a number"]], r"must end in \.csv or \.parquet"),
            ("items.csv", [], "holds no sound"),
            ("items.csv", [Item("a")], "'a' has neither a path nor stems"),
            ("items.csv", [Item("", MUSIC)], "not 1 to 1000 printable"),
            ("items.csv", [Item("a\nb", MUSIC)], "not 1 to 1000 printable"),
            ("items.csv", [ITEMS["lines"], ITEMS["lines"]], "the id 'lines' occurs twice"),
            ("none/items.csv", [ITEMS["a number"]], "cannot be written"),
            ("none/items.parquet", [ITEMS["a number"]], "cannot be written"),
        ],
    )
    def test_what_cannot_be_written_leaves_nothing_behind(self, tmp_path, name, items, message):
        with pytest.raises(StoreError, match=message):
            manifest.write_manifest(tmp_path / name, items)
        assert not os.listdir(tmp_path)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A folder with three sounds, four hidden ones and other files."""
    root = tmp_path_factory.mktemp("tree")
    names = ("b.wav", "A.WAV", "deep/er/c.flac")
    hidden = (".d.wav", ".trash/e.wav", "deep/.cache/f.wav", "deep/._c.wav")
    for name in (*names, *hidden):
        write_tone(root / name)
    for name in ("notes.txt", "cover.jpg", "wav", "deep/g.wav.part"):
        (root / name).write_text("no sound")
    return root


GLOBS = {
    "*.wav": {"b.wav"},
    "*.[wW][aA][vV]": {"A.WAV", "b.wav"},
    "**/*.flac": {"deep/er/c.flac"},
    "**/*.*a*": {"b.wav", "deep/er/c.flac", "deep/g.wav.part"},
    "deep/*/*": {"er/c.flac"},
    "deep/er/c.fla?": {"c.flac"},
    "./dee?/**": {"deep/er/c.flac", "deep/g.wav.part"},
    "deep/../*.wav": {"b.wav"},
}


class TestFolderAndGlob:
    def test_a_folder_gives_its_sounds_but_hidden_ones(self, tree):
        items = manifest.from_folder(tree)
        names = ["A.WAV", "b.wav", "deep/er/c.flac"]
        assert items == [Item(name, tree / name) for name in names]
        assert manifest.from_folder(str(tree)) == items

    def test_a_hidden_folder_may_be_asked_for(self, tree):
        assert [item.id for item in manifest.from_folder(tree / ".trash")] == ["e.wav"]

    @pytest.mark.parametrize("pattern", GLOBS)
    @pytest.mark.parametrize("is_absolute", [True, False])
    def test_a_glob_gives_what_it_finds(self, tree, monkeypatch, pattern, is_absolute):
        monkeypatch.chdir(tree)
        items = manifest.from_glob(os.path.join(tree, pattern) if is_absolute else pattern)
        assert {item.id for item in items} == GLOBS[pattern]
        assert all(item.path.is_file() for item in items)

    def test_wildcards_in_names_can_be_escaped(self, tmp_path):
        write_tone(tmp_path / "live [2003]" / "a.wav")
        [item] = manifest.from_glob(str(tmp_path / "live [[]2003]" / "*.wav"))
        assert item.path == tmp_path / "live [2003]" / "a.wav"

    def test_ids_do_not_depend_on_where_the_folder_is(self, tree, monkeypatch):
        ids = [item.id for item in manifest.from_folder(tree)]
        monkeypatch.chdir(tree)
        assert [item.id for item in manifest.from_folder(".")] == ids
        monkeypatch.chdir(tree.parent)
        assert [item.id for item in manifest.from_folder(tree.name)] == ids

    @pytest.mark.parametrize("find", [manifest.from_folder, manifest.from_glob])
    def test_nothing_is_an_error(self, tmp_path, find):
        with pytest.raises(
            StoreError, match=r"(holds no sound|finds no file)\. Name a folder, glob"
        ):
            find(str(tmp_path / "*.wav") if find is manifest.from_glob else tmp_path)

    def test_a_folder_called_like_a_sound_is_none(self, tmp_path):
        write_tone(tmp_path / "song.wav" / "drums.wav")
        assert [item.id for item in manifest.from_folder(tmp_path)] == ["song.wav/drums.wav"]


ODD_NAMES = {
    "latin-1": b"caf\xe9.wav",
    "bytes": b"\xff\xfe\x80.wav",
    "wide space": "歌\u3000名.wav".encode(),
    "no-break space": "a\u00a0b.wav".encode(),
    "right to left": "a\u202eb.wav".encode(),
    "bell": b"a\x07b.wav",
    "line break": b"a\nb.wav",
    "tab": b"a\tb.wav",
    "delete": b"a\x7fb.wav",
}


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_printed_and_load(tmp_path, name):
    named_tone(tmp_path / "songs", ODD_NAMES[name])
    named_tone(tmp_path / "songs", b"plain.wav")
    items = manifest.from_folder(tmp_path / "songs")
    assert len(items) == 2
    for item in items:
        assert item.id.isprintable() and item.id.encode()
        assert not isinstance(load(item, REQUIREMENTS), Failure)
    table = manifest.to_table(items)
    assert table.column("id").to_pylist() == [item.id for item in items]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["wide space", "no-break space"])
def test_odd_names_are_found_again(tmp_path, name, suffix):
    named_tone(tmp_path / "songs", ODD_NAMES[name])
    manifest.write_manifest(tmp_path / f"a.{suffix}", manifest.from_folder(tmp_path / "songs"))
    [item] = manifest.read_manifest(tmp_path / f"a.{suffix}")
    assert not isinstance(load(item, REQUIREMENTS), Failure)


@pytest.mark.slow
def test_a_hugging_face_data_set(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    datasets = pytest.importorskip("datasets")
    paths = [write_tone(tmp_path / "audio" / f"{name}.wav") for name in "ab"]
    table = {"audio": [str(path) for path in paths], "genre": ["rock", "jazz"]}
    data = datasets.Dataset.from_dict(table).cast_column("audio", datasets.Audio(decode=False))
    items = [
        Item(f"{number:06}", Path(row["audio"]["path"]), label=row["genre"])
        for number, row in enumerate(data)
    ]
    manifest.write_manifest(tmp_path / "data.parquet", items)
    read = manifest.read_manifest(tmp_path / "data.parquet")
    assert [item.id for item in read] == ["000000", "000001"]
    assert [item.label for item in read] == ["rock", "jazz"]
    assert [item.path for item in read] == paths
    assert not any(isinstance(load(item, REQUIREMENTS), Failure) for item in read)


# The last release whose wheel holds the index of this data set, and what it forgets to require.
_MIRDATA = "mirdata==0.3.8", "smart_open"
_LIST_TRACKS = """
import sys, mirdata
data = mirdata.initialize("gtzan_genre", data_home=sys.argv[1], version="mini")
for track in data.load_tracks().values():
    print(track.track_id, track.audio_path, track.genre, sep="\\t")
"""


@pytest.mark.network
@pytest.mark.skipif(shutil.which("uv") is None, reason="mirdata needs an environment of its own")
def test_a_data_set_of_mirdata(tmp_path):
    packages = [option for package in _MIRDATA for option in ("--with", package)]
    isolated = ["uv", "run", "--no-project", "--isolated", *packages]
    command = [*isolated, "python", "-c", _LIST_TRACKS, str(tmp_path / "gtzan")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    items = [Item(id, Path(path), label=genre) for id, path, genre in rows]
    assert len(items) == 100 and items[0].path.is_relative_to(tmp_path / "gtzan")
    manifest.write_manifest(tmp_path / "gtzan.csv", items)
    read = manifest.read_manifest(tmp_path / "gtzan.csv")
    assert read == sorted(items, key=lambda item: item.id)
    assert all(item.label.replace("-", "") == item.id.split(".")[0] for item in read)
    write_tone(read[0].path)
    assert not isinstance(load(read[0], REQUIREMENTS), Failure)
