"""Stems from files: folders of every kind, and in place of a separator."""

import numpy as np
import pytest
import soundfile

from lime_jax import cli
from lime_jax.audio import io
from lime_jax.errors import AudioError
from lime_jax.separation import (
    Precomputed,
    Separator,
    cached_stems,
    precomputed,
    stem_files,
    stream_stems,
)
from tests.separation.conftest import RATE, noise, read, write


@pytest.fixture
def folder(tmp_path):
    """Two stereo stems, and what is none."""
    stems = tmp_path / "stems"
    for seed, name in enumerate(("bass", "drums")):
        write(stems / f"{name}.wav", noise(RATE, 2, seed=seed))
    write(stems / "mixture.wav", noise(RATE, 2))
    write(stems / ".hidden.wav", noise(RATE, 2))
    (stems / "notes.txt").write_text("mine")
    return stems


def mono(path):
    return read(path).mean(axis=1)


def test_a_folder_gives_its_files_in_the_order_of_their_names(folder):
    names, stems = precomputed.load(folder, RATE)
    assert names == ("bass", "drums")
    np.testing.assert_allclose(stems, [mono(folder / f"{name}.wav") for name in names], atol=1e-6)


def test_a_path_may_be_a_string(folder):
    np.testing.assert_array_equal(precomputed.load(str(folder), RATE)[1],
                                  precomputed.load(folder, RATE)[1])  # fmt: skip


def test_excerpt_and_rate_are_those_asked_for(folder):
    _, stems = precomputed.load(folder, RATE, start=0.25, duration=0.5)
    np.testing.assert_allclose(stems[0], mono(folder / "bass.wav")[2_000:6_000], atol=1e-6)
    assert precomputed.load(folder, 2 * RATE, duration=0.5)[1].shape == (2, RATE)


def test_more_channels_than_wanted_are_refused(folder):
    with pytest.raises(AudioError, match="2 channels, more than 1"):
        precomputed.load(folder, RATE, max_channels=1)


def test_a_folder_of_ours_keeps_the_order_of_the_separator(song, program, tmp_path):
    script = tmp_path / "separate.py"
    text = script.read_text(encoding="utf-8")
    script.write_text(text.replace('"low"', '"zither"').replace('"high"', '"alto"'))
    command = " ".join(program)
    out = tmp_path / "out"
    arguments = ["separate", str(song), "--separator-command", command, "--output-dir", str(out)]
    assert cli.main(arguments) == 0
    names, stems = precomputed.load(out, RATE)
    assert names == tuple(stem_files(out)) == ("alto", "zither", "residual")
    np.testing.assert_allclose(stems.sum(axis=0), mono(song), atol=1e-6)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": "another"}', '{"format": "lime-jax stems"}', "\xff"]
)
def test_a_listing_that_is_none_is_named(folder, text):
    (folder / "stems.json").write_text(text, encoding="latin-1")
    with pytest.raises(AudioError, match=r"stems.json` lists no stems \(.*Delete it") as error:
        stem_files(folder)
    assert len(str(error.value).splitlines()) == 1


def test_a_listing_of_files_that_are_gone_names_them(folder):
    (folder / "stems.json").write_text(
        '{"format": "lime-jax stems", "schema_version": 1,'
        ' "stems": [{"name": "a", "file": "gone.wav"}]}'
    )
    with pytest.raises(AudioError, match=r"gone.wav` does not exist"):
        precomputed.load(folder, RATE)


SLAKH = """
stems:
  S00: {inst_class: Guitar, program_num: 30}
  S01: {inst_class: Bass}
  S02: {inst_class: Guitar}
  S10: {inst_class: Drums}
"""


@pytest.fixture
def slakh(tmp_path):
    """A track of Slakh2100, one of whose stems is not there, as happens."""
    track = tmp_path / "Track00001"
    for seed, number in enumerate(("S00", "S01", "S02")):
        write(track / "stems" / f"{number}.flac", noise(RATE, seed=seed), subtype="PCM_16")
    write(track / "mix.flac", noise(RATE), subtype="PCM_16")
    (track / "metadata.yaml").write_text(SLAKH)
    return track


def test_stems_of_slakh_are_summed_by_instrument_family(slakh):
    files = stem_files(slakh)
    assert {name: [path.stem for path in paths] for name, paths in files.items()} == {
        "bass": ["S01"],
        "guitar": ["S00", "S02"],
    }
    names, stems = precomputed.load(slakh, RATE)
    assert names == ("bass", "guitar")
    guitars = sum(
        soundfile.read(slakh / "stems" / f"{number}.flac")[0] for number in ("S00", "S02")
    )
    np.testing.assert_allclose(stems[1], guitars, atol=1e-6)


@pytest.mark.parametrize(
    "text", ["stems: [", "stems: 1", "[]", "title: none", "stems: {S00: {}}", "stems: {S00: 1}", ""]
)
def test_tracks_that_are_not_described_are_named(slakh, text):
    (slakh / "metadata.yaml").write_text(text)
    with pytest.raises(AudioError, match=r"metadata.yaml` does not describe a track"):
        stem_files(slakh)


def test_a_mapping_names_the_files_of_every_stem(folder):
    bass, drums = folder / "bass.wav", folder / "drums.wav"
    names, stems = precomputed.load({"rhythm": [bass, str(drums)], "low": [bass]}, RATE)
    assert names == ("rhythm", "low")
    np.testing.assert_allclose(stems[0], mono(bass) + mono(drums), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda tmp: tmp / "none", "none` is not a folder"),
        (lambda tmp: write(tmp / "a.wav", noise(RATE)), "a.wav` is not a folder"),
        (lambda tmp: write(tmp / "x" / "mix.wav", noise(RATE)).parent, "holds no stems"),
        (lambda tmp: write(tmp / "x" / "a.wav", np.zeros(RATE)).parent, "only silent stems"),
    ],
)
def test_what_holds_no_stems_is_named(tmp_path, make, message):
    with pytest.raises(AudioError, match=message):
        precomputed.load(make(tmp_path), RATE)


class TestInPlaceOfASeparator:
    def test_stems_are_those_of_the_files(self, folder):
        oracle = Precomputed(folder)
        assert isinstance(oracle, Separator) and oracle.name == "stems"
        stems = oracle(noise(6_000), RATE)
        assert (stems.names, stems.sample_rate) == (("bass", "drums"), RATE)
        np.testing.assert_allclose(stems.waveforms[0], mono(folder / "bass.wav")[:6_000], atol=1e-6)

    def test_the_sound_may_start_later(self, folder):
        stems = Precomputed(folder, start=0.25)(noise(4_000), RATE)
        expected = mono(folder / "drums.wav")[2_000:6_000]
        np.testing.assert_allclose(stems.waveforms[1], expected, atol=1e-6)

    @pytest.mark.parametrize("rate", [11_025, 16_000, 44_100])
    def test_other_rates_are_resampled(self, folder, rate):
        for num_samples in (rate // 2, rate // 3 + 1):
            stems = Precomputed(folder, start=0.1)(noise(num_samples), rate)
            assert stems.waveforms.shape == (2, num_samples) and stems.sample_rate == rate

    @pytest.mark.parametrize("num_samples", [44_108, 44_122, 44_129, 44_143])
    def test_whole_files_at_another_rate_go_with_their_sound(self, tmp_path, num_samples):
        """Resamplers round up: the sound is then longer than its file by part of a sample."""
        path = write(tmp_path / "stems" / "a.wav", noise(num_samples), 44_100)
        sound = io.load(path, 16_000)
        stems = Precomputed(tmp_path / "stems")(sound, 16_000)
        np.testing.assert_allclose(stems.waveforms[0], sound, atol=1e-6)

    def test_starts_that_differ_little_are_others(self, folder):
        versions = {Precomputed(folder, start=start).version for start in (100.0001, 100.0004)}
        assert len(versions) == 2

    def test_files_that_end_before_the_sound_are_refused(self, folder):
        with pytest.raises(AudioError, match=r"ends 0\.50 s before the sound"):
            Precomputed(folder, start=0.5)(noise(RATE), RATE)

    def test_channels_are_refused(self, folder):
        with pytest.raises(ValueError, match=r"must be mono .*got shape \(2, 8000\)"):
            Precomputed(folder)(noise(2, RATE), RATE)

    def test_a_mono_file_may_be_separated(self, folder, tmp_path):
        path = write(tmp_path / "song.wav", noise(RATE))
        with cached_stems(path, Precomputed(folder)) as entry:
            np.testing.assert_allclose(mono(entry.files["bass"]), mono(folder / "bass.wav"),
                                       atol=1e-6)  # fmt: skip
        stream = stream_stems(Precomputed(folder), iter([noise(1, RATE)]), RATE)
        assert next(stream.blocks).shape == (2, 1, RATE)

    def test_the_version_is_of_content_names_and_start(self, folder, tmp_path):
        first = Precomputed(folder).version
        folder.rename(tmp_path / "moved")
        moved = tmp_path / "moved"
        assert Precomputed(moved).version == first
        versions = {first, Precomputed(moved, start=0.5).version}
        (moved / "bass.wav").rename(moved / "low.wav")
        versions.add(Precomputed(moved).version)
        write(moved / "low.wav", noise(RATE, 2, seed=9))
        versions.add(Precomputed(moved).version)
        assert len(versions) == 4
