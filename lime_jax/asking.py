"""Asking a model once or several times, with one or with several contents."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax

from lime_jax.audio import filling
from lime_jax.audio.segment import SegmentedAudio
from lime_jax.core import locality, marginal, pooling
from lime_jax.core.explain import explain
from lime_jax.core.explanation import Explanation
from lime_jax.core.marginal import Marginal, explain_marginal
from lime_jax.core.methods import Method, most_evaluations

Progress = Callable[[int, int], None]

# Streams of random numbers beside that of the masks, which are drawn from the seed itself.
_FILL, _REPEATS = 1, 2


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a model answered.

    Attributes:
      explanation: the mean over all repeats and contents.
      repeats: each of them, a leading axis over repeats; None for a single one.
      marginal: the contents, each the mean over all repeats; None for a single content.
    """

    explanation: Explanation
    repeats: Explanation | None = None
    marginal: Marginal | None = None


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
      repeats: how many.
      fills: names of the contents, see `lime_jax.audio.filling`; none takes that of `audio`.
      batch_size: as for `explain`.
      precision: as for `explain`.
      progress: called as `progress(done, total)`, in model evaluations; at first with 0 done.
    """
    if progress is not None and not locality.is_declared(predict):
        each = most_evaluations(method, len(audio.pieces)) * max(1, len(fills))
        progress(0, repeats * each)
    contents = [
        filling.fill_of(name, audio.components.sources[0], fill_key(seed)) for name in fills
    ]

    def once(number: int) -> Any:
        options: dict[str, Any] = {
            "key": _key_of(seed, number),
            "batch_size": batch_size,
            "precision": precision,
            "progress": None if progress is None else _part(progress, number, repeats),
        }
        if not contents:
            return explain(predict, audio.components, method, **options)
        return explain_marginal(predict, audio.components, contents, method, **options)

    return _together([once(number) for number in range(repeats)])


def fill_key(seed: int) -> jax.Array:
    """The key of a fill that is drawn at random."""
    return jax.random.fold_in(jax.random.key(seed), _FILL)


def _key_of(seed: int, number: int) -> jax.Array:
    key = jax.random.key(seed)
    return jax.random.fold_in(jax.random.fold_in(key, _REPEATS), number) if number else key


def _part(progress: Progress, number: int, repeats: int) -> Progress:
    """Progress of one repeat as a share of all."""
    return lambda done, total: progress(number * total + done, repeats * total)


def _together(found: list[Any]) -> Answer:
    over_contents = None
    if isinstance(found[0], Marginal):
        over_contents = found[0] if len(found) == 1 else marginal.pooled(found)
        found = [one.explanation for one in found]
    if len(found) == 1:
        return Answer(found[0], None, over_contents)
    repeats = pooling.stacked(found)
    return Answer(pooling.pooled(repeats), repeats, over_contents)
