"""A run over a Ray cluster: engines that take work as they get through it."""

import collections
import contextlib
import dataclasses
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from lime_jax.core.execution.allocator import keep_freed_memory
from lime_jax.errors import LimeJaxError, StoreError
from lime_jax.runs import store, worker
from lime_jax.runs.config import RunConfig
from lime_jax.runs.explainer import explainer_of
from lime_jax.runs.items import Item
from lime_jax.runs.progress import Log, Meter
from lime_jax.runs.reader import Failure
from lime_jax.runs.store import Store
from lime_jax.runs.writer import ChunkResult, ResultWriter

# An item that was in the hands of so many engines when they died is taken for the cause.
_MOST_DEATHS = 2
_HOPELESS = 8
_CHUNKS = 4
_SECONDS_TO_LISTEN = 1.0


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Items that one engine explains and stores together.

    Attributes:
      items: some of the work.
      deaths: how many engines died over them.
    """

    items: tuple[Item, ...]
    deaths: int = 0

    def halves(self) -> list["Chunk"]:
        """Returns two chunks, so that in the end an item that kills engines stands alone."""
        middle = (len(self.items) + 1) // 2
        halves = (self.items[:middle], self.items[middle:])
        return [Chunk(half, self.deaths + 1) for half in halves if half]


def explain_all(
    ray: Any,
    config: RunConfig,
    target: Store,
    items: Sequence[Item],
    writer: ResultWriter,
    stopped: Sequence[Any],
    *,
    model: Any = None,
) -> None:
    """Hands items out to engines until all are done or `stopped` is not empty.

    Engines write their parts into the store themselves, on a file system that they share, so a
    driver that dies loses nothing that is stored. A dead engine is replaced, and its items are
    handed out again unless they are in the store.

    Raises:
      StoreError: if engines die without having explained anything.
      LimeJaxError: what an engine raises.
    """
    number = num_engines(ray, config)
    # Several for every engine, so that none waits long for the last one.
    size = max(1, min(config.part_items, -(-len(items) // (_CHUNKS * number))))
    chunks = collections.deque(_chunks(items, size))
    # A batch is then no larger than what an engine is given.
    fitting = dataclasses.replace(config, part_items=size)

    def make() -> Any:
        return _engine_class(ray).remote(fitting, target.folder, model)

    idle = collections.deque(make() for _ in range(number if chunks else 0))
    busy: dict[Any, tuple[Any, Chunk]] = {}
    num_deaths, num_done = 0, 0
    while busy or (chunks and not stopped):
        while idle and chunks and not stopped:
            engine, chunk = idle.popleft(), chunks.popleft()
            busy[engine.explain.remote(chunk.items)] = (engine, chunk)
        ready, _ = ray.wait(list(busy), timeout=_SECONDS_TO_LISTEN)
        for reference in ready:
            engine, chunk = busy.pop(reference)
            result = _result_or_death(ray, engine, reference)
            if isinstance(result, ChunkResult):
                num_done += result.num_done
                writer.add_stored(result)
                idle.append(engine)
                continue
            num_deaths += 1
            if not num_done and num_deaths >= _HOPELESS:
                raise StoreError(
                    f"{num_deaths} engines died and none has explained anything: {result}"
                ) from result
            _hand_out_again(target, chunk, chunks, writer)
            idle.append(make())


class Engine:
    """Explains items on the devices of one worker and stores them."""

    def __init__(self, config: RunConfig, folder: Path, model: Any) -> None:
        keep_freed_memory()
        self._config, self._folder, self._model = config, folder, model
        self._explainer: Any = None

    def explain(self, items: Sequence[Item]) -> ChunkResult:
        """Explains and stores items; done means stored."""
        if self._explainer is None:
            self._explainer = explainer_of(self._config, items, model=self._model)
        meter = Meter(len(items), 0, 0)
        log = Log(self._folder / "log" / "engines.jsonl")
        writer = ResultWriter(store.open_store(self._folder), self._config, meter, log, None)
        # One chunk of bad items says nothing about the model.
        worker.explain_all(self._explainer, items, writer, hopeless=len(items) + 1)
        return ChunkResult(meter.done, tuple(writer.reasons), meter.num_evaluations, meter.seconds)


def _result_or_death(ray: Any, engine: Any, reference: Any) -> ChunkResult | Exception:
    """Returns what an engine did, or why it is no more: it died, was out of memory or is lost."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise _original_error(error) from error
    except ray.exceptions.RayError as error:
        with contextlib.suppress(ray.exceptions.RayError):
            ray.kill(engine)
        return error


def _chunks(items: Sequence[Item], size: int) -> Iterator[Chunk]:
    """Yields the work, with paths that mean the same wherever an engine runs."""
    everything = [_absolute(item) for item in items]
    for first in range(0, len(items), size):
        yield Chunk(tuple(everything[first : first + size]))


def _absolute(item: Item) -> Item:
    stems = item.stems
    if isinstance(stems, Path):
        stems = stems.absolute()
    elif stems is not None:
        stems = {name: tuple(path.absolute() for path in paths) for name, paths in stems.items()}
    path = None if item.path is None else item.path.absolute()
    return dataclasses.replace(item, path=path, stems=stems)


def _hand_out_again(target: Store, chunk: Chunk, chunks: Any, writer: ResultWriter) -> None:
    """Gives what is left of the work of a dead engine to the others, in halves."""
    done, failed, _ = store.stored_ids(target)
    left = tuple(item for item in chunk.items if item.id not in done | failed)
    writer.add_stored(ChunkResult(sum(item.id in done for item in chunk.items), (), 0, 0.0))
    if len(left) == 1 and chunk.deaths + 1 >= _MOST_DEATHS:
        reason = f"{chunk.deaths + 1} engines died while they explained it"
        writer.fail(Failure(left[0], "explain", reason))
        writer.flush()
    elif left:
        chunks.extend(Chunk(left, chunk.deaths).halves())


@contextlib.contextmanager
def connect(address: str) -> Iterator[Any]:
    """Yields the package ray, connected to a cluster.

    Call it before the first computation: a local cluster forks, which JAX's threads do not survive.

    Raises:
      StoreError: if Ray is missing or the cluster cannot be reached.
    """
    try:
        import ray
    except ImportError as error:
        raise StoreError(
            "`--ray` needs the package ray. Install lime-jax[ray], or use `--shard`."
        ) from error
    try:
        _check_address(address)
        ray.init(
            address=address,
            log_to_driver=False,
            include_dashboard=False if address == "local" else None,
            logging_level=logging.ERROR,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise StoreError(
            f"`--ray {address}`: no cluster can be reached ({' '.join(str(error).split())}). "
            "Start one with `ray start --head`, or use `--ray local`."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raises at once where nothing listens; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=5).close()


def num_engines(ray: Any, config: RunConfig) -> int:
    """Returns one per GPU; without GPUs one per node, whose processors it uses all."""
    if config.num_engines is not None:
        # More than fit would wait for ever.
        return min(config.num_engines, max(1, int(ray.cluster_resources().get("CPU", 1))))
    gpus = int(ray.cluster_resources().get("GPU", 0))
    return gpus or sum(node["Alive"] for node in ray.nodes())


def _engine_class(ray: Any) -> Any:
    """Returns an actor with a GPU, if there are any, that finds modules where the driver does."""
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {"PYTHONPATH": path}
    if compiled := jax.config.jax_compilation_cache_dir:  # pyright: ignore[reportAttributeAccessIssue]
        environment["JAX_COMPILATION_CACHE_DIR"] = str(compiled)
    actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(Engine)
    return actor.options(runtime_env={"env_vars": environment}, scheduling_strategy="SPREAD")


def _original_error(error: Any) -> BaseException:
    cause = error.cause
    return cause if isinstance(cause, (LimeJaxError, ValueError)) else StoreError(str(cause))
