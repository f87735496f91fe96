"""The command that serves the web application."""

import contextlib
import dataclasses
import errno
import importlib.util
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import tyro

from lime_jax.commands import terminal
from lime_jax.commands.annotations import command
from lime_jax.lemons import HOME
from lime_jax.models.cache import cache_folder

_SERVER_OPTIONS: dict[str, Any] = {
    "log_level": "warning",
    "server_header": False,
    "date_header": False,
    "limit_concurrency": 256,
    "timeout_graceful_shutdown": 3,
    "timeout_keep_alive": 5,
    "ws": "none",
    "proxy_headers": False,
}


@command()
@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Serves the web application: listeners, their recommendations, and why they got them.

    Attributes:
      library: folders of further songs to recommend, made like the one that comes with lime-jax.
      host: who can reach it: this machine alone, or with 0.0.0.0 everybody on the network.
      port: 0 for any that is free.
      separator: takes the songs apart that users bring, such as spleeter:5stems; without one those
        songs are explained by time only.
      cache: folder of results; a folder in the cache of lime-jax if not given.
      open: show the page in the browser.
      warm_up: start on the explanation that the page offers first, so that what takes long at the
        first time is done when somebody asks.
    """

    library: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    separator: str | None = None
    cache: Path | None = None
    open: bool = False
    warm_up: bool = True


@dataclasses.dataclass(frozen=True)
class ListenersConfig:
    """Lists the listeners and the library."""


@dataclasses.dataclass(frozen=True)
class LemonsConfig:
    """Listenable explanations of music recommendations: a web application, and who is in it."""

    action: (
        Annotated[ServeConfig, tyro.conf.subcommand("serve")]
        | Annotated[ListenersConfig, tyro.conf.subcommand("list")]
    )


def run(config: LemonsConfig) -> int:
    """Runs the command; `serve` returns when it is interrupted.

    Raises:
      ValueError: if something it needs is missing or taken.
      LimeJaxError: if a library, recommender or separator cannot be used.
    """
    if isinstance(config.action, ServeConfig):
        return serve(config.action)
    return _list()


def serve(config: ServeConfig) -> int:
    """Serves until it is interrupted."""
    missing = [name for name in ("starlette", "uvicorn") if not importlib.util.find_spec(name)]
    if missing:
        raise ValueError(
            f"the web application needs {' and '.join(missing)}. Install it with "
            "`pip install 'lime-jax[lemons]'`."
        )
    import uvicorn

    from lime_jax.lemons import security, server

    with _listening(config.host, config.port) as listener:
        application = _application(config)
        web = server.web_application(application, config.host)
        address = _address(config.host, listener.getsockname()[1])
        if not security.is_loopback(config.host):
            terminal.say(
                f"warning: everybody who can reach {config.host} can use this server and listen to "
                "its library. There is no password."
            )
        terminal.say(f"listening on {address} (Ctrl-C ends it)")
        if config.open:
            threading.Timer(0.5, webbrowser.open, [address]).start()
        if config.warm_up:
            application.warm_up()
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(uvicorn.Config(web, **_SERVER_OPTIONS)).run(sockets=[listener])
        if not application.close():
            # It compiles, which nothing can interrupt; Python would wait, or abort within it.
            sys.stderr.flush()
            os._exit(0)
    return 0


def _application(config: ServeConfig) -> Any:
    from lime_jax import separation
    from lime_jax.lemons.application import Application

    separator = None if config.separator is None else separation.load(config.separator)
    cache = config.cache or cache_folder() / "lemons"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"`--cache {cache}` cannot be a folder ({error.strerror}). Choose another."
        ) from error
    return Application(HOME, cache=cache, libraries=config.library, separator=separator)


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that already listens, so that a taken port is known before anything is loaded."""
    if not 0 <= port < 2**16:
        raise ValueError(f"`--port` must lie between 0 and 65535, got {port}.")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ValueError(
                f"port {port} is taken, perhaps by another lime-jax. Choose one with `--port`."
            ) from error
        reason = error.strerror or error
        raise ValueError(f"`--host {host}` cannot be served on port {port} ({reason}).") from error
    with listener:
        yield listener


def _address(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"


def _list() -> int:
    from lime_jax.lemons.library import load_library
    from lime_jax.lemons.listeners import load_personas
    from lime_jax.storage import slug

    library = load_library(HOME)
    for persona in load_personas(HOME):
        sys.stdout.write(f"{persona.name} ({persona.id}): {persona.taste}\n")
    sys.stdout.write(f"{library.name} ({slug(library.name)}): {len(library.tracks)} tracks\n")
    return 0
