"""Files that hold more, or say less, than the usual: the same sound as that of the clean file."""

import io as bytes_io
import struct

import numpy as np
import pytest
import soundfile

from lime_jax.audio import io
from lime_jax.errors import AudioError

RATE = 16_000
CONTAINERS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3")


def melody(seconds=2.0, rate=RATE):
    """A signal that differs everywhere, so that a wrong offset shows; it fits 16 bits exactly."""
    time = np.arange(int(seconds * rate)) / rate
    samples = np.round(2**14 * np.sin(2 * np.pi * (200 * time + 300 * time**2)))
    return (samples / 2**15).astype(np.float32)


def encoded(container, samples=None, rate=RATE, **options):
    target = bytes_io.BytesIO()
    samples = melody() if samples is None else samples
    soundfile.write(target, samples, rate, format=container, **options)
    return target.getvalue()


def constant_mp3(**options):
    return encoded("MP3", bitrate_mode="CONSTANT", compression_level=0.3, **options)


def without_length_header(mp3):
    """The file without its first frame, which holds no sound."""
    return mp3[mp3.index(mp3[:2], 99) :]


def id3(body=b"\0" * 10):
    return b"ID3\3\0\0\0\0\0" + bytes([len(body)]) + body


def chunk(name, data):
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def wav(*chunks):
    return chunk(b"RIFF", b"WAVE" + b"".join(chunks))


def wav_chunks(data=None):
    """The chunks "fmt " and "data" of a plain file."""
    data = encoded("WAV") if data is None else data
    at = data.index(b"data")
    return data[12:at], data[at:]


def with_sizes(data, riff, sound):
    at = data.index(b"data") + 4
    whole, part = struct.pack("<I", riff), struct.pack("<I", sound)
    return data[:4] + whole + data[8:at] + part + data[at + 4 :]


def of_unknown_length(flac):
    """As of an encoder that could not go back; 16 bits, so the shared byte ends in zeros."""
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


def of_unknown_size(caf):
    at = caf.index(b"data") + 4
    return caf[:at] + b"\xff" * 8 + caf[at + 8 :]


@pytest.fixture
def load(tmp_path):
    """Loads a file of these bytes."""

    def load(data, name="sound.bin", **options):
        path = tmp_path / name
        path.write_bytes(data)
        return io.load(path, RATE, **options)

    return load


FMT, DATA = wav_chunks()
JOINED = {
    **{container: encoded(container) * 2 for container in CONTAINERS},
    "opus": encoded("OGG", subtype="OPUS") * 2,
    "different-ogg": encoded("OGG") + encoded("OGG", melody(3.0)),
    "different-flac": encoded("FLAC") + encoded("FLAC", melody(3.0)),
    "tag-between-flac": encoded("FLAC") + id3() + encoded("FLAC"),
    "tags-between-mp3": encoded("MP3") + b"TAG" + bytes(125) + id3() + encoded("MP3"),
    "zeros-between-mp3": encoded("MP3") + bytes(3000) + encoded("MP3"),
    "header-then-none-mp3": encoded("MP3") + without_length_header(constant_mp3()),
    "none-then-header-mp3": without_length_header(constant_mp3()) + encoded("MP3"),
    "other-rate-mp3": without_length_header(constant_mp3())
    + without_length_header(constant_mp3(rate=44_100)),
    "tag-behind-wav": wav(FMT, DATA, chunk(b"LIST", b"INFO")) + encoded("WAV"),
    "two-data-chunks": wav(FMT, DATA, DATA),
    "piped-wav": with_sizes(encoded("WAV"), 2**32 - 1, 2**32 - 1) * 2,
    "piped-flac": of_unknown_length(encoded("FLAC")) * 2,
    "piped-caf": of_unknown_size(encoded("CAF")) * 2,
}


@pytest.mark.parametrize("name", JOINED)
class TestJoinedFiles:
    """A decoder reads the first and ends without complaint, or takes a header for sound."""

    def test_half_of_them_is_not_taken_for_the_whole(self, load, name):
        with pytest.raises(AudioError, match=r"sound.bin` is several .* joined to one.*Split it"):
            load(JOINED[name])

    def test_an_excerpt_behind_the_first_names_the_cause(self, load, name):
        with pytest.raises(AudioError, match="joined to one"):
            load(JOINED[name], start=2.5, duration=1.0)


def test_mp3_streams_without_headers_are_joined_to_all_of_their_sound(load):
    """The frames of one go on where those of the other end, as recorders of radio leave them."""
    loud, dense = constant_mp3(), encoded("MP3", bitrate_mode="CONSTANT", compression_level=0.0)
    for second in (loud, dense):
        streams = [without_length_header(data) for data in (loud, second)]
        apart = [load(data) for data in streams]
        for between in (b"", id3(), b"TAG" + bytes(125)):
            together = load(between.join(streams))
            assert abs(len(together) - sum(map(len, apart))) <= 529
            np.testing.assert_allclose(together[-8000:], apart[1][-8000:], atol=1e-3)


TRICKY = b"mix data : 999999999 (should be 5)\n data : 999999999 (should be 5)\n\0"
INFO = chunk(b"LIST", b"INFO" + chunk(b"INAM", TRICKY))
PLAIN = encoded("WAV")
SAME_AS_PLAIN = {
    "sizes-max": with_sizes(PLAIN, 2**32 - 1, 2**32 - 1),
    "sizes-zero": with_sizes(PLAIN, 0, 0),
    "sizes-as-opened": with_sizes(PLAIN, 36, 0),
    "sizes-half": with_sizes(PLAIN, 2**31 - 1, 2**31 - 1 - 36),
    "sizes-sox": with_sizes(PLAIN, 0x7FFFF024, 0x7FFFF000),
    "only-riff-max": with_sizes(PLAIN, 2**32 - 1, len(PLAIN) - 44),
    "tricky-tag": wav(FMT, INFO, DATA),
    "tricky-tag-behind": wav(FMT, DATA, INFO),
    "piped-flac": of_unknown_length(encoded("FLAC")),
    "piped-flac-with-tag": of_unknown_length(encoded("FLAC")) + b"TAG" + bytes(125),
    "tag-before-flac": id3() + encoded("FLAC"),
    "tag-before-piped-flac": id3() + of_unknown_length(encoded("FLAC")),
    "piped-caf": of_unknown_size(encoded("CAF")),
}


class TestPipedFiles:
    @pytest.mark.parametrize("name", SAME_AS_PLAIN)
    def test_what_could_not_be_written_first_is_found(self, load, name):
        clean = load(PLAIN)
        np.testing.assert_array_equal(load(SAME_AS_PLAIN[name]), clean)
        part = load(SAME_AS_PLAIN[name], start=1.25, duration=0.5)
        np.testing.assert_array_equal(part, clean[20_000:28_000])

    @pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
    @pytest.mark.parametrize("num_channels", [1, 2])
    def test_a_last_sample_that_was_not_written_whole_is_none(self, load, subtype, num_channels):
        samples = np.repeat(melody()[:, None], num_channels, axis=1)
        data = encoded("WAV", samples, subtype=subtype)
        clean = load(data)
        np.testing.assert_array_equal(load(data[:-1]), clean[:-1])
        with pytest.raises(AudioError, match="is truncated"):
            load(data[:-9])

    @pytest.mark.parametrize("bits", ["PCM_16", "PCM_24"])
    @pytest.mark.parametrize("num_samples", [1, 4095, 4096, 4097, 300_000])
    def test_the_length_of_flac_is_that_of_its_frames(self, load, bits, num_samples):
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, num_samples)
        data = encoded("FLAC", noise, subtype=bits)
        unknown = data[:21] + bytes([data[21] & 0xF0]) + bytes(4) + data[26:]
        if num_samples == 1:  # which is silent
            with pytest.raises(AudioError, match="silent"):
                load(unknown)
        else:
            np.testing.assert_array_equal(load(unknown), load(data))

    @pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
    def test_piped_flac_that_is_cut_is_noticed(self, load, share):
        data = of_unknown_length(encoded("FLAC"))
        with pytest.raises(AudioError, match="is truncated: its last frame is cut"):
            load(data[: int(share * len(data))])

    def test_an_empty_recording_with_a_tag_is_not_its_tag(self, load):
        with pytest.raises(AudioError, match="no samples"):
            load(wav(FMT, chunk(b"data", b""), INFO))


CODECS = [
    (container, subtype)
    for container in ("WAV", "W64", "AIFF", "AU", "CAF")
    for subtype in soundfile.available_subtypes(container)
    if subtype not in ("DWVW_12", "MPEG_LAYER_III")  # libsndfile cannot write these
]


@pytest.mark.parametrize(("container", "subtype"), CODECS)
def test_every_codec_is_read_from_anywhere(load, container, subtype):
    """libsndfile refuses to seek in some, even to where it is."""
    data = encoded(container, melody(rate=8_000), 8_000, subtype=subtype)
    with soundfile.SoundFile(bytes_io.BytesIO(data)) as sound:
        sound.seekable = lambda: False
        whole = sound.read(sound.frames, dtype="float32")
    path_options = {"start": 1.25, "duration": 0.5}
    resampled = load(data)
    assert len(resampled) == 2 * len(whole)
    part = load(data, **path_options)
    # At the ends of an excerpt, the filter of the resampler lacks what is outside.
    np.testing.assert_allclose(part[200:-200], resampled[20_200:27_800], atol=2e-3)


class TestMp3Beginnings:
    PADDINGS = {
        "ten-zeros": bytes(10),
        "many-zeros": bytes(70_000),
        "tag-and-zeros": id3() + bytes(1500),
        "two-tags": id3() + id3(),
        "ape-tag": b"APETAGEX" + struct.pack("<IIII", 2000, 132, 1, 0xA0000000) + bytes(8 + 132),
        "rubbish": b"\xff\xfb\x12" * 99,
    }

    @pytest.mark.parametrize("name", PADDINGS)
    @pytest.mark.parametrize("has_header", [True, False])
    def test_what_stands_before_the_first_frame_is_no_fault(self, load, name, has_header):
        data = encoded("MP3") if has_header else without_length_header(constant_mp3())
        np.testing.assert_allclose(load(self.PADDINGS[name] + data), load(data), atol=1e-6)

    @pytest.mark.parametrize("lost", [1, 3, 50])
    def test_a_stream_cut_within_a_frame_begins_with_the_next(self, load, lost):
        clean = without_length_header(constant_mp3())
        whole, rest = load(clean), load(clean[lost:])
        frame = len(whole) - len(rest)
        assert frame == 576
        # Decoders need some frames until they have all that a frame refers to.
        np.testing.assert_allclose(rest[3 * frame :], whole[4 * frame :], atol=1e-6)

    def test_what_is_no_sound_in_the_middle_is_damage(self, load):
        data = without_length_header(constant_mp3())
        half = len(data) // 2
        with pytest.raises(AudioError, match=r"is damaged: its bytes \d+ to \d+ are no sound"):
            load(data[:half] + b"rubbish" * 700 + data[half:])

    @pytest.mark.parametrize("share", [0.5, 0.9])
    def test_padding_does_not_hide_a_cut(self, load, share):
        data = encoded("MP3")
        with pytest.raises(AudioError, match="is truncated"):
            load(bytes(999) + data[: int(share * len(data))])
