"""The residual of stems on disk: what they lack of their track, block by block."""

import contextlib
from pathlib import Path

import numpy as np

from lime_jax.audio import decode
from lime_jax.audio.stem_segments import RESIDUAL, RESIDUAL_LEVEL
from lime_jax.separation.stem_cache import StoredStems, stem_writer


def residual_file(
    path: Path,
    entry: StoredStems,
    folder: Path,
    *,
    start: float = 0.0,
    duration: float | None = None,
) -> Path | None:
    """Writes the track minus its stems as a WAV file; None if that is below -60 dB of the track.

    Args:
      path: of the file that was separated.
      entry: its stems, as from `cached_stems`.
      folder: where the file goes.
      start: as given to `cached_stems`.
      duration: as given to `cached_stems`.
    """
    import soundfile

    target = folder / f"{RESIDUAL}.wav"
    energy, energy_of_mix = 0.0, 0.0
    with decode.open_audio(path) as source, contextlib.ExitStack() as stack:
        files = [file for name, file in entry.files.items() if name != RESIDUAL]
        stems = [stack.enter_context(soundfile.SoundFile(file)) for file in files]
        writer = stack.enter_context(stem_writer(target, entry.sample_rate, source.sound.channels))
        for mix in decode.channel_blocks(source, start, duration):
            size = len(mix)
            rest = mix - sum(stem.read(size, dtype="float32", always_2d=True) for stem in stems)
            energy += float(np.square(rest, dtype=np.float64).sum())
            energy_of_mix += float(np.square(mix, dtype=np.float64).sum())
            writer.write(rest)
    return target if energy > RESIDUAL_LEVEL**2 * energy_of_mix else None
