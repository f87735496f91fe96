import collections
import json
import shutil

import numpy as np
import pytest
import soundfile


@pytest.fixture(scope="module")
def library(script):
    return script("music.render_library", "music.library_songs", "music.ogg")


@pytest.fixture(scope="module")
def config(library):
    return library.Config(seed=7)


@pytest.fixture(scope="module")
def many(library, config):
    return [library.compose(config, index) for index in range(140)]


def sources_of(song):
    return {part.family for part in song.parts} | ({"vocals"} if song.singer else set())


class TestComposition:
    def test_seed_and_index_say_it_all(self, library, config, many):
        assert library.compose(config, 5) == many[5]
        assert library.compose(library.Config(seed=8), 5) != many[5]
        assert many[4] != many[5]

    def test_every_style_comes_as_often(self, library, config):
        count = len(library.STYLES)
        styles = [library.style_of(config, index).name for index in range(10 * count)]
        assert set(collections.Counter(styles).values()) == {10} and count >= 10
        assert styles[:count] != styles[count : 2 * count]

    def test_eight_of_ten_tracks_are_for_training(self, library, config):
        splits = [library.split_of(config, index) for index in range(200)]
        assert collections.Counter(splits) == {"train": 160, "validation": 20, "test": 20}
        assert splits[:10] != splits[10:20]

    def test_notes_are_playable(self, many):
        for song in many:
            for note in (note for part in song.parts for note in part.notes):
                assert 0 <= note.start < song.duration and note.duration > 0
                assert note.start + note.duration <= song.duration + 1e-9
                assert 0 <= note.pitch <= 127 and 1 <= note.velocity <= 127

    def test_two_to_four_sources_play_in_most(self, library, many):
        counts = collections.Counter(len(sources_of(song)) for song in many)
        assert sum(counts[n] for n in (2, 3, 4)) > 0.86 * len(many)
        assert counts[1] < 0.05 * len(many) and 0 < counts[5] < 0.1 * len(many)
        assert 2.9 < np.mean([len(sources_of(song)) for song in many]) < 3.4
        assert all(sources_of(song) <= set(library.SOURCES) for song in many)

    def test_no_style_tells_who_plays(self, library, config, many):
        shares = collections.defaultdict(list)
        for index, song in enumerate(many):
            plays = [source in sources_of(song) for source in library.SOURCES]
            shares[library.style_of(config, index).name].append(plays)
        shares = np.array([np.mean(plays, axis=0) for plays in shares.values()])
        assert np.mean((shares > 0) & (shares < 1)) > 0.9

    def test_styles_keep_their_tempo(self, library, config, many):
        for index, song in enumerate(many):
            low, high = library.style_of(config, index).tempo
            assert low - 0.1 <= song.harmony.tempo <= high + 0.1

    def test_sources_rest_but_never_all_at_once(self, library):
        rests = []
        for seed in range(200):
            rng = np.random.default_rng(seed)
            style = library.STYLES[seed % len(library.STYLES)]
            plays = library.draw_rests(rng, style, library.SOURCES[: 1 + seed % 3], 3)
            plays = np.array(list(plays.values()))
            assert plays.any(axis=0).all() and plays.any(axis=1).all()
            rests.append(not plays.all())
        assert 0.1 < np.mean(rests) < 0.6

    def test_notes_end_with_their_section(self, library, config):
        harmony = library.Harmony(120.0, 4, 0.5, 0, "major", (0,), 3)
        role = next(r for s in library.STYLES for r in s.roles if r.lines[0] == "pad")
        notes = library.draw_notes(np.random.default_rng(0), role, harmony, [range(1, 3)], 16.0)
        assert min(note.start for note in notes) >= 2.0
        assert max(note.start + note.duration for note in notes) <= 6.0 + 1e-9

    def test_words_are_a_share_of_the_vocals(self, many):
        sung = sum(song.singer is not None for song in many)
        choirs = sum(any(part.family == "vocals" for part in song.parts) for song in many)
        assert 0.1 < sung / len(many) < 0.3 and choirs / len(many) > 0.15
        assert not any(
            song.singer and any(part.family == "vocals" for part in song.parts) for song in many
        )


class TestLines:
    def test_marks_become_steps(self, library):
        steps = library.written("0-x-..3---------", (0, 1, 2), 4)
        Step = library.Step
        assert steps == [Step(0.0, 0.5, (0,)), Step(0.5, 0.5, (0, 1, 2)), Step(1.5, 2.5, (3,))]

    def test_short_bars_take_their_part(self, library):
        assert [step.beat for step in library.written("x...x...x...x...", (0,), 3)] == [0, 1, 2]

    def test_styles_hold_what_can_be_played(self, library):
        roles = [role for style in library.STYLES for role in style.roles]
        for role in roles:
            assert role.source in library.SOURCES and role.lines and role.programs
            for line in role.lines:
                is_named = line in library.GROOVES or line in library.patterns.PATTERNS
                assert is_named or (set(line) <= set("0123456789x-.") and len(line) == 16)
        lanes = [line for groove in library.GROOVES.values() for line in groove.values()]
        assert all(set(line) <= set("x.") and len(line) == 16 for line in lanes)
        for style in library.STYLES:
            assert {role.source for role in style.roles} == set(library.SOURCES)


class TestTails:
    def test_what_is_all_but_silent_for_long_becomes_silent(self, library):
        stem = np.full(16_000, 0.5, np.float32)
        stem[4000:12_000] = 1e-4
        cut = library.without_tails(stem)
        assert not cut[4000:12_000].any()
        np.testing.assert_array_equal(cut[12_000:], 0.5)
        np.testing.assert_array_equal(cut[:3500], 0.5)

    def test_short_gaps_are_left(self, library):
        stem = np.full(16_000, 0.5, np.float32)
        stem[4000:8000] = 1e-4
        np.testing.assert_array_equal(library.without_tails(stem), stem)


class TestFiles:
    @pytest.fixture
    def stems(self):
        rng = np.random.default_rng(0)
        quiet = rng.normal(0, 0.1, 256_000).astype(np.float32)
        quiet[64_000:128_000] = 0
        return {"piano": quiet, "bass": np.sin(np.arange(256_000) / 20, dtype=np.float32) / 2}

    def test_they_repeat_and_keep_length_and_silence(self, library, stems):
        files, heard = library.encoded(stems)
        assert files == library.encoded(stems)[0]
        for name, stem in stems.items():
            assert heard[name].shape == stem.shape
            assert np.corrcoef(heard[name], stem)[0, 1] > 0.8
        assert not heard["piano"][66_000:126_000].any()

    @pytest.mark.slow
    def test_no_subset_of_decoded_sources_clips(self, library, stems):
        loud = {name: 1.9 * stem / np.abs(stem).max() for name, stem in stems.items()}
        _, heard = library.encoded(loud)
        assert np.abs(np.stack(list(heard.values()))).sum(axis=0).max() <= 1.0

    def test_readers_accept_the_checksums(self, library, stems, tmp_path):
        """Those of libsndfile itself are right, so computing them again changes nothing."""
        path = tmp_path / "sound.ogg"
        soundfile.write(path, stems["bass"][:16_000], 16_000)
        file = path.read_bytes()
        serial = int.from_bytes(file[14:18], "little")
        assert library.with_serial(file, serial) == file
        assert library.with_serial(file, serial ^ 1) != file

    def test_levels_and_activity_are_those_of_the_waveforms(self, library):
        mix = np.ones(16_000, np.float32)
        half = np.where(np.arange(16_000) < 8000, 1.0, 0.0).astype(np.float32)
        assert library.level_db(half, mix) == pytest.approx(10 * np.log10(0.5), abs=1e-6)
        assert library.activity(half, mix) == 0.5
        assert library.activity(half * 10 ** (-31 / 20), mix) == 0.0


class Noise:
    """Stands in for a synthesizer."""

    credits = "nobody"

    def __call__(self, messages, duration):
        return np.random.default_rng(0).normal(0, 0.1, round(duration * 32_000))


@pytest.fixture(scope="module")
def noise(library):
    """Nothing is synthesized here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library.synthesis, "find", lambda *_: Noise())
        patch.setattr(library.singing, "check_installed", lambda: None)
        patch.setattr(
            library.singing, "render", lambda _, seconds, rate: np.ones(round(seconds * rate)) / 4
        )
        yield


@pytest.fixture(scope="module")
def noisy(library, noise, tmp_path_factory):
    """A library of twenty tracks of noise, two seconds each."""
    config = library.Config(tmp_path_factory.mktemp("library"), num_tracks=20, duration=2.0)
    library.run(config)
    return config


def listing_of(folder):
    return json.loads((folder / "library.json").read_text(encoding="utf-8"))


class TestLibrary:
    def test_files_are_those_of_the_index(self, library, noisy):
        listing = listing_of(noisy.folder)
        assert listing["sources"] == list(library.SOURCES) and listing["sample_rate"] == 16_000
        assert len(listing["tracks"]) == 20
        for track in listing["tracks"]:
            folder = noisy.folder / "audio" / track["id"]
            assert {path.stem for path in folder.glob("*.ogg")} == set(track["sources"])
            assert set(track["levels_db"]) == set(track["activity"]) == set(track["sources"])
            assert soundfile.info(folder / f"{track['sources'][0]}.ogg").frames == 32_000

    def test_what_is_there_is_left_alone(self, library, noisy):
        files = {path: path.stat().st_mtime_ns for path in noisy.folder.rglob("*.ogg")}
        listing = (noisy.folder / "library.json").read_bytes()
        shutil.rmtree(noisy.folder / "audio" / "tr-0-0003")
        library.run(noisy)
        for path, time in files.items():
            assert (path.stat().st_mtime_ns == time) is ("tr-0-0003" not in path.parts)
        assert (noisy.folder / "library.json").read_bytes() == listing

    def test_tracks_of_other_settings_are_refused(self, library, noisy):
        other = library.dataclasses.replace(noisy, duration=3.0)
        with pytest.raises(SystemExit, match="rendered with other settings"):
            library.run(other)

    def test_one_split_alone(self, library, noisy, tmp_path):
        config = library.dataclasses.replace(noisy, folder=tmp_path / "few", split="test")
        library.run(config)
        tracks = listing_of(config.folder)["tracks"]
        whole = [track for track in listing_of(noisy.folder)["tracks"] if track["split"] == "test"]
        assert tracks == whole and len(tracks) == 2

    @pytest.mark.parametrize("fewer", [{"split": "test"}, {"num_tracks": 19}, {"seed": 1}])
    def test_an_index_loses_no_tracks(self, library, noisy, fewer):
        before = {path: path.read_bytes() for path in noisy.folder.glob("*.*")}
        with pytest.raises(SystemExit, match=r"lists 20 tracks, .* would be lost"):
            library.run(library.dataclasses.replace(noisy, **fewer))
        assert {path: path.read_bytes() for path in noisy.folder.glob("*.*")} == before

    def test_an_index_of_one_split_grows(self, library, noisy, tmp_path):
        few = library.dataclasses.replace(noisy, folder=tmp_path, split="test")
        library.run(few)
        library.run(library.dataclasses.replace(few, split="all"))
        assert listing_of(tmp_path) == listing_of(noisy.folder)

    def test_the_sampler_has_all_metadata_and_some_held_out_audio(self, library, noisy, tmp_path):
        folder = tmp_path / "sampler"
        library.run(library.dataclasses.replace(noisy, sampler=folder, sampler_size=1))
        tracks = listing_of(folder)["tracks"]
        assert len(tracks) == 20
        heard = [track for track in tracks if track["audio"]]
        assert len(heard) == 1 and all(track["split"] == "test" for track in heard)
        assert {path.name for path in (folder / "audio").iterdir()} == {t["id"] for t in heard}
        for name in ("plays.tsv", "personas.json"):
            assert (folder / name).read_bytes() == (noisy.folder / name).read_bytes()

    def test_a_sampler_needs_a_library(self, library, tmp_path):
        with pytest.raises(SystemExit, match="Render the library first"):
            library.run(library.Config(tmp_path, sampler=tmp_path / "sampler"))


def test_samplers_take_turns_among_the_styles(library):
    styles = "aaab" + "c"
    tracks = [{"id": f"{n}", "style": s, "split": "test"} for n, s in enumerate(styles)]
    tracks.insert(0, {"id": "x", "style": "d", "split": "train"})
    assert library.first_of_every_style(tracks, 4) == ["0", "3", "4", "1"]


@pytest.mark.parametrize("duration", [0.0, -1.0, float("nan")])
def test_tracks_too_short_to_play_anything_are_refused(library, tmp_path, duration):
    with pytest.raises(SystemExit, match="`--duration` must be at least 1"):
        library.run(library.Config(tmp_path, duration=duration))


class TestTitles:
    def test_there_are_words_for_every_style(self, library):
        assert set(library.titles.WORDS) == {style.name for style in library.STYLES}

    def test_albums_belong_to_artists(self, library):
        albums = collections.defaultdict(set)
        for n in range(200):
            named = library.titles.draw(np.random.default_rng(n), "Folk", 0)
            albums[named["artist"]].add(named["album"])
        assert all(len(found) <= library.titles.NUM_ALBUMS for found in albums.values())

    def test_characters_that_need_care_occur(self, library):
        drawn = [
            " ".join(library.titles.draw(np.random.default_rng(n), style.name, 0).values())
            for style in library.STYLES
            for n in range(20)
        ]
        for character in "&'ü":
            assert any(character in text for text in drawn)


@pytest.mark.slow
def test_a_rendered_track_sounds(library, tmp_path):
    pytest.importorskip("mido", reason="writing MIDI needs mido")
    if shutil.which("fluidsynth") is None or not library.synthesis.SOUNDFONT.is_file():
        pytest.skip("needs fluidsynth and fluid-soundfont-gm")
    config = library.Config(tmp_path, duration=6.0)
    index = next(n for n in range(20) if library.compose(config, n).singer is None)
    synthesizer = library.synthesis.find("fluidsynth", None)
    track = library.write_track(index, config, synthesizer)
    for source in track["sources"]:
        waveform, _ = soundfile.read(tmp_path / "audio" / track["id"] / f"{source}.ogg")
        assert len(waveform) == 96_000 and np.abs(waveform).max() > 0.01
    first = {path.name: path.read_bytes() for path in tmp_path.rglob("*.ogg")}
    shutil.rmtree(tmp_path / "audio")
    library.write_track(index, config, synthesizer)
    assert first == {path.name: path.read_bytes() for path in tmp_path.rglob("*.ogg")}
