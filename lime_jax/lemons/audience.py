"""The listeners of the application: who they are, what they play, and their recommenders."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lime_jax import storage
from lime_jax.lemons.http_error import HttpError
from lime_jax.lemons.library import Track, load_catalogue
from lime_jax.lemons.listeners import Persona, load_personas, plays_of
from lime_jax.models import recommender

_NUM_RECOMMENDERS = 16


class Audience:
    """The listeners that come with a library; their latest recommenders stay in memory.

    Attributes:
      personas: the listeners by id, in the order of the file.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self.personas: Mapping[str, Persona] = {p.id: p for p in load_personas(home)}
        self._recommender = functools.lru_cache(_NUM_RECOMMENDERS)(self._load_recommender)

    @functools.cached_property
    def catalogue(self) -> Mapping[str, Track]:
        """Returns all tracks that listeners may have played, by id."""
        return load_catalogue(self._home)

    def persona(self, persona: str) -> Persona:
        """Returns a listener.

        Raises:
          HttpError: 404 if there is no such listener.
        """
        if persona not in self.personas:
            raise HttpError(404, "There is no such listener.")
        return self.personas[persona]

    def plays(self, persona: str) -> tuple[tuple[str, int], ...]:
        """Returns the tracks that a listener played and how often, most often first.

        Raises:
          HttpError: 404 if there is no such listener.
        """
        return plays_of(self._home, self.persona(persona).id)

    def recommender(self, persona: str) -> tuple[Any, str]:
        """Returns the network of a listener and the digest of its weights.

        Raises:
          HttpError: 404 if there is no such listener, or none of its weights.
        """
        return self._recommender(self.persona(persona).id)

    def _load_recommender(self, persona: str) -> tuple[Any, str]:
        path = self._home / "recommenders" / f"{persona}.npz"
        if not path.is_file():
            raise HttpError(404, "This listener has no recommender here.")
        return recommender.load(path), storage.digest_of_file(path)
