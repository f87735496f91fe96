import io as bytes_io
import os
import stat
import threading

import numpy as np
import pytest
import soundfile
import soxr

from lime_jax.audio import decode, io, resampling
from lime_jax.errors import AudioError

RATE = 16_000
# Tolerated energy of what a format changes, as a share of the sound.
LOSS = {"wav": 1e-7, "flac": 1e-7, "ogg": 3e-3, "opus": 3e-2, "mp3": 1e-2}


def tone(seconds=0.5, rate=RATE, hz=440.0):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def melody(seconds, rate):
    """A signal that differs everywhere, so that a wrong offset shows."""
    time = np.arange(int(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * (200 * time + 300 * time**2))).astype(np.float32)


def change(actual, expected):
    """The energy of the difference, as a share of that of `expected`."""
    assert actual.shape == expected.shape
    return np.sum((actual - expected) ** 2) / np.sum(expected**2)


@pytest.fixture
def make(tmp_path):
    """Writes a file with soundfile and returns its path."""

    def make(name, samples, rate=RATE, **options):
        path = tmp_path / name
        soundfile.write(path, samples, rate, **options)
        return path

    return make


class TestRoundTrip:
    @pytest.mark.parametrize("suffix", LOSS)
    @pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
    def test_what_is_saved_is_loaded(self, tmp_path, suffix, rate):
        path = tmp_path / f"tone.{suffix}"
        waveform = tone(0.4, rate)
        io.save(path, waveform, rate)
        back = io.load(path, rate)
        assert back.dtype == np.float32
        assert change(back, waveform) < LOSS[suffix]
        assert os.listdir(tmp_path) == [path.name]

    @pytest.mark.parametrize("suffix", LOSS)
    def test_files_and_encoded_bytes_hold_the_same_sound(self, tmp_path, suffix):
        io.save(tmp_path / f"a.{suffix}", tone(), RATE)
        data, rate = soundfile.read(bytes_io.BytesIO(io.encode(tone(), RATE, suffix)))
        assert rate == RATE
        np.testing.assert_allclose(io.load(tmp_path / f"a.{suffix}"), data, atol=1e-6)

    @pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
    @pytest.mark.parametrize("num_channels", [1, 2, 6])
    def test_channels_are_averaged(self, make, suffix, num_channels):
        if suffix == "mp3" and num_channels > 2:
            pytest.skip("MP3 carries two channels")
        channels = np.stack([tone(hz=300.0 + 200 * i) for i in range(num_channels)], axis=1)
        path = make(f"many.{suffix}", channels)
        assert change(io.load(path), channels.mean(axis=1)) < LOSS[suffix]

    @pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 96_000, 192_000])
    def test_other_rates_are_resampled_by_soxr(self, make, rate):
        samples = melody(2.1, rate)
        path = make("rate.wav", samples, rate, subtype="FLOAT")
        expected = soxr.resample(samples, rate, RATE, quality="HQ")
        np.testing.assert_allclose(io.load(path), expected, atol=1e-6)

    @pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
    def test_sample_formats_keep_full_scale(self, make, subtype):
        path = make("depth.wav", tone(), subtype=subtype)
        np.testing.assert_allclose(io.load(path), tone(), atol=1e-2 if "U8" in subtype else 1e-6)

    @pytest.mark.parametrize("suffix", ["aiff", "au", "caf", "w64", "rf64"])
    def test_further_containers_are_read(self, make, suffix):
        path = make(f"tone.{suffix}", tone(), format=suffix.upper())
        np.testing.assert_allclose(io.load(path), tone(), atol=4e-5)

    def test_a_real_track_is_read(self, reference):
        waveform = io.load(reference / "audio" / "audio_example.mp3")
        assert waveform.shape == (round(479_832 * 16_000 / 44_100),)
        assert 0.1 < np.abs(waveform).max() <= 1.1


class TestExcerpts:
    @pytest.mark.parametrize("suffix", LOSS)
    def test_decoding_in_blocks_gives_the_same_samples(self, tmp_path, suffix):
        """soundfile seeks after every read, which damages MP3 and Opus between blocks."""
        path = tmp_path / f"melody.{suffix}"
        io.save(path, np.tile(melody(4.0, RATE), 4), RATE)
        whole, _ = soundfile.read(path, dtype="float32")
        np.testing.assert_allclose(io.load(path), whole, atol=1e-6)

    @pytest.mark.parametrize("suffix", LOSS)
    def test_an_excerpt_is_a_slice_of_the_whole(self, tmp_path, suffix):
        path = tmp_path / f"melody.{suffix}"
        io.save(path, melody(3.0, RATE), RATE)
        whole = io.load(path)
        for start in (0.0, 0.77, 1.25, 2.5):
            part = io.load(path, start=start, duration=0.5)
            first = round(start * RATE)
            np.testing.assert_array_equal(part, whole[first : first + 8_000])

    @pytest.mark.parametrize("rate", [11_025, 44_100, 48_000])
    @pytest.mark.parametrize("duration", [0.1, 1 / 3, 0.7, 1.0, 1.23456])
    def test_an_excerpt_has_exactly_the_duration_asked_for(self, make, rate, duration):
        path = make("long.flac", melody(2.0, rate), rate)
        for start in (0.0, 1 / 7, 2.0 - duration):
            waveform = io.load(path, start=start, duration=duration)
            assert len(waveform) == round(duration * RATE)

    @pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
    def test_only_the_excerpt_is_decoded(self, make, monkeypatch, suffix):
        path = make(f"long.{suffix}", np.tile(tone(), 120))
        decoded = []
        read = soundfile.SoundFile.read
        monkeypatch.setattr(
            soundfile.SoundFile,
            "read",
            lambda self, frames, **options: decoded.append(frames) or read(self, frames, **options),
        )
        io.load(path, start=30.0, duration=1.0)
        assert sum(decoded) == RATE

    @pytest.mark.parametrize(
        ("rate", "sample_rate", "missing", "is_read"),
        [
            (44_100, 16_000, 1, True),
            (44_100, 16_000, 2, True),
            (44_100, 16_000, 3, False),
            (16_000, 16_000, 1, True),
            (16_000, 16_000, 2, False),
            (8_000, 16_000, 1, True),
            (8_000, 16_000, 2, False),
        ],
    )
    def test_a_clip_may_lack_a_sample(self, make, rate, sample_rate, missing, is_read):
        whole = melody(3.0, rate)
        path = make("clip.wav", whole[: len(whole) - missing], rate, subtype="FLOAT")
        options = dict(start=1.0, duration=2.0)
        if not is_read:
            with pytest.raises(AudioError, match=r"is 2.9\d{5} s long.*from 1 to 3 s"):
                io.load(path, sample_rate, **options)
            return
        clean = io.load(make("whole.wav", whole, rate, subtype="FLOAT"), sample_rate, **options)
        found = io.load(path, sample_rate, **options)
        assert found.shape == clean.shape
        # The filter of the resampler hears the end some samples before.
        np.testing.assert_allclose(found[:-200], clean[:-200], atol=1e-3)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (dict(start=2.0), r"is 2.00 s long.*from 2 s on"),
            (dict(start=100.0, duration=1.0), r"is 2.00 s long.*from 100 to 101 s"),
            (dict(duration=3.0), r"is 2.00 s long.*from 0 to 3 s"),
            (dict(start=1.5, duration=0.6), r"is 2.00 s long.*from 1.5 to 2.1 s"),
            (dict(duration=1e-6), "not even one sample"),
        ],
    )
    def test_excerpts_outside_the_file_are_refused(self, make, options, message):
        with pytest.raises(AudioError, match=message):
            io.load(make("short.wav", melody(2.0, RATE)), **options)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (dict(start=-1.0), "`start` must be at least 0"),
            (dict(start=float("nan")), "`start` must be"),
            (dict(duration=0.0), "`duration` above 0"),
            (dict(duration=float("inf")), "`duration` above 0"),
            (dict(sample_rate=0), "`sample_rate` must lie between"),
        ],
    )
    def test_impossible_arguments(self, make, options, message):
        with pytest.raises(ValueError, match=message):
            io.load(make("tone.wav", tone()), **options)


def cut(data, share):
    return data[: int(len(data) * share)]


def encoded(suffix, seconds=4.0):
    return io.encode(np.tile(melody(1.0, RATE), int(seconds)), RATE, suffix)


def encoded_as(container, **options):
    target = bytes_io.BytesIO()
    soundfile.write(target, melody(1.0, RATE), RATE, format=container, **options)
    return target.getvalue()


def without_length_header(mp3):
    """The file without its first frame, which holds no sound."""
    assert b"Xing" in mp3[:99] or b"Info" in mp3[:99]
    return mp3[mp3.index(mp3[:2], 99) :]


def patched(data, position, values):
    return data[:position] + values + data[position + len(values) :]


NOT_AUDIO = {
    "page.mp3": b"<!doctype html><title>404</title>" * 99,
    "picture.mp3": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9,
    "noise.mp3": np.random.default_rng(0).bytes(9999),
    "sync.mp3": b"\xff\xfb" * 999,
    "tag.mp3": b"ID3\x04\0\0\0\0\x10\0" + b"title" * 999,
    "text.wav": b"just words " * 99,
    "header.wav": encoded("wav")[:20],
    "raw.raw": bytes(range(256)) * 9,
}


class TestBadFiles:
    @pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.995])
    @pytest.mark.parametrize("suffix", LOSS)
    def test_a_truncated_file_is_noticed(self, tmp_path, suffix, share):
        path = tmp_path / f"cut.{suffix}"
        path.write_bytes(cut(encoded(suffix), share))
        with pytest.raises(AudioError, match=r"cut.*(is|it is) truncated"):
            io.load(path)

    @pytest.mark.parametrize("suffix", LOSS)
    def test_a_truncated_file_is_noticed_in_an_excerpt_behind_the_cut(self, tmp_path, suffix):
        path = tmp_path / f"cut.{suffix}"
        path.write_bytes(cut(encoded(suffix), 0.5))
        with pytest.raises(AudioError, match="truncated"):
            io.load(path, start=3.0, duration=0.5)

    @pytest.mark.parametrize("suffix", ["aiff", "au", "w64", "rf64", "wavex"])
    def test_truncated_files_of_further_containers_are_noticed(self, tmp_path, suffix):
        path = tmp_path / f"cut.{suffix}"
        path.write_bytes(cut(encoded_as(suffix.upper()), 0.5))
        with pytest.raises(AudioError, match=r"is truncated: its header promises \d+ bytes"):
            io.load(path)

    @pytest.mark.parametrize("suffix", ["ogg", "opus"])
    def test_an_ogg_file_cut_between_two_pages_is_noticed(self, tmp_path, suffix):
        data = encoded(suffix, seconds=20.0)
        path = tmp_path / f"page.{suffix}"
        path.write_bytes(data[: data.rindex(b"OggS")])
        with pytest.raises(AudioError, match="its last page is missing"):
            io.load(path)

    @pytest.mark.parametrize("suffix", ["ogg", "mp3", "wav"])
    def test_tags_behind_the_sound_are_no_fault(self, tmp_path, suffix):
        path = tmp_path / f"tagged.{suffix}"
        path.write_bytes(encoded(suffix) + b"TAG" + bytes(125))
        assert len(io.load(path)) == 4 * RATE

    def test_mp3_of_constant_bit_rate_needs_no_length_header(self, tmp_path):
        data = without_length_header(
            encoded_as("MP3", bitrate_mode="CONSTANT", compression_level=0.3)
        )
        path = tmp_path / "constant.mp3"
        path.write_bytes(data)
        assert len(io.load(path)) == pytest.approx(RATE, abs=3 * 576)
        path.write_bytes(cut(data, 0.77))
        with pytest.raises(AudioError, match="its last frame is cut"):
            io.load(path)

    def test_mp3_of_varying_bit_rate_needs_no_length_header(self, tmp_path):
        """Without it a decoder stops at a length that it computes from the first frame."""
        changing = np.concatenate([tone(1.0), np.random.default_rng(0).uniform(-1, 1, 3 * RATE)])
        target = bytes_io.BytesIO()
        soundfile.write(target, changing, RATE, format="MP3", bitrate_mode="VARIABLE")
        path = tmp_path / "varying.mp3"
        path.write_bytes(target.getvalue())
        clean = io.load(path)
        assert len(clean) == len(changing)
        path.write_bytes(without_length_header(target.getvalue()))
        found = io.load(path)
        # The header also says by how much the encoder delays the sound.
        assert change(found[576:][: len(clean)], clean) < 1e-9
        path.write_bytes(cut(path.read_bytes(), 0.77))
        with pytest.raises(AudioError, match="its last frame is cut"):
            io.load(path)

    @pytest.mark.parametrize("name", NOT_AUDIO)
    def test_what_is_not_audio_is_refused_without_output(self, tmp_path, capfd, name):
        (tmp_path / name).write_bytes(NOT_AUDIO[name])
        with pytest.raises(AudioError, match=f"{name}.*(not audio|no samples|truncated)"):
            io.load(tmp_path / name)
        assert capfd.readouterr() == ("", "")

    def test_truncated_mp3_is_refused_without_output(self, tmp_path, capfd):
        (tmp_path / "cut.mp3").write_bytes(cut(encoded("mp3"), 0.5))
        with pytest.raises(AudioError):
            io.load(tmp_path / "cut.mp3")
        assert capfd.readouterr() == ("", "")

    def test_missing_and_empty_files_and_folders(self, tmp_path):
        (tmp_path / "empty.wav").touch()
        for name, message in [
            ("missing.wav", "missing.wav` does not exist"),
            ("empty.wav", "empty.wav` is empty"),
            ("", "is a folder"),
            ("empty.wav/inside.wav", "cannot be read"),
        ]:
            with pytest.raises(AudioError, match=message):
                io.load(tmp_path / name)

    def test_a_fifo_is_refused_without_waiting_for_it(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.wav")
        messages = []

        def attempt():
            try:
                io.load(tmp_path / "pipe.wav")
            except AudioError as error:
                messages.append(str(error))

        thread = threading.Thread(target=attempt, daemon=True)
        thread.start()
        thread.join(timeout=5.0)
        assert not thread.is_alive()
        assert "not a regular file" in messages[0]

    def test_devices_and_link_loops(self, tmp_path):
        (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
        with pytest.raises(AudioError, match="cannot be read"):
            io.load(tmp_path / "loop.wav")
        with pytest.raises(AudioError, match="not a regular file"):
            io.load("/dev/zero")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_file_that_may_not_be_read(self, make):
        path = make("secret.wav", tone())
        path.chmod(0)
        with pytest.raises(AudioError, match="Permission denied"):
            io.load(path)

    @pytest.mark.parametrize(
        ("name", "data", "message"),
        [
            ("none.wav", encoded_as("WAV")[:40] + bytes(4), "no samples"),
            ("slow.wav", patched(encoded_as("WAV"), 24, b"\x01\0\0\0"), "sample rate of 1 Hz"),
            ("fast.wav", patched(encoded_as("WAV"), 24, b"\0\0\0\x10"), "sample rate of 268435456"),
            (
                "huge.wav",
                patched(encoded_as("WAV"), 40, b"\0\0\0\xf0"),
                "promises 4026531840 bytes",
            ),
            ("voice.voc", encoded_as("VOC"), "its type is VOC"),
        ],
    )
    def test_headers_that_cannot_be_true(self, tmp_path, name, data, message):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(AudioError, match=f"{name}.*{message}"):
            io.load(tmp_path / name)

    @pytest.mark.parametrize("suffix", LOSS)
    def test_damage_raises_no_other_error(self, tmp_path, suffix):
        rng = np.random.default_rng(0)
        intact, path = encoded(suffix, seconds=1.0), tmp_path / f"damaged.{suffix}"
        for _ in range(50):
            data = np.frombuffer(intact, np.uint8).copy()
            header, anywhere = rng.integers(120, size=2), rng.integers(len(data), size=2)
            data[np.concatenate([header, anywhere])] = rng.integers(256, size=4)
            path.write_bytes(data.tobytes())
            try:
                assert np.isfinite(io.load(path)).all()
            except AudioError as error:
                assert str(error).startswith(f"`{path}` ")

    def test_too_many_channels(self, make):
        path = make("wide.wav", np.zeros((10, 33)))
        with pytest.raises(AudioError, match="33 channels, more than 32"):
            io.load(path)

    def test_too_long_a_file_needs_an_excerpt(self, make, monkeypatch):
        monkeypatch.setattr(decode, "MAX_SECONDS", 2)
        path = make("long.flac", np.tile(tone(), 5))
        with pytest.raises(AudioError, match=r"more than 2 s. Choose an excerpt"):
            io.load(path)
        assert len(io.load(path, start=0.5, duration=2.0)) == 2 * RATE

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
    def test_broken_samples_are_counted(self, make, value):
        samples = np.stack([tone(6.0), tone(6.0)], axis=1)
        samples[70_000:70_005, 1] = value
        path = make("broken.wav", samples, subtype="FLOAT")
        with pytest.raises(AudioError, match=r"holds 5 samples that are NaN.*at index 70000"):
            io.load(path)
        assert len(io.load(path, duration=4.0)) == 4 * RATE

    def test_a_single_broken_sample_is_one(self, make):
        path = make("broken.wav", np.r_[tone(), np.nan], subtype="FLOAT")
        with pytest.raises(AudioError, match=r"holds 1 sample that is NaN.*at index"):
            io.load(path)

    @pytest.mark.parametrize(("level", "dither"), [(0.0, 0.0), (0.25, 0.0), (0.0, 2e-5)])
    def test_silence_and_a_constant_are_refused(self, make, level, dither):
        noise = dither * np.random.default_rng(0).uniform(-1, 1, RATE)
        path = make("silent.wav", level + noise, subtype="FLOAT")
        with pytest.raises(AudioError, match=r"silent.wav` is silent from 0.25 s to 0.75 s"):
            io.load(path, start=0.25, duration=0.5)

    @pytest.mark.parametrize("noise", [0.0, 1e-4])
    def test_channels_that_cancel_are_refused(self, make, noise):
        left = tone()
        rest = noise * np.random.default_rng(0).standard_normal(len(left))
        path = make("opposite.wav", np.stack([left, rest - left], axis=1), subtype="FLOAT")
        with pytest.raises(AudioError, match=r"opposite.wav` has 2 channels that cancel"):
            io.load(path)

    def test_one_silent_channel_is_no_fault(self, make):
        left = tone()
        path = make("left.wav", np.stack([left, 0 * left], axis=1), subtype="FLOAT")
        np.testing.assert_allclose(io.load(path), left / 2, atol=1e-6)

    def test_levels_beyond_full_scale_stay(self, make):
        path = make("hot.wav", 80 * tone(), subtype="FLOAT")
        np.testing.assert_allclose(io.load(path), 80 * tone(), rtol=1e-6)


class TestSaving:
    @pytest.mark.parametrize("suffix", LOSS)
    def test_nothing_is_clipped(self, tmp_path, suffix):
        path = tmp_path / f"hot.{suffix}"
        io.save(path, 4 * tone(), RATE)
        assert change(io.load(path), 2 * tone()) < LOSS[suffix]

    @pytest.mark.parametrize(
        ("name", "rate", "message"),
        [
            ("a.m4a", RATE, r"'m4a' is unknown"),
            ("a", RATE, "'' is unknown"),
            ("a.opus", 44_100, r"one of \(8000, .* for opus, got 44100"),
            ("a.mp3", 96_000, r"for mp3, got 96000"),
            ("a.ogg", 384_000, r"1000 to 192000 Hz for ogg"),
            ("a.wav", 10, r"1000 to 768000 Hz for wav"),
        ],
    )
    def test_formats_and_rates_that_do_not_exist(self, tmp_path, name, rate, message):
        with pytest.raises(ValueError, match=message):
            io.save(tmp_path / name, tone(), rate)
        assert not os.listdir(tmp_path)

    @pytest.mark.parametrize("waveform", [np.zeros(0), np.array([0.0, np.nan])])
    def test_unusable_waveforms(self, waveform):
        with pytest.raises(ValueError, match="`waveform` must have shape"):
            io.encode(waveform, RATE, "wav")

    def test_a_folder_that_does_not_exist(self, tmp_path):
        with pytest.raises(AudioError, match=r"cannot be written \(No such file"):
            io.save(tmp_path / "nowhere" / "a.wav", tone(), RATE)
        (tmp_path / "file").touch()
        with pytest.raises(AudioError, match=r"cannot be written \(Not a directory"):
            io.save(tmp_path / "file" / "a.wav", tone(), RATE)

    def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(self, tmp_path, monkeypatch):
        path = tmp_path / "a.wav"
        io.save(path, tone(), RATE)
        before = path.read_bytes()

        def disk_full(descriptor):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", disk_full)
        with pytest.raises(AudioError, match=r"No space left on device.*has \d+ bytes left"):
            io.save(path, tone(2.0), RATE)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["a.wav"]

    def test_saved_files_obey_the_umask(self, tmp_path):
        io.save(tmp_path / "a.wav", tone(), RATE)
        (tmp_path / "other").touch()
        modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert len(modes) == 1

    def test_long_vorbis_does_not_overflow_the_stack(self):
        assert io.encode(np.tile(melody(10.0, RATE), 30), RATE, "ogg").startswith(b"OggS")


class TestStems:
    def test_stems_come_in_name_order_without_the_mixture(self, tmp_path):
        stems = {"vocals": tone(hz=400.0), "bass": tone(hz=80.0), "drums": 0 * tone()}
        for name, stem in stems.items():
            io.save(tmp_path / f"{name}.flac", stem, RATE)
        io.save(tmp_path / "mixture.flac", tone(), RATE)
        io.save(tmp_path / ".hidden.flac", tone(), RATE)
        (tmp_path / "notes.txt").write_text("not a stem", encoding="utf-8")
        names, loaded = io.load_stems(tmp_path)
        assert names == ("bass", "drums", "vocals")
        assert loaded.dtype == np.float32
        np.testing.assert_allclose(loaded, [stems[name] for name in names], atol=4e-5)
        _, part = io.load_stems(tmp_path, start=0.1, duration=0.2)
        np.testing.assert_array_equal(part, loaded[:, 1600:4800])

    def test_small_differences_in_length_are_cut_off(self, make):
        make("a.wav", tone())
        folder = make("b.wav", tone()[: -io.STEM_TOLERANCE]).parent
        assert io.load_stems(folder)[1].shape == (2, 8000 - io.STEM_TOLERANCE)

    def test_stems_that_do_not_belong_together(self, make):
        make("a.wav", tone())
        path = make("b.wav", tone()[:-33])
        with pytest.raises(AudioError, match=r"different lengths: a.wav 8000, b.wav 7967 samples"):
            io.load_stems(path.parent)
        make("b.wav", tone(rate=8_000), 8_000)
        with pytest.raises(AudioError, match=r"different sample rates: a.wav 16000, b.wav 8000 Hz"):
            io.load_stems(path.parent)

    def test_folders_without_usable_stems(self, make, tmp_path):
        with pytest.raises(AudioError, match="holds no stems"):
            io.load_stems(tmp_path)
        path = make("a.wav", np.zeros(100))
        with pytest.raises(AudioError, match="only silent stems"):
            io.load_stems(tmp_path)
        make("a.flac", np.zeros(100))
        with pytest.raises(AudioError, match="the stem 'a' twice"):
            io.load_stems(tmp_path)
        with pytest.raises(AudioError, match="is not a folder"):
            io.load_stems(path)

    def test_a_stem_in_an_unreadable_format_is_not_left_out(self, make):
        folder = make("a.wav", tone()).parent
        (folder / "b.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(500))
        with pytest.raises(AudioError, match=r"b.m4a` is not audio"):
            io.load_stems(folder)


class TestResamplers:
    @pytest.mark.parametrize("resampler", resampling.RESAMPLERS)
    @pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
    def test_a_tone_keeps_its_pitch_and_level(self, resampler, rate):
        def tone(rate):
            return np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)

        blocks = iter(np.array_split(tone(rate), 7))
        out = np.concatenate(list(resampling.resample(blocks, rate, 16_000, resampler)))
        assert len(out) == 16_000
        np.testing.assert_allclose(out[500:-500], tone(16_000)[500:-500], atol=2e-3)

    @pytest.mark.parametrize("resampler", resampling.RESAMPLERS)
    def test_frequencies_above_the_new_band_are_removed(self, resampler):
        tone = np.sin(2 * np.pi * 9_000 * np.arange(44_100) / 44_100).astype(np.float32)
        out = np.concatenate(list(resampling.resample(iter([tone]), 44_100, 16_000, resampler)))
        assert np.abs(out[500:-500]).max() < 1e-3

    def test_an_unknown_resampler_is_named(self):
        with pytest.raises(ValueError, match="did you mean 'kaiser-best'"):
            resampling.resample(iter([]), 8_000, 16_000, "kaiser_best")
