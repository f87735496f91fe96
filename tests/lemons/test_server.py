"""The server: what it answers, what its sounds hold, and what it says when something is wrong."""

import io
import json
import threading
import time

import numpy as np
import pytest
import soundfile

from lime_jax.lemons import (
    audio_responses,
    explain_track,
    explanation_body,
    selections,
    serializers,
)
from lime_jax.lemons import relevance as recommending
from lime_jax.lemons.explain_track import Record
from lime_jax.lemons.library import load_library
from lime_jax.separation.base import Stems
from tests.lemons import serving, tiny_library

SIZE = 44 + 2 * tiny_library.SECONDS * tiny_library.RATE
ROUNDING = 0.51 / 32_768  # half a step to either side, and a trace of single precision


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="module")
def application(folder):
    with serving.tiny_application(folder) as made:
        yield made


@pytest.fixture(scope="module")
def client(application):
    return serving.client_of(application)


@pytest.fixture(scope="module")
def stems(folder, application):
    return load_library(folder / "home").stems("track-2")


@pytest.fixture(scope="module", params=explain_track.TYPES)
def explanation(client, request):
    return serving.explain(client, type=request.param)


def hear(client, address, **headers):
    answer = client.get(address, headers=headers)
    assert answer.status_code == 200, answer.text
    samples, rate = soundfile.read(io.BytesIO(answer.content), dtype="float32")
    assert rate == tiny_library.RATE and samples.ndim == 1
    return samples


def test_listeners_and_libraries_are_listed(client):
    assert [p["id"] for p in client.get("/api/personas").json()] == [f"p{i}" for i in range(5)]
    assert client.get("/api/libraries").json() == [
        {"id": "tiny", "name": "Tiny", "num_tracks": tiny_library.NUM_TRACKS}
    ]


def test_a_profile_counts_the_plays_of_a_listener(client):
    profile = client.get("/api/personas/p1").json()
    counts = [1 + (3 * t + 1) % 7 for t in range(13)]
    assert profile["num_tracks"] == 13 and profile["num_plays"] == sum(counts)
    plays = [track["plays"] for track in profile["tracks"]]
    assert plays == sorted(counts, reverse=True)
    assert sum(entry["share"] for entry in profile["styles"]) == pytest.approx(1)
    assert "Heard elsewhere" in [track["title"] for track in profile["tracks"]]


def test_recommendations_are_the_most_relevant(client, folder):
    address = "/api/recommendations?persona=p0&library=tiny"
    answer = client.get(address)
    if answer.status_code == 202:
        assert serving.wait_for(client, answer)["state"] == "done"
        answer = client.get(address)
    recommended = answer.json()
    library, judge = load_library(folder / "home"), tiny_library.Recommender()
    expected = {
        track: float(judge(library.stems(track).waveforms.sum(axis=0)[None])[0, 0])
        for track in library.tracks
    }
    best = sorted(expected, key=lambda track: -expected[track])[:10]
    assert [entry["id"] for entry in recommended] == best
    assert [entry["rank"] for entry in recommended] == list(range(1, 11))
    relevance = [entry["relevance"] for entry in recommended]
    np.testing.assert_allclose(relevance, [expected[track] for track in best], rtol=1e-5)


def test_relevance_that_comes_with_a_library_is_not_computed(client, folder, application):
    home = folder / "home"
    digests = {
        track: application.tracks.digest("tiny", track)
        for track in application.tracks.libraries["tiny"].tracks
    }
    weights = application.audience.recommender("p4")[1]
    known = {digest: i / 100 for i, digest in enumerate(digests.values())}
    path = recommending.write_precomputed(home, {weights: known})
    try:
        answer = client.get("/api/recommendations?persona=p4&library=tiny")
    finally:
        path.unlink()
    assert answer.status_code == 200
    assert answer.json()[0]["relevance"] == 0.11 and answer.json()[0]["id"] == "track-11"


def test_a_track_has_the_outlines_of_its_mix_and_sources(client, stems):
    track = client.get("/api/tracks/tiny/track-2").json()
    assert track["duration"] == tiny_library.SECONDS and track["types"] == list(explain_track.TYPES)
    assert [source["name"] for source in track["sources"]] == list(tiny_library.SOURCES)
    outline = track["outline"]
    assert max(outline["high"]) == pytest.approx(float(stems.waveforms.sum(axis=0).max()), abs=1e-3)
    assert len(outline["low"]) == len(outline["high"]) == 480


def test_explanations_name_the_component_that_matters(explanation):
    top = explanation["selections"][0]
    (part,) = top["parts"]
    if explanation["kind"] != "source":
        assert (part["start"], part["end"]) == pytest.approx((0.4, 0.6))
    if explanation["kind"] != "time":
        assert part["source"] == "drums"
    assert top["relevance_without"] < 0.1
    assert top["counter_test"].startswith("Without it the relevance falls from 0.")
    assert explanation["reading"].startswith(f"{explanation['fidelity']:.2f} – ")
    num_components = {"time": 5, "source": 5, "time-source": 25}[explanation["kind"]]
    assert len(explanation["components"]) == num_components


def test_relevance_without_a_selection_is_that_of_the_rest(explanation, stems):
    record = Record.from_json(explanation)
    for selection in explanation["selections"]:
        rest = selections.render_without(stems, record, selection["components"])
        expected = float(tiny_library.Recommender()(rest[None])[0, 0])
        assert selection["relevance_without"] == pytest.approx(expected, rel=1e-4)


def test_sounds_of_an_explanation_hold_its_selections(client, explanation, stems):
    record, gain = Record.from_json(explanation), audio_responses.common_gain(stems.waveforms)
    for selection in explanation["selections"]:
        part = selections.render_selection(stems, record, selection["components"])
        rest = selections.render_without(stems, record, selection["components"])
        expected = {"part": part.mix, "without": rest, "trimmed_wav": part.trimmed}
        for name, waveform in expected.items():
            samples = hear(client, selection["sounds"][name])
            np.testing.assert_allclose(samples, gain * waveform, rtol=0, atol=ROUNDING)


def test_served_selection_and_rest_add_up_to_the_track(client, explanation):
    top = explanation["selections"][0]
    song = hear(client, "/audio/tiny/track-2/mix.wav")
    part, rest = (hear(client, top["sounds"][name]) for name in ("part", "without"))
    # At the edges of the moment both are fading.
    times = np.arange(len(song)) / tiny_library.RATE
    inside = (np.abs(times - 0.4) > 0.02) & (np.abs(times - 0.6) > 0.02)
    np.testing.assert_allclose((part + rest)[inside], song[inside], atol=3 * ROUNDING)


def test_every_component_can_be_heard_alone(client, explanation, stems):
    key, record = explanation["key"], Record.from_json(explanation)
    index = len(record.components) - 1
    samples = hear(client, f"/audio/explanations/{key}/component-{index}.wav")
    expected = selections.render_selection(
        stems, record, (index,)
    ).mix * audio_responses.common_gain(stems.waveforms)
    np.testing.assert_allclose(samples, expected, rtol=0, atol=ROUNDING)


def test_selections_can_be_saved_as_mp3(client, explanation):
    answer = client.get(explanation["selections"][0]["sounds"]["trimmed_mp3"])
    assert answer.headers["content-type"] == "audio/mpeg"
    info = soundfile.info(io.BytesIO(answer.content))
    assert info.format == "MP3" and info.samplerate == tiny_library.RATE
    assert answer.headers["content-disposition"] == 'inline; filename="song-2-top-trimmed.mp3"'


RANGES = {
    "bytes=0-43": (0, 44),
    "bytes=100-": (100, None),
    "bytes=-10": (-10, None),
    "bytes=30000-999999999": (30_000, None),
}


@pytest.mark.parametrize(("wanted", "span"), RANGES.items())
def test_sounds_are_served_in_ranges(client, wanted, span):
    address = "/audio/tiny/track-2/drums.wav"
    whole = client.get(address).content
    answer = client.get(address, headers={"range": wanted})
    assert answer.status_code == 206 and answer.content == whole[slice(*span)]
    first = len(whole) - len(answer.content) if span[1] is None else 0
    last = first + len(answer.content) - 1
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(whole)}"


@pytest.mark.parametrize(
    "wanted", ["bytes=1-0", "bytes=0-1,4-5", "lines=1-2", "bytes=-", "bytes=x"]
)
def test_unusable_ranges_get_the_whole_file(client, wanted):
    answer = client.get("/audio/tiny/track-2/mix.wav", headers={"range": wanted})
    assert answer.status_code == 200 and len(answer.content) == SIZE


@pytest.mark.parametrize("wanted", ["bytes=999999999-", "bytes=-0"])
def test_ranges_behind_the_end_are_refused(client, wanted):
    answer = client.get("/audio/tiny/track-2/mix.wav", headers={"range": wanted})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


def test_a_known_sound_is_not_sent_again(client):
    address = "/audio/tiny/track-2/mix.wav"
    tag = client.get(address).headers["etag"]
    assert client.get(address, headers={"if-none-match": tag}).status_code == 304
    other = client.get(address, headers={"range": "bytes=0-9", "if-range": '"another"'})
    assert other.status_code == 200


def test_a_known_explanation_comes_without_a_job(client):
    first = serving.explain(client, track="track-3")
    asked = {"persona": "p3", "library": "tiny", "track": "track-3", "type": first["kind"]}
    again = client.post("/api/explanations", json=asked)
    assert again.status_code == 200
    assert again.json() == first


def test_servers_share_explanations_on_disk(client, folder, explanation):
    with serving.tiny_application(folder) as other:
        response = serving.client_of(other).get(f"/api/explanations/{explanation['key']}")
    assert response.status_code == 200 and response.json() == explanation


def test_damaged_results_are_computed_again(folder, client):
    key = serving.explain(client, track="track-4")["key"]
    path = folder / "cache" / key[:2] / f"{key}.json"
    path.write_text(path.read_text()[:50])
    with serving.tiny_application(folder) as other:
        fresh = serving.client_of(other)
        assert fresh.get(f"/api/explanations/{key}").status_code == 404
        assert serving.explain(fresh, track="track-4")["key"] == key
    assert json.loads(path.read_text())["record"]["kind"] == "time"


def test_a_silent_track_has_no_selections(client, application):
    # Softer than rounding: whatever is left out, the answer is the same.
    silent = Stems(
        np.zeros((5, tiny_library.RATE), np.float32), tiny_library.SOURCES, tiny_library.RATE
    )
    library = application.tracks.libraries["tiny"]
    real = type(library).stems
    try:
        type(library).stems = lambda self, track: silent
        application.tracks._stems.clear()
        result = serving.explain(client, track="track-5", type="source")
    finally:
        type(library).stems = real
        application.tracks._stems.clear()
    assert result["selections"] == [] and result["grade"] is None and result["fidelity"] is None
    assert result["reading"].startswith("undefined")


def test_silent_instruments_are_not_offered(stems):
    waveforms = stems.waveforms.copy()
    waveforms[1] = 0
    quiet = Stems(waveforms, stems.names, stems.sample_rate)
    body = explanation_body.compute(
        tiny_library.Recommender(), quiet, "source", lambda done, total: None
    )
    assert "instrument-drums" in body["relevance_without"]
    assert "instrument-piano" not in body["relevance_without"]


def test_the_first_explanation_is_ready_after_warming_up(tmp_path):
    with serving.tiny_application(tmp_path) as made:
        client = serving.client_of(made)
        for _ in range(2):  # the relevance of all tracks, then the explanation
            job = made.warm_up()
            while (state := made.jobs.get(job.key).state) != "done":
                assert state != "failed"
                time.sleep(0.02)
        assert made.warm_up() is None
        address = "/api/recommendations?persona=p3&library=tiny"
        best = client.get(address).json()[0]["id"]
        asked = {"persona": "p3", "library": "tiny", "track": best, "type": "time-source"}
        assert client.post("/api/explanations", json=asked).status_code == 200


@pytest.mark.slow
def test_twenty_clients_at_once_get_no_error(client):
    """Each walks through the page with another song; nobody gets an error."""
    errors = []

    def walk(number):
        try:
            asked = {"track": f"track-{number % 12}", "persona": f"p{number % 5}"}
            assert client.get("/").status_code == 200
            assert client.get(f"/api/personas/{asked['persona']}").status_code == 200
            result = serving.explain(client, **asked)
            for name in ("part", "without"):
                hear(client, result["selections"][0]["sounds"][name])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=walk, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


MISSING = [
    "/nothing",
    "/static/server.py",
    "/static/..%2fserver.py",
    "/api/personas/nobody",
    "/api/personas/..%2f..%2fetc%2fpasswd",
    "/api/tracks/tiny/none",
    "/api/tracks/none/track-0",
    "/api/tracks/tiny/..%2f..%2flibrary.json",
    "/api/tracks/own/guess",
    "/api/jobs/none",
    "/api/explanations/none",
    "/api/explanations/..%2f..%2f..%2fetc%2fpasswd",
    "/audio/tiny/track-0/none.wav",
    "/audio/tiny/track-0/mix.flac",
    "/audio/tiny/..%2ftrack-0/mix.wav",
    "/audio/tiny/track-0/..%2f..%2flibrary.wav",
    "/audio/explanations/none/top.wav",
    "/api/recommendations?persona=nobody&library=tiny",
    "/api/recommendations?persona=p0&library=../tiny",
    "/api/relevance?persona=p0&library=own&track=guess",
]


@pytest.mark.parametrize("address", MISSING)
def test_missing_addresses_get_404_and_a_sentence(client, address):
    answer = client.get(address)
    assert answer.status_code == 404
    assert set(answer.json()) == {"error"} and answer.json()["error"].endswith(".")


@pytest.mark.parametrize("name", ["top4", "component-99", "without-top-trimmed", "instrument-none"])
def test_sounds_that_an_explanation_lacks_get_404(client, explanation, name):
    answer = client.get(f"/audio/explanations/{explanation['key']}/{name}.wav")
    assert answer.status_code == 404 and answer.json()["error"].endswith(".")


UNUSABLE = {
    "no JSON": b"{",
    "no object": b"[1]",
    "a number": b"1",
    "missing": b'{"persona": "p0"}',
    "no text": b'{"persona": 1, "library": "tiny", "track": "track-0", "type": "time"}',
    "deep": b"[" * 4000,
    "type": b'{"persona": "p0", "library": "tiny", "track": "track-0", "type": "all"}',
}


@pytest.mark.parametrize("body", UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_questions_get_422(client, body):
    headers = {"content-type": "application/json"}
    answer = client.post("/api/explanations", content=body, headers=headers)
    assert answer.status_code == 422 and set(answer.json()) == {"error"}


def test_malformed_requests_get_the_status_of_http(client):
    assert client.post("/api/explanations", content=b"{}").status_code == 415
    headers = {"content-type": "application/json"}
    long = b" " * 5000
    assert client.post("/api/explanations", content=long, headers=headers).status_code == 413
    assert client.get("/api/recommendations").status_code == 422
    assert client.delete("/api/personas").status_code == 405


def test_a_bug_gets_500_without_a_traceback(client, monkeypatch):
    def broken(persona):
        raise RuntimeError("secret /path/of/the/server")

    monkeypatch.setattr(serializers, "listener", broken)
    answer = client.get("/api/personas")
    assert answer.status_code == 500
    assert "secret" not in answer.text and "Traceback" not in answer.text
    assert "content-security-policy" in answer.headers
