"""Voices: what they sing, when they are heard, and how eSpeak NG and Praat make it sound."""

import itertools
import json
import os
import shutil
import subprocess

import numpy as np
import pytest

from scripts.experiments.common import vocals

RATE = 16_000

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="voices are made by espeak-ng"
)

from tests.scripts.conftest import ROOT


@pytest.fixture(scope="module")
def singing(script):
    return script("music.singing")


@pytest.fixture(scope="module")
def songs(script):
    return script("music.render_songs", "music.composers")


@pytest.fixture(scope="module")
def patterns(script):
    return script("music.patterns")


@pytest.fixture(scope="module")
def harmony(patterns):
    return patterns.Harmony(100.0, 4, 0.5, key=2, mode="dorian", degrees=(0, 3), chord_size=3)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same songs twice, one after another and three at a time."""
    if shutil.which("uv") is None:
        pytest.skip("needs uv")
    folders = []
    for processes in ("1", "3"):
        folders.append(tmp_path_factory.mktemp("sung"))
        options = "--num-songs 10 --duration 10 --composer sung --synthesizer tinysoundfont"
        uv = "uv run --quiet --isolated --no-dev --group music python -m scripts.music.render_songs"
        command = [*uv.split(), *options.split()]
        command += ["--folder", str(folders[-1]), "--processes", processes]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, cwd=ROOT)
        assert done.returncode == 0, done.stderr
    return folders


@pytest.fixture(scope="module")
def rendered(folders):
    """Songs, and what `song.json` says of them."""

    def read(path):
        return json.loads(path.read_text(encoding="utf-8"))

    described = {path.parent.name: read(path) for path in folders[0].glob("*/song.json")}
    return [(song, described[song.name]) for song in vocals.open_corpus(folders[0])]


def voice_of(*stretches):
    """A tone of an amplitude for so many seconds, one after another."""
    amplitudes = [np.full(round(seconds * RATE), level) for level, seconds in stretches]
    envelope = np.concatenate(amplitudes)
    return (envelope * np.sin(np.arange(len(envelope)) * 0.2)).astype(np.float32)


class TestWhenHeard:
    @pytest.mark.parametrize("value", [True, False])
    def test_runs_are_all_there_is_of_a_value(self, singing, value):
        flags = np.random.default_rng(0).random(200) < 0.5
        for some in (flags, flags[:0], flags | True, flags & False):
            found = np.zeros(len(some), bool)
            runs = singing.runs_of(some, value)
            for first, end in runs:
                found[first:end] = True
            np.testing.assert_array_equal(found, some == value)
            # Neighbouring runs do not touch.
            assert all(one[1] < other[0] for one, other in itertools.pairwise(runs))

    def test_a_voice_is_heard_while_it_sounds(self, singing):
        voice = voice_of((0.0, 1.0), (0.2, 0.5), (0.0, 2.0), (0.1, 1.5))
        assert singing.when_heard(voice, RATE) == [
            (0.0, 1.0, False),
            (1.0, 1.5, True),
            (1.5, 3.5, False),
            (3.5, 5.0, True),
        ]

    def test_breaths_are_heard_and_clicks_are_not(self, singing):
        voice = voice_of((0.2, 1.0), (0.0, 0.28), (0.2, 1.0), (0.0, 0.7), (0.2, 0.08), (0.0, 0.94))
        assert singing.when_heard(voice, RATE) == [(0.0, 2.28, True), (2.28, 4.0, False)]

    def test_silence_before_and_after_is_no_breath(self, singing):
        voice = voice_of((0.0, 0.1), (0.2, 1.0), (0.0, 0.1))
        found = singing.when_heard(voice, RATE)
        assert [is_heard for *_, is_heard in found] == [False, True, False]

    @pytest.mark.parametrize("decibels, is_heard", [(-30, True), (-40, False)])
    def test_what_is_far_below_the_voice_is_not_heard(self, singing, decibels, is_heard):
        voice = voice_of((0.2, 5.0), (0.2 * 10 ** (decibels / 20), 1.0))
        assert singing.when_heard(voice, RATE)[-1][2] == is_heard

    def test_level_does_not_matter(self, singing):
        voice = voice_of((0.0, 0.6), (0.2, 0.5), (0.02, 0.5), (0.001, 1.0))
        assert singing.when_heard(voice, RATE) == singing.when_heard(voice / 8, RATE)

    @pytest.mark.parametrize("level, is_heard", [(0.0, False), (0.2, True)])
    def test_one_stretch_may_be_all(self, singing, level, is_heard):
        odd = voice_of((level, 1.00123))
        assert singing.when_heard(odd, RATE) == [(0.0, len(odd) / RATE, is_heard)]

    def test_stretches_leave_no_gap(self, singing):
        rng = np.random.default_rng(1)
        voice = voice_of(*((level, rng.uniform(0.02, 0.6)) for level in rng.choice([0, 0.2], 60)))
        found = singing.when_heard(voice, RATE)
        starts, ends, heard = zip(*found, strict=True)
        assert (starts[0], ends[-1]) == (0.0, len(voice) / RATE) and starts[1:] == ends[:-1]
        assert all(one != other for one, other in itertools.pairwise(heard))

    def test_the_labels_are_those_of_the_jamendo_corpus(self, singing, tmp_path):
        voice = voice_of((0.0, 1.0), (0.2, 0.5), (0.0, 0.5))
        text = singing.labels(voice, RATE)
        assert text == "0.000 1.000 nosing\n1.000 1.500 sing\n1.500 2.000 nosing\n"
        file = tmp_path / "voice.lab"
        file.write_text(text, encoding="utf-8")
        labels = vocals.VocalSong("a", "test", (), label_file=file).labels(130)
        assert labels.sum() == 35  # half a second at 70 frames a second


class TestMelodies:
    @pytest.mark.parametrize("manner", ["choir", "sung", "spoken"])
    def test_they_are_singable(self, singing, harmony, manner):
        for seed in range(30):
            notes = singing.draw_notes(np.random.default_rng(seed), manner, harmony, 12.0)
            assert notes and all(0 <= note.start < 12 for note in notes)
            assert all(note.duration > 0 and note.start + note.duration <= 12 for note in notes)
            assert {note.pitch % 12 for note in notes} <= harmony.scale()
            pitches = [note.pitch for note in notes]
            assert any(min(pitches) >= r[0] and max(pitches) <= r[-1] for r in singing.REGISTERS)

    def test_a_voice_comes_and_goes(self, singing, harmony):
        shares = []
        for seed in range(30):
            notes = singing.draw_notes(np.random.default_rng(seed), "sung", harmony, 30.0)
            shares.append(sum(note.duration for note in notes) / 30)
        assert 0.2 < np.mean(shares) < 0.8 and min(shares) < 0.2

    def test_even_short_songs_are_sung(self, singing, harmony):
        for seed in range(200):
            assert singing.draw_notes(np.random.default_rng(seed), "sung", harmony, 0.5)

    def test_singers_breathe_between_phrases_and_leave_out_no_note(self, singing, patterns):
        times = [(0.0, 0.5), (0.6, 0.4), (1.5, 0.5), (2.0, 0.1), (9.0, 1.0)]
        notes = [patterns.Note(*time, 60 + n, 80) for n, time in enumerate(times)]
        singer = singing.draw_singer(np.random.default_rng(0), "sung", 3.0, notes)
        sung = [[start for start, _, _ in phrase.notes] for phrase in singer.phrases]
        assert sung == [[0.0, 0.6], [1.5, 2.0], [9.0]]
        assert [(phrase.start, phrase.duration) for phrase in singer.phrases] == [
            (0.0, 1.0),
            (1.5, pytest.approx(0.6)),
            (9.0, 1.0),
        ]
        words = {word for phrase in singer.phrases for word in phrase.words.split()}
        assert words <= set(singing.WORDS) and all(phrase.words for phrase in singer.phrases)

    def test_there_are_words_for_every_note(self, singing, patterns):
        notes = [patterns.Note(n / 10, 0.1, 60, 80) for n in range(20)]
        (phrase,) = singing.draw_singer(np.random.default_rng(0), "sung", 0.0, notes).phrases
        vowels = sum(letter in "aeiouy" for letter in phrase.words)
        assert len(phrase.words.split()) <= 20 <= vowels


class TestSpeaking:
    """Speech is as eSpeak NG says it, without Praat."""

    @pytest.fixture
    def singer(self, singing):
        phrases = (
            singing.Phrase(((0.5, 0.6, 60),), "lonely mountain river"),
            singing.Phrase(((2.0, 5.0, 60),), "hello"),
        )
        return singing.Singer("spoken", "en-us+f2", 0.0, phrases)

    @needs_espeak
    def test_phrases_sound_where_they_belong(self, singing, singer):
        voice = singing.render(singer, 4.0, RATE)
        assert voice.dtype == np.float32 and len(voice) == 4 * RATE
        assert not voice[: RATE // 2].any() and 0.05 < np.abs(voice).max() <= 1
        # The first is cut where its note ends, the second ends by itself.
        heard = [stretch[:2] for stretch in singing.when_heard(voice, RATE) if stretch[2]]
        assert len(heard) == 2
        np.testing.assert_allclose(heard[0], (0.5, 1.1), atol=0.06)
        assert heard[1][0] == pytest.approx(2.0, abs=0.06) and heard[1][1] < 3.5

    @needs_espeak
    def test_the_same_words_are_the_same_samples(self, singing, singer):
        first, second = (singing.render(singer, 4.0, RATE) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    @needs_espeak
    def test_every_voice_is_known(self, singing):
        def command(*options):
            return subprocess.run(
                ["espeak-ng", *options], capture_output=True, text=True, check=True
            )

        languages = {line.split()[1] for line in command("--voices").stdout.splitlines()[1:]}
        assert set(singing.LANGUAGES) <= languages
        variants = command("--voices=variant").stdout.split()
        assert {f"!v/{variant}" for variant in singing.VARIANTS} <= set(variants)


class TestMissing:
    def test_programs_are_one_line(self, songs, tmp_path, monkeypatch):
        def find(*_):
            return songs.synthesis.Synthesizer("none", tmp_path)

        monkeypatch.setattr(songs.synthesis, "find", find)
        monkeypatch.setattr(songs.singing.shutil, "which", lambda name: None)
        config = songs.Config(folder=tmp_path / "songs", composer="sung")
        with pytest.raises(SystemExit, match=r"^The program `espeak-ng` was not found: apt-get"):
            songs.run(config)
        assert not config.folder.exists()

    def test_packages_are_one_line(self, singing, monkeypatch):
        monkeypatch.setattr(singing.shutil, "which", lambda name: name)
        monkeypatch.setattr(singing, "PACKAGE", "no_such_package")
        with pytest.raises(SystemExit, match=r"`no_such_package` was not found\. Start this"):
            singing.check_installed()


@pytest.mark.network
@needs_espeak
class TestSinging:
    """Songs as `uv run --script` renders them, in an environment of its own with Praat."""

    def test_seed_and_index_say_it_all(self, folders):
        first, second = folders
        files = sorted(path.relative_to(first) for path in first.glob("*/*"))
        assert len(files) > 10 * 6
        for file in files:
            assert (first / file).read_bytes() == (second / file).read_bytes(), os.fspath(file)

    def test_there_is_every_manner(self, rendered, singing):
        manners = {one.get("singer", {}).get("manner", "choir") for _, one in rendered}
        assert manners == set(singing.MANNERS)
        licences = {one["licence"] for _, one in rendered if "singer" in one}
        assert all("the voice by eSpeak NG and Praat" in licence for licence in licences)

    def test_no_sum_of_stems_clips(self, rendered):
        for song, _ in rendered:
            stems = [vocals.io.load_stems({"stem": [file]}, RATE)[1][0] for file in song.files]
            assert np.abs(stems).sum(axis=0).max() <= 1 + 1e-3

    def test_voices_are_as_loud_as_a_lead(self, rendered):
        for song, _ in rendered:
            is_sung = np.repeat(song.labels(690), 315)
            voice, others = (
                x[: len(is_sung)][is_sung] for x in (song.voice(), song.accompaniment())
            )
            decibels = 10 * np.log10(np.mean(voice**2) / np.mean(others**2))
            assert -15 < decibels < 15, song.name

    def test_labels_are_where_the_voice_is_heard(self, rendered):
        for song, _ in rendered:
            voice = song.voice()
            frames = np.lib.stride_tricks.sliding_window_view(voice, 1024)[::315]
            power = np.square(frames).mean(axis=1)
            is_sung = song.labels(len(frames))
            assert is_sung.any()
            assert power[is_sung].sum() > 0.995 * power.sum()
            # A second and more of labels without a sound would be a wrong label.
            loud = power > power[is_sung].mean() * 1e-4
            assert loud[is_sung].mean() > 0.8, song.name

    def test_singing_has_the_pitches_of_the_notes_and_speech_has_not(self, rendered):
        shares = {"sung": [], "spoken": []}
        for song, described in rendered:
            if (singer := described.get("singer")) is not None:
                notes = [note for phrase in singer["phrases"] for note in phrase["notes"]]
                shares[singer["manner"]].append(share_in_tune(song.voice(), notes))
        assert min(shares["sung"]) > 0.7 and max(shares["spoken"]) < 0.4


def share_in_tune(voice, notes):
    """How much of what has a pitch is within a semitone of the note that began last."""
    import librosa

    hz, is_voiced, _ = librosa.pyin(
        voice, fmin=80, fmax=700, sr=vocals.SAMPLE_RATE, frame_length=1024, hop_length=512
    )
    times = librosa.times_like(hz, sr=vocals.SAMPLE_RATE, hop_length=512)
    starts, _, pitches = np.array(notes).T
    is_voiced &= times >= starts[0]
    wanted = pitches[np.searchsorted(starts, times[is_voiced], side="right") - 1]
    return np.mean(np.abs(librosa.hz_to_midi(hz[is_voiced]) - wanted) < 1)
