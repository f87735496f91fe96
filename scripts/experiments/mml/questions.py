"""What is switched on and off: stems, bands, times, and combinations of them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lime_jax as lj
from lime_jax.audio import features

KS = (3, 5, 7, 9, 11)
NUM_RANDOM = 32
SNIPPET_SECONDS, NUM_SNIPPETS = 3, 10
NUM_SEGMENTS = {"song": NUM_SNIPPETS, "snippet": 9}
NUM_BANDS, N_FFT, HOP_LENGTH = 5, 2048, 512
AUDIOLIME, SLIME, RANDOM = KINDS = ("audioLIME", "SLIME", "random")
SETTINGS = tuple(NUM_SEGMENTS)
Row = dict[str, Any]
SILENCE = 1e-5  # of full scale
OutputsOf = Callable[[np.ndarray], np.ndarray]  # of masks, a row each


@dataclasses.dataclass(frozen=True)
class Question:
    """What is explained, and how.

    Attributes:
      predict: the model, or what stands for it.
      components: of the sound.
      method: of the explanation.
      sounds: which components are not silent.
    """

    predict: Any
    components: lj.Components
    method: lj.Method
    sounds: np.ndarray

    def outputs_of(self, masks: np.ndarray) -> np.ndarray:
        """Returns the model's outputs for masks, all in one call."""
        _, outputs = lj.predict_neighbourhood(self.predict, self.components, jnp.asarray(masks))
        return np.asarray(outputs)


def bands(waveform: np.ndarray) -> np.ndarray:
    """The waveform's parts in frequency bands of equally many bins, `(num_bands, num_samples)`.

    What is hidden in SLIME's spectrograms is zero, so keeping some bands is adding their waveforms.
    """
    spectrogram = features.stft(waveform, n_fft=N_FFT, hop_length=HOP_LENGTH)
    band_of = lj.equal_segments(len(spectrogram), NUM_BANDS)
    is_in = band_of[None] == jnp.arange(NUM_BANDS)[:, None]
    parts = jnp.where(is_in[..., None], spectrogram[None], 0)
    options = {"n_fft": N_FFT, "hop_length": HOP_LENGTH, "num_samples": len(waveform)}
    return np.asarray(features.istft(parts, **options))


def snippet_question(tagger: Any, sources: np.ndarray, num_samples: int) -> Question:
    """Returns a single snippet, whose masks are sampled as in the paper."""
    number = NUM_SEGMENTS["snippet"]
    segments = lj.equal_segments(sources.shape[1], number)
    components = lj.cross(lj.from_stems(sources), segments, number)
    return Question(tagger, components, lj.lime(num_samples), sounding(sources, number))


def song_question(tagger: Any, sources: np.ndarray, num_samples: int) -> Question:
    """Returns the mean over snippets, of which each is one segment.

    A snippet of five sources has 32 combinations. Each of them is evaluated once; the explanation,
    which is exact, and all that is asked afterwards look them up. So the components are those of a
    song with one number per snippet: the row of the table that its combination is found in.
    """
    table = combinations_of(tagger, np.split(sources, NUM_SNIPPETS, axis=1))
    bits = 2.0 ** np.arange(len(sources), dtype=np.float32)
    first = 2.0 ** len(sources) * np.arange(NUM_SNIPPETS, dtype=np.float32)
    codes = np.repeat(bits[:, None], NUM_SNIPPETS, axis=1)
    silent = np.zeros_like(codes)
    silent[0] = first
    stems = lj.from_stems(codes + silent, fill=silent)
    components = lj.cross(stems, lj.equal_segments(NUM_SNIPPETS, NUM_SNIPPETS), NUM_SNIPPETS)
    predict = lj.models.Snippets(jax.tree_util.Partial(look_up, table), 1)
    method = lj.lime(lj.auto(equivalent_num_samples=num_samples))
    return Question(predict, components, method, sounding(sources, NUM_SNIPPETS))


def sounding(sources: np.ndarray, num_segments: int) -> np.ndarray:
    """Returns which components are not silent, in the order of the mask: `(num_components,)`.

    Silent ones have a weight all the same, from sampling and from the ridge, and would count as
    positive.
    """
    size = sources.shape[1] // num_segments
    edges = [size * n for n in range(num_segments)]
    loudest = np.stack([np.abs(part).max(axis=1) for part in np.split(sources, edges[1:], axis=1)])
    return (loudest > SILENCE).ravel()


def combinations_of(tagger: Any, snippets: Sequence[np.ndarray]) -> jax.Array:
    """Returns the outputs for all combinations of sources in every snippet, one after the other."""
    num_sources = len(snippets[0])
    masks = jnp.asarray(np.arange(2**num_sources)[:, None] >> np.arange(num_sources) & 1 == 1)
    outputs = [lj.predict_neighbourhood(tagger, lj.from_stems(s), masks)[1] for s in snippets]
    return jnp.concatenate(outputs)


def look_up(table: jax.Array, rows: jax.Array) -> jax.Array:
    return table[rows[:, 0].astype(jnp.int32)]


def subsets(positive: np.ndarray, k: int, num_random: int, rng: np.random.Generator) -> np.ndarray:
    """Returns the k best, then random k of the others, `(1 + num_random, k)`; needs 2 k components.

    Args:
      positive: indices of components, the best first.
      k: how many are kept.
      num_random: how many random subsets.
      rng: draws them.
    """
    draws = [rng.choice(positive[k:], k, replace=False) for _ in range(num_random)]
    return np.stack([positive[:k], *draws])


def unchanged(
    outputs_of: OutputsOf,
    positive: np.ndarray,
    label: int,
    num_components: int,
    num_random: int,
    rng: np.random.Generator,
) -> dict[int, np.ndarray]:
    """Whether the label stays on top, `(1 + num_random,)` for every k that is not skipped."""
    masks = np.zeros((len(KS), 1 + num_random, num_components), bool)
    judged = [k for k in KS if len(positive) >= 2 * k]
    for mask, k in zip(masks, judged, strict=False):
        np.put_along_axis(mask, subsets(positive, k, num_random, rng), True, axis=1)
    # Always as many masks, so that the program is compiled once.
    outputs = outputs_of(masks.reshape(-1, num_components))
    is_same = (outputs.argmax(axis=1) == label).reshape(masks.shape[:2])
    return dict(zip(judged, is_same, strict=False))


QUESTIONS = {"song": song_question, "snippet": snippet_question}
