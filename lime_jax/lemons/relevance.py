"""How relevant tracks are to a listener."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from lime_jax.core.predictor import as_predictor

# To be raised whenever the same weights would judge the same samples differently.
ALGORITHM = 1
PRECOMPUTED = "relevance.json"

Waveform = Float[np.ndarray, " num_samples"]
# Probabilities by the digest of a track's samples.
Relevance = dict[str, float]
# What reads a track, likewise.
Readers = Mapping[str, Callable[[], Waveform]]


def judged(recommender: Any, waveform: Waveform) -> float:
    """The probability that a track is relevant to the listener."""
    return float(_judge(as_predictor(recommender), waveform[None])[0, 0])


def judged_all(
    recommender: Any,
    readers: Readers,
    known: Relevance,
    progress: Callable[[int, int], None],
) -> Relevance:
    """The relevance of many tracks.

    Args:
      recommender: of one listener.
      readers: of the tracks.
      known: relevance of some of them, by digest.
      progress: is told how many of how many are done.
    """
    found: Relevance = {}
    for number, (digest, read) in enumerate(readers.items()):
        progress(number, len(readers))
        found[digest] = known[digest] if digest in known else judged(recommender, read())
    return found


def precomputed(folder: Path, recommender_digest: str) -> Relevance:
    """What comes with a library about one recommender; nothing where that is none or damaged."""
    try:
        content = json.loads((folder / PRECOMPUTED).read_text(encoding="utf-8"))
        if content["algorithm"] != ALGORITHM:
            return {}
        found = dict(content["relevance"].get(recommender_digest, {}))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
    return found if all(map(_is_probability, found.values())) else {}


def _is_probability(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def write_precomputed(folder: Path, relevance: Mapping[str, Relevance]) -> Path:
    """Writes what `precomputed` reads.

    Args:
      folder: of a library.
      relevance: by the digest of a recommender.

    Returns:
      The file.
    """
    rounded = {
        recommender: {track: round(value, 6) for track, value in sorted(of_tracks.items())}
        for recommender, of_tracks in sorted(relevance.items())
    }
    path = folder / PRECOMPUTED
    content = {"algorithm": ALGORITHM, "relevance": rounded}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


@jax.jit
def _judge(recommender: Any, waveforms: Any) -> Any:
    return recommender(waveforms)
