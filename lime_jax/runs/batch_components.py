"""Components of batches of waveforms, and the layouts that describe them in the store."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lime_jax import storage
from lime_jax.audio import segment
from lime_jax.audio.segment import ComponentExtent, SegmentedAudio
from lime_jax.core.components import Components

_DECIMALS = 4  # of a share of the duration: finer than any cut, coarser than rounding


@functools.partial(
    jax.jit, static_argnames=("kind", "sample_rate", "num_segments", "names", "fill")
)
def cut_batch(
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


def layout_of(audio: SegmentedAudio) -> list[dict[str, Any]]:
    """Returns a row of `components.parquet` per component: its name and place.

    Times are shares of the duration, so that sounds of any length have a layout in common.
    """
    seconds = len(audio.waveform) / audio.sample_rate
    return [_row(index, extent, seconds) for index, extent in enumerate(audio.extents)]


def stack_components(items: list[Components]) -> Components:
    """Returns components of one shape, with a leading axis over items."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *items)


def layout_name(layout: list[dict[str, Any]]) -> str:
    """Returns what the store calls a layout: the same for the same components, in every store."""
    return storage.digest_of_json(layout, sort_keys=True)[:16]


@functools.lru_cache(maxsize=256)
def place_components(
    kind: str, shape: tuple[int, ...], sample_rate: int, num_segments: Any, **options: Any
) -> SegmentedAudio:
    """Returns where the components of sounds of this shape lie, as components of silence."""
    silence, key = np.zeros(shape, np.float32), jax.random.key(0)
    return segment.by_kind(kind, silence, sample_rate, num_segments, **options, key=key)


def _row(index: int, extent: ComponentExtent, seconds: float) -> dict[str, Any]:
    return {
        "index": index,
        "name": extent.name,
        "source": extent.source,
        "start": round(extent.start / seconds, _DECIMALS),
        "end": round(extent.end / seconds, _DECIMALS),
        "low": float(extent.low),
        "high": float(extent.high),
    }
