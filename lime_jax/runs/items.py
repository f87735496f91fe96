"""What a data set is made of."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from lime_jax.core.arguments import instance, listed
from lime_jax.errors import StoreError

Stems = Path | Mapping[str, tuple[Path, ...]]

MAX_ID_LENGTH = 1000


@dataclasses.dataclass(frozen=True)
class Item:
    """One sound of a data set, which gets explanations of its own.

    Attributes:
      id: its name, unlike all others; its random numbers come from it.
      path: of the sound; None if the stems are all of it.
      start: where the excerpt starts, in seconds.
      duration: of the excerpt, in seconds; None reads to the end.
      stems: a folder with one file per stem, or the files that are summed to every stem; None if
        there are none.
      label: what it really is, for example the name of the right output; None if unknown.
      group: what it is averaged with, for example an album, a genre or a split; None if nothing.
    """

    id: str
    path: Path | None = None
    start: float = 0.0
    duration: float | None = None
    stems: Stems | None = None
    label: str | None = None
    group: str | None = None


def check_items(items: Iterable[Item], where: str) -> list[Item]:
    """Returns the items in the order of their ids, as plain texts and numbers.

    Raises:
      StoreError: if there are none, two have one id, or one has an impossible id or no sound.
    """
    by_id: dict[str, Item] = {}
    for item in map(_plain, listed("items", items, "`Item`s")):
        if problem := _problem(item):
            raise StoreError(f"{where}: {problem}")
        if item.id in by_id:
            raise StoreError(
                f"{where}: the id {item.id!r} occurs twice. Give every item an id of its own."
            )
        by_id[item.id] = item
    if not by_id:
        raise StoreError(f"{where} holds no sound. Name a folder, glob or manifest with audio.")
    return [by_id[id] for id in sorted(by_id)]


def _plain(item: Item) -> Item:
    """What data sets give, such as integers for labels and NumPy's numbers, as a store holds it."""

    def text(value):
        return None if value is None else str(value)

    instance("items", item, Item, "Make each with `lime_jax.runs.Item`.")
    return dataclasses.replace(
        item,
        id=str(item.id),
        path=None if item.path is None else Path(item.path),
        start=float(item.start),
        duration=None if item.duration is None else float(item.duration),
        label=text(item.label),
        group=text(item.group),
    )


def _problem(item: Item) -> str:
    if not item.id or len(item.id) > MAX_ID_LENGTH or not item.id.isprintable():
        return (
            f"the id {item.id[:40]!r} is not 1 to {MAX_ID_LENGTH} printable characters. Give the "
            "item another one."
        )
    if item.path is None and item.stems is None:
        return f"the item {item.id!r} has neither a path nor stems. Give it one of them."
    return ""
