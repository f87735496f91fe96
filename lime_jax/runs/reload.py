"""The sound behind a row of results, taken apart as it was explained."""

import functools
from pathlib import Path

import jax

from lime_jax import settings
from lime_jax.audio import segment
from lime_jax.audio.segment import SegmentedAudio
from lime_jax.errors import AudioError
from lime_jax.runs.changes import stored_sources
from lime_jax.runs.config import settings_of
from lime_jax.runs.items import Item
from lime_jax.runs.reader import AudioRequirements, Failure, load
from lime_jax.runs.sources import Source
from lime_jax.runs.store import SOURCES, Store, open_store
from lime_jax.separation import Separator
from lime_jax.settings import ExplainSettings


def segmented_audio(store: Store, item: Item, snippet: int) -> SegmentedAudio:
    """Reads an item again and cuts a snippet of it; random fills are drawn anew.

    Raises:
      LimeJaxError: if it can no longer be read, or taken apart as it was.
    """
    config = store.config
    asked, rate = settings_of(config), config["sample_rate"]
    separator = _separator(asked)
    if separator is not None and separator.version != config["separator_version"]:
        raise AudioError(
            f"`{separator.name}` is not what it was when `{item.path or item.id}` was explained: "
            "its stems would be others."
        )

    def size(seconds):
        return None if seconds is None else round(seconds * rate)

    requirements = AudioRequirements(
        sample_rate=rate,
        shortest=1,
        with_stems=asked.has_stems,
        snippet=size(config["snippet"]),
        hop=size(config["hop"]) or 0,
        resampler=config["resampler"],
        max_channels=config["max_channels"],
        separator=separator,
        residual=asked.residual,
    )
    loaded = load(item, requirements)
    if isinstance(loaded, Failure):
        raise AudioError(loaded.reason)
    _check_source(store, item, loaded[0].source)
    if snippet >= len(loaded):
        raise AudioError(f"`{item.path or item.id}` is shorter than when it was explained.")
    chosen, key = loaded[snippet], jax.random.key(asked.seed)
    return segment.by_kind(
        asked.components,
        chosen.waveforms,
        rate,
        asked.num_segments,
        names=chosen.names,
        fill=asked.fill,
        key=key,
        used=chosen.num_samples,
    )


def _check_source(store: Store, item: Item, now: Source | None) -> None:
    folder = store.folder / SOURCES
    if not folder.exists():  # made by an earlier lime_jax
        return
    known = _sources(store.folder, folder.stat().st_mtime_ns).get(item.id)
    if known is not None and now is not None and known.sha256 != now.sha256:
        raise AudioError(f"`{item.path or item.id}` is not what it was when it was explained.")


@functools.lru_cache(maxsize=1)
def _sources(folder: Path, modified: int) -> dict[str, Source]:
    """Once for all sounds of a report; `modified` tells whether another run has gone on."""
    del modified
    return stored_sources(open_store(folder))


@functools.lru_cache(maxsize=1)
def _separator(asked: ExplainSettings) -> Separator | None:
    """Weights are read once, not once per sound."""
    return settings.separator_of(asked)
