"""The listeners of a library, and what they play."""

import dataclasses
from pathlib import Path

from lime_jax.errors import StoreError, unknown_name
from lime_jax.lemons import library
from lime_jax.lemons.library import PERSONAS, PLAYS

_SIMULATE = "Write it again with scripts/music/personas.py."
_MOST_PLAYS = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Persona:
    """A listener.

    Attributes:
      id: of lower-case letters, digits and hyphens.
      name: for readers.
      taste: a sentence about what they like.
      loves: the sources that make them like a track; none for a listener to anything.
      rule: a sentence that says exactly which tracks they play.
    """

    id: str
    name: str
    taste: str
    loves: tuple[str, ...]
    rule: str


def load_personas(folder: Path) -> tuple[Persona, ...]:
    """Reads the listeners of a library, in the order of the file.

    Args:
      folder: with `personas.json`.

    Raises:
      StoreError: if they cannot be read.
    """
    path = Path(folder) / PERSONAS
    entries = library.read_json(path)
    if not isinstance(entries, list) or not entries:
        raise StoreError(f"`{path}` lists no listeners. {_SIMULATE}")
    personas = tuple(_persona(path, number, entry) for number, entry in enumerate(entries, start=1))
    if len({persona.id for persona in personas}) < len(personas):
        raise StoreError(f"`{path}` lists a listener twice. {_SIMULATE}")
    return personas


def plays_of(folder: Path, persona: str) -> tuple[tuple[str, int], ...]:
    """Returns the tracks that a listener plays and how often, most often first, then by id.

    Args:
      folder: with `plays.tsv` and `personas.json`.
      persona: the id of the listener.

    Raises:
      StoreError: if the listener is unknown or the plays cannot be read.
    """
    known = [listener.id for listener in load_personas(folder)]
    if persona not in known:
        raise StoreError(unknown_name("Listener", str(persona)[:80], known))
    plays: dict[str, int] = {}
    for who, track, count in _lines(Path(folder) / PLAYS):
        if who == persona:
            plays[track] = plays.get(track, 0) + count
    return tuple(sorted(plays.items(), key=lambda play: (-play[1], play[0])))


def _persona(path: Path, number: int, entry: object) -> Persona:
    fields = entry if isinstance(entry, dict) else {}
    texts = [fields.get(name) for name in ("name", "taste", "rule")]
    loves = fields.get("loves")
    is_usable = (
        library.is_name(fields.get("id"))
        and all(map(library.is_text, texts))
        and isinstance(loves, list)
        and all(map(library.is_name, loves))
    )
    if not is_usable or not isinstance(loves, list):
        raise StoreError(
            f"`{path}`: listener {number} lacks a usable id, name, taste, loves or rule. "
            f"{_SIMULATE}"
        )
    name, taste, rule = map(str, texts)
    return Persona(str(fields["id"]), name, taste, tuple(loves), rule)


def _lines(path: Path) -> list[tuple[str, str, int]]:
    """Returns listener, track and count of every line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise StoreError(f"`{path}` does not exist. {_SIMULATE}") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"`{path}` cannot be read ({error}). {_SIMULATE}") from error
    return [_line(path, number, line) for number, line in enumerate(lines, start=1)]


def _line(path: Path, number: int, line: str) -> tuple[str, str, int]:
    persona, track, count = (line.split("\t") + [""] * 3)[:3]
    is_count = count.isascii() and count.isdigit() and len(count) <= 10
    if line.count("\t") != 2 or not is_count or not 0 < int(count) <= _MOST_PLAYS:
        raise StoreError(
            f"`{path}`, line {number}, is not a listener, a track and a play count with tabs "
            f"between them. {_SIMULATE}"
        )
    if not (library.is_name(persona) and library.is_name(track)):
        raise StoreError(
            f"`{path}`, line {number}, names a listener or track of other characters than a-z, "
            f"0-9 and -. {_SIMULATE}"
        )
    return persona, track, int(count)
