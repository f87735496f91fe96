"""A data set explained from end to end, resumable at any moment."""

import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from lime_jax.errors import StoreError
from lime_jax.runs import changes, dataset_layouts, locks, ray_cluster, shards, store
from lime_jax.runs.config import RunConfig, check, determinants, layout_of
from lime_jax.runs.explainer import explainer_of
from lime_jax.runs.items import Item, check_items
from lime_jax.runs.progress import Log, Meter, Progress
from lime_jax.runs.shards import Shard
from lime_jax.runs.store import Store
from lime_jax.runs.worker import explain_all
from lime_jax.runs.writer import Report, ResultWriter


@dataclasses.dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
      folder: of the store.
      progress: at the end.
      shard: what part of the work it was.
      signal: that stopped it, or None.
      set_aside: damaged files that were moved away and computed again.
      changed: ids of items explained again, because their files hold something else now.
    """

    folder: Path
    progress: Progress
    shard: Shard
    signal: signal.Signals | None
    set_aside: tuple[Path, ...]
    changed: tuple[str, ...] = ()


def run(
    config: RunConfig,
    *,
    items: Sequence[Item] | None = None,
    model: Any = None,
    report: Report | None = None,
    say: Callable[[str], None] | None = None,
) -> RunResult:
    """Explains every item that has no result yet, and stores part after part.

    What is stored is whole: killed at any moment, the same call goes on and loses at most the part
    that was being computed. SIGINT and SIGTERM end it after that part.

    Args:
      config: what to do; all that determines the numbers must equal that of earlier calls.
      items: the data set; None finds it by `config.source`.
      model: to use instead of loading `config.model`.
      report: called with the progress after every batch.
      say: called with a sentence about which part of the work this is, unless it is all.

    Raises:
      LimeJaxError: if data set, model or store cannot be used, or the disk is full.
      ValueError: if an option is impossible.
    """
    check(config)
    if items is None:
        items = dataset_layouts.items_of(config.source, layout_of(config))
    items = check_items(items, "`items`")
    if config.ray is None:
        return _run(config, items, model, report, None, say)
    with ray_cluster.connect(config.ray) as ray:
        return _run(config, items, model, report, ray, say)


def _run(
    config: RunConfig,
    items: Sequence[Item],
    model: Any,
    report: Report | None,
    ray: Any,
    say: Callable[[str], None] | None,
) -> RunResult:
    shard = Shard() if ray else _shard(config, say)
    explainer = explainer_of(config, items, model=model)
    separator = explainer.requirements.separator
    values = determinants(config, explainer.model, explainer.output_names, separator)
    target = store.create_or_join(Path(config.output_dir).absolute(), values)
    with locks.hold_shard(target.folder, shard):
        with locks.exclusive_folder(target.folder):
            stored_items = store.store_items(target, items)
        changed = changes.forget_changed(target, [i for i in stored_items if shard.has(i.id)])
        if say is not None and changed:
            say(_about_changed(changed))
        num_engines = ray_cluster.num_engines(ray, config) if ray else 1
        pending, meter, damaged = _plan_work(target, config, stored_items, shard, num_engines)
        if say is not None and shard.count > 1:
            say(
                f"shard {shard.index} of {shard.count} (from {shard.source}): {meter.total:,} of "
                f"{len(stored_items):,} items; `--shard 0/1` takes all of them"
            )
        log = Log(target.folder / "log" / f"{shard.index}-of-{shard.count}.jsonl")
        for id in changed:
            log.write("changed", id=id)
        writer = ResultWriter(target, config, meter, log, report)
        with _catch_signals() as stopped:
            log.write(
                "start", pid=os.getpid(), shard=f"{shard.index}/{shard.count}", left=len(pending)
            )
            if ray:
                ray_cluster.explain_all(ray, config, target, pending, writer, stopped, model=model)
            else:
                explain_all(explainer, pending, writer, stopped)
        progress = meter.progress()
        log.write("stop" if stopped else "end", **dataclasses.asdict(progress))
    folder = Path(config.output_dir)
    signalled = stopped[0] if stopped else None
    return RunResult(folder, progress, shard, signalled, tuple(damaged), changed)


def _shard(config: RunConfig, say: Callable[[str], None] | None) -> Shard:
    typed = shards.has_terminal()
    reason = shards.passed_over(os.environ, has_terminal=typed) if config.shard is None else None
    if say is not None and reason is not None:
        say(f"warning: {reason}")
    return shards.shard_of(config.shard, os.environ, has_terminal=typed)


def _about_changed(ids: Sequence[str]) -> str:
    number = "1 item is" if len(ids) == 1 else f"{len(ids):,} items are"
    shown = ", ".join(map(repr, ids[:3])) + (", …" if len(ids) > 3 else "")
    return f"warning: {number} explained again, as the files hold something else now: {shown}"


def _plan_work(
    target: Store, config: RunConfig, items: Sequence[Item], shard: Shard, num_engines: int
) -> tuple[list[Item], Meter, list[Path]]:
    """Returns what is left to do, what is done, and damaged files, which are set aside."""
    store.sweep(target)
    own = [item for item in items if shard.has(item.id)]
    if config.retry_failed:
        _forget_failures(target, shard)
    done, failed, damaged = store.stored_ids(target)
    store.set_aside(target, damaged)
    pending = [item for item in own if item.id not in done and item.id not in failed]
    num_done = sum(item.id in done for item in own)
    meter = Meter(len(own), num_done, len(own) - num_done - len(pending), num_engines)
    return pending, meter, damaged


def _forget_failures(target: Store, shard: Shard) -> None:
    if shard.count > 1:
        raise StoreError(
            "`--retry-failed` does not go with `--shard`: the failures of all shards lie "
            "together. Run the command once without shards."
        )
    for path in target.parts(store.ERRORS):
        path.unlink()
    store.create_or_join(target.folder, target.config)


@contextlib.contextmanager
def _catch_signals() -> Iterator[list[signal.Signals]]:
    """Yields a list that SIGINT or SIGTERM is written into; the second one ends the process."""
    stopped: list[signal.Signals] = []
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        if stopped:
            raise KeyboardInterrupt
        stopped.append(signal.Signals(number))

    earlier = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
