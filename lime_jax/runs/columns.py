"""What the columns of a manifest mean: their names, and where an excerpt lies."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lime_jax.errors import StoreError

COLUMNS = ("id", "path", "start", "duration", "stems", "label", "group")
"""What a manifest that we write has."""

READ_COLUMNS = (*COLUMNS, "end")

# Two of `start`, `duration` and `end` give the third; tables round them to hundredths.
_TOLERANCE = 0.01

# What others call the place of an excerpt. To leave it out would explain another sound. An offset
# is where to start reading, or what follows an onset.
_OTHER_WORDS = {
    "start": "begin beginning begins from offset onset start starts t0".split(),
    "duration": "dur duration durations len length".split(),
    "end": "end ending ends finish offset stop stops t1 to until".split(),
}
_UNITS = re.compile(r"_?(seconds?|secs?|s|milliseconds?|msecs?|ms|samples?|frames?|time)$")
_TIME = re.compile(r"^(time|clip|excerpt|segment|snippet)_?")


def known_columns(names: Sequence[str], where: str) -> dict[str, str]:
    """Returns what a table calls the columns that are read, by our names.

    Case and spaces around a name do not matter. What is no name of ours is left out, unless it
    tells where excerpts lie.

    Raises:
      StoreError: if two columns have one name, or one speaks of time in words of its own.
    """
    ours: dict[str, str] = {}
    for name in names:
        known = name.strip().casefold()
        if known in ours:
            raise StoreError(
                f"{where} has the column `{known}` twice: {ours[known]!r} and {name!r}. Keep one."
            )
        if known in READ_COLUMNS:
            ours[known] = name
    given = set(ours) | ({"duration", "end"} if {"duration", "end"} & set(ours) else set())
    for name in names:
        if name not in ours.values() and (missing := _meanings(name) - given):
            words = " or ".join(f"`{word}`" for word in sorted(missing))
            raise StoreError(
                f"{where} has a column {name!r}, which would be ignored. Call it {words} if it is "
                "that, in seconds, else anything that is no time."
            )
    return ours


def excerpt_of(row: Mapping[str, Any], where: str) -> tuple[float, float | None]:
    """Returns where an excerpt starts and how long it is, None to the end, in seconds.

    Raises:
      StoreError: if a time is none, or they contradict each other.
    """
    start = _seconds(row, "start", where) or 0.0
    duration, end = _seconds(row, "duration", where), _seconds(row, "end", where)
    if end is None:
        return start, duration
    if end <= start:
        raise StoreError(f"{where}: `end` must be after `start`, got {start:g} to {end:g}.")
    if duration is None:
        return start, end - start
    if abs(start + duration - end) > _TOLERANCE:
        raise StoreError(
            f"{where}: `duration` {duration:g} and `end` {end:g} contradict each other, as `start` "
            f"is {start:g}. Leave one of them out."
        )
    return start, duration


def _meanings(name: str) -> set[str]:
    """Which of our times a name may be about: `end_s`, `Offset`, `clip start (sec)`."""
    word = re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")
    for _ in range(2):  # such as in end_time_ms
        word = _UNITS.sub("", word) or word
    word = _TIME.sub("", word) or word
    return {ours for ours, others in _OTHER_WORDS.items() if word in others}


def _seconds(row: Mapping[str, Any], name: str, where: str) -> float | None:
    value = row.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise StoreError(f"{where}: `{name}` must be seconds, got {value!r}.")
    return seconds
