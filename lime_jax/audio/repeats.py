"""Asking a model once or several times, with one or with several fills."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax

from lime_jax import streams
from lime_jax.audio import fills as filling
from lime_jax.audio.segment import SegmentedAudio
from lime_jax.core import over_fills as marginal
from lime_jax.core import pooling
from lime_jax.core.explain import explain
from lime_jax.core.explanation import Explanation
from lime_jax.core.masks.exhaustive import Exhaustive
from lime_jax.core.methods import Method, most_evaluations, resolve
from lime_jax.core.over_fills import FillAverage, explain_over_fills
from lime_jax.core.receptive_fields.declaration import declaration
from lime_jax.core.surrogates import uncertainty

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a model answered.

    Attributes:
      explanation: the mean over all repeats and fills.
      repeats: each of them, a leading axis over repeats; None if none were asked for.
      marginal: the fills, each the mean over all repeats; None for a single fill.
    """

    explanation: Explanation
    repeats: Explanation | None = None
    marginal: FillAverage | None = None


def ask(
    predict: Any,
    audio: SegmentedAudio,
    method: Method,
    *,
    seed: int = 0,
    repeats: int = 1,
    fills: Sequence[str] = (),
    batch_size: int | None = None,
    precision: str | None = None,
    progress: Progress | None = None,
) -> Answer:
    """Explains a sound `repeats` times with different masks, each time with all fills.

    Args:
      predict: as for `explain`.
      audio: the sound with its components.
      method: as for `explain`.
      seed: of the masks; the first repeat is what a single one would be.
      repeats: how many at the most; an exact answer is not repeated, as other masks change nothing.
      fills: their names, see `lime_jax.audio.fills`; none takes that of `audio`.
      batch_size: as for `explain`.
      precision: as for `explain`.
      progress: called as `progress(done, total)`, in model evaluations; at first with 0 done.
    """
    key, signal = jax.random.key(seed), audio.components.sources[0]
    is_exact = isinstance(resolve(method, len(audio.pieces)).sampler, Exhaustive)
    expected = 1 if is_exact else repeats
    if progress is not None and declaration(predict) is None:
        each = most_evaluations(method, len(audio.pieces)) * max(1, len(fills))
        progress(0, expected * each)
    filled = [filling.fill_of(name, signal, streams.fill_key(key, name)) for name in fills]

    def once(number: int) -> Any:
        options: dict[str, Any] = {
            "key": streams.repeat_key(key, number),
            "batch_size": batch_size,
            "precision": precision,
            "progress": None if progress is None else _part(progress, number, expected),
        }
        if not filled:
            return explain(predict, audio.components, method, **options)
        return explain_over_fills(predict, audio.components, filled, method, **options)

    found = [once(0)]
    if not _is_exact(found[0]):
        found += [once(number) for number in range(1, repeats)]
    return _together(found, is_repeated=repeats > 1)


def _is_exact(found: Explanation | FillAverage) -> bool:
    return uncertainty.is_exact(found.explanation if isinstance(found, FillAverage) else found)


def _part(progress: Progress, number: int, repeats: int) -> Progress:
    """Progress of one repeat as a share of all."""
    return lambda done, total: progress(number * total + done, repeats * total)


def _together(found: list[Any], *, is_repeated: bool) -> Answer:
    over_fills = None
    if isinstance(found[0], FillAverage):
        over_fills = found[0] if len(found) == 1 else marginal.pool(found)
        found = [one.explanation for one in found]
    if not is_repeated:
        return Answer(found[0], None, over_fills)
    repeats = pooling.stack(found)
    return Answer(pooling.pool(repeats), repeats, over_fills)
