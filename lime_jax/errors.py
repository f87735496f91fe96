"""The exceptions of this library: what is wrong, where, and the way out, in one line."""

import difflib
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class LimeJaxError(Exception):
    """Something outside the program is unusable; the message names it and says what to do."""


class AudioError(LimeJaxError):
    """An audio file or a set of stems cannot be used."""


class ModelError(LimeJaxError):
    """A model, its weights or its outputs cannot be used."""


class StoreError(LimeJaxError):
    """A data set or the store of its explanations cannot be used."""


class ExplanationWarning(UserWarning):
    """Some outputs of an explanation have a status other than OK."""


class ExplanationError(LimeJaxError):
    """An output could not be explained (see `lime_jax.Status`)."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns at the line of the user's that called this package."""
    package = str(Path(__file__).parent)
    number, frame = 1, sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(package):
        number, frame = number + 1, frame.f_back
    warnings.warn(message, category, stacklevel=number)


def unknown_name(what: str, name: Any, known: Iterable[str]) -> str:
    """Returns a sentence for a name that does not exist, with the names that come close."""
    known = list(known)
    if not isinstance(name, str):
        return f"{what} must be one of {', '.join(known)}, got {name!r:.60}."
    folded = {entry.casefold(): entry for entry in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
    matches = ", ".join(repr(folded[entry]) for entry in close)
    hint = f"did you mean {matches}?" if close else f"known: {', '.join(known)}."
    return f"{what} {name!r} is unknown; {hint}"
