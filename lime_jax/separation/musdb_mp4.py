"""The stems of MUSDB18's .stem.mp4 files, which need ffmpeg."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from lime_jax.audio import io
from lime_jax.audio.resampling import resample
from lime_jax.errors import AudioError

SUFFIX = ".stem.mp4"

NAMES = ("drums", "bass", "other", "vocals")
"""Of the streams behind the mixture, in their order."""


def is_stem_mp4(path: Path) -> bool:
    """Returns whether a path is that of such a file."""
    return path.name.endswith(SUFFIX)


def load_stems(
    path: Path,
    sample_rate: int,
    *,
    start: float = 0.0,
    duration: float | None = None,
    resampler: str = "soxr",
) -> tuple[Float[np.ndarray, "num_stems num_samples"], tuple[str, ...]]:
    """Reads the mono stems of an excerpt and their names; see `lime_jax.audio.io.load`.

    Raises:
      AudioError: if the file cannot be read, or has other streams than MUSDB18.
    """
    waveforms = _mono_streams(path, sample_rate, start, duration, resampler)
    if len(waveforms) != 1 + len(NAMES):
        raise AudioError(
            f"`{path}` has {len(waveforms)} streams, not a mixture and {len(NAMES)} stems. "
            "Use the files of MUSDB18."
        )
    return np.stack(waveforms[1:]), NAMES


def load_mixture(
    path: Path,
    sample_rate: int,
    *,
    start: float = 0.0,
    duration: float | None = None,
    resampler: str = "soxr",
) -> Float[np.ndarray, " num_samples"]:
    """Reads the mono mixture of an excerpt.

    Raises:
      AudioError: if the file cannot be read.
    """
    return _mono_streams(path, sample_rate, start, duration, resampler)[0]


def _mono_streams(
    path: Path, sample_rate: int, start: float, duration: float | None, resampler: str
) -> list[Float[np.ndarray, " num_samples"]]:
    try:
        import stempeg

        streams, rate = stempeg.read_stems(
            str(path),
            start=start or None,
            duration=duration,
            always_3d=True,
        )
    except Exception as error:  # stempeg passes on what ffmpeg and ffprobe raise
        reason = " ".join(str(error).split())[:200]
        raise AudioError(
            f"`{path}` cannot be decoded ({type(error).__name__}: {reason}). Install "
            "lime-jax[musdb] and ffmpeg, or check the file."
        ) from error
    # (num_streams, num_samples, num_channels)
    mono = streams.mean(axis=2).astype(np.float32)

    def at_rate(wave):
        return np.concatenate(list(resample(iter([wave]), int(rate), sample_rate, resampler)))

    waveforms = [at_rate(waveform) for waveform in mono]
    wanted = round((duration or 0) * sample_rate)
    if len(waveforms[0]) < wanted - io.STEM_TOLERANCE:
        raise AudioError(
            f"`{path}` ends {(wanted - len(waveforms[0])) / sample_rate:.2f} s before the "
            "excerpt asked for. Choose `start` and `duration` within the file."
        )
    if all(io.is_silent(waveform) for waveform in waveforms):
        raise AudioError(f"`{path}` is silent there, so there is nothing to explain.")
    return waveforms
