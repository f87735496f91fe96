"""Rendered songs and Slakh2100 look the same from here."""

import json

import numpy as np
import pytest

from lime_jax.errors import AudioError, StoreError
from scripts.experiments.common import corpus
from tests.song_folders import FAMILIES, SAMPLE_RATE, stems_of, write_songs

soundfile = pytest.importorskip("soundfile")


def slakh(folder):
    """Two tracks of Slakh2100; the first has two guitars and two kinds of strings."""
    classes = {
        "train/Track00001": ["Piano", "Guitar", "Guitar", "Bass", "Drums", "Strings",
                             "Strings (continued)"],
        "test/Track01876": ["Piano", "Bass", "Drums"],
        "omitted/Track00042": ["Piano"],
    }  # fmt: skip
    for place, names in classes.items():
        track = folder / place
        (track / "stems").mkdir(parents=True)
        listed = {f"S{n:02d}": {"inst_class": name} for n, name in enumerate(names)}
        (track / "metadata.yaml").write_text(json.dumps({"stems": listed}), encoding="utf-8")
        for n in range(len(names)):
            noise = np.full(SAMPLE_RATE, 0.01 * (n + 1))
            noise[::2] *= -1
            soundfile.write(track / "stems" / f"S{n:02d}.flac", noise, SAMPLE_RATE)
    return folder


def test_rendered_songs_know_their_split(tmp_path):
    songs = corpus.songs_of(write_songs(tmp_path, 6))
    assert [song.name for song in songs] == [f"song-{n:03d}" for n in range(6)]
    assert [song.split for song in songs] == ["train", "validation", "test"] * 2
    assert len(corpus.of_split(songs, "test")) == 2
    assert all(set(song.stems) == set(FAMILIES) for song in songs)


def test_songs_without_a_split_are_left_out(tmp_path):
    write_songs(tmp_path, 2)
    (tmp_path / "song-000" / "song.json").write_text("{}")
    assert [song.name for song in corpus.songs_of(tmp_path)] == ["song-001"]


def test_slakh_sums_what_it_counts_twice(tmp_path):
    songs = corpus.songs_of(slakh(tmp_path))
    assert [song.split for song in songs] == ["test", "train"]
    both = {family: len(files) for family, files in songs[1].stems.items()}
    assert both == {"piano": 1, "guitar": 2, "bass": 1, "drums": 1, "strings": 2}
    piano, guitar, strings = corpus.load(songs[1], ("piano", "guitar", "strings"), SAMPLE_RATE)
    np.testing.assert_allclose(np.abs(piano), 0.01, atol=1e-4)
    np.testing.assert_allclose(np.abs(guitar), 0.02 + 0.03, atol=1e-4)
    np.testing.assert_allclose(np.abs(strings), 0.06 + 0.07, atol=1e-4)


def test_stems_come_in_the_order_asked_for_and_missing_ones_are_silent(tmp_path):
    songs = corpus.songs_of(slakh(tmp_path))
    guitar, drums = corpus.load(songs[0], ("guitar", "drums"), SAMPLE_RATE)
    assert not guitar.any()
    np.testing.assert_allclose(np.abs(drums), 0.03, atol=1e-4)
    with pytest.raises(AudioError, match="none of the stems guitar, flute"):
        corpus.load(songs[0], ("guitar", "flute"), SAMPLE_RATE)


def test_stems_are_those_of_the_files(tmp_path):
    (song,) = corpus.songs_of(write_songs(tmp_path, 1))
    found = corpus.load(song, FAMILIES, SAMPLE_RATE)
    expected = np.stack([stem for stem in stems_of(0, 3.0).values()])
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("content", ["not json", "[]"])
def test_damaged_descriptions_are_one_line(tmp_path, content):
    write_songs(tmp_path, 1)
    (tmp_path / "song-000" / "song.json").write_text(content)
    with pytest.raises(StoreError, match=r"song\.json` does not describe a song"):
        corpus.songs_of(tmp_path)


def test_an_empty_folder_says_what_to_do(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError):
        corpus.songs_of(tmp_path / "empty")
    with pytest.raises(StoreError):
        corpus.songs_of(tmp_path / "none")


def test_silences_of_more_than_a_second_are_not_sounding():
    rng = np.random.default_rng(0)
    stem = rng.uniform(-0.5, 0.5, 6 * SAMPLE_RATE).astype(np.float32)
    stem[SAMPLE_RATE // 2 : SAMPLE_RATE] = 0  # half a second stays
    stem[2 * SAMPLE_RATE : 5 * SAMPLE_RATE] *= 5e-4  # below -60 dB of the peak
    found = corpus.sounding(stem, SAMPLE_RATE)
    assert found[: 2 * SAMPLE_RATE].all() and found[5 * SAMPLE_RATE :].all()
    middle = found[round(2.6 * SAMPLE_RATE) : round(4.4 * SAMPLE_RATE)]
    assert not middle.any()


def test_silence_never_sounds():
    assert not corpus.sounding(np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE).any()


def test_fingerprints_tell_songs_apart(tmp_path):
    songs = corpus.songs_of(write_songs(tmp_path, 3))
    first = corpus.fingerprint(songs)
    assert corpus.fingerprint(corpus.songs_of(tmp_path)) == first
    assert corpus.fingerprint(songs[:2]) != first
    with (tmp_path / "song-001" / "bass.flac").open("ab") as file:
        file.write(b"more")
    assert corpus.fingerprint(corpus.songs_of(tmp_path)) != first


def test_songs_that_are_being_rendered_are_not_there_yet(tmp_path):
    write_songs(tmp_path, 2)
    (tmp_path / "song-001").rename(tmp_path / ".song-001.partial")
    assert [song.name for song in corpus.songs_of(tmp_path)] == ["song-000"]
