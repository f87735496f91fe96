"""A server on the tiny library, without a network."""

import contextlib
import time
from unittest import mock

from starlette.testclient import TestClient

from lime_jax.lemons import application, server
from lime_jax.models import recommender
from tests.lemons import tiny_library

BASE = "http://localhost:8000"


@contextlib.contextmanager
def tiny_application(folder, seconds=tiny_library.SECONDS, **options):
    """Yields the application on a tiny library in `folder`, of tracks of so many seconds."""
    home = folder / "home"
    if not home.exists():
        home.mkdir()
        tiny_library.write_library(home, seconds)
    load = recommender.load

    def load_tiny(path):
        return tiny_library.Recommender() if tiny_library.is_tiny(path) else load(path)

    with mock.patch.object(recommender, "load", load_tiny):
        made = application.Application(home, cache=folder / "cache", **options)
        try:
            yield made
        finally:
            made.close()


def client_of(made, **options):
    """Returns a client of the whole server; errors of the server become responses, as in life."""
    web = server.web_application(made)
    return TestClient(web, base_url=BASE, raise_server_exceptions=False, **options)


def wait_for(client, answer, seconds=120):
    """Waits for the work that an answer speaks of, and returns the job."""
    assert answer.status_code == 202, answer.text
    job, end = answer.json(), time.monotonic() + seconds
    while job["state"] not in ("done", "failed"):
        assert time.monotonic() < end, job
        time.sleep(0.02)
        job = client.get(f"/api/jobs/{job['job']}").json()
    return job


def explain(client, **question):
    """Returns an explanation, computed now or before."""
    asked = {"persona": "p3", "library": "tiny", "track": "track-2", "type": "time", **question}
    answer = client.post("/api/explanations", json=asked)
    if answer.status_code == 200:
        return answer.json()
    job = wait_for(client, answer)
    assert job["state"] == "done", job
    return client.get(f"/api/explanations/{job['job']}").json()
