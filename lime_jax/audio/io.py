"""Audio files to mono float32 waveforms and back."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Array, Float

from lime_jax import storage
from lime_jax.audio import decode
from lime_jax.audio.waveform import Waveform, check_floating, known_rate
from lime_jax.core.arguments import file_path, listed, whole_number
from lime_jax.errors import AudioError, unknown_name

STEM_TOLERANCE = 32
"""By how many samples stems may differ in length: what codecs and resamplers add at the end."""

AUDIO_SUFFIXES = frozenset(
    ".aac .aif .aiff .au .caf .flac .m4a .mp3 .mp4 .oga .ogg .opus .rf64 .w64 .wav .wma".split()
)

# Between the extremes; both at -90 dBFS, below which 16 bits hold nothing but dither.
_SILENCE = 2 * 10 ** (-90 / 20)
_BLOCK = 2**16

_ENCODERS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
# libsndfile 1.2.2 crashes the process on Vorbis above 192 kHz instead of refusing it.
_ENCODER_RATES = {
    "wav": range(1_000, 768_001),
    "flac": range(1_000, 655_351),
    "ogg": range(1_000, 192_001),
    "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
    "mp3": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
}


def load(
    path: str | os.PathLike[str],
    sample_rate: int = 16_000,
    *,
    start: float = 0.0,
    duration: float | None = None,
    resampler: str = "soxr",
    max_channels: int = decode.MAX_CHANNELS,
) -> Waveform:
    """Reads an audio file as a mono waveform at `sample_rate`.

    Channels are averaged, other rates resampled. Only the excerpt asked for is decoded.
    Files that cannot be what they claim to be are refused rather than repaired.

    Args:
      path: WAV, FLAC, Ogg Vorbis, Opus, MP3, AIFF, AU or CAF; 1 to 768 kHz, up to 32 channels.
      sample_rate: of the result, in Hz.
      start: where the excerpt starts, in seconds.
      duration: of the excerpt, in seconds; None reads to the end, at most 3600 s. Of an excerpt
        that ends up to one sample behind the file, at the rate of the file or at `sample_rate`, the
        last sample is held: clips of 30 s often lack one.
      resampler: "soxr" or "kaiser-best", see `lime_jax.audio.resampling`; models name theirs.
      max_channels: files with more are refused.

    Returns:
      float32 `(num_samples,)`; exactly `round(duration * sample_rate)` samples where `duration` is
      given. Floating-point files keep their level, so samples may lie outside [-1, 1].

    Raises:
      AudioError: if the file is missing, empty, not a regular file, not audio, truncated, damaged,
        several files joined to one, too long, shorter than the excerpt, silent, of channels that
        cancel, or holds NaN.
      ValueError: for an impossible `sample_rate`, `start` or `duration`.
    """
    path = file_path("path", path)
    sample_rate, start, duration = decode.check_span(sample_rate, start, duration)
    max_channels = whole_number("max_channels", max_channels)
    with decode.open_audio(path, max_channels) as source:
        waveform = decode.excerpt(source, sample_rate, start, duration, resampler)
    if is_silent(waveform):
        raise AudioError(
            f"`{path}` is silent from {start:g} s to {start + len(waveform) / sample_rate:g} s, so "
            "there is nothing to explain. Choose another excerpt with `start` and `duration`."
        )
    return waveform


def load_stems(
    stems: str | os.PathLike[str] | Mapping[str, Sequence[str | os.PathLike[str]]],
    sample_rate: int = 16_000,
    *,
    start: float = 0.0,
    duration: float | None = None,
    resampler: str = "soxr",
    max_channels: int = decode.MAX_CHANNELS,
) -> tuple[tuple[str, ...], Float[np.ndarray, "num_stems num_samples"]]:
    """Reads audio files as the stems of one mixture.

    A folder gives one stem per audio file, called as the file without the suffix, in the order of
    the names. Hidden files, files with other suffixes and a `mix` or `mixture` beside the stems
    are left out. Some stems may be silent.

    Args:
      stems: the folder, or the files that are summed to every stem, by its name. All must have one
        sample rate and length; differences of up to `STEM_TOLERANCE` samples at `sample_rate` are
        cut off.
      sample_rate: of the result, in Hz.
      start: see `load`.
      duration: see `load`.
      resampler: see `load`.
      max_channels: see `load`.

    Returns:
      The names and float32 `(num_stems, num_samples)`.

    Raises:
      AudioError: for what `load` refuses, no stems, two stems of one name, stems of different
        sample rates or lengths, or silence in all of them.
    """
    sample_rate, start, duration = decode.check_span(sample_rate, start, duration)
    max_channels = whole_number("max_channels", max_channels)
    if isinstance(stems, Mapping):
        stems = {name: listed("stems", paths, "paths") for name, paths in stems.items()}
        if not stems or not all(stems.values()):
            raise ValueError("`stems` must name at least one file for each stem.")
        files = {
            name: [file_path("stems", path) for path in paths] for name, paths in stems.items()
        }
        where = os.path.commonpath([p.parent.absolute() for paths in files.values() for p in paths])
    else:
        files = {path.stem: [path] for path in stem_files(file_path("stems", stems))}
        where = os.fspath(stems)
    paths = [path for together in files.values() for path in together]
    rates = {path: _sample_rate(path) for path in paths}
    _check_same(where, "sample rates", rates, "Hz", tolerance=0)
    read = {}
    for path in paths:
        with decode.open_audio(path, max_channels) as source:
            read[path] = decode.excerpt(source, sample_rate, start, duration, resampler)
    lengths = {path: len(waveform) for path, waveform in read.items()}
    _check_same(where, "lengths", lengths, "samples", tolerance=STEM_TOLERANCE)
    if all(is_silent(waveform) for waveform in read.values()):
        raise AudioError(
            f"`{where}` holds only silent stems, so there is nothing to explain. Choose another "
            "excerpt with `start` and `duration`."
        )
    shortest = min(lengths.values())
    sums = [sum(read[path][:shortest] for path in together) for together in files.values()]
    return tuple(files), np.stack(sums)


def save(
    path: str | os.PathLike[str],
    waveform: Float[Array | np.ndarray, " num_samples"],
    sample_rate: int,
) -> None:
    """Writes a mono waveform as WAV or FLAC (16 bit), Ogg Vorbis, Opus or MP3, by the suffix.

    Nothing is clipped: a waveform that leaves [-1, 1] is scaled down to a peak of 1. The file
    appears whole or not at all.

    Args:
      path: ending in .wav, .flac, .ogg, .opus or .mp3.
      waveform: float `(num_samples,)`, full scale 1.
      sample_rate: in Hz.

    Raises:
      AudioError: if the file cannot be written.
      ValueError: for another suffix, a rate the format cannot carry, or an unusable waveform.
    """
    path = file_path("path", path)
    data = encode(waveform, sample_rate, path.suffix.removeprefix(".").lower())
    storage.write_whole(
        path,
        data,
        error=AudioError,
        advice=f"Choose a folder that exists, may be written to and has {len(data)} bytes left.",
    )


def encode(
    waveform: Float[Array | np.ndarray, " num_samples"], sample_rate: int, format: str
) -> bytes:
    """Returns the bytes of an audio file; see `save`.

    Args:
      waveform: float `(num_samples,)`, full scale 1; scaled down if it leaves [-1, 1].
      sample_rate: in Hz.
      format: "wav", "flac", "ogg", "opus" or "mp3".

    Raises:
      ValueError: for an unknown format, a rate it cannot carry, or an unusable waveform.
    """
    import soundfile

    if not isinstance(format, str) or format not in _ENCODERS:
        raise ValueError(unknown_name("Audio `format`", format, _ENCODERS))
    sample_rate = known_rate(sample_rate)
    if sample_rate not in (rates := _ENCODER_RATES[format]):
        choices = f"{rates[0]} to {rates[-1]}" if isinstance(rates, range) else f"one of {rates}"
        raise ValueError(
            f"`sample_rate` must be {choices} Hz for {format}, got {sample_rate}. Resample the "
            "waveform or choose another format."
        )
    check_floating(waveform, "waveform")
    samples = _within_full_scale(np.asarray(waveform, np.float32))
    container, subtype = _ENCODERS[format]
    target = io.BytesIO()
    with soundfile.SoundFile(target, "w", sample_rate, 1, subtype, format=container) as sound:
        # libsndfile overflows its stack on long Vorbis waveforms in one block.
        for first in range(0, len(samples), _BLOCK):
            sound.write(samples[first : first + _BLOCK])
    return target.getvalue()


def is_silent(waveform: Waveform) -> bool:
    """Tests whether there is nothing to hear; a constant is as silent as zero."""
    return float(np.ptp(waveform)) < _SILENCE


def stem_files(folder: Path) -> list[Path]:
    """Returns the stems in a folder, see `load_stems`.

    Raises:
      AudioError: if it holds none, or two of one name.
    """
    if not folder.is_dir():
        raise AudioError(f"`{folder}` is not a folder. Name a folder with one audio file per stem.")
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in AUDIO_SUFFIXES
        and not path.name.startswith(".")
        and path.stem.lower() not in ("mix", "mixture")
    )
    names = [path.stem for path in paths]
    if not paths:
        raise AudioError(f"`{folder}` holds no stems. Put one audio file per stem into it.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise AudioError(f"`{folder}` holds the stem {twice!r} twice. Keep one file per stem.")
    return paths


def _sample_rate(path: Path) -> int:
    with decode.open_audio(path) as source:
        return source.sound.samplerate


def _check_same(
    folder: str | os.PathLike[str], what: str, values: dict[Path, int], unit: str, *, tolerance: int
) -> None:
    if max(values.values()) - min(values.values()) > tolerance:
        listed = ", ".join(f"{path.name} {value}" for path, value in values.items())
        raise AudioError(
            f"`{folder}` holds stems of different {what}: {listed} {unit}. Export all of them from "
            "the same session."
        )


def _within_full_scale(samples: Waveform) -> Waveform:
    if samples.ndim != 1 or len(samples) == 0 or not np.isfinite(samples).all():
        raise ValueError(
            "`waveform` must have shape (num_samples,), at least one sample and finite values, got "
            f"shape {samples.shape}. Mix to mono and remove NaN first."
        )
    return samples / max(1.0, float(np.abs(samples).max()))
