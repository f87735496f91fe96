"""The web application explains a song within seconds, and again at once, for many at a time.

The server is a process of its own with an empty cache. First explanations compile; cached ones are
read; then as many clients as promised ask for the page, songs and explanations side by side.
"""

import concurrent.futures
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import cells, timing

KINDS = ("time", "source", "time-source")
NUM_CLIENTS, PATIENCE = 20, 300.0


def run(*, quick: bool) -> dict[str, Any]:
    """First and cached explanations of the shipped songs, and clients side by side."""
    import starlette  # noqa: F401  # the extra that it needs
    import uvicorn  # noqa: F401

    with tempfile.TemporaryDirectory() as cache, _server(cache) as first_answer:
        personas = [one["id"] for one in _get("/api/personas")]
        shelf = _get("/api/libraries")[0]["id"]
        songs = _songs(personas[3], shelf)

        def ask(song, kind):
            return {"persona": personas[3], "library": shelf, "track": song, "type": kind}

        kinds = {}
        for kind in KINDS[:1] if quick else KINDS[::-1]:
            others = songs[1 : 2 if quick else 5]
            first = _explained(ask(songs[0], kind))
            kinds[kind] = {
                "first_s": first,
                "further_s": timing.spread([_explained(ask(song, kind)) for song in others]),
                "cached_s": timing.spread([_explained(ask(songs[0], kind)) for _ in range(9)]),
            }
        return {
            "first_answer_s": first_answer,
            "kinds": kinds,
            "clients": _clients(personas, shelf, songs),
        }


def _songs(persona: str, shelf: str) -> list[str]:
    found = _get(f"/api/recommendations?persona={persona}&library={shelf}")
    return [one["id"] for one in found]


@contextlib.contextmanager
def _server(cache: str) -> Iterator[float]:
    """The seconds until it answered."""
    places = {"LIME_JAX_CACHE": cache, "XDG_CACHE_HOME": cache, "HOME": cache}
    command = [sys.executable, "-m", "lime_jax.cli", "lemons", "serve", "--port", str(_port())]
    log = Path(cache) / "server.log"
    start = time.perf_counter()
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*command, "--no-warm-up"], env=os.environ | places, stderr=errors
        )
    try:
        while True:
            with contextlib.suppress(OSError):
                _get("/api/personas")
                break
            if process.poll() is not None or time.perf_counter() - start > PATIENCE:
                raise RuntimeError("the server did not start")
            time.sleep(0.05)
        yield time.perf_counter() - start
    except Exception as error:
        error.add_note(f"the server's last words:\n{log.read_text(errors='replace')[-4000:]}")
        raise
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def _explained(question: dict[str, str]) -> float:
    """Seconds from the question to the whole answer."""
    start = time.perf_counter()
    found = _post(question)
    while "job" in found:
        time.sleep(0.05)
        state = _get(f"/api/jobs/{found['job']}")
        if state["state"] == "failed" or time.perf_counter() - start > PATIENCE:
            raise RuntimeError(f"no explanation: {state}")
        if state["state"] == "done":
            found = _post(question)
    return time.perf_counter() - start


def _clients(personas: list[str], shelf: str, songs: list[str]) -> dict[str, Any]:
    """Each opens the page, looks at a song, listens, and asks; half of them for something new."""

    def client(number: int) -> tuple[float, float]:
        song, start = songs[number % len(songs)], time.perf_counter()
        _read("/")
        _get(f"/api/personas/{personas[number % len(personas)]}")
        _get(f"/api/tracks/{shelf}/{song}")
        _read(f"/audio/{shelf}/{song}/mix.wav")
        seen = time.perf_counter() - start
        _explained(
            {
                "persona": personas[number % 2 + 2],
                "library": shelf,
                "track": songs[number % 3],
                "type": KINDS[number % 2],
            }
        )
        return seen, time.perf_counter() - start

    with concurrent.futures.ThreadPoolExecutor(NUM_CLIENTS) as pool:
        told = list(pool.map(client, range(NUM_CLIENTS)))
    return {
        "num_clients": NUM_CLIENTS,
        "errors": 0,  # any would have been raised
        "page_and_song_s": timing.spread([seen for seen, _ in told]),
        "with_explanation_s": timing.spread([all_of_it for _, all_of_it in told]),
    }


@functools.cache
def _port() -> int:
    """One that nobody uses, so that two of these can run at a time."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def _read(path: str, data: bytes | None = None) -> bytes:
    base = f"http://127.0.0.1:{_port()}"
    headers = {"content-type": "application/json", "origin": base}
    request = urllib.request.Request(base + path, data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.read()


def _get(path: str) -> Any:
    return json.loads(_read(path))


def _post(question: dict[str, str]) -> Any:
    return json.loads(_read("/api/explanations", json.dumps(question).encode()))


def rows(numbers: dict[str, Any]) -> Iterator[cells.Row]:
    """Yields seconds from the click to the answer, in a server with an empty cache."""
    yield "what", "first, which compiles, s", "other songs, s", "again, s"
    names = {"time-source": "Time + Source, asked first", "source": "Source", "time": "Time"}
    for kind, one in numbers["kinds"].items():
        name = names[kind]
        low, high = one["further_s"]["range"]
        yield (
            name,
            f"{one['first_s']:.1f}",
            f"{one['further_s']['median']:.1f} [{low:.1f} to {high:.1f}]",
            f"{one['cached_s']['median']:.3f}",
        )
    clients = numbers["clients"]
    low, high = clients["page_and_song_s"]["range"]
    yield (
        f"{clients['num_clients']} clients at once: page, song and its sound",
        "",
        f"{clients['page_and_song_s']['median']:.1f} [{low:.1f} to {high:.1f}]",
        "",
    )
    low, high = clients["with_explanation_s"]["range"]
    yield (
        f"the same, with an explanation each; {clients['errors']} errors",
        "",
        f"{clients['with_explanation_s']['median']:.1f} [{low:.1f} to {high:.1f}]",
        "",
    )


def headline(numbers: dict[str, Any]) -> str:
    """Returns what the README says was measured."""
    kinds = numbers["kinds"].values()
    first = max(kind["first_s"] for kind in kinds)
    again = max(kind["cached_s"]["range"][1] for kind in kinds)
    return f"{first:.0f} s at the first time, {again:.3f} s again; 20 clients, no error"
