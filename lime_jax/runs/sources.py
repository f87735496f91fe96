"""What the files of an item were when it was explained, so that a changed one is noticed."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lime_jax import storage
from lime_jax.audio.io import AUDIO_SUFFIXES
from lime_jax.machine import num_processors
from lime_jax.runs.items import Item
from lime_jax.separation import precomputed, stem_cache

# A task for every single one would take more memory and time than asking.
_GROUP = 256
_LISTINGS = (precomputed.SLAKH_LISTING, stem_cache.LISTING)


@dataclasses.dataclass(frozen=True)
class Source:
    """The files of an item at some time.

    Attributes:
      stat: a digest of their names, sizes and times of modification, which costs next to nothing.
      sha256: a digest of their names and contents; empty if one could not be read.
    """

    stat: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What became of the files of some items.

    Attributes:
      changed: ids of items whose files hold something else.
      touched: new records of those whose files hold the same, written again.
    """

    changed: tuple[str, ...]
    touched: Mapping[str, Source]


def source_of(item: Item) -> Source:
    """Returns what the files of an item are now."""
    paths = list(_files(item))
    return Source(_stat(paths), _content(paths))


def compare(items: Iterable[Item], known: Mapping[str, Source]) -> Comparison:
    """Compares the files of items with what is known of them.

    Contents are read only where size or time differ. What is not known, or no longer there, has
    not changed.
    """
    recorded = [item for item in items if item.id in known]
    groups = [recorded[i : i + _GROUP] for i in range(0, len(recorded), _GROUP)]

    def suspects(group: Sequence[Item]) -> list[Item]:
        return [item for item in group if _stat(list(_files(item))) != known[item.id].stat]

    # Where files are far away, asking for one takes a millisecond.
    with ThreadPoolExecutor(4 * num_processors()) as pool:
        differing = [item for found in pool.map(suspects, groups) for item in found]
        sources = pool.map(source_of, differing)
        now = {item.id: source for item, source in zip(differing, sources, strict=True)}
    there = {id: source for id, source in now.items() if source.sha256}
    changed = tuple(id for id, source in there.items() if source.sha256 != known[id].sha256)
    return Comparison(changed, {id: there[id] for id in there.keys() - set(changed)})


def _files(item: Item) -> Iterator[Path]:
    if item.path is not None:
        yield item.path
    if isinstance(item.stems, Path):
        yield from _files_of_stems(item.stems)
    elif item.stems is not None:
        for paths in item.stems.values():
            yield from paths


def _files_of_stems(stems: Path) -> Iterator[Path]:
    if not stems.is_dir():
        yield stems
        return
    for path in sorted(stems.rglob("*")):
        is_ours = path.suffix.lower() in AUDIO_SUFFIXES or path.name in _LISTINGS
        if is_ours and not path.name.startswith("."):
            yield path


def _stat(paths: Iterable[Path]) -> str:
    return storage.digest_of_json([[path.name, *(_facts(path) or ())] for path in paths])


def _content(paths: Iterable[Path]) -> str:
    digests = [[path.name, _digest_of_file(path, _facts(path))] for path in paths]
    return storage.digest_of_json(digests) if all(digest for _, digest in digests) else ""


def _facts(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except (OSError, ValueError):  # a name that no file can have
        return None
    return stat.st_size, stat.st_mtime_ns


@functools.lru_cache(maxsize=4096)
def _digest_of_file(path: Path, facts: tuple[int, int] | None) -> str:
    """Once for all excerpts of a file, as long as `facts` are the same; empty if unreadable."""
    if facts is None or not path.is_file():  # reading a pipe would wait for ever
        return ""
    try:
        return storage.digest_of_file(path)
    except OSError:
        return ""
