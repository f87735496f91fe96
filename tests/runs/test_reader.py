"""Loading: few lengths, every failure with its reason, in order and ahead; batches of one shape."""

import dataclasses
import itertools
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lime_jax.runs import batching, reader
from lime_jax.runs.batching import batches
from lime_jax.runs.items import Item
from lime_jax.runs.reader import AudioRequirements, Failure, Snippet, load, load_ahead, padded_size
from tests.runs.conftest import RATE, STEMS, write_song

REQUIREMENTS = AudioRequirements(
    sample_rate=RATE,
    shortest=1_000,
    with_stems=False,
    snippet=None,
    hop=0,
    resampler="soxr",
    max_channels=2,
)
WITH_STEMS = dataclasses.replace(REQUIREMENTS, with_stems=True)


def noise(seed, num_samples=RATE):
    return 0.1 * np.random.default_rng(seed).standard_normal(num_samples)


def write(path, samples, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000)


def lengths(rate):
    """From 0.1 s to ten minutes, close to the sizes and between them."""
    spread = np.geomspace(0.1 * rate, 600 * rate, 2_000).astype(int)
    exact = np.arange(1, 81) * rate // 8
    return sorted({*spread.tolist(), *(int(n) + d for n in exact for d in (-1, 0, 1))})


@pytest.mark.parametrize("rate", RATES)
class TestPaddedSize:
    def test_nothing_is_cut_off_and_at_most_an_eighth_added(self, rate):
        for length in lengths(rate):
            assert length <= padded_size(length, rate) <= length * 9 / 8 + 1

    def test_longer_sounds_are_not_shorter(self, rate):
        sizes = [padded_size(length, rate) for length in lengths(rate)]
        assert sizes == sorted(sizes)

    def test_an_octave_has_eight_sizes(self, rate):
        for seconds in (0.25, 0.5, 1, 2, 4, 8, 16):
            first, last = int(seconds * rate) + 1, int(2 * seconds * rate)
            steps = np.linspace(seconds * rate, last, 9).astype(int)
            near = (steps[:, None] + np.arange(-5, 6)).ravel()
            octave = [n for n in (*near, *range(first, last, 97)) if first <= n <= last]
            assert len({padded_size(int(length), rate) for length in octave}) == 8

    def test_round_seconds_stay(self, rate):
        for seconds in (*range(1, 11), 12, 14, 15, 16, 18, 20, 24, 30, 32, 40, 60, 120):
            assert padded_size(seconds * rate, rate) == seconds * rate


@pytest.mark.parametrize("rate", [rate for rate in RATES if rate % 64 == 0])
def test_sizes_of_whole_samples_stay(rate):
    for length in lengths(rate):
        size = padded_size(length, rate)
        assert length < rate // 8 or padded_size(size, rate) == size


class TestWholeItems:
    @pytest.mark.parametrize("num_samples", [1_000, 3_999, 8_000, 8_001, 9_000, 12_345])
    def test_silence_is_added_behind_the_sound(self, tmp_path, num_samples):
        sound = noise(0, num_samples)
        item = Item("a", write(tmp_path / "a.wav", sound))
        [snippet] = load(item, REQUIREMENTS)
        assert snippet.waveforms.dtype == np.float32
        assert snippet.waveforms.shape == (1, padded_size(num_samples, RATE))
        np.testing.assert_allclose(snippet.waveforms[0, :num_samples], sound, atol=1e-6)
        assert not snippet.waveforms[:, num_samples:].any()
        assert (snippet.item, snippet.num_samples) == (item, num_samples)
        assert (snippet.index, snippet.num_snippets, snippet.start) == (0, 1, 0.0)
        assert snippet.names == () and snippet.load_seconds > 0

    def test_excerpts_start_where_they_are_said_to(self, tmp_path):
        path = write(tmp_path / "a.wav", noise(0))
        [snippet] = load(Item("a", path, start=0.25, duration=0.5), REQUIREMENTS)
        assert (snippet.start, snippet.num_samples) == (0.25, RATE // 2)
        part = noise(0)[RATE // 4 : 3 * RATE // 4]
        np.testing.assert_allclose(snippet.waveforms[0, : RATE // 2], part, atol=1e-6)

    def test_channels_are_averaged_and_rates_changed(self, tmp_path):
        channels = np.stack([noise(0), noise(1)], axis=1)
        [snippet] = load(Item("a", write(tmp_path / "a.wav", channels)), REQUIREMENTS)
        np.testing.assert_allclose(snippet.waveforms[0], channels.mean(axis=1), atol=1e-6)
        [snippet] = load(Item("b", write(tmp_path / "b.wav", noise(0), 2 * RATE)), REQUIREMENTS)
        assert snippet.num_samples == RATE // 2


def silent_stems(folder):
    for name in STEMS:
        write(folder / f"{name}.wav", np.zeros(RATE))
    return Item("x", stems=folder)


def stems_of_other_lengths(folder):
    write(folder / "a.wav", noise(0))
    write(folder / "b.wav", noise(1, RATE // 2))
    return Item("x", stems=folder)


def stems_of_other_rates(folder):
    write(folder / "a.wav", noise(0))
    write(folder / "b.wav", noise(1, 2 * RATE), 2 * RATE)
    return Item("x", stems=folder)


def longer_mix(folder):
    write_song(folder / "song", 0)
    return Item("x", write(folder / "mix.wav", noise(0, 2 * RATE)), stems=folder / "song")


def text(folder, name="x.wav"):
    (folder / name).write_text("no sound")
    return Item("x", folder / name)


def of(samples, rate=RATE, **excerpt):
    return lambda folder: Item("x", write(folder / "x.wav", samples, rate), **excerpt)


# What makes the item, what is wanted, and what the reason must say.
FAILURES = {
    "missing": (lambda folder: Item("x", folder / "x.wav"), REQUIREMENTS, "x.wav` does not exist"),
    "folder": (lambda folder: Item("x", folder), REQUIREMENTS, "is a folder"),
    "text": (text, REQUIREMENTS, "is not audio"),
    "name of two lines": (lambda folder: text(folder, "x\ny.wav"), REQUIREMENTS, "is not audio"),
    "no name at all": (lambda folder: Item("x", folder / "a\0b.wav"), REQUIREMENTS, "null"),
    "too long a name": (
        lambda folder: Item("x", folder / ("x" * 300)),
        REQUIREMENTS,
        "cannot be read",
    ),
    "file in a file": (
        lambda folder: Item("x", text(folder).path / "a"),
        REQUIREMENTS,
        "cannot be read",
    ),
    "short": (of(noise(0, 999)), REQUIREMENTS, "gives 0.12 s, but the model needs 0.12 s"),
    "silent": (of(np.zeros(RATE)), REQUIREMENTS, "is silent"),
    "nan": (of(np.full(RATE, np.nan)), REQUIREMENTS, "NaN"),
    "channels": (of(np.tile(noise(0)[:, None], 3)), REQUIREMENTS, "3 channels, more than 2"),
    "late": (
        of(noise(0), start=2.0),
        REQUIREMENTS,
        "is 1.00 s long, the excerpt asked for goes from 2",
    ),
    "long": (
        of(noise(0), duration=2.0),
        REQUIREMENTS,
        "is 1.00 s long, the excerpt asked for goes from 0",
    ),
    "before": (of(noise(0), start=-1.0), REQUIREMENTS, "`start` must be at least 0 s"),
    "no time": (of(noise(0), duration=0.0), REQUIREMENTS, "`duration` above 0 s"),
    "endless": (of(noise(0), duration=float("inf")), REQUIREMENTS, "`duration` above 0 s"),
    "no sound": (lambda folder: Item("x"), REQUIREMENTS, "has no stems"),
    "no stems": (of(noise(0)), WITH_STEMS, "has no stems. Give a separator, a manifest"),
    "missing stems": (
        lambda folder: Item("x", stems=folder / "none"),
        WITH_STEMS,
        "none` is not a folder",
    ),
    "empty stems": (lambda folder: Item("x", stems=folder), WITH_STEMS, "holds no stems"),
    "no list of stems": (lambda folder: Item("x", stems={}), WITH_STEMS, ""),
    "missing file of a stem": (
        lambda folder: Item("x", stems={"a": (folder / "none.wav",)}),
        WITH_STEMS,
        "none.wav` does not exist",
    ),
    "silent stems": (silent_stems, WITH_STEMS, "holds only silent stems"),
    "stems of other lengths": (stems_of_other_lengths, WITH_STEMS, "different lengths"),
    "stems of other rates": (stems_of_other_rates, WITH_STEMS, "different sample rates"),
    "longer mix": (longer_mix, WITH_STEMS, "must have the same length"),
    "missing mix": (
        lambda folder: Item("x", folder / "mix.wav", stems=write_song(folder / "song", 0)),
        WITH_STEMS,
        "mix.wav` does not exist",
    ),
    "short stems": (
        lambda folder: Item("song", stems=write_song(folder / "song", 0, seconds=0.1)),
        WITH_STEMS,
        "`song` gives 0.10 s, but the model needs 0.12 s",
    ),
    "short for a snippet": (
        of(noise(0)),
        dataclasses.replace(REQUIREMENTS, snippet=RATE + 1, hop=1),
        "gives 1.00 s, but a snippet needs 1.00 s",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_has_a_reason_in_one_line(tmp_path, name):
    make, requirements, message = FAILURES[name]
    item = make(tmp_path)
    failure = load(item, requirements)
    assert isinstance(failure, Failure)
    assert (failure.item, failure.stage) == (item, "load")
    assert message in failure.reason
    assert failure.reason.strip() and len(failure.reason.splitlines()) == 1


def test_whatever_a_decoder_raises_is_a_failure(tmp_path, monkeypatch):
    item = Item("x", write(tmp_path / "x.wav", noise(0)))
    for error, reason in {
        MemoryError(): "MemoryError: MemoryError",
        RuntimeError("no\n such  thing"): "RuntimeError: no such thing",
        OSError(5, "Input/output error"): "OSError: [Errno 5] Input/output error",
    }.items():

        def broken(*_, error=error, **__):
            raise error

        monkeypatch.setattr(reader.io, "load", broken)
        assert load(item, REQUIREMENTS) == Failure(item, "load", reason)


# Samples of the sound, of a snippet and of the hop, and where the snippets must start.
SNIPPETS = {
    "one": (8_000, 8_000, 8_000, [0]),
    "side by side": (8_000, 2_000, 2_000, [0, 2_000, 4_000, 6_000]),
    "overlapping": (8_000, 4_000, 2_000, [0, 2_000, 4_000]),
    "with gaps": (8_000, 1_000, 3_000, [0, 3_000, 6_000]),
    "with a rest": (8_999, 4_000, 4_000, [0, 4_000]),
    "nearly one more": (7_999, 4_000, 4_000, [0]),
    "far apart": (8_000, 1_000, 20_000, [0]),
    "odd": (2_003, 1_000, 501, [0, 501, 1_002]),
}


class TestSnippets:
    @pytest.mark.parametrize("name", SNIPPETS)
    def test_they_are_the_parts_of_the_sound(self, tmp_path, name):
        num_samples, size, hop, firsts = SNIPPETS[name]
        item = Item("a", write(tmp_path / "a.wav", noise(0, num_samples)))
        snippets = load(item, dataclasses.replace(REQUIREMENTS, snippet=size, hop=hop))
        assert [snippet.start for snippet in snippets] == [first / RATE for first in firsts]
        assert [snippet.index for snippet in snippets] == list(range(len(firsts)))
        assert {snippet.num_snippets for snippet in snippets} == {len(firsts)}
        for snippet, first in zip(snippets, firsts, strict=True):
            assert snippet.num_samples == size
            part = noise(0, num_samples)[first : first + size]
            np.testing.assert_allclose(snippet.waveforms, part[None], atol=1e-6)

    def test_starts_count_from_the_start_of_the_file(self, tmp_path):
        item = Item("a", write(tmp_path / "a.wav", noise(0)), start=0.5)
        snippets = load(item, dataclasses.replace(REQUIREMENTS, snippet=2_000, hop=1_000))
        assert [snippet.start for snippet in snippets] == [0.5, 0.625, 0.75]
        whole = noise(0)[RATE // 2 :]
        np.testing.assert_allclose(snippets[1].waveforms[0], whole[1_000:3_000], atol=1e-6)

    def test_stems_are_cut_alike(self, tmp_path):
        item = Item("a", stems=write_song(tmp_path / "song", 0))
        [whole] = load(item, WITH_STEMS)
        snippets = load(item, dataclasses.replace(WITH_STEMS, snippet=2_000, hop=2_000))
        joined = np.concatenate([snippet.waveforms for snippet in snippets], axis=1)
        np.testing.assert_array_equal(joined, whole.waveforms)


class TestStems:
    @pytest.fixture
    def song(self, tmp_path):
        """A folder of stems, and their sum."""
        folder = write_song(tmp_path / "song", 0)
        return folder, sum(soundfile.read(folder / f"{name}.wav")[0] for name in STEMS)

    def test_without_a_mixture_they_are_all_there_is(self, song):
        [snippet] = load(Item("a", stems=song[0]), WITH_STEMS)
        assert snippet.names == STEMS and snippet.waveforms.shape == (3, RATE)
        for name, waveform in zip(STEMS, snippet.waveforms, strict=True):
            expected = soundfile.read(song[0] / f"{name}.wav")[0]
            np.testing.assert_allclose(waveform, expected, atol=1e-6)

    def test_their_sum_is_the_mixture(self, song):
        [snippet] = load(Item("a", stems=song[0]), REQUIREMENTS)
        assert snippet.names == ()
        np.testing.assert_allclose(snippet.waveforms, song[1][None], atol=1e-6)

    def test_the_mixture_itself_is_preferred(self, song, tmp_path):
        mix = write(tmp_path / "mix.wav", noise(1))
        [snippet] = load(Item("a", mix, stems=song[0]), REQUIREMENTS)
        np.testing.assert_allclose(snippet.waveforms, noise(1)[None], atol=1e-6)

    def test_a_mixture_of_them_leaves_no_residual(self, song, tmp_path):
        mix = write(tmp_path / "mix.wav", song[1])
        [snippet] = load(Item("a", mix, stems=song[0]), WITH_STEMS)
        assert snippet.names == STEMS

    def test_the_residual_is_what_they_lack(self, song, tmp_path):
        mix = write(tmp_path / "mix.wav", song[1] + noise(1))
        [snippet] = load(Item("a", mix, stems=song[0]), WITH_STEMS)
        assert snippet.names == (*STEMS, "residual")
        np.testing.assert_allclose(snippet.waveforms[3], noise(1), atol=1e-5)
        np.testing.assert_allclose(snippet.waveforms.sum(axis=0), song[1] + noise(1), atol=1e-5)

    def test_mixture_and_stems_are_the_same_excerpt(self, song, tmp_path):
        mix = write(tmp_path / "mix.wav", song[1])
        [snippet] = load(Item("a", mix, 0.25, 0.5, song[0]), WITH_STEMS)
        assert (snippet.names, snippet.start, snippet.num_samples) == (STEMS, 0.25, RATE // 2)
        part = song[1][RATE // 4 : 3 * RATE // 4]
        mixture = snippet.waveforms[:, : RATE // 2].sum(axis=0)
        np.testing.assert_allclose(mixture, part, atol=1e-5)

    def test_files_of_a_stem_are_summed(self, song):
        files = {name: song[0] / f"{name}.wav" for name in STEMS}
        stems = {"band": (files["bass"], files["drums"]), "voice": (files["voice"],)}
        [snippet] = load(Item("a", stems=stems), WITH_STEMS)
        assert snippet.names == ("band", "voice")
        np.testing.assert_allclose(snippet.waveforms.sum(axis=0), song[1], atol=1e-5)

    def test_lengths_are_compared_where_files_have_one_name(self, tmp_path):
        write(tmp_path / "bass" / "take.wav", noise(0))
        write(tmp_path / "drums" / "take.wav", noise(1, RATE // 2))
        stems = {name: (tmp_path / name / "take.wav",) for name in ("bass", "drums")}
        failure = load(Item("a", stems=stems), WITH_STEMS)
        assert isinstance(failure, Failure) and "different lengths" in failure.reason

    def test_absolute_and_relative_files_may_go_together(self, song, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        stems = {"bass": (song[0] / "bass.wav",), "voice": (Path("song/voice.wav"),)}
        assert not isinstance(load(Item("a", stems=stems), WITH_STEMS), Failure)


def snippet_of(item, *, shape=(1, 100), names=(), index=0):
    return Snippet(item, index, 1, 0.0, shape[1], np.zeros(shape, np.float32), names, 0.0)


def num_loaders():
    return sum(thread.name.startswith("load") for thread in threading.enumerate())


class TestAhead:
    @pytest.mark.parametrize("num_workers", [1, 2, 7])
    def test_items_and_failures_come_in_their_order(self, tmp_path, num_workers):
        paths = [write(tmp_path / f"{n}.wav", noise(n, 1_000 + n)) for n in range(12)]
        for number in (0, 5, 6, 11):
            paths[number].unlink()
        items = [Item(str(number), path) for number, path in enumerate(paths)]
        for item, loaded in zip(items, load_ahead(items, REQUIREMENTS, num_workers), strict=True):
            alone = load(item, REQUIREMENTS)
            assert isinstance(loaded, Failure) == isinstance(alone, Failure)
            if isinstance(alone, Failure):
                assert loaded == alone
            else:
                np.testing.assert_array_equal(loaded[0].waveforms, alone[0].waveforms)

    def test_slow_items_are_not_overtaken(self, monkeypatch):
        seconds = np.random.default_rng(0).uniform(0, 0.01, 50)

        def slow(item, requirements):
            time.sleep(seconds[int(item.id)])
            return [snippet_of(item)]

        monkeypatch.setattr(reader, "load", slow)
        items = [Item(str(number), Path("x")) for number in range(50)]
        assert [snippets[0].item for snippets in load_ahead(items, REQUIREMENTS, 8)] == items

    def test_nothing_gives_nothing(self):
        assert list(load_ahead([], REQUIREMENTS, 4)) == []
        assert num_loaders() == 0

    def test_items_are_loaded_before_they_are_asked_for(self, monkeypatch):
        together = threading.Barrier(3)

        def meet(item, requirements):
            together.wait(timeout=5)
            return [snippet_of(item)]

        monkeypatch.setattr(reader, "load", meet)
        items = [Item(str(number), Path("x")) for number in range(6)]
        assert len(list(load_ahead(items, REQUIREMENTS, 3))) == 6

    @pytest.mark.parametrize("num_taken", [1, 3, 20])
    def test_a_consumer_may_stop_at_any_time(self, monkeypatch, num_taken):
        asked = itertools.count()
        endless = (Item(str(number), Path("x")) for number in asked)
        monkeypatch.setattr(reader, "load", lambda item, requirements: Failure(item, "load", "no"))
        loaded = load_ahead(endless, REQUIREMENTS, 4)
        taken = list(itertools.islice(loaded, num_taken))
        assert [failure.item.id for failure in taken] == [
            str(number) for number in range(num_taken)
        ]
        loaded.close()
        assert next(asked) <= num_taken + 2 * 4
        assert num_loaders() == 0

    def test_what_was_not_begun_is_never_loaded(self, monkeypatch):
        begun, go = [], threading.Event()

        def slow(item, requirements):
            begun.append(item.id)
            if item.id != "0":
                go.wait(timeout=5)
            return Failure(item, "load", "no")

        monkeypatch.setattr(reader, "load", slow)
        loaded = load_ahead((Item(str(n), Path("x")) for n in range(100)), REQUIREMENTS, 2)
        next(loaded)
        threading.Timer(0.05, go.set).start()
        loaded.close()
        assert set(begun) <= {"0", "1", "2"}

    def test_a_source_that_fails_ends_the_loading(self, monkeypatch):
        def source():
            yield from (Item(str(number), Path("x")) for number in range(3))
            raise RuntimeError("the list is gone")

        monkeypatch.setattr(reader, "load", lambda item, requirements: Failure(item, "load", "no"))
        with pytest.raises(RuntimeError, match="the list is gone"):
            list(load_ahead(source(), REQUIREMENTS, 2))
        assert num_loaders() == 0

    @pytest.mark.parametrize(
        ("num_bytes", "lead"),
        [(400, 256), (40_000, 25), (400_000, 4)],
        ids=["short", "longer", "longest"],
    )
    def test_as_many_wait_as_there_is_room_for(self, monkeypatch, num_bytes, lead):
        monkeypatch.setattr(reader, "_AHEAD_BYTES", 1_000_000)
        shape = (1, num_bytes // 4)
        monkeypatch.setattr(
            reader, "load", lambda item, requirements: [snippet_of(item, shape=shape)]
        )
        asked = itertools.count()
        loaded = load_ahead((Item(str(number), Path("x")) for number in asked), REQUIREMENTS, 2)
        list(itertools.islice(loaded, 10))
        assert next(asked) - 10 == pytest.approx(lead, abs=1)
        loaded.close()

    def test_long_items_behind_short_ones_do_not_fill_the_memory(self, monkeypatch):
        monkeypatch.setattr(reader, "_AHEAD_BYTES", 1_000_000)

        def mixed(item, requirements):
            return [snippet_of(item, shape=(1, 100 if item.id == "0" else 300_000))]

        monkeypatch.setattr(reader, "load", mixed)
        asked = itertools.count()
        loaded = load_ahead((Item(str(number), Path("x")) for number in asked), REQUIREMENTS, 2)
        list(itertools.islice(loaded, 300))
        lead = next(asked) - 300
        loaded.close()
        assert lead <= 5


SHAPES = [((1, 100), ()), ((1, 200), ()), ((2, 100), ("a", "b")), ((2, 100), ("a", "c"))]


class TestBatches:
    @pytest.fixture
    def loaded(self):
        """Items of several snippets in four shapes, and failures between them."""
        rng, loaded = np.random.default_rng(0), []
        for number in range(60):
            item = Item(str(number), Path("x"))
            if number % 7 == 3:
                loaded.append(Failure(item, "load", "no"))
                continue
            shape, names = SHAPES[rng.integers(len(SHAPES))]
            count = rng.integers(1, 6)
            loaded.append(
                [snippet_of(item, shape=shape, names=names, index=i) for i in range(count)]
            )
        return loaded

    @pytest.mark.parametrize("size", [1, 2, 5, 1000])
    def test_every_snippet_is_in_one_batch_of_its_shape(self, loaded, size):
        batched, failures = [], []
        for batch in batches(loaded, lambda snippet: size):
            if isinstance(batch, Failure):
                failures.append(batch)
                continue
            assert 1 <= len(batch) <= size
            assert len({(snippet.waveforms.shape, snippet.names) for snippet in batch}) == 1
            batched.extend(batch)
        assert failures == [item for item in loaded if isinstance(item, Failure)]
        given = [snippet for item in loaded if isinstance(item, list) for snippet in item]
        assert {id(s) for s in batched} == {id(s) for s in given}
        assert len(batched) == len(given)

    @pytest.mark.parametrize("size", [2, 5])
    def test_only_what_is_left_over_is_a_smaller_batch(self, loaded, size):
        every = [b for b in batches(loaded, lambda snippet: size) if isinstance(b, list)]

        def key(batch):
            return batch[0].waveforms.shape, batch[0].names

        for shape in {key(batch) for batch in every}:
            assert {len(b) for b in [b for b in every if key(b) == shape][:-1]} <= {size}
        first_small = next(i for i, batch in enumerate(every) if len(batch) < size)
        assert all(len(batch) < size for batch in every[first_small:])

    def test_snippets_of_a_shape_keep_their_order(self, loaded):
        for batch in batches(loaded, lambda snippet: 1000):
            if isinstance(batch, list):
                order = [(int(snippet.item.id), snippet.index) for snippet in batch]
                assert order == sorted(order)

    def test_sizes_go_with_the_shape(self):
        items = [Item(str(number), Path("x")) for number in range(12)]
        loaded = [[snippet_of(i, shape=(1, 100 * (1 + n % 2)))] for n, i in enumerate(items)]
        sizes = [len(b) for b in batches(loaded, lambda snippet: 600 // snippet.waveforms.shape[1])]
        assert sizes == [3, 6, 3] or sizes == [3, 3, 6]

    def test_failures_and_full_batches_do_not_wait(self):
        item = Item("a", Path("x"))
        loaded = iter(
            [
                [snippet_of(item)],
                Failure(item, "load", "no"),
                [snippet_of(item)],
                [snippet_of(item)],
            ]
        )
        batched = batches(loaded, lambda snippet: 2)
        assert isinstance(next(batched), Failure) and len(list(loaded)) == 2
        loaded = iter([[snippet_of(item)]] * 5)
        assert len(next(batches(loaded, lambda snippet: 2))) == 2 and len(list(loaded)) == 3

    def test_nothing_gives_nothing(self):
        assert list(batches([], lambda snippet: 2)) == []

    def test_what_was_yielded_is_not_held(self, monkeypatch):
        monkeypatch.setattr(batching, "_HELD_BYTES", 4_000)
        loaded = [[snippet_of(Item(str(number), Path("x")))] for number in range(60)]
        assert [len(batch) for batch in batches(loaded, lambda snippet: 6)] == [6] * 10

    def test_a_full_memory_is_emptied_of_the_most(self, monkeypatch):
        monkeypatch.setattr(batching, "_HELD_BYTES", 4_000)
        items = [Item(str(number), Path("x")) for number in range(20)]
        shapes = [(1, 200), (1, 100), (1, 100), (1, 100), (1, 100)] * 4
        loaded = [[snippet_of(i, shape=s)] for i, s in zip(items, shapes, strict=True)]
        held, most, batched = 0, 0, []
        source = iter(loaded)

        def counted():
            nonlocal held, most
            for snippets in source:
                held += snippets[0].waveforms.nbytes
                most = max(most, held)
                yield snippets

        for batch in batches(counted(), lambda snippet: 1000):
            held -= sum(snippet.waveforms.nbytes for snippet in batch)
            batched.append(batch)
        assert most <= 4_000 + 800 and sum(map(len, batched)) == 20
        assert batched[0][0].waveforms.shape == (1, 100)
