"""SLIME's questions to a singing voice detector: segments, contents, samples.

Ten segments have 1024 masks, so the network is evaluated once per mask and not once per sample: a
neighbourhood of any size is how often each mask was drawn.

References:
  Mishra et al., Reliable Local Explanations for Machine Listening, 2020, and the code published
  with it.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

import lime_jax as lj
from lime_jax.core import ranking
from lime_jax.core.methods import Method
from lime_jax.models.singing_voice import SingingVoice
from lime_jax.models.singing_voice_front_end import NUM_FRAMES, NUM_MELS

NUM_SEGMENTS = 10
NUM_MASKS = 2**NUM_SEGMENTS
CONTENTS = ("zero", "min_data", "min_inp", "mean_inp", "noise")
LABELS = {
    "temporal": lj.equal_segments(NUM_FRAMES, NUM_SEGMENTS)[:, None],
    "spectral": lj.equal_segments(NUM_MELS, NUM_SEGMENTS)[None, :],
}
SEGMENTATIONS = tuple(LABELS)

# Mask `i` switches on the segments whose bits are set in `i`.
MASKS = (np.arange(NUM_MASKS)[:, None] >> np.arange(NUM_SEGMENTS) & 1).astype(bool)
EVERYTHING = NUM_MASKS - 1

Excerpt = Float[Array, "115 80"]
Outputs = Float[np.ndarray, "1024"]
Counts = Float[np.ndarray, "repeats 1024"]


def content(name: str, excerpt: Excerpt, voice: SingingVoice) -> Float[Array, "time bands"]:
    """Returns what stands where a segment of a standardised log-mel excerpt is off.

    Args:
      name: zero, the mean of the training data; min_data, its smallest value, which is silence;
        min_inp and mean_inp, smallest and mean value of the excerpt; noise, the same standard
        normal numbers for every excerpt, standardised per band as the data were (the paper's
        N_g^norm).
      excerpt: `(115, 80)`.
      voice: its statistics of training data are used.

    Returns:
      Broadcastable to the excerpt.
    """
    if name == "zero":
        return lj.fills.zero(excerpt)
    if name == "min_data":
        return voice.silence.min()[None, None]
    if name == "min_inp":
        return lj.fills.minimum(excerpt)
    if name == "mean_inp":
        return lj.fills.mean(excerpt)
    if name == "noise":
        return voice.standardise(jnp.asarray(_noise()))
    raise ValueError(f"`name` must be one of {', '.join(CONTENTS)}, got {name!r}.")


def _noise() -> Float[np.ndarray, "115 80"]:
    drawn = np.random.RandomState(0).standard_normal((NUM_FRAMES, NUM_MELS))
    return drawn.astype(np.float32)


def excerpt_indices(song: int, num_frames: int, number: int) -> Int[np.ndarray, " number"]:
    """Returns the excerpts of a song that the paper would look at: uniform, away from both ends.

    Args:
      song: its place in the list of songs, the seed.
      num_frames: of the song.
      number: of excerpts.

    Raises:
      ValueError: for a song of fewer than 401 frames, 5.7 s.
    """
    if num_frames < 401:
        raise ValueError(
            f"`num_frames` must be at least 401 (5.7 s), got {num_frames}. Use longer songs."
        )
    return np.random.RandomState(song).randint(200, num_frames - 200, size=number)


def outputs_of(
    voice: SingingVoice, excerpt: Excerpt, segmentation: str, fill: Float[Array, "time bands"]
) -> Outputs:
    """What the network says to all 1024 masks of an excerpt; the last one leaves it as it is."""
    components = lj.from_labels(excerpt, LABELS[segmentation], NUM_SEGMENTS, fill=fill)
    network = voice.network
    model = network.receptive_field if segmentation == "temporal" else network.band_receptive_field
    masks = jnp.asarray(MASKS)
    return np.asarray(lj.predict_neighbourhood(model, components, masks, batch_size=256)[1][:, 0])


def drawn(rng: np.random.Generator, num_samples: int, num_repeats: int) -> Counts:
    """Returns how often LIME draws each mask: everything on once, the others by fair coins."""
    counts = rng.multinomial(num_samples - 1, np.full(NUM_MASKS, 1 / NUM_MASKS), num_repeats)
    counts[:, EVERYTHING] += 1
    return counts.astype(np.float32)


def evenly(num_samples: int) -> Counts:
    """Returns what samples would be without chance: every mask the same number of times."""
    return np.full((1, NUM_MASKS), num_samples / NUM_MASKS, np.float32)


def explained(
    outputs: Float[np.ndarray, "inputs 1024"], counts: Counts, method: Method
) -> tuple[Float[np.ndarray, "inputs repeats 10"], Float[np.ndarray, "inputs repeats"]]:
    """Returns coefficients and fidelity of surrogates.

    Args:
      outputs: of several inputs to all masks.
      counts: how often each mask was drawn, in several neighbourhoods.
      method: its kernel and surrogate are used.
    """
    coefficients, fidelity = _fits(jnp.asarray(outputs), jnp.asarray(counts), method)
    return np.asarray(coefficients), np.asarray(fidelity)


@jax.jit
def _fits(outputs: Array, counts: Array, method: Method) -> tuple[Array, Array]:
    def one(outputs: Array, counts: Array) -> tuple[Array, Array]:
        fit = lj.fit_surrogate(jnp.asarray(MASKS), outputs[:, None], method, counts=counts)
        return fit.coefficients[0], fit.fidelity[0]

    return jax.vmap(jax.vmap(one, in_axes=(None, 0)), in_axes=(0, None))(outputs, counts)


def occlusion(outputs: Float[np.ndarray, "inputs 1024"]) -> Float[np.ndarray, "inputs 10"]:
    """Returns what the output loses when a single segment is off."""
    without = EVERYTHING - 2 ** np.arange(NUM_SEGMENTS)
    return outputs[:, EVERYTHING, None] - outputs[:, without]


def tops(
    coefficients: Float[np.ndarray, "*repeats segments"], k: int = 3, sign: str = "positive"
) -> list[list[int]]:
    """The strongest segments of every explanation; fewer than k where fewer have that sign."""
    rows = coefficients.reshape(-1, coefficients.shape[-1])
    return [ranking.strongest(row, k, sign).tolist() for row in rows]


def planted(accompaniment: Excerpt, voice: Excerpt, segments: Sequence[int]) -> Excerpt:
    """An excerpt without voice whose given temporal segments are those of one with voice alone."""
    is_planted = jnp.isin(LABELS["temporal"], jnp.asarray(segments))
    return jnp.where(is_planted, voice, accompaniment)
