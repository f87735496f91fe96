import collections
import json
import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from tests.scripts.conftest import ROOT


@pytest.fixture(scope="module")
def songs(script):
    return script("music.render_songs", "music.composers")


@pytest.fixture(scope="module")
def bands(songs):
    return [songs.compose_for_band(songs.Config(seed=7), index) for index in range(80)]


@pytest.fixture(scope="module")
def singers(songs):
    config = songs.Config(seed=7, duration=2.0)
    return [songs.compose_for_singer(config, index) for index in range(80)]


@pytest.fixture(scope="module")
def many(songs):
    return [songs.compose(songs.Config(seed=7), index) for index in range(80)]


@pytest.fixture(params=["random", "sung", "example"])
def song(request, songs):
    return songs.COMPOSERS[request.param](songs.Config(seed=7), 3)


def cast_of(song):
    """Names and gains of the parts."""
    return [part.family for part in song.parts], np.array([part.gain for part in song.parts])


class TestComposition:
    def test_seed_and_index_say_it_all(self, songs, many):
        assert songs.compose(songs.Config(seed=7), 5) == many[5]
        assert songs.compose(songs.Config(seed=8), 5) != many[5]
        assert many[4] != many[5]

    def test_notes_are_playable(self, song):
        for note in (note for part in song.parts for note in part.notes):
            assert 0 <= note.start < song.duration and note.duration > 0
            assert note.start + note.duration <= song.duration + 1e-9
            assert 0 <= note.pitch <= 127 and 1 <= note.velocity <= 127

    def test_every_part_plays_something(self, many):
        assert all(part.notes for song in many for part in song.parts)

    def test_sounds_belong_to_their_family(self, songs, many):
        for part in (part for song in many for part in song.parts):
            assert (part.bank, part.program) in songs.PROGRAMS[part.family]

    def test_pitches_stay_in_the_range_of_the_family(self, songs, many):
        for part in (part for song in many for part in song.parts if part.family != "drums"):
            low, _, high = songs.REGISTERS[part.family]
            assert all(low <= note.pitch <= high for note in part.notes)

    def test_pitches_belong_to_the_key(self, songs, many):
        for song in many:
            scale = song.harmony.scale()
            pitched = (part for part in song.parts if part.family != "drums")
            assert all(note.pitch % 12 in scale for part in pitched for note in part.notes)

    def test_no_family_implies_another(self, songs, many):
        casts = [{part.family for part in song.parts} for song in many]
        assert {len(cast) for cast in casts} == {1, 2, 3, 4, 5}
        for family in songs.FAMILIES:
            for other in set(songs.FAMILIES) - {family}:
                assert any(family in cast and other not in cast for cast in casts)

    def test_all_keys_modes_and_most_programs_occur(self, songs, many):
        assert {song.harmony.key for song in many} == set(range(12))
        assert {song.harmony.mode for song in many} == set(songs.patterns.MODES)
        used = collections.Counter(
            (part.family, part.bank, part.program) for song in many for part in song.parts
        )
        assert len(used) > 0.8 * sum(map(len, songs.PROGRAMS.values()))

    def test_families_come_and_go(self, many):
        def longest_rest(part, song):
            starts = [note.start for note in part.notes]
            return np.diff([0.0, *starts, song.duration]).max()

        rests = [longest_rest(part, song) > 4.0 for song in many for part in song.parts]
        assert 0.2 < np.mean(rests) < 0.8

    def test_all_families_play_throughout_the_example(self, songs):
        song = songs.example(songs.Config(duration=10.0), 0)
        assert [part.family for part in song.parts] == list(songs.FAMILIES)
        for part in song.parts:
            assert {int(note.start / 2.5) for note in part.notes} == {0, 1, 2, 3}


class TestLevels:
    def test_no_subset_of_stems_clips(self, songs, many):
        song = next(song for song in many if len(song.parts) == 4)
        rng = np.random.default_rng(0)
        loud = rng.uniform(-3, 3, (4, 16_000)).astype(np.float32)
        stems = np.stack(list(songs.balance(*cast_of(song), loud).values()))
        assert np.abs(stems).sum(axis=0).max() <= 1.0
        assert not stems[:, -1].any()

    def test_gains_set_the_level_while_a_stem_sounds(self, songs, many):
        names, gains = cast_of(next(song for song in many if len(song.parts) == 1))
        pulse = np.zeros((1, 16_000), np.float32)
        pulse[0, 4000:8000] = 0.01
        (stem,) = songs.balance(names, gains, pulse).values()
        level = 20 * np.log10(np.abs(stem).max())
        np.testing.assert_allclose(level, songs.LEVEL_DB + gains[0], atol=1e-3)


class TestBands:
    def test_they_are_cast_as_in_slakh(self, bands):
        casts = [collections.Counter(part.family for part in song.parts) for song in bands]
        assert all(cast[name] for cast in casts for name in ("piano", "guitar", "bass", "drums"))
        assert 0.7 < sum("strings" in cast for cast in casts) / len(casts) < 0.95
        assert all(cast["bass"] == cast["drums"] == 1 for cast in casts)
        for family in ("piano", "guitar"):
            assert {cast[family] for cast in casts} == {1, 2}

    def test_seven_of_ten_songs_are_for_training(self, songs):
        splits = collections.Counter(map(songs.split_of, range(100)))
        assert splits == {"train": 70, "validation": 10, "test": 20}

    def test_parts_of_a_family_make_one_stem(self, songs, bands):
        song = next(song for song in bands if len(song.parts) > 5)
        noise = np.random.default_rng(0).normal(0, 0.1, (len(song.parts), 8000))
        names, gains = cast_of(song)
        stems = songs.balance(names, gains, noise)
        assert list(stems) == list(dict.fromkeys(names))
        guitars = sum(
            songs.balance([name], gain[None], row[None])[name]
            for name, gain, row in zip(names, gains, noise, strict=True)
            if name == "guitar"
        )
        # Up to one gain for all, which keeps the loudest sum within full scale.
        gain = np.dot(stems["guitar"], guitars) / np.dot(guitars, guitars)
        np.testing.assert_allclose(stems["guitar"], gain * guitars, atol=1e-6)


class TestVoices:
    def test_a_band_plays_with_them(self, songs, bands):
        sung = songs.compose_for_singer(songs.Config(seed=7), 5)
        assert sung.parts[: len(bands[5].parts)] == bands[5].parts
        assert sung.harmony == bands[5].harmony and sung.name == "sung-7-00005"

    def test_they_are_choirs_of_the_soundfont_or_singers(self, songs, singers):
        for song in singers:
            voices = [part for part in song.parts if part.family == songs.VOICE]
            assert len(voices) == (song.singer is None)
            assert all((part.bank, part.program) in songs.singing.CHOIRS for part in voices)
        manners = collections.Counter(getattr(song.singer, "manner", "choir") for song in singers)
        shares = [manners[manner] / len(singers) for manner in songs.singing.MANNERS]
        np.testing.assert_allclose(shares, list(songs.singing.MANNERS.values()), atol=0.12)

    def test_choirs_need_neither_words_nor_tuning(self, songs, singers, tmp_path):
        index = next(n for n, song in enumerate(singers) if song.singer is None)
        folder, description = write(songs, tmp_path, "sung", index)
        assert {path.stem for path in folder.glob("*.flac")} >= {"drums", "voice"}
        labels = (folder / "voice.lab").read_text(encoding="utf-8")
        assert labels == "0.000 2.000 sing\n"
        assert "singer" not in description and "eSpeak" not in description["licence"]

    @pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng")
    def test_words_are_reported_and_labelled(self, songs, singers, tmp_path):
        index = next(
            n for n, song in enumerate(singers) if song.singer and song.singer.manner == "spoken"
        )
        folder, description = write(songs, tmp_path, "sung", index)
        assert "the voice by eSpeak NG" in description["licence"]
        assert all(phrase["words"] for phrase in description["singer"]["phrases"])
        assert " sing\n" in (folder / "voice.lab").read_text(encoding="utf-8")
        voice, rate = soundfile.read(folder / "voice.flac")
        assert (rate, len(voice)) == (16_000, 32_000) and np.abs(voice).max() > 0.01

    def test_others_have_no_labels(self, songs, tmp_path):
        folder, description = write(songs, tmp_path, "band", 0)
        assert not list(folder.glob("*.lab")) and "singer" not in description


def write(songs, folder, composer, index):
    """Writes a song of two seconds whose instruments all make noise."""
    config = songs.Config(folder=folder, seed=7, duration=2.0, composer=composer)
    songs.write_song(index, config, Noise())
    (song,) = folder.iterdir()
    return song, json.loads((song / "song.json").read_text(encoding="utf-8"))


class Noise:
    """Stands in for a synthesizer."""

    credits = "nobody"

    def __call__(self, messages, duration):
        return np.random.default_rng(0).normal(0, 0.1, round(duration * 32_000))


class TestMidi:
    def test_parts_follow_each_other_and_every_note_ends(self, song, songs):
        pytest.importorskip("mido", reason="writing MIDI needs mido")
        slot = song.duration + songs.GAP_SECONDS
        channels = [9 if part.family == "drums" else n for n, part in enumerate(song.parts)]
        sounding = collections.Counter()
        for seconds, message in sorted(songs.messages(song), key=lambda timed: timed[0]):
            assert int(seconds // slot) == channels.index(message.channel) or (
                message.type == "control_change"
            )
            if message.type.startswith("note"):
                step = 1 if message.type == "note_on" else -1
                sounding[message.channel, message.note] += step
        assert not any(sounding.values())


@pytest.mark.slow
class TestRendering:
    @pytest.fixture
    def config(self, songs, tmp_path):
        pytest.importorskip("mido", reason="writing MIDI needs mido")
        if shutil.which("fluidsynth") is None or not songs.synthesis.SOUNDFONT.is_file():
            pytest.skip("needs fluidsynth and fluid-soundfont-gm")
        return songs.Config(folder=tmp_path, num_songs=1, duration=3.0, composer="example")

    @pytest.fixture
    def synthesizer(self, songs, config):
        return songs.synthesis.find("fluidsynth", None)

    def test_the_same_song_is_the_same_sound(self, songs, config, synthesizer):
        song = songs.example(config, 0)
        first, second = (songs.render(song, synthesizer) for _ in range(2))
        assert all(np.array_equal(first[family], second[family]) for family in first)

    def test_stems_sound_and_do_not_leak_into_the_next(self, songs, config, synthesizer):
        late = songs.example(config, 0)
        quiet = [
            songs.dataclasses.replace(
                part, notes=tuple(note for note in part.notes if note.start > 1.5)
            )
            for part in late.parts
        ]
        stems = songs.render(songs.dataclasses.replace(late, parts=tuple(quiet)), synthesizer)
        for waveform in stems.values():
            assert np.abs(waveform[: int(1.4 * songs.SAMPLE_RATE)]).max() < 1e-4
            assert np.abs(waveform).max() > 1e-2

    def test_a_song_is_a_folder_of_stems(self, songs, config):
        import soundfile

        songs.run(config)
        (folder,) = config.folder.iterdir()
        description = json.loads((folder / "song.json").read_text(encoding="utf-8"))
        assert [part["family"] for part in description["parts"]] == list(songs.FAMILIES)
        for family in songs.FAMILIES:
            info = soundfile.info(folder / f"{family}.flac")
            assert (info.samplerate, info.channels, info.frames) == (16_000, 1, 48_000)

    def test_songs_of_other_settings_are_not_taken_for_these(self, songs, config):
        songs.run(config)
        songs.run(config)  # is there already
        other = songs.dataclasses.replace(config, duration=4.0)
        with pytest.raises(SystemExit, match=r"rendered with other settings \(config\)"):
            songs.run(other)

    def test_missing_soundfont_is_one_line(self, songs, tmp_path):
        none = tmp_path / "none.sf2"
        config = songs.Config(folder=tmp_path / "out", soundfont=none, synthesizer="fluidsynth")
        with pytest.raises(SystemExit, match=r"none\.sf2 is not a file"):
            songs.run(config)
        assert not config.folder.exists()


@pytest.mark.network
def test_packages_from_pypi_are_enough(songs, tmp_path):
    """In an environment of its own, as `uv run --isolated` makes it, without FluidSynth."""
    if shutil.which("uv") is None:
        pytest.skip("needs uv")
    uv = "uv run --quiet --isolated --no-dev --group music python -m scripts.music.render_songs"
    uv = uv.split()
    options = "--num-songs 2 --duration 4 --composer band --synthesizer tinysoundfont".split()
    for name in ("first", "second"):
        command = [*uv, "--folder", str(tmp_path / name)]
        subprocess.run([*command, *options], check=True, capture_output=True, timeout=300, cwd=ROOT)
    stems = {path.relative_to(tmp_path / "first") for path in tmp_path.glob("first/*/*.flac")}
    assert len(stems) >= 8
    for stem in stems:
        first, second = (soundfile.read(tmp_path / name / stem)[0] for name in ("first", "second"))
        assert len(first) == 64_000 and np.abs(first).max() > 0.01
        np.testing.assert_array_equal(first, second)
    description = json.loads(next(tmp_path.glob("first/*/song.json")).read_text(encoding="utf-8"))
    assert "tinysoundfont with the soundfont TimGM6mb (GPL-2)" in description["licence"]


@pytest.mark.parametrize("duration", [0.0, -1.0, 0.05, float("nan")])
def test_songs_too_short_to_play_anything_are_refused(songs, tmp_path, duration):
    config = songs.Config(folder=tmp_path, composer="sung", duration=duration)
    with pytest.raises(SystemExit, match="`--duration` must be at least 1"):
        songs.run(config)
