"""Batches of waveforms of one shape to batches of components."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lime_jax.audio import segment
from lime_jax.audio.segment import ComponentExtent, SegmentedAudio
from lime_jax.core.components import Components

_DECIMALS = 4  # of a share of the duration: finer than any cut, coarser than rounding


@functools.partial(
    jax.jit, static_argnames=("kind", "sample_rate", "num_segments", "names", "fill")
)
def cut(
    kind: str,
    waveforms: Float[Array, "num_items num_sources num_samples"],
    sample_rate: int,
    num_segments: int | tuple[int, int] | None,
    *,
    names: tuple[str, ...],
    fill: str,
    keys: Any,
    used: Int[Array, " num_items"],
) -> Components:
    """Returns the components of every item, a leading axis over items; see `segment.by_kind`."""

    def components(waveforms: Array, key: Any, used: Array) -> Components:
        options: dict[str, Any] = {"names": names, "fill": fill, "key": key, "used": used}
        return segment.by_kind(kind, waveforms, sample_rate, num_segments, **options).components

    return jax.vmap(components)(waveforms, keys, used)


def extents(audio: SegmentedAudio) -> list[dict[str, Any]]:
    """Returns name and place of every component, times as shares of the duration.

    So sounds of any length have them in common.
    """
    seconds = len(audio.waveform) / audio.sample_rate
    return [_extent(index, extent, seconds) for index, extent in enumerate(audio.extents)]


def _extent(index: int, extent: ComponentExtent, seconds: float) -> dict[str, Any]:
    return {
        "index": index,
        "name": extent.name,
        "source": extent.source,
        "start": round(extent.start / seconds, _DECIMALS),
        "end": round(extent.end / seconds, _DECIMALS),
        "low": float(extent.low),
        "high": float(extent.high),
    }


def stacked(items: list[Components]) -> Components:
    """Returns components of one shape, with a leading axis over items."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *items)
