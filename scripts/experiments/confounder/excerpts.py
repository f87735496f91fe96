"""The data of the confounder experiment: guitar and piano, and drums that give them away.

References:
  Haunschmid, Manilow, Widmer, Towards Musically Meaningful Explanations Using Source Separation,
    2020, section 4.1.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from lime_jax.errors import LimeJaxError
from scripts.experiments.common import corpus
from scripts.experiments.confounder.classifier import NUM_SAMPLES, OUTPUT_NAMES, SAMPLE_RATE, Clips

# What plays beside the target and the drums.
VARIANTS = {"gpdb": ("bass",), "gpdbs": ("bass", "strings")}
# What drums play with.
TEST_SETS = {"t_dr-gtr": "guitar", "t_dr-pno": "piano"}
DRUMS = "drums"


@dataclasses.dataclass(frozen=True, eq=False)
class Excerpts:
    """Two seconds of test songs as their stems.

    Attributes:
      stems: float32 `(num_excerpts, num_stems, num_samples)`; stems that are not mixed in are zero.
      labels: of every excerpt, "guitar" or "piano".
      songs: the names of the songs.
    """

    stems: Float[np.ndarray, "num_excerpts num_stems num_samples"]
    labels: tuple[str, ...]
    songs: tuple[str, ...]


def stem_names(variant: str) -> tuple[str, ...]:
    """The stems of a variant, of which a mixture lacks the other target and perhaps the drums."""
    return (*OUTPUT_NAMES, *VARIANTS[variant], DRUMS)


def songs_for(
    songs: Sequence[corpus.Song], variant: str, split: str, max_songs: int | None = None
) -> list[corpus.Song]:
    """Songs of a split that have all stems of a variant, the first so many.

    Raises:
      LimeJaxError: if there are none.
    """
    names = set(stem_names(variant))
    fitting = [song for song in corpus.of_split(songs, split) if names <= song.stems.keys()]
    if not fitting:
        raise LimeJaxError(
            f"no {split} song has the stems {', '.join(sorted(names))}. Render more with "
            "`scripts/music/render_songs.py --composer band`."
        )
    return fitting[:max_songs]


def clips_of(songs: Sequence[corpus.Song], variant: str) -> Clips:
    """To learn from: of every song guitar with drums and piano without."""
    mixes, is_piano = [], []
    for song in songs:
        stems = _load(song, variant)
        for target in OUTPUT_NAMES:
            mixed = _mixed(stems, variant, target, with_drums=target == "guitar")
            if mixed is not None:
                mix = np.clip(sum(mixed.values()), -1, 1)
                mixes.append(np.round(mix * 32767).astype(np.int16))
                is_piano.append(target == "piano")
    return Clips(mixes, np.array(is_piano, bool))


def excerpts_of(songs: Sequence[corpus.Song], variant: str, *, seed: int) -> dict[str, Excerpts]:
    """For every test set a random excerpt of every song with guitar, and one with piano.

    Args:
      songs: of `songs_for`.
      variant: one of `VARIANTS`.
      seed: of the places.

    Raises:
      LimeJaxError: if no song is long enough.
    """
    found: dict[str, list[tuple[np.ndarray, str, str]]] = {test_set: [] for test_set in TEST_SETS}
    for number, song in enumerate(songs):
        stems = _load(song, variant)
        rng = np.random.default_rng((seed, 11, number))
        for test_set, target in itertools.product(TEST_SETS, OUTPUT_NAMES):
            place = rng.random()
            mixed = _mixed(stems, variant, target, with_drums=TEST_SETS[test_set] == target)
            if mixed is not None:
                found[test_set].append((_excerpt(mixed, variant, place), target, song.name))
    return {test_set: _together(rows, test_set) for test_set, rows in found.items()}


def one_per_song(excerpts: Excerpts, *, seed: int) -> list[int]:
    """Returns the index of one random excerpt of every song."""
    rng = np.random.default_rng((seed, 12))
    songs = np.array(excerpts.songs)
    return [int(rng.choice(np.flatnonzero(songs == song))) for song in dict.fromkeys(songs)]


def _load(song: corpus.Song, variant: str) -> dict[str, np.ndarray]:
    names = stem_names(variant)
    return dict(zip(names, corpus.load(song, names, SAMPLE_RATE), strict=True))


def _mixed(
    stems: Mapping[str, np.ndarray], variant: str, target: str, *, with_drums: bool
) -> dict[str, np.ndarray] | None:
    """What is mixed, where the target sounds, and the drums if they belong to it."""
    names = (target, *VARIANTS[variant], *([DRUMS] if with_drums else []))
    kept = corpus.sounding(stems[target], SAMPLE_RATE)
    if with_drums:
        kept &= corpus.sounding(stems[DRUMS], SAMPLE_RATE)
    if kept.sum() < NUM_SAMPLES:
        return None
    return {name: stems[name][kept] for name in names}


def _excerpt(mixed: Mapping[str, np.ndarray], variant: str, place: float) -> np.ndarray:
    length = len(next(iter(mixed.values())))
    start = int(place * (length - NUM_SAMPLES))
    silence = np.zeros(length, np.float32)
    names = stem_names(variant)
    return np.stack([mixed.get(name, silence)[start : start + NUM_SAMPLES] for name in names])


def _together(rows: Sequence[tuple[np.ndarray, str, str]], test_set: str) -> Excerpts:
    if not rows:
        raise LimeJaxError(f"no song is long enough for {test_set}: two seconds must sound.")
    stems, labels, songs = zip(*rows, strict=True)
    return Excerpts(np.stack(stems), labels, songs)
