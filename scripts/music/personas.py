"""Simulates listeners whose taste is a rule, so that explanations of it can be graded.

    uv run --group music python -m scripts.music.personas --folder library

Reads `FOLDER/library.json`. Writes `FOLDER/plays.tsv`, lines of listener, track and play count as
in the Taste Profile of the Million Song Dataset, and `FOLDER/personas.json`, who they are.

A listener plays nearly every track in which the loved sources are up front nearly all the time, so
that any second of it tells, and few others. Whether and how often depends on the seed, the listener
and the track alone.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lime_jax import storage

Track = Mapping[str, Any]

LISTENS, STRAYS, ANYTHING = 0.93, 0.05, 0.45
# How many more plays than one a track gets on average: outside of the rule, where it holds, and
# for each thing that the listener favours besides.
AFFINITY, FAVOURITE = (0.2, 2.0), 2.0


@dataclasses.dataclass(frozen=True)
class Rule:
    """When a listener likes a track.

    Attributes:
      loves: sources that must all be there; none of them is a listener to anything.
      level_db: relative to the mix, which each of them must reach.
      activity: the share of time in which each must be heard.
      favourites: styles that are played more often where the rule holds.
      fast: beats per minute from which tracks are played more often where the rule holds.
    """

    loves: tuple[str, ...] = ()
    level_db: float = -7.0
    activity: float = 0.75
    favourites: tuple[str, ...] = ()
    fast: float | None = None

    def holds(self, track: Track) -> bool:
        """Returns whether the loved sources are up front; never for a listener to anything."""
        return bool(self.loves) and all(
            source in track["sources"]
            and track["levels_db"][source] >= self.level_db
            and track["activity"][source] >= self.activity
            for source in self.loves
        )

    def probability(self, track: Track) -> float:
        """That the listener plays the track at all."""
        if not self.loves:
            return ANYTHING
        return LISTENS if self.holds(track) else STRAYS

    def affinity(self, track: Track) -> float:
        """By how much more than one the track is played on average, if it is."""
        holds = self.holds(track)
        favoured = (track["style"] in self.favourites) + bool(
            self.fast is not None and track["tempo"] >= self.fast
        )
        return AFFINITY[holds] + FAVOURITE * favoured * holds

    def sentence(self) -> str:
        """Returns the rule, exactly."""
        if not self.loves:
            return f"Plays every track with probability {ANYTHING}, whatever sounds in it."
        each = "" if len(self.loves) == 1 else "each "
        verb = "are" if len(self.loves) > 1 or self.loves[0].endswith("s") else "is"
        more = [f"the style is {' or '.join(self.favourites)}"] if self.favourites else []
        more += [f"it has {self.fast:g} beats per minute or more"] if self.fast is not None else []
        often = f" More often where {' and where '.join(more)}." if more else ""
        return (
            f"Plays a track with probability {LISTENS} if {' and '.join(self.loves)} {verb} "
            f"{each}at {self.level_db:g} dB or more relative to the mix and heard at least "
            f"{self.activity:.0%} of the time, and with probability {STRAYS} otherwise.{often}"
        )


@dataclasses.dataclass(frozen=True)
class Persona:
    """A listener; `taste` is how a friend would put it."""

    name: str
    taste: str
    rule: Rule

    @property
    def id(self) -> str:
        """In plays and addresses."""
        return self.name.lower()


PERSONAS = (
    Persona(
        "Bruno",
        "Drum and bass, hip-hop, rock: anything goes as long as the rhythm section leads.",
        Rule(
            ("drums", "bass"), level_db=-11.0, activity=0.6, favourites=("Drum and Bass", "Hip-Hop")
        ),
    ),
    Persona(
        "Clara",
        "Piano, please, and well in front; ballads above all, but jazz or house will do.",
        Rule(("piano",), level_db=-9.0, activity=0.6, favourites=("Piano Ballad", "Jazz Trio")),
    ),
    Persona(
        "Amaru",
        "Follows voices, from choirs to a hummed refrain, and skips what has none.",
        Rule(("vocals",), level_db=-9.0, activity=0.6, favourites=("Choral", "Folk")),
    ),
    Persona(
        "Freja",
        "Loves guitars, strings and brass that fill the room, from metal to symphonies.",
        Rule(("other",), favourites=("Metal", "Orchestral")),
    ),
    Persona(
        "Otis",
        "Wants to feel a deep bass in the stomach, in reggae, funk or anywhere else.",
        Rule(("bass",), favourites=("Reggae", "Funk")),
    ),
    Persona(
        "Kavya",
        "Drums up front, the faster the better.",
        Rule(("drums",), level_db=-8.0, fast=125.0),
    ),
    Persona(
        "Mila",
        "Listens to everything, and to nothing in particular.",
        Rule(),
    ),
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Whose library it is.

    Attributes:
      folder: of the library.
      seed: another seed gives other plays.
    """

    folder: Path = Path("library")
    seed: int = 0


def plays(persona: Persona, track: Track, seed: int) -> int:
    """Returns how often a listener plays a track; 0 for never."""
    rng = np.random.default_rng((seed, *persona.id.encode(), 0, *track["id"].encode()))
    if rng.random() >= persona.rule.probability(track):
        return 0
    return int(rng.geometric(1 / (1 + persona.rule.affinity(track))))


def described(persona: Persona) -> dict[str, Any]:
    """Returns the entry of `personas.json`."""
    rule = persona.rule
    told = {"id": persona.id, "name": persona.name, "taste": persona.taste}
    return {**told, "loves": list(rule.loves), "rule": rule.sentence()}


def write(folder: Path, tracks: Sequence[Track], seed: int) -> None:
    """Writes who listens, and what they play of the tracks."""
    lines = (
        f"{persona.id}\t{track['id']}\t{count}\n"
        for persona in PERSONAS
        for track in tracks
        if (count := plays(persona, track, seed))
    )
    who = json.dumps([described(persona) for persona in PERSONAS], indent=1, ensure_ascii=False)
    storage.write_whole(folder / "plays.tsv", "".join(lines).encode())
    storage.write_whole(folder / "personas.json", f"{who}\n".encode())


def run(config: Config) -> None:
    """Simulates the listeners of a library that is there."""
    listing = config.folder / "library.json"
    if not listing.is_file():
        raise SystemExit(f"`{listing}` was not found. Render it with render_library.py.")
    write(config.folder, json.loads(listing.read_text(encoding="utf-8"))["tracks"], config.seed)


if __name__ == "__main__":
    import tyro

    run(tyro.cli(Config))
