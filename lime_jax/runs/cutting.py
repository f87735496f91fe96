"""Batches of waveforms of one shape to batches of components."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lime_jax import settings
from lime_jax.audio import segment
from lime_jax.audio.segment import Piece, SegmentedAudio
from lime_jax.core.components import Components
from lime_jax.settings import Question

_DECIMALS = 4  # of a share of the duration: finer than any cut, coarser than rounding


@functools.partial(jax.jit, static_argnames=("question", "names", "sample_rate"))
def cut(
    question: Question,
    waveforms: Float[Array, "num_items num_sources num_samples"],
    used: Int[Array, " num_items"],
    keys: Any,
    *,
    names: tuple[str, ...],
    sample_rate: int,
) -> Components:
    """The components of every item, with a leading axis over items; see `one`."""
    make = lambda waveforms, used, key: (
        one(question, waveforms, used, key, names=names, sample_rate=sample_rate).components
    )
    return jax.vmap(make)(waveforms, used, keys)


def one(
    question: Question,
    waveforms: Float[Array | np.ndarray, "num_sources num_samples"],
    used: Any,
    key: Any,
    *,
    names: tuple[str, ...],
    sample_rate: int,
) -> SegmentedAudio:
    """One item taken apart as the question wants it.

    Args:
      question: what the components are.
      waveforms: its stems, or a single mixture.
      used: how many samples are sound; silence was added behind them.
      key: of a random fill.
      names: of the stems; empty for a mixture.
      sample_rate: in Hz.
    """
    segments = settings.num_segments(question)
    fill = {"fill": question.fill, "key": key}
    match question.components:
        case "stems":
            return segment.by_stems(waveforms, names, sample_rate)
        case "stems-time":
            return segment.by_stems_and_time(waveforms, names, sample_rate, segments, used=used)
        case "time":
            return segment.by_time(waveforms[0], sample_rate, segments, used=used, **fill)
        case "grid":
            return segment.by_grid(waveforms[0], sample_rate, segments, used=used, **fill)
        case "frequency":
            return segment.by_frequency(waveforms[0], sample_rate, segments, **fill)
        case "superpixels":
            return segment.by_superpixels(waveforms[0], sample_rate, segments, **fill)


def extents(audio: SegmentedAudio) -> list[dict[str, Any]]:
    """Name and place of every component, times as shares of the duration.

    So sounds of any length have them in common.
    """
    seconds = len(audio.waveform) / audio.sample_rate
    return [_extent(index, piece, seconds) for index, piece in enumerate(audio.pieces)]


def _extent(index: int, piece: Piece, seconds: float) -> dict[str, Any]:
    return {
        "index": index,
        "name": piece.name,
        "source": piece.source,
        "start": round(piece.start / seconds, _DECIMALS),
        "end": round(piece.end / seconds, _DECIMALS),
        "low": float(piece.low),
        "high": float(piece.high),
    }


def stacked(items: list[Components]) -> Components:
    """Components of one shape, with a leading axis over items."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *items)
