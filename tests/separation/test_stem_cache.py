"""A sound is separated once; its stems are whole, as long as it is, and the rest is left over."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import soundfile

from lime_jax.audio import io
from lime_jax.errors import AudioError, LimeJaxError
from lime_jax.separation import StemStream, cached_stems, precomputed
from lime_jax.separation.residual import residual_file
from tests.separation.conftest import RATE, Halves, noise, read, write

BLOCK = 2**16


def entry_of(path, separator, **options):
    with cached_stems(path, separator, **options) as entry:
        return entry


def entries(cache_folder):
    folder = cache_folder / "stems"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


class Failing(Halves):
    def __init__(self, error):
        super().__init__("failing")
        self.error = error

    def stream(self, blocks, sample_rate):
        def broken():
            block = next(blocks)
            yield np.stack([0.5 * block])
            raise self.error

        return StemStream(("half",), broken())


class TestEntries:
    def test_hold_stems_as_the_file_is(self, song, cache_folder):
        entry = entry_of(song, Halves())
        assert list(entry.files) == list(Halves.names) and entry.sample_rate == RATE
        for gain, path in zip((0.5, 0.25), entry.files.values(), strict=True):
            info = soundfile.info(path)
            assert (info.format, info.subtype, info.samplerate) == ("WAV", "FLOAT", RATE)
            np.testing.assert_array_equal(read(path), np.float32(gain) * read(song))
        assert {path.parent.parent for path in entry.files.values()} == {cache_folder / "stems"}

    def test_say_what_they_are_of(self, song):
        entry = entry_of(song, Halves(), start=0.25, duration=0.5)
        folder = next(iter(entry.files.values())).parent
        listing = json.loads((folder / "stems.json").read_text(encoding="utf-8"))
        assert listing == entry.listing
        assert (listing["separator"], listing["separator_version"]) == ("halves", "1")
        assert listing["source"]["name"] == "song.wav"
        assert (listing["start"], listing["duration"]) == (0.25, 0.5)
        assert listing["num_samples"] == RATE // 2
        assert sorted(listing["files"]) == sorted(path.name for path in folder.iterdir())

    def test_are_made_once(self, song, cache_folder):
        separator, sentences = Halves(), []
        first = entry_of(song, separator, report=sentences.append)
        assert entry_of(song, separator, report=sentences.append) == first
        assert entry_of(song, Halves(), report=sentences.append) == first
        assert separator.num_calls == 1 and len(entries(cache_folder)) == 1
        assert sentences == ["separating 1 s of song.wav with halves"]

    def test_are_not_kept_of_a_file_that_changes_meanwhile(self, song, cache_folder):
        class Changing(Halves):
            def __call__(self, waveform, sample_rate):
                write(song, noise(RATE, seed=9))
                return super().__call__(waveform, sample_rate)

        with pytest.raises(AudioError, match="was changed while it was separated"):
            entry_of(song, Changing())
        assert not entries(cache_folder)

    @pytest.mark.parametrize("keep", [True, False])
    def test_errors_of_a_separator_are_its_own(self, song, keep):
        class Missing(Halves):
            def __call__(self, waveform, sample_rate):
                raise FileNotFoundError(2, "No such file", "weights.pt")

        with pytest.raises(LimeJaxError, match=r"`halves` failed: .*weights\.pt"):
            entry_of(song, Missing(), keep=keep)

    def test_belong_to_the_content_and_not_to_the_name(self, song, tmp_path, cache_folder):
        separator = Halves()
        copy = tmp_path / "elsewhere" / "copy.wav"
        copy.parent.mkdir()
        shutil.copy(song, copy)
        assert entry_of(copy, separator).files == entry_of(song, separator).files
        assert separator.num_calls == 1
        write(song, noise(RATE, 2, seed=1))
        entry_of(song, separator)
        assert separator.num_calls == 2 and len(entries(cache_folder)) == 2

    @pytest.mark.parametrize(
        ("separator", "options"),
        [
            (Halves("others"), {}),
            (Halves(version="2"), {}),
            (Halves(), {"start": 0.5}),
            (Halves(), {"duration": 0.5}),
            (Halves(), {"start": 0.25, "duration": 0.5}),
        ],
    )
    def test_belong_to_separator_version_and_excerpt(self, song, cache_folder, separator, options):
        entry_of(song, Halves())
        entry_of(song, separator, **options)
        assert separator.num_calls == 1 and len(entries(cache_folder)) == 2

    def test_go_into_the_folder_asked_for(self, song, tmp_path, cache_folder):
        entry = entry_of(song, Halves(), cache_folder=tmp_path / "other")
        assert next(iter(entry.files.values())).is_relative_to(tmp_path / "other" / "stems")
        assert not cache_folder.exists()

    def test_that_are_not_kept_leave_nothing(self, song, cache_folder):
        separator = Halves()
        for _ in range(2):
            with cached_stems(song, separator, keep=False) as entry:
                np.testing.assert_array_equal(read(entry.files["half"]), 0.5 * read(song))
            assert not any(path.exists() for path in entry.files.values())
        assert separator.num_calls == 2 and not cache_folder.exists()

    def test_are_what_precomputed_loads(self, song):
        entry = entry_of(song, Halves())
        names, stems = precomputed.load(next(iter(entry.files.values())).parent, RATE)
        assert names == Halves.names
        np.testing.assert_allclose(stems[0], 0.5 * read(song).mean(axis=1), atol=1e-6)
        np.testing.assert_array_equal(io.load_stems(entry.stems, RATE)[1], stems)

    def test_names_of_files_may_be_odd(self, song, tmp_path):
        odd = tmp_path / os.fsdecode(b"caf\xe9 \xe2\x98\x83\n.wav")
        shutil.copy(song, odd)
        entry = entry_of(odd, Halves())
        assert entry.listing["source"]["name"] == odd.name


DAMAGE = {
    "missing stem": lambda folder: (folder / "half.wav").unlink(),
    "shorter stem": lambda folder: write(folder / "half.wav", noise(RATE // 2, 2)),
    "truncated stem": lambda folder: os.truncate(folder / "half.wav", 1_000),
    "empty stem": lambda folder: (folder / "half.wav").write_bytes(b""),
    "another stem": lambda folder: shutil.copy(folder / "quarter.wav", folder / "half.wav"),
    "missing listing": lambda folder: (folder / "stems.json").unlink(),
    "truncated listing": lambda folder: os.truncate(folder / "stems.json", 100),
    "another listing": lambda folder: (folder / "stems.json").write_text("[1]"),
    "no format": lambda folder: (folder / "stems.json").write_text("{}"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_entries_are_made_anew(song, cache_folder, damage):
    separator = Halves()
    folder = entry_of(song, separator).files["half"].parent
    DAMAGE[damage](folder)
    entry = entry_of(song, separator)
    assert separator.num_calls == 2
    np.testing.assert_array_equal(read(entry.files["half"]), 0.5 * read(song))
    assert entries(cache_folder) == [folder.name]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("error", [AudioError("broken"), KeyboardInterrupt(), MemoryError()])
def test_what_fails_on_the_way_leaves_nothing(song, cache_folder, error, keep):
    with pytest.raises(type(error)):
        entry_of(song, Failing(error), keep=keep)
    assert entries(cache_folder) == []
    entry_of(song, Halves())


KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from lime_jax import separation

class Endless:
    name, version = "halves", "1"
    def stream(self, blocks, sample_rate):
        def stems():
            yield np.stack([next(blocks)])
            print("begun", flush=True)
            time.sleep(60)
        return separation.StemStream(("half",), stems())

with separation.cached_stems(Path(sys.argv[1]), Endless()):
    pass
"""


@pytest.mark.slow
def test_a_kill_on_the_way_leaves_no_entry(song, cache_folder):
    command = [sys.executable, "-c", KILLED, str(song)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"begun\n"
        process.kill()
    assert all(name.startswith(".") for name in entries(cache_folder))
    separator = Halves()
    entry_of(song, separator)
    assert separator.num_calls == 1


class Slow(Halves):
    """Takes its time, and notices whether it is asked twice at once."""

    def __init__(self):
        super().__init__("slow")
        self.num_running = self.most_running = 0

    def __call__(self, waveform, sample_rate):
        self.num_running += 1
        self.most_running = max(self.most_running, self.num_running)
        time.sleep(0.05)
        self.num_running -= 1
        return super().__call__(waveform, sample_rate)


def in_threads(*calls):
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_wait_for_the_entry_that_one_of_them_makes(song, cache_folder):
    separator, found = Slow(), []
    in_threads(*[lambda: found.append(entry_of(song, separator))] * 4)
    assert len(found) == 4 and all(entry == found[0] for entry in found)
    assert separator.num_calls == 1 and len(entries(cache_folder)) == 1


@pytest.mark.parametrize("keep", [True, False])
def test_separators_work_on_one_sound_at_a_time(tmp_path, keep):
    songs = [write(tmp_path / f"{seed}.wav", noise(RATE, seed=seed)) for seed in range(3)]
    separator = Slow()
    in_threads(*(lambda path=path: entry_of(path, separator, keep=keep) for path in songs))
    assert (separator.num_calls, separator.most_running) == (3, 1)


AT_ONCE = """
import sys
from pathlib import Path
from lime_jax import separation

with separation.cached_stems(Path(sys.argv[1]), separation.Command(tuple(sys.argv[2:]))) as entry:
    print(*entry.files)
"""


@pytest.mark.slow
def test_processes_may_separate_at_the_same_time(song, cache_folder, program):
    command = [sys.executable, "-c", AT_ONCE, str(song), *program]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    assert [process.communicate()[0] for process in running] == [b"high low\n"] * 3
    assert len(entries(cache_folder)) == 1


EXCERPTS = {
    "all": ({}, 0, 12_345),
    "a beginning": ({"duration": 0.5}, 0, 4_000),
    "an end": ({"start": 1.0}, 8_000, 12_345),
    "a middle": ({"start": 0.5, "duration": 0.25}, 4_000, 6_000),
    "parts of samples": ({"start": 0.10001, "duration": 0.10001}, 800, 1_601),
}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("case", EXCERPTS)
def test_stems_are_exactly_as_long_as_the_excerpt(tmp_path, channels, case):
    options, first, end = EXCERPTS[case]
    path = write(tmp_path / "song.wav", noise(12_345, channels))
    entry = entry_of(path, Halves(), **options)
    assert entry.listing["num_samples"] == end - first
    for gain, file in zip((0.5, 0.25), entry.files.values(), strict=True):
        np.testing.assert_array_equal(read(file), np.float32(gain) * read(path)[first:end])


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_stems_of_coded_sound_are_as_long_as_what_is_decoded(tmp_path, suffix):
    path = tmp_path / f"song.{suffix}"
    soundfile.write(path, noise(3 * RATE, 2), RATE)
    entry = entry_of(path, Halves())
    assert read(entry.files["half"]).shape == read(path).shape


class Blockwise(Halves):
    """Remembers how large its blocks were."""

    def __init__(self):
        super().__init__("blockwise")
        self.sizes = []

    def stream(self, blocks, sample_rate):
        def stems():
            for block in blocks:
                self.sizes.append(block.shape[1])
                yield np.stack([0.5 * block, 0.5 * block])

        return StemStream(("a", "b"), stems())


def test_long_sounds_pass_in_blocks(tmp_path):
    num_samples = 5 * BLOCK + 17
    path = write(tmp_path / "long.wav", noise(num_samples, 2))
    separator = Blockwise()
    entry = entry_of(path, separator)
    assert max(separator.sizes) <= BLOCK and sum(separator.sizes) == num_samples
    np.testing.assert_array_equal(read(entry.files["b"]), 0.5 * read(path))


class Named(Halves):
    def __init__(self, *names):
        super().__init__("named", gains=(0.1,) * len(names))
        self.names = names


@pytest.mark.parametrize(
    "names",
    [
        ("", "b"), (".", "b"), ("..", "b"), (".hidden", "b"), ("../up", "b"), ("a/b", "b"),
        ("a\\b", "b"), ("a\0", "b"), ("a\n", "b"), ("a:b", "b"), ("a*", "b"), ("same", "same"),
        ("mix", "b"), ("Mixture", "b"),
    ],
)  # fmt: skip
def test_names_that_files_cannot_have_are_refused(song, cache_folder, names):
    with pytest.raises(ValueError, match=r"stems must have different names.*got '") as error:
        entry_of(song, Named(*names))
    assert "\n" not in str(error.value) and entries(cache_folder) == []


@pytest.mark.parametrize("names", [("vocals", "other stuff"), ("Gesäng", "鼓"), ("a.b", "a")])
def test_other_names_are_fine(song, names):
    assert tuple(entry_of(song, Named(*names)).files) == names


@pytest.mark.parametrize(
    ("gains", "message"),
    [
        ((np.nan, 0.5), "NaN or infinite samples"),
        ((0.5, np.inf), "NaN or infinite samples"),
        ((0.0, 0.0), "nothing but silence"),
    ],
)
def test_stems_that_cannot_be_heard_are_refused(song, cache_folder, gains, message):
    with pytest.raises(AudioError, match=message):
        entry_of(song, Halves(gains=gains))
    assert entries(cache_folder) == []


def test_a_silent_stem_among_others_is_fine(song):
    assert not read(entry_of(song, Halves(gains=(0.0, 1.0))).files["half"]).any()


def not_there(folder):
    return folder / "none.wav"


def nothing(folder):
    (folder / "empty.wav").touch()
    return folder / "empty.wav"


def text(folder):
    (folder / "text.wav").write_text("no sound")
    return folder / "text.wav"


BAD = {
    "missing": (not_there, {}, "does not exist"),
    "folder": (lambda folder: folder, {}, "is a folder"),
    "empty": (nothing, {}, "is empty"),
    "no audio": (text, {}, "is not audio"),
    "channels": (lambda f: write(f / "a.wav", noise(RATE, 3)), {}, "3 channels, more than 2"),
    "beyond": (lambda f: write(f / "a.wav", noise(RATE)), {"start": 2.0}, "is 1.00 s long"),
    "NaN": (lambda f: write(f / "a.wav", np.full(RATE, np.nan)), {}, "NaN"),
    "silence": (lambda f: write(f / "a.wav", np.zeros(RATE)), {}, "is silent there"),
}


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("name", BAD)
def test_bad_sounds_give_one_line_and_no_entry(tmp_path, cache_folder, name, keep):
    make, options, message = BAD[name]
    with pytest.raises(AudioError, match=message) as error:
        entry_of(make(tmp_path), Halves(), keep=keep, **options)
    assert len(str(error.value).splitlines()) == 1 and entries(cache_folder) == []


@pytest.mark.parametrize(
    "options", [{"start": -1.0}, {"duration": 0.0}, {"start": np.nan}, {"duration": np.inf}]
)
def test_impossible_excerpts_are_refused(song, cache_folder, options):
    with pytest.raises(ValueError, match=r"`start` must be at least 0 s"):
        entry_of(song, Halves(), **options)
    assert entries(cache_folder) == []


def test_a_cache_that_cannot_be_written_is_named(song, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LIME_JAX_CACHE", str(tmp_path / "file"))
    with pytest.raises(LimeJaxError, match=r"cannot be written.*LIME_JAX_CACHE"):
        entry_of(song, Halves())
    entry_of(song, Halves(), keep=False)


class TestResidualFile:
    @pytest.mark.parametrize("channels", [1, 2])
    @pytest.mark.parametrize("options", [{}, {"start": 0.25, "duration": 0.5}])
    def test_makes_the_stems_sum_to_the_sound(self, tmp_path, channels, options):
        path = write(tmp_path / "song.wav", noise(RATE, channels))
        entry = entry_of(path, Halves(), **options)
        residual = residual_file(path, entry, tmp_path, **options)
        whole = entry.with_stem("residual", residual)
        first = round(options.get("start", 0) * RATE)
        sound = read(path)[first : first + entry.listing["num_samples"]]
        np.testing.assert_allclose(sum(map(read, whole.files.values())), sound, atol=1e-6)
        assert whole.listing["files"] == ["stems.json", "half.wav", "quarter.wav", "residual.wav"]
        assert soundfile.info(residual).subtype == "FLOAT"

    def test_sums_long_sounds_in_blocks(self, tmp_path):
        path = write(tmp_path / "long.wav", noise(2 * BLOCK + 5, 2))
        entry = entry_of(path, Halves())
        residual = residual_file(path, entry, tmp_path)
        total = sum(map(read, entry.files.values())) + read(residual)
        np.testing.assert_allclose(total, read(path), atol=1e-6)

    @pytest.mark.parametrize(("gain", "is_there"), [(0.4995, False), (0.4985, True), (0.5, False)])
    def test_is_there_above_60_db_below_the_sound(self, song, tmp_path, gain, is_there):
        entry = entry_of(song, Halves(gains=(0.5, gain)))
        assert (residual_file(song, entry, tmp_path) is not None) == is_there

    def test_replaces_a_stem_of_that_name(self, song, tmp_path):
        separator = Named("low", "residual")
        entry = entry_of(song, separator)
        whole = entry.with_stem("residual", residual_file(song, entry, tmp_path))
        assert [stem["name"] for stem in whole.listing["stems"]] == ["low", "residual"]
        np.testing.assert_allclose(sum(map(read, whole.files.values())), read(song), atol=1e-6)
