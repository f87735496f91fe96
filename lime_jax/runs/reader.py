"""Items to waveforms of few lengths, ahead of the device and in parallel."""

import collections
import dataclasses
import itertools
import math
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from lime_jax import separation
from lime_jax.audio import io, segment
from lime_jax.errors import AudioError, LimeJaxError
from lime_jax.runs.items import Item
from lime_jax.runs.manifest import printable
from lime_jax.runs.sources import Source, source_of
from lime_jax.separation import Separator, musdb_mp4, precomputed

_STEPS_PER_OCTAVE = 8
# Enough for the next batch while the device works on one, without filling the memory with songs.
_AHEAD_BYTES, _MAX_AHEAD = 2**28, 256


@dataclasses.dataclass(frozen=True)
class AudioRequirements:
    """What the model and the components need of a sound.

    Attributes:
      sample_rate: in Hz.
      shortest: the fewest samples that the model takes.
      with_stems: whether the stems are loaded, or the mixture.
      snippet: samples of a snippet, each of which is explained on its own; None for whole items.
      hop: samples from the start of a snippet to the next.
      resampler: see `lime_jax.audio.io.load`.
      max_channels: files with more are refused.
      separator: that makes the stems, whether there are some or not; None takes those of the item.
      residual: whether what the stems lack of the mixture is a further stem.
      keep_stems: whether separated stems are kept in the cache.
    """

    sample_rate: int
    shortest: int
    with_stems: bool
    snippet: int | None
    hop: int
    resampler: str
    max_channels: int
    separator: Separator | None = None
    residual: bool = True
    keep_stems: bool = True


@dataclasses.dataclass(frozen=True, eq=False)
class Snippet:
    """What is explained at a time: an item, or a snippet of it.

    Attributes:
      item: where it is from.
      index: which snippet of the item it is.
      num_snippets: how many the item has.
      start: in the file, in seconds.
      num_samples: how many samples are sound; silence was added behind them.
      waveforms: float32 `(num_stems, size)`, or `(1, size)` of the mixture.
      names: of the stems; empty for the mixture.
      load_seconds: what reading the item took, shared by its snippets.
      source: what its files were before they were read.
    """

    item: Item
    index: int
    num_snippets: int
    start: float
    num_samples: int
    waveforms: Float[np.ndarray, "num_sources size"]
    names: tuple[str, ...]
    load_seconds: float
    source: Source | None = None


@dataclasses.dataclass(frozen=True)
class Failure:
    """An item that could not be explained.

    Attributes:
      item: which one.
      stage: "load" or "explain".
      reason: in one line.
      source: what its files were before they were read, as far as that is known.
    """

    item: Item
    stage: str
    reason: str
    source: Source | None = dataclasses.field(default=None, compare=False)


def load(item: Item, requirements: AudioRequirements) -> list[Snippet] | Failure:
    """Returns the snippets of an item, or why there are none; nothing is raised."""
    start, source = time.perf_counter(), source_of(item)
    try:
        waveforms, names = (
            _load_stems(item, requirements)
            if requirements.with_stems
            else _load_without_stems(item, requirements)
        )
        spans = _spans(waveforms.shape[1], requirements, item)
    except Exception as error:  # one bad file, whatever a decoder makes of it, must not end a run
        return Failure(item, "load", one_line(error), source)
    seconds = (time.perf_counter() - start) / len(spans)
    return [
        Snippet(
            item=item,
            index=index,
            num_snippets=len(spans),
            start=item.start + first / requirements.sample_rate,
            num_samples=num_samples,
            waveforms=_pad(waveforms[:, first : first + num_samples], requirements),
            names=names,
            load_seconds=seconds,
            source=source,
        )
        for index, (first, num_samples) in enumerate(spans)
    ]


def load_ahead(
    items: Iterable[Item], requirements: AudioRequirements, num_workers: int
) -> Iterator[list[Snippet] | Failure]:
    """Yields what `load` makes of every item, in their order, loaded ahead in threads.

    Decoders and resamplers leave the interpreter to others, so threads are enough; and there is
    nothing to copy.
    """
    source, room = iter(items), 2 * num_workers
    waiting: collections.deque[Future[list[Snippet] | Failure]] = collections.deque()
    with ThreadPoolExecutor(num_workers, thread_name_prefix="load") as pool:
        try:
            while True:
                for item in itertools.islice(source, max(0, room - len(waiting))):
                    waiting.append(pool.submit(load, item, requirements))
                if not waiting:
                    return
                loaded = waiting.popleft().result()
                if not isinstance(loaded, Failure):
                    room = max(2 * num_workers, _room(loaded))
                yield loaded
        finally:
            for future in waiting:
                future.cancel()


def _room(loaded: list[Snippet]) -> int:
    """Returns how many items like this one may wait in memory."""
    return min(_MAX_AHEAD, _AHEAD_BYTES // sum(snippet.waveforms.nbytes for snippet in loaded))


def padded_size(num_samples: int, sample_rate: int) -> int:
    """Returns the length that a sound is brought to with silence, so that there are few lengths.

    Up to eight per octave: whole seconds from 8 to 16 s, half ones below, two above. It depends on
    the sound alone, at most an eighth is added, and clips of 1, 2, 3, 4, 5, 10, 15, 20, 30 or 60
    seconds stay as they are.

    Example:
      >>> [padded_size(n, 100) for n in (1000, 1001, 2970, 3000)]
      [1000, 1100, 3000, 3000]
    """
    seconds = num_samples / sample_rate
    step = 2.0 ** math.floor(math.log2(seconds)) / _STEPS_PER_OCTAVE
    return max(num_samples, math.ceil(math.ceil(seconds / step - 1e-9) * step * sample_rate))


def one_line(error: BaseException) -> str:
    """Returns what an exception says, without line breaks."""
    text = " ".join(str(error).split()) or type(error).__name__
    is_ours = isinstance(error, (LimeJaxError, ValueError))
    return text if is_ours else f"{type(error).__name__}: {text}"


def _load_without_stems(
    item: Item, requirements: AudioRequirements
) -> tuple[np.ndarray, tuple[str, ...]]:
    if item.path is not None:
        return _load_mixture(item.path, item, requirements)[None], ()
    options = _excerpt_options(item, requirements)
    _, stems = precomputed.load(_stems_of(item), requirements.sample_rate, **options)
    return stems.sum(axis=0, keepdims=True), ()


def _load_mixture(path: Path, item: Item, requirements: AudioRequirements) -> np.ndarray:
    if musdb_mp4.is_stem_mp4(path):
        excerpt = {
            "start": item.start,
            "duration": item.duration,
            "resampler": requirements.resampler,
        }
        return musdb_mp4.load_mixture(path, requirements.sample_rate, **excerpt)
    return io.load(path, requirements.sample_rate, **_excerpt_options(item, requirements))


def _load_stems(item: Item, requirements: AudioRequirements) -> tuple[np.ndarray, tuple[str, ...]]:
    if requirements.separator is not None:
        return _separate_stems(item, requirements, requirements.separator)
    options = _excerpt_options(item, requirements)
    if item.stems is None and item.path is not None and musdb_mp4.is_stem_mp4(item.path):
        names, stems = precomputed.load(item.path, requirements.sample_rate, **options)
        return stems, names
    names, stems = precomputed.load(_stems_of(item), requirements.sample_rate, **options)
    names = tuple(printable(Path(name)) for name in names)
    if item.path is None or not requirements.residual:
        return stems, names
    return segment.with_residual(stems, names, _load_mixture(item.path, item, requirements))


def _separate_stems(
    item: Item, requirements: AudioRequirements, separator: Separator
) -> tuple[np.ndarray, tuple[str, ...]]:
    if item.path is None or musdb_mp4.is_stem_mp4(item.path):
        raise AudioError(
            f"`{item.path or item.id}` is no single sound that could be separated. Leave the "
            "separator out, or name a mixture as `path` (of MUSDB18, its wav files)."
        )
    # Before the work: whether it can be read and is long enough.
    mix = _load_mixture(item.path, item, requirements)
    _spans(len(mix), requirements, item)
    start, duration, keep = item.start, item.duration, requirements.keep_stems
    with separation.cached_stems(
        item.path, separator, start=start, duration=duration, keep=keep
    ) as entry:
        excerpt = {**_excerpt_options(item, requirements), "start": 0.0}
        names, stems = precomputed.load(entry.stems, requirements.sample_rate, **excerpt)
    names = tuple(printable(Path(name)) for name in names)
    return segment.with_residual(stems, names, mix) if requirements.residual else (stems, names)


def _stems_of(item: Item) -> Any:
    if item.stems is None:
        raise AudioError(
            f"`{item.path}` has no stems. Give a separator, a manifest with a column `stems`, a "
            "layout with stems, or other components."
        )
    return item.stems


def _excerpt_options(item: Item, requirements: AudioRequirements) -> dict[str, Any]:
    return {
        "start": item.start,
        "duration": item.duration,
        "resampler": requirements.resampler,
        "max_channels": requirements.max_channels,
    }


def _spans(num_samples: int, requirements: AudioRequirements, item: Item) -> list[tuple[int, int]]:
    """Returns first sample and number of samples of every snippet."""
    least = requirements.snippet or requirements.shortest
    if num_samples < least:
        raise AudioError(
            f"`{item.path or item.id}` gives {num_samples / requirements.sample_rate:.2f} s, but "
            f"{'a snippet' if requirements.snippet else 'the model'} needs "
            f"{least / requirements.sample_rate:.2f} s. Leave it out, or use a longer excerpt."
        )
    if requirements.snippet is None:
        return [(0, num_samples)]
    firsts = range(0, num_samples - requirements.snippet + 1, requirements.hop)
    return [(first, requirements.snippet) for first in firsts]


def _pad(waveforms: np.ndarray, requirements: AudioRequirements) -> np.ndarray:
    if requirements.snippet is not None:
        return waveforms
    missing = padded_size(waveforms.shape[1], requirements.sample_rate) - waveforms.shape[1]
    return np.pad(waveforms, ((0, 0), (0, missing))) if missing else waveforms
