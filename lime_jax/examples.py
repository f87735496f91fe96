"""A song with its stems and a network that hears its instruments, shipped with the package."""

import dataclasses
import importlib.resources
import io

import numpy as np
from jaxtyping import Float

from lime_jax.models.base import Tagger

STEMS = ("piano", "guitar", "bass", "drums", "strings")


@dataclasses.dataclass(frozen=True)
class Song:
    """A song and what it is made of.

    Attributes:
      waveform: float32 `(num_samples,)`, the sum of the stems, within [-1, 1].
      stems: float32 `(num_stems, num_samples)`.
      names: of the stems.
      sample_rate: in Hz.
    """

    waveform: Float[np.ndarray, " num_samples"]
    stems: Float[np.ndarray, "num_stems num_samples"]
    names: tuple[str, ...]
    sample_rate: int


def song() -> Song:
    """Ten seconds of pop with piano, guitar, bass, drums and strings, released under CC0-1.0.

    Composed and rendered by `scripts/music/render_songs.py`; the tagger was not trained on it.

    Example:
      >>> import lime_jax.examples
      >>> song = lime_jax.examples.song()
      >>> song.stems.shape, song.sample_rate
      ((5, 160000), 16000)
      >>> song.names
      ('piano', 'guitar', 'bass', 'drums', 'strings')
    """
    import soundfile

    folder = importlib.resources.files("lime_jax") / "data" / "song"
    files = [io.BytesIO((folder / f"{name}.flac").read_bytes()) for name in STEMS]
    stems, rates = zip(*(soundfile.read(file, dtype="float32") for file in files), strict=True)
    stacked = np.stack(stems)
    return Song(stacked.sum(axis=0), stacked, STEMS, rates[0])


def tagger() -> Tagger:
    """A network that hears which instruments play: `lime_jax.models.load("instrument-tagger")`.

    Example:
      >>> import jax.numpy as jnp, lime_jax.examples
      >>> song, tagger = lime_jax.examples.song(), lime_jax.examples.tagger()
      >>> guitar = jnp.asarray(song.stems[song.names.index("guitar")])
      >>> tagger.output_names[int(tagger(guitar[None])[0].argmax())]
      'guitar'
    """
    from lime_jax.models.instrument_tagger import load_instrument_tagger

    return load_instrument_tagger()
