"""The command that serves, as a process of its own."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest

from lime_jax import cli
from lime_jax.commands import lemons


@pytest.fixture
def address(tmp_path):
    """The address of a running server, which ends well when it is interrupted."""
    arguments = ["lemons", "serve", "--port", "0", "--cache", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "lime_jax.cli", *arguments], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        match = re.fullmatch(r"lime-jax: listening on (http://127\.0\.0\.1:\d+) .*\n", line)
        assert match, line
        yield match[1]
        process.send_signal(signal.SIGINT)
        # It is still compiling for its first explanation, and ends nonetheless.
        assert process.wait(20) in (0, 130)
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.stderr.close()
        process.wait()


def got(address):
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read()


@pytest.mark.slow
def test_twenty_clients_of_a_real_server(address):
    (library,) = json.loads(got(f"{address}/api/libraries"))
    track = next(iter(_tracks(library["id"])))
    errors = []

    def visit():
        try:
            for path in ("/", "/static/app.js", "/api/personas", f"/api/tracks/{track}"):
                got(address + path)
            assert got(f"{address}/audio/{track}/mix.wav")[:4] == b"RIFF"
        except (OSError, AssertionError) as error:
            errors.append(error)

    threads = [threading.Thread(target=visit) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with pytest.raises(urllib.error.HTTPError, match="404"):
        got(f"{address}/static/../server.py")


def _tracks(library):
    from lime_jax.lemons.library import load_library

    return (f"{library}/{track}" for track in load_library(lemons.HOME).tracks)


def test_a_taken_port_is_one_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert cli.main(["lemons", "serve", "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"port {port} is taken" in error


UNUSABLE = {
    "a port": (["--port", "70000"], "between 0 and 65535"),
    "a host": (["--host", "no.such.host.invalid", "--port", "0"], "cannot be served"),
    "a library": (["--library", "nowhere", "--port", "0"], "does not exist"),
    "a separator": (["--separator", "none", "--port", "0"], "separator 'none' is unknown"),
}


@pytest.mark.parametrize(("arguments", "sentence"), UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_options_are_one_line(arguments, sentence, capsys):
    assert cli.main(["lemons", "serve", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and sentence in error


def test_the_extra_is_named_where_it_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(lemons.importlib.util, "find_spec", lambda name: None)
    assert cli.main(["lemons", "serve"]) == 2
    assert "pip install 'lime-jax[lemons]'" in capsys.readouterr().err


def test_listeners_are_listed(capsys):
    assert cli.main(["lemons", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8 and lines[-1].endswith("tracks")


@pytest.mark.parametrize(
    ("host", "address"),
    {"127.0.0.1": "http://127.0.0.1:80", "0.0.0.0": "http://127.0.0.1:80",
     "::1": "http://[::1]:80", "studio.local": "http://studio.local:80"}.items(),
)  # fmt: skip
def test_the_address_can_be_opened(host, address):
    assert lemons._address(host, 80) == address
