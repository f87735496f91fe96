"""The relevance of tracks to a listener: computed, written down, and read again."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from lime_jax.audio.waveform import Waveform
from lime_jax.core.execution.progress import Progress
from lime_jax.core.lifting import lift
from lime_jax.core.predictor import as_predictor

# To be raised whenever the same weights would give the same samples another relevance.
ALGORITHM = 1
PRECOMPUTED = "relevance.json"

# Probabilities by the digest of a track's samples.
Relevance = dict[str, float]
# What reads the samples of a track, likewise.
Readers = Mapping[str, Callable[[], Waveform]]


def compute(recommender: Any, waveform: Waveform) -> float:
    """Returns the probability that a track `(num_samples,)` is relevant to the listener."""
    predictor = lift(as_predictor(recommender), lambda: waveform[None])
    return float(_predict(predictor, waveform[None])[0, 0])


def compute_all(
    recommender: Any,
    readers: Readers,
    known: Relevance,
    progress: Progress,
) -> Relevance:
    """Returns the relevance of many tracks, by digest.

    Args:
      recommender: of one listener.
      readers: of the tracks.
      known: relevance of some of them, by digest.
      progress: called as `progress(done, total)` before each of them.
    """
    relevances: Relevance = {}
    for number, (digest, read) in enumerate(readers.items()):
        progress(number, len(readers))
        relevances[digest] = known[digest] if digest in known else compute(recommender, read())
    return relevances


def read_precomputed(folder: Path, recommender_digest: str) -> Relevance:
    """Returns what a library says of one recommender; nothing if that lacks or is damaged.

    Args:
      folder: of a library.
      recommender_digest: SHA-256 of the weights.
    """
    try:
        content = json.loads((folder / PRECOMPUTED).read_text(encoding="utf-8"))
        if content["algorithm"] != ALGORITHM:
            return {}
        relevances = dict(content["relevance"].get(recommender_digest, {}))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
    return relevances if all(map(_is_probability, relevances.values())) else {}


def write_precomputed(folder: Path, relevance: Mapping[str, Relevance]) -> Path:
    """Writes what `read_precomputed` reads.

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


def _is_probability(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


@jax.jit
def _predict(recommender: Any, waveforms: Any) -> Any:
    return recommender(waveforms)
