"""The web server: its page, its JSON and its sounds.

Starlette, since it is small and typed, depends on next to nothing and leaves every header to us.
Frameworks that draw pages by themselves load scripts from elsewhere, keep a session per page, and
serve files by path, which more than once let strangers read files of the server.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from lime_jax.lemons import audio_responses, page, serializers
from lime_jax.lemons.application import Application
from lime_jax.lemons.audio_files import SoundFiles
from lime_jax.lemons.explanations import Question
from lime_jax.lemons.http_error import HttpError
from lime_jax.lemons.job_queue import Job
from lime_jax.lemons.security import Guard
from lime_jax.lemons.tracks import OWN
from lime_jax.lemons.uploads import MAX_BYTES

_STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_MAX_QUESTION = 4096  # bytes
_MOST_UPLOADS = 8  # at a time, as each of them lies in memory
_SECONDS_OF_SENDING = 120.0
_BUG = "Something went wrong inside the server; its terminal says what."


def web_application(application: Application, host: str = "127.0.0.1") -> Guard:
    """Returns the ASGI application.

    Args:
      application: what it is about; ends with it.
      host: what the server binds to.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        application.close()

    routes = _Routes(application)
    handlers: Any = {
        HttpError: _respond_to_error,
        HTTPException: _respond_to_http_exception,
        Exception: _respond_to_bug,
    }
    app = Starlette(routes=routes.all(), lifespan=lifespan, exception_handlers=handlers)
    return Guard(app, host)


class _Routes:
    """The routes. Plain functions run in threads, so that no request waits for another."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._files, self._num_uploads = SoundFiles(application), 0
        self._static = {p.name: p.read_bytes() for p in _STATIC.iterdir() if p.suffix in _TYPES}

    def all(self) -> list[Route]:
        gets: dict[str, Callable[[Request], Response]] = {
            "/": self.page,
            "/static/{name}": self.static,
            "/api/personas": self.personas,
            "/api/personas/{persona}": self.persona,
            "/api/libraries": self.libraries,
            "/api/recommendations": self.recommendations,
            "/api/relevance": self.relevance,
            "/api/tracks/{library}/{track}": self.track,
            "/api/jobs/{job}": self.job,
            "/api/explanations/{key}": self.explanation,
            "/audio/explanations/{key}/{name}.{suffix}": self.explanation_sound,
            "/audio/{library}/{track}/{name}.{suffix}": self.track_sound,
        }
        posts = {"/api/explanations": self.explain, "/api/uploads": self.upload}
        return [
            *(Route(path, endpoint) for path, endpoint in gets.items()),
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in posts.items()),
        ]

    def page(self, request: Request) -> Response:
        del request
        return HTMLResponse(page.render(self._application), headers={"cache-control": "no-store"})

    def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._static:
            raise HttpError(404, "There is no such page.")
        kind = _TYPES[Path(name).suffix]
        return Response(self._static[name], media_type=kind, headers={"cache-control": "no-cache"})

    def personas(self, request: Request) -> Response:
        del request
        return _json(
            [serializers.listener(p) for p in self._application.audience.personas.values()]
        )

    def persona(self, request: Request) -> Response:
        return _json(serializers.profile(self._application, request.path_params["persona"]))

    def libraries(self, request: Request) -> Response:
        del request
        shelves = self._application.tracks.libraries.items()
        return _json([serializers.shelf(name, library) for name, library in shelves])

    def recommendations(self, request: Request) -> Response:
        persona, library = _query(request, "persona"), _query(request, "library")
        relevance = self._application.recommendations.of_library(persona, library)
        if isinstance(relevance, Job):
            return _json(serializers.job(relevance), 202)
        return _json(serializers.recommendations(self._application, persona, library, relevance))

    def relevance(self, request: Request) -> Response:
        names = [_query(request, name) for name in ("persona", "library", "track")]
        relevance = self._application.recommendations.of_track(*names)
        if isinstance(relevance, Job):
            return _json(serializers.job(relevance), 202)
        return _json({"relevance": relevance})

    def track(self, request: Request) -> Response:
        return _json(serializers.track(self._application, *request.path_params.values()))

    def job(self, request: Request) -> Response:
        job = self._application.jobs.get(request.path_params["job"])
        if job is None:
            raise HttpError(404, "There is no such work.")
        return _json(serializers.job(job))

    def explanation(self, request: Request) -> Response:
        return _json(serializers.explanation(self._application, request.path_params["key"]))

    def explanation_sound(self, request: Request) -> Response:
        return self._sound(request, self._files.of_explanation)

    def track_sound(self, request: Request) -> Response:
        return self._sound(request, self._files.of_track)

    def _sound(self, request: Request, find: Callable[..., tuple[bytes, str]]) -> Response:
        suffix = request.path_params["suffix"]
        if suffix not in audio_responses.TYPES:
            raise HttpError(404, "Sounds come as wav or mp3.")
        body, filename = find(*request.path_params.values())
        return audio_responses.respond(body, request.headers, suffix, filename)

    async def explain(self, request: Request) -> Response:
        question = _question(request, await _body(request, _MAX_QUESTION))
        key, job = await run_in_threadpool(self._application.explanations.submit, question)
        if job is not None:
            return _json(serializers.job(job), 202)
        return _json(await run_in_threadpool(serializers.explanation, self._application, key))

    async def upload(self, request: Request) -> Response:
        name = _query(request, "name")
        if self._num_uploads >= _MOST_UPLOADS:
            raise HttpError(503, "Too many songs are being sent just now; try again in a minute.")
        self._num_uploads += 1
        try:
            body = await _body(request, MAX_BYTES)
            upload = await run_in_threadpool(self._application.tracks.uploads.add, body, name)
        finally:
            self._num_uploads -= 1
        return _json({"library": OWN, "track": upload.id, "title": upload.title}, 201)


async def _body(request: Request, most: int) -> bytes:
    """Reads what was sent, as long as it is short enough, whatever its header says."""
    too_long = HttpError(413, f"That is too much: at most {_size(most)} are taken.")
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > most:
        raise too_long
    body = bytearray()
    try:
        async with asyncio.timeout(_SECONDS_OF_SENDING):
            async for chunk in request.stream():
                if len(body) + len(chunk) > most:
                    raise too_long
                body += chunk
    except TimeoutError:
        raise HttpError(408, "Sending took too long.") from None
    except ClientDisconnect:
        raise HttpError(400, "The connection ended before everything was sent.") from None
    return bytes(body)


def _size(number: int) -> str:
    return f"{number // 2**20} MB" if number >= 2**20 else f"{number} bytes"


def _question(request: Request, body: bytes) -> Question:
    # No form of another site can send this type unasked.
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise HttpError(415, "Send JSON, as application/json.")
    try:
        fields = json.loads(body)
        names = [fields[name] for name in ("persona", "library", "track", "type")]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise HttpError(422, "Send an object with persona, library, track and type.") from None
    if not all(isinstance(name, str) for name in names):
        raise HttpError(422, "persona, library, track and type must be texts.")
    return Question(*names)


def _query(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise HttpError(422, f"The address lacks `{name}`.")
    return value


def _json(content: Any, status: int = 200) -> JSONResponse:
    return JSONResponse(content, status, headers={"cache-control": "no-store"})


def _respond_to_error(request: Request, error: HttpError) -> Response:
    del request
    response = _json({"error": error.sentence}, error.status)
    if error.status == 503:
        response.headers["retry-after"] = "30"
    return response


def _respond_to_http_exception(request: Request, error: HTTPException) -> Response:
    del request
    sentences = {404: "There is no such page.", 405: "That cannot be done here."}
    return _json({"error": sentences.get(error.status_code, error.detail)}, error.status_code)


def _respond_to_bug(request: Request, error: Exception) -> Response:
    del request, error
    return _json({"error": _BUG}, 500)
