"""Corpora of every layout: mixes, stems, splits, and labels at the centres of frames."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lime_jax.errors import AudioError, StoreError
from scripts.experiments.common import vocals

RATE = 16_000
LABELS = "0.000 0.300 nosing\n0.300 0.750 sing\n\n0.750 1.000 nosing\n"


def tone(hz, seconds=1.0):
    return 0.1 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)


def write(path, hz=200, seconds=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(hz, seconds), RATE)


def write_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_rendered(root):
    for number, split in enumerate(("test", "train", "validation")):
        song = root / f"sung-0-{number:05d}"
        for hz, name in ((200, "piano"), (400, "bass"), (800, "voice")):
            write(song / f"{name}.flac", hz)
        write_text(song / "voice.lab", LABELS)
        write_text(song / "song.json", json.dumps({"name": song.name, "split": split}))


def write_jamendo(root):
    for name in ("test/03 - C.ogg", "train/01 - A.ogg", "valid/02 - B.mp3"):
        write(root / "audio" / name)
        write_text(root / "labels" / Path(name).with_suffix(".lab").name, LABELS)


def write_jamendo_lists(root):
    for split, name in {"train": "01 - A.ogg", "valid": "02 - B.mp3", "test": "03 - C.ogg"}.items():
        write(root / "audio" / name)
        write_text(root / "filelists" / split, f"{name}\n\n")
        write_text(root / "labels" / f"{Path(name).stem}.lab", LABELS)
    write(root / "audio" / "not listed.ogg")
    write_text(root / "filelists" / "recreate.sh", "#!/bin/bash\n")


def write_rwc(root):
    write(root / "audio" / "rwc-p-m01" / "1.wav")
    write(root / "audio" / "rwc-p-m01" / "2.wav")
    write(root / "audio" / "rwc-p-m02" / "1.wav")
    write_text(root / "audio" / "rwc-p-m01" / "1.lab", LABELS)
    write_text(root / "labels" / "rwc-p-m02" / "1.lab", LABELS)
    write_text(root / "annotations" / "chords" / "2.lab", "0.0 1.0 C:maj\n")


def write_ccmixter(root):
    for song in ("One Song", "another"):
        write(root / song / "mix.wav", 1600)
        write(root / song / "source-01.wav", 200)
        write(root / song / "source-02.wav", 800)


# What is written; the songs with their splits; which have labels; whether they have stems.
CORPORA = {
    "rendered": (
        write_rendered,
        {"sung-0-00000": "test", "sung-0-00001": "train", "sung-0-00002": "validation"},
        (True, True, True),
        True,
    ),
    "jamendo": (
        write_jamendo,
        {"01 - A": "train", "02 - B": "validation", "03 - C": "test"},
        (True, True, True),
        False,
    ),
    "jamendo with lists": (
        write_jamendo_lists,
        {"01 - A": "train", "02 - B": "validation", "03 - C": "test"},
        (True, True, True),
        False,
    ),
    "rwc": (
        write_rwc,
        {"rwc-p-m01/1": "test", "rwc-p-m01/2": "test", "rwc-p-m02/1": "test"},
        (True, False, True),
        False,
    ),
    "ccmixter": (write_ccmixter, {"One Song": "test", "another": "test"}, (False, False), True),
}


@pytest.fixture
def song(tmp_path):
    """A function that returns the first song of a rendered corpus with these labels."""

    def with_labels(text):
        write_rendered(tmp_path)
        write_text(tmp_path / "sung-0-00000" / "voice.lab", text)
        return vocals.open_corpus(tmp_path)[0]

    return with_labels


@pytest.mark.parametrize("write_all, splits, labelled, stems", CORPORA.values(), ids=CORPORA)
class TestLayouts:
    def test_songs_know_what_there_is(self, tmp_path, write_all, splits, labelled, stems):
        write_all(tmp_path)
        songs = vocals.open_corpus(tmp_path)
        assert {song.name: song.split for song in songs} == splits
        assert [song.name for song in songs] == sorted(splits)
        assert tuple(song.has_labels for song in songs) == labelled
        assert [song.has_stems for song in songs] == [stems] * len(songs)

    def test_sounds_are_mono_at_one_rate(self, tmp_path, write_all, splits, labelled, stems):
        write_all(tmp_path)
        song = vocals.open_corpus(tmp_path)[0]
        mix = song.mix()
        assert mix.dtype == np.float32 and abs(len(mix) - vocals.SAMPLE_RATE) < 2000
        if not stems:
            with pytest.raises(StoreError, match="are not known apart"):
                song.voice()
            with pytest.raises(StoreError, match="are not known apart"):
                song.accompaniment()
            return
        assert song.voice().dtype == np.float32
        np.testing.assert_array_equal(song.voice() + song.accompaniment(), mix)
        assert loudest_hz(song.voice()) == 800 and loudest_hz(song.accompaniment()) in (200, 400)


def loudest_hz(waveform):
    spectrum = np.abs(np.fft.rfft(waveform))
    return round(spectrum.argmax() * vocals.SAMPLE_RATE / len(waveform))


class TestLabels:
    def test_a_frame_is_sung_if_its_centre_is(self, song):
        labels = song(LABELS).labels(72)
        centres = (np.arange(72) * 315 + 512) / 22_050
        np.testing.assert_array_equal(labels, (centres >= 0.3) & (centres < 0.75))
        assert labels.any() and not labels.all()

    def test_borders_belong_to_what_begins_there(self, song):
        centre = (10 * 315 + 512) / 22_050
        labels = song(f"0 {centre!r} nosing\n{centre!r} 1.0 sing\n").labels(12)
        assert labels.tolist() == [False] * 10 + [True] * 2

    def test_no_frames_have_no_labels(self, song):
        assert song(LABELS).labels(0).shape == (0,)

    def test_nobody_sings_where_nothing_is_said(self, song):
        assert not song("0.5 0.6 nosing\n").labels(70).any()
        assert not song("").labels(70).any()

    @pytest.mark.parametrize(
        "text, problem",
        [
            ("0.0 0.5 sing\n0.5 sing\n", "line 2 is not start, end and label: '0.5 sing'"),
            ("\n0:00 0:01 sing\n", "line 2 is not start, end and label"),
            ("0.5 0.5 sing\n", "line 1 is not start, end and label"),
            ("-0.5 0.5 sing\n", "line 1 is not start, end and label"),
            ("0.0 inf sing\n", "line 1 is not start, end and label"),
            ("0.0 nan sing\n", "line 1 is not start, end and label"),
            ("0.0 0.5 vocal\n", "line 1 is neither sing nor nosing but 'vocal'"),
            (
                "0.0 0.5 sing\n\n0.4 1.0 nosing\n",
                "line 3 starts at 0.4 s, before the line above ends at 0.5 s",
            ),
        ],
    )
    def test_malformed_labels_are_one_line(self, song, text, problem):
        with pytest.raises(StoreError) as caught:
            song(text).labels(10)
        assert f"voice.lab`, {problem}" in str(caught.value)

    def test_songs_without_labels_say_so(self, tmp_path):
        write_ccmixter(tmp_path)
        with pytest.raises(StoreError, match="It is not known where 'One Song' is sung"):
            vocals.open_corpus(tmp_path)[0].labels(10)


class TestMissing:
    @pytest.mark.parametrize("name", ["none", "empty", "songs"])
    def test_other_layouts_are_one_line(self, tmp_path, name):
        (tmp_path / "empty").mkdir()
        write(tmp_path / "songs" / "a.wav")
        with pytest.raises(StoreError, match="holds no songs with a voice in a known layout"):
            vocals.open_corpus(tmp_path / name)

    @pytest.mark.parametrize(
        "write_all, labels",
        [(write_rendered, "sung-0-00001/voice.lab"), (write_jamendo, "labels/02 - B.lab")],
    )
    def test_labels(self, tmp_path, write_all, labels):
        write_all(tmp_path)
        (tmp_path / labels).unlink()
        with pytest.raises(StoreError, match=f"{labels}` does not exist"):
            vocals.open_corpus(tmp_path)

    def test_listed_sounds(self, tmp_path):
        write_jamendo_lists(tmp_path)
        (tmp_path / "audio" / "02 - B.mp3").unlink()
        with pytest.raises(StoreError, match=r"valid` lists '02 - B\.mp3', which is not in"):
            vocals.open_corpus(tmp_path)

    def test_the_voice_of_rendered_songs(self, tmp_path):
        write_rendered(tmp_path)
        (tmp_path / "sung-0-00001" / "voice.flac").unlink()
        with pytest.raises(StoreError, match="sung-0-00001` has no stem called voice"):
            vocals.open_corpus(tmp_path)

    def test_a_source_of_ccmixter(self, tmp_path):
        write_ccmixter(tmp_path)
        (tmp_path / "another" / "source-02.wav").unlink()
        with pytest.raises(StoreError, match="another` lacks the vocals"):
            vocals.open_corpus(tmp_path)

    def test_sounds_are_not_needed_before_they_are_asked_for(self, tmp_path):
        write_rendered(tmp_path)
        (tmp_path / "sung-0-00000" / "voice.flac").write_bytes(b"no sound")
        song = vocals.open_corpus(tmp_path)[0]
        with pytest.raises(AudioError, match=r"voice\.flac"):
            song.mix()


def test_two_sounds_of_one_name_are_refused(tmp_path):
    write_jamendo(tmp_path)
    write(tmp_path / "audio" / "test" / "01 - A.ogg")
    with pytest.raises(StoreError, match="the song '01 - A' twice"):
        vocals.open_corpus(tmp_path)


def test_stems_of_different_lengths_are_refused(tmp_path):
    write_ccmixter(tmp_path)
    write(tmp_path / "another" / "source-02.wav", 800, seconds=0.5)
    with pytest.raises(AudioError, match="stems of different lengths"):
        vocals.open_corpus(tmp_path)[1].voice()
