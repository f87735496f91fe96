"""The excerpt that a command explains, read and cut into its components."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lime_jax import separation
from lime_jax.audio import io, segment
from lime_jax.audio.fills import fill_key
from lime_jax.audio.segment import SegmentedAudio
from lime_jax.errors import AudioError
from lime_jax.separation import precomputed
from lime_jax.settings import ExplainSettings, shortest_input

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Excerpt:
    """Where an excerpt lies.

    Attributes:
      path: an audio file, or what holds stems, whose sum is the excerpt.
      start: in seconds.
      duration: in seconds; to the end if None.
      stems: folder with one file per stem of an audio file, or None.
    """

    path: Path
    start: float
    duration: float | None
    stems: Path | None


def cut_excerpt(
    excerpt: Excerpt,
    settings: ExplainSettings,
    model: Any,
    separator: separation.Separator | None,
    say: Say | None,
) -> SegmentedAudio:
    """Reads an excerpt for a model and cuts it into components.

    Args:
      excerpt: what to read.
      settings: what the components are.
      model: gives the sample rate and the shortest input.
      separator: makes stems that are not there.
      say: called with a sentence before a separation.

    Raises:
      AudioError: if a file cannot be used, or gives less than the model needs.
      ValueError: if it cannot be cut like this.
    """
    stems, options = None, _options(excerpt, model)
    if precomputed.is_stems(excerpt.path):
        stems = precomputed.load(excerpt.path, model.sample_rate, **options)
        waveform = stems[1].sum(axis=0)
    else:
        waveform = io.load(excerpt.path, model.sample_rate, **options)
    _check_length(excerpt.path, len(waveform), model, settings.model)
    names, waveforms = (), waveform[None]
    if settings.has_stems:
        names, waveforms = stems or _load_stems(excerpt, settings, model, separator, say)
        if settings.residual:
            names, waveforms = _with_residual(excerpt, names, waveforms, waveform)
    return segment.by_kind(
        settings.components,
        waveforms,
        model.sample_rate,
        settings.num_segments,
        names=names,
        fill=settings.fill,
        key=fill_key(jax.random.key(settings.seed), settings.fill),
    )


def _options(excerpt: Excerpt, model: Any) -> dict[str, Any]:
    resampler = getattr(model, "resampler", "soxr")
    return {"start": excerpt.start, "duration": excerpt.duration, "resampler": resampler}


def _check_length(path: Path, num_samples: int, model: Any, name: str) -> None:
    shortest = shortest_input(model)
    if num_samples < shortest:
        raise AudioError(
            f"`{path}` gives {num_samples / model.sample_rate:.2f} s, but {name} needs at least "
            f"{shortest / model.sample_rate:.2f} s. Use a longer excerpt or another model."
        )


def _load_stems(
    excerpt: Excerpt,
    settings: ExplainSettings,
    model: Any,
    separator: separation.Separator | None,
    say: Say | None,
) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and waveforms, from files or from the separator."""
    options = _options(excerpt, model)
    if separator is None:
        assert excerpt.stems is not None
        return precomputed.load(excerpt.stems, model.sample_rate, **options)
    with separation.cached_stems(
        excerpt.path,
        separator,
        start=excerpt.start,
        duration=excerpt.duration,
        keep=settings.keep_stems,
        report=say,
    ) as entry:
        return precomputed.load(entry.stems, model.sample_rate, **{**options, "start": 0.0})


def _with_residual(
    excerpt: Excerpt, names: tuple[str, ...], stems: np.ndarray, waveform: np.ndarray
) -> tuple[tuple[str, ...], np.ndarray]:
    try:
        stems, names = segment.with_residual(stems, names, waveform)
    except ValueError as error:
        source = excerpt.stems or "the separated stems"
        raise AudioError(f"`{source}` do not go with `{excerpt.path}`: {error}") from error
    return names, stems
