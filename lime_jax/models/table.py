"""The type of both tables of what comes by name: of models, and of separators."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar, runtime_checkable

from lime_jax.errors import ModelError, unknown_name


@runtime_checkable
class Card(Protocol):
    """What is known without loading."""

    @property
    def name(self) -> str:
        """The key of the table."""
        ...


AnyCard = TypeVar("AnyCard", bound=Card)
Loaded = TypeVar("Loaded")


@dataclasses.dataclass(frozen=True)
class Entry(Generic[AnyCard, Loaded]):
    """A row of a table.

    Attributes:
      card: what is printed of it.
      load: makes it; heavy libraries are imported no earlier.
      is_fetched: whether `load` finds its weights on this machine.
      fetch: puts published weights into the cache and returns their folder; takes the path of a
        copy of what was published, or None to download it. None if there is nothing to fetch.
    """

    card: AnyCard
    load: Callable[..., Loaded]
    is_fetched: Callable[[], bool]
    fetch: Callable[[Path | None], Path] | None = None


@dataclasses.dataclass(frozen=True)
class Table(Generic[AnyCard, Loaded]):
    """Rows by name.

    Attributes:
      kind: what the rows are, for messages.
      entries: the rows, in the order of `lime-jax models list`.
    """

    kind: str
    entries: tuple[Entry[AnyCard, Loaded], ...]

    def cards(self) -> tuple[AnyCard, ...]:
        """Returns the cards of all rows."""
        return tuple(entry.card for entry in self.entries)

    def names(self) -> tuple[str, ...]:
        """Returns the names of all rows."""
        return tuple(entry.card.name for entry in self.entries)

    def entry(self, name: str) -> Entry[AnyCard, Loaded]:
        """Returns the row of that name.

        Raises:
          ModelError: if there is none; names that come close are in the message.
        """
        for entry in self.entries:
            if entry.card.name == name:
                return entry
        raise ModelError(unknown_name(self.kind, name, self.names()))
