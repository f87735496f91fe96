"""Who listened to what: play counts as in the Taste Profile, examples of them, and two metrics."""

import dataclasses
import gzip
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from lime_jax.audio import io
from lime_jax.errors import StoreError
from lime_jax.separation import precomputed
from scripts.experiments.common.corpus import SPLITS

Plays = dict[str, dict[str, int]]
"""How often each user played each track."""

AUDIO, PLAYS, LISTING = "audio", "plays.tsv", "library.json"
"""What is in the folder of a library."""

_SHARES = (0.8, 0.9)


@dataclasses.dataclass(frozen=True)
class Example:
    """A track, and whether the user played it."""

    track: str
    is_relevant: bool


def read_triplets(path: Path) -> Plays:
    """Play counts by user and track; those of a pair that comes twice are added up.

    Args:
      path: of lines of user, track and count with tabs between; may end in .gz.

    Raises:
      StoreError: if it cannot be read, or a line is another; it names the first.
    """
    found: Plays = {}
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                user, track, count = _triplet(line, f"line {number} of `{path}`")
                tracks = found.setdefault(user, {})
                tracks[track] = tracks.get(track, 0) + count
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise StoreError(f"`{path}` cannot be read as play counts ({error}).") from error
    if not found:
        raise StoreError(f"`{path}` holds no play counts.")
    return found


def read_splits(path: Path) -> dict[str, str]:
    """Returns the split of every track in the listing of a library.

    Args:
      path: of JSON with `tracks`, a list of objects with an `id` and a `split`.

    Raises:
      StoreError: if it is not that.
    """
    try:
        tracks = json.loads(path.read_text(encoding="utf-8"))["tracks"]
        splits = {track["id"]: track["split"] for track in tracks}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"`{path}` does not list tracks and their splits ({error}).") from error
    for track, part in splits.items():
        _check_split(track, part)
    return splits


def audio_files(folder: Path) -> dict[str, Path]:
    """Returns the audio of every track by its id: a file, or a folder of stems that sum to it.

    Raises:
      StoreError: if there is none, or two of one track.
    """
    if not folder.is_dir():
        raise StoreError(f"`{folder}` is not a folder. Name one with an audio file per track.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        is_sound = path.suffix.lower() in io.AUDIO_SUFFIXES
        if path.name.startswith(".") or not (path.is_dir() or is_sound):
            continue
        track = path.name if path.is_dir() else path.stem
        if track in found:
            raise StoreError(f"`{folder}` holds the track {track!r} twice. Keep one of them.")
        found[track] = path
    if not found:
        raise StoreError(f"`{folder}` holds no audio. Put a file or a folder of stems per track.")
    return found


def load_track(path: Path, sample_rate: int) -> Float[np.ndarray, " num_samples"]:
    """Returns the waveform of what `audio_files` found.

    Raises:
      AudioError: if it cannot be read.
    """
    if precomputed.is_stems(path):
        return precomputed.load(path, sample_rate)[1].sum(axis=0)
    return io.load(path, sample_rate)


def examples_of(plays: Mapping[str, int], tracks: Iterable[str], seed: int) -> list[Example]:
    """Returns all tracks that a user played, and as many others at random, in an order at random.

    Args:
      plays: counts of a user by track; tracks with none were not played.
      tracks: to take examples from. If more than half were played, there are fewer others.
      seed: of the order and the others.
    """
    rng = np.random.default_rng(seed)
    known = sorted(set(tracks))
    positives = [track for track in known if plays.get(track, 0) > 0]
    others = [track for track in known if plays.get(track, 0) <= 0]
    negatives = [others[i] for i in rng.permutation(len(others))[: len(positives)]]
    examples = [Example(track, True) for track in positives]
    examples += [Example(track, False) for track in negatives]
    return [examples[i] for i in rng.permutation(len(examples))]


def split(examples: Sequence[Example], seed: int) -> dict[str, list[Example]]:
    """80 % of examples for training, 10 % for validation and the rest for tests, at random."""
    order = np.random.default_rng(seed).permutation(len(examples))
    ends = [round(share * len(examples)) for share in _SHARES]
    parts = np.split(order, ends)
    return {name: [examples[i] for i in part] for name, part in zip(SPLITS, parts, strict=True)}


def roc_auc(labels: Sequence[bool] | np.ndarray, scores: Sequence[float] | np.ndarray) -> float:
    """Returns the probability that a positive scores above a negative; equal scores are half of it.

    Raises:
      ValueError: unless there are both.
    """
    labels, scores = _checked(labels, scores)
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    positives = labels.sum()
    negatives = len(labels) - positives
    above = ranks[labels].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def average_precision(
    labels: Sequence[bool] | np.ndarray, scores: Sequence[float] | np.ndarray
) -> float:
    """The precision at each distinct score, weighted by the recall it adds; not interpolated.

    Raises:
      ValueError: unless there are positives and negatives.
    """
    labels, scores = _checked(labels, scores)
    order = np.argsort(-scores, kind="stable")
    hits, descending = np.cumsum(labels[order]), scores[order]
    last_of_ties = np.append(np.flatnonzero(np.diff(descending)), len(scores) - 1)
    hits = hits[last_of_ties]
    return float((np.diff(hits, prepend=0) * hits / (last_of_ties + 1)).sum() / hits[-1])


def _triplet(line: str, where: str) -> tuple[str, str, int]:
    fields = line.rstrip("\r\n").split("\t")
    if len(fields) != 3 or not all(fields) or not (fields[2].isascii() and fields[2].isdigit()):
        raise StoreError(
            f"{where} must hold a user, a track and a count with tabs between, got "
            f"{line.rstrip()[:80]!r}."
        )
    return fields[0], fields[1], int(fields[2])


def _check_split(track: str, part: str) -> None:
    if part not in SPLITS:
        raise StoreError(
            f"the track {track!r} has the split {part!r}. Use one of {', '.join(SPLITS)}."
        )


def _checked(
    labels: Sequence[bool] | np.ndarray, scores: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = np.asarray(labels, bool), np.asarray(scores, np.float64)
    if labels.ndim != 1 or labels.shape != scores.shape or not np.isfinite(scores).all():
        raise ValueError(
            "`scores` must be finite and one per label, got shapes "
            f"{labels.shape} and {scores.shape}."
        )
    if labels.all() or not labels.any():
        raise ValueError("`labels` must hold positives and negatives. Use more examples.")
    return labels, scores
