"""Songs that users bring, some of them with bad intent."""

import contextlib
import io
import os
import struct
import subprocess
import sys
import wave

import numpy as np
import pytest
import soundfile

import lime_jax
from lime_jax.audio import io as audio_io
from lime_jax.lemons import decode_worker, server, uploads
from lime_jax.lemons.http_error import HttpError
from lime_jax.lemons.uploads import Uploads, title_of
from lime_jax.separation.base import Stems
from tests.lemons import serving, tiny_library

RATE = 16_000


def song(seconds=5.5, rate=RATE):
    rng = np.random.default_rng(1)
    return (0.1 * rng.standard_normal(round(seconds * rate))).astype(np.float32)


@pytest.fixture(scope="module")
def application(tmp_path_factory):
    with serving.tiny_application(tmp_path_factory.mktemp("tiny")) as made:
        yield made


@pytest.fixture(scope="module")
def client(application):
    return serving.client_of(application)


def send(client, body, name="song.wav", **options):
    return client.post("/api/uploads", params={"name": name}, content=body, **options)


@pytest.fixture
def decoder_in_this_process(monkeypatch):
    """Decodes without a process of its own, which takes most of the time of an upload."""

    def run(command, **options):
        with contextlib.redirect_stdout(io.StringIO()) as output:
            try:
                code = decode_worker.main(command[-2:])
            except Exception:
                code = 1
        return subprocess.CompletedProcess(command, code, output.getvalue().encode())

    monkeypatch.setattr(decode_worker, "_limit", lambda: None)
    monkeypatch.setattr(subprocess, "run", run)


@pytest.fixture(scope="module")
def own(client):
    answer = send(client, audio_io.encode(song(), RATE, "wav"), "My <b>song.WAV")
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.mark.slow
def test_an_upload_is_explained_by_time(client, own):
    assert own["library"] == "own" and own["title"] == "My <b>song"
    track = client.get(f"/api/tracks/own/{own['track']}").json()
    assert track["duration"] == 5 and track["types"] == ["time"] and track["sources"] == []
    samples, rate = soundfile.read(io.BytesIO(client.get(track["sound"]).content), dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(samples, song()[: 5 * RATE], atol=2 / 32_767)

    explanation = serving.explain(client, library="own", track=own["track"])
    assert explanation["title"] == "My <b>song" and len(explanation["components"]) == 5
    assert explanation["components"][tiny_library.SEGMENT]["coefficient"] == max(
        component["coefficient"] for component in explanation["components"]
    )
    assert client.get(explanation["selections"][0]["sounds"]["part"]).status_code == 200


def test_an_upload_has_a_relevance(client, own):
    address = f"/api/relevance?persona=p1&library=own&track={own['track']}"
    answer = client.get(address)
    if answer.status_code == 202:
        assert serving.wait_for(client, answer)["state"] == "done"
        answer = client.get(address)
    expected = float(tiny_library.Recommender()(song()[None, : 5 * RATE])[0, 0])
    assert answer.json()["relevance"] == pytest.approx(expected, abs=1e-3)


def test_without_a_separator_uploads_are_not_explained_by_source(client, own):
    question = {"persona": "p0", "library": "own", "track": own["track"], "type": "source"}
    answer = client.post("/api/explanations", json=question)
    assert answer.status_code == 422 and "Time only" in answer.json()["error"]


def test_results_about_uploads_stay_off_the_disk(client, application, own, tmp_path_factory):
    key = serving.explain(client, library="own", track=own["track"], persona="p2")["key"]
    assert application.results.get(key) is not None
    assert not list(application.results._folder.rglob(f"{key}*"))


class Splitter:
    """Takes every sound apart into five equal stems."""

    name, version = "splitter", "1"

    def __call__(self, waveform, sample_rate):
        return Stems(np.stack([waveform / 5] * 5), tiny_library.SOURCES, sample_rate)


@pytest.mark.slow
def test_with_a_separator_uploads_are_explained_by_source(tmp_path):
    with serving.tiny_application(tmp_path, separator=Splitter()) as made:
        client = serving.client_of(made)
        own = send(client, audio_io.encode(song(), RATE, "wav")).json()
        address = f"/api/tracks/own/{own['track']}"
        assert client.get(address).json()["types"] == ["time", "source", "time-source"]
        explanation = serving.explain(client, library="own", track=own["track"], type="source")
        assert explanation["sources"] == list(tiny_library.SOURCES)
        assert len(client.get(address).json()["sources"]) == 5


class Lossy:
    """Takes a sound apart and loses a tenth of it."""

    name, version = "lossy", "1"

    def __init__(self):
        self.count = 0

    def __call__(self, waveform, sample_rate):
        self.count += 1
        shares = np.array([0.1, 0.1, 0.5, 0.1, 0.1], np.float32)
        return Stems(shares[:, None] * waveform, tiny_library.SOURCES, sample_rate)


@pytest.mark.slow
def test_separating_an_upload_leaves_its_mix_unchanged(tmp_path):
    with serving.tiny_application(tmp_path, separator=Lossy()) as made:
        client = serving.client_of(made)
        own = {"library": "own", "track": send(client, GOOD).json()["track"]}
        mix = f"/audio/own/{own['track']}/mix.wav"
        before = client.get(mix).content
        for kind in ("source", "time-source"):  # both are queued before the song is apart
            client.post("/api/explanations", json={"persona": "p0", **own, "type": kind})
        for kind in ("source", "time-source"):
            explanation = serving.explain(client, **own, persona="p0", type=kind)
            assert explanation["sources"] == [*tiny_library.SOURCES, "residual"]
        assert made.separator.count == 1
        sound = made.tracks.audio("own", own["track"])
        np.testing.assert_allclose(sound.stems.waveforms.sum(axis=0), sound.mix, atol=1e-6)

        made.files.clear()
        assert client.get(mix).content == before
        explanation = serving.explain(client, **own, type="time")
        assert explanation["sources"] == ["mix"]
        heard = sound.stems_for("time").waveforms[0]
        np.testing.assert_allclose(heard, song()[: 5 * RATE], atol=2 / 32_767)
        assert client.get(explanation["selections"][0]["sounds"]["part"]).status_code == 200


@pytest.mark.slow
def test_equal_uploads_of_two_users_keep_their_titles(client):
    names = ("Mine", "Yours")
    tracks = [send(client, GOOD, f"{name}.wav").json()["track"] for name in names]
    for name, track in zip(names, tracks, strict=True):
        explanation = serving.explain(client, library="own", track=track, persona="p1")
        assert explanation["title"] == name
        answer = client.get(explanation["selections"][0]["sounds"]["part"])
        assert name.lower() in answer.headers["content-disposition"]


@pytest.mark.slow
def test_everything_about_an_upload_is_dropped_with_it(tmp_path):
    with serving.tiny_application(tmp_path) as made:
        client = serving.client_of(made)
        track = send(client, GOOD).json()["track"]
        explanation = serving.explain(client, library="own", track=track)
        part = explanation["selections"][0]["sounds"]["part"]
        assert client.get(part).status_code == 200
        memories = [made.results._memory, made.files._values]
        made.tidy()
        assert all(memories)
        made.tracks.uploads._uploads.clear()
        assert client.get(part).status_code == 404
        made.tidy()
        assert not any(memories)


def test_uploads_are_refused_where_a_decoder_cannot_be_limited(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(decode_worker, "resource", None)
    assert (
        decode_worker.main([str(tmp_path / "a.wav"), str(tmp_path / "a.float32")])
        == decode_worker.REFUSED
    )
    assert "cannot be read on this system" in capsys.readouterr().out


@pytest.mark.usefixtures("decoder_in_this_process")
@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "mp3"])
def test_usual_audio_types_are_decoded(format):
    body = audio_io.encode(song(rate=44_100), 44_100, format)
    waveform = uploads.decode_in_process(body, format)
    assert waveform.shape == (5 * RATE,) and waveform.dtype == np.float32
    assert uploads.check_type(body, f"x.{format}") == format


def wav(frames, rate=RATE, channels=1):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * channels * frames) if isinstance(frames, int) else frames)
    return buffer.getvalue()


def flac_of_silence(seconds):
    """Minutes of a constant in a few kilobytes: what a decompression bomb is made of."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", 8000, 1, "PCM_16", format="FLAC") as sound:
        for _ in range(seconds):
            sound.write(np.full(8000, 0.1, np.float32))
    return buffer.getvalue()


def adpcm():
    buffer = io.BytesIO()
    soundfile.write(buffer, song(), RATE, format="WAV", subtype="IMA_ADPCM")
    return buffer.getvalue()


# What could harm the process that decodes it, and the one that shows how a refusal gets here.
IN_A_PROCESS = ("noise behind a head", "Ogg of noise", "MP3 of noise", "a bomb")
GOOD = audio_io.encode(song(), RATE, "wav")
HOSTILE = {
    "empty": (b"", "song.wav", 415, "does not begin like"),
    "text": (b"hello" * 100, "song.mp3", 415, "does not begin like"),
    "page": (b"<script>alert(1)</script>", "song.html", 415, "Only WAV"),
    "no suffix": (GOOD, "song", 415, "Only WAV"),
    "another type": (GOOD, "song.flac", 415, "does not begin like"),
    "a null byte": (GOOD, "song.wav\0.exe", 415, "Only WAV"),
    "head alone": (GOOD[:20], "song.wav", 422, ""),
    "truncated": (GOOD[:40_000], "song.wav", 422, ""),
    "noise behind a head": (b"fLaC" + os.urandom(5000), "song.flac", 422, ""),
    "Ogg of noise": (b"OggS" + os.urandom(5000), "song.ogg", 422, ""),
    "MP3 of noise": (b"\xff\xfb" + bytes(5000), "song.mp3", 422, ""),
    "short": (wav(3 * RATE), "song.wav", 422, "shorter than 5"),
    "silent": (wav(6 * RATE), "song.wav", 422, "silent"),
    "many channels": (wav(6 * RATE, channels=20), "song.wav", 422, "20 channels"),
    "a rate of nothing": (
        GOOD[:24] + struct.pack("<I", 3) + GOOD[28:], "song.wav", 422, "sample rate"),
    "a bomb": (flac_of_silence(1200), "song.flac", 422, "longer than 10 minutes"),
    "a rare codec": (adpcm(), "song.wav", 422, "rare codec"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "name", "status", "sentence"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused_in_a_sentence(request, client, body, name, status, sentence):
    if request.node.callspec.id not in IN_A_PROCESS:
        request.getfixturevalue("decoder_in_this_process")
    answer = send(client, body, name)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert sentence in error
    assert "/tmp" not in error and "Traceback" not in error and "`" not in error


def test_too_long_bodies_get_413(client):
    huge = bytes(uploads.MAX_BYTES + 1)
    assert send(client, huge).status_code == 413

    chunks = (bytes(2**20) for _ in range(21))  # so that no header tells the length
    answer = send(client, chunks)
    assert answer.status_code == 413 and "20 MB" in answer.json()["error"]
    lying = {"content-length": "-5"}
    assert send(client, b"", headers=lying).status_code == 413


@pytest.mark.usefixtures("decoder_in_this_process")
def test_too_many_uploads_at_a_time_have_to_wait(client, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(server, "_MOST_UPLOADS", 0)
        answer = send(client, GOOD)
    assert answer.status_code == 503 and answer.headers["retry-after"]
    assert send(client, GOOD).status_code == 201


def test_file_names_become_plain_text(client):
    assert client.post("/api/uploads", content=GOOD).status_code == 422
    assert title_of("C:\\songs\\..\\a.mp3") == "a"
    assert title_of("\x1b[31mred\x07\u202egpj.mp3") == "[31mredgpj"
    assert len(title_of("x" * 500 + ".wav")) == 80
    assert title_of("\n.wav") == "your song"


def test_uploads_are_forgotten_by_number_and_by_age(monkeypatch):
    monkeypatch.setattr(uploads, "decode_in_process", lambda body, suffix: song())
    latest = Uploads(num_kept=3)
    ids = [latest.add(GOOD, "a.wav").id for _ in range(5)]
    assert [latest.get(upload_id) is not None for upload_id in ids] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert len(set(ids)) == 5
    aged = Uploads(seconds=-1.0)
    upload_id = aged.add(GOOD, "a.wav").id
    assert aged.get(upload_id) is None and not aged.ids()


def test_a_decoder_is_stopped_after_its_time(monkeypatch):
    monkeypatch.setattr(uploads, "_MAX_SECONDS", 0.05)
    with pytest.raises(HttpError, match="too long to decode"):
        uploads.decode_in_process(GOOD, "wav")


GREEDY = """
import sys, types
sys.modules["lime_jax"] = types.ModuleType("lime_jax")
sys.modules["lime_jax"].__path__ = [sys.argv[1]]
from lime_jax.lemons import decode_worker
decode_worker._limit()
if sys.argv[2] == "memory":
    bytearray(2**31)
else:
    open(sys.argv[2], "wb").write(bytes(2**24))
"""


@pytest.mark.parametrize("what", ["memory", "file"])
def test_a_decoder_has_limits_on_memory_and_files(tmp_path, what):
    argument = what if what == "memory" else str(tmp_path / "large")
    command = [sys.executable, "-c", GREEDY, *lime_jax.__path__, argument]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "MemoryError" in done.stderr or "File too large" in done.stderr, done.stderr


def test_whole_seconds_up_to_a_minute_are_decoded(tmp_path):
    for seconds, used in ((5.0, 5), (14.9, 14), (70.0, 60)):
        path = tmp_path / "song.wav"
        audio_io.save(path, song(seconds), RATE)
        assert len(decode_worker.decode_excerpt(path)) == used * RATE
