"""Explanations of an excerpt repeated with other masks, each over one or several fills."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
from jaxtyping import Array, Key

from lime_jax.audio.fills import fill_key, fill_of, fold_in_beside_masks
from lime_jax.audio.segment import SegmentedAudio
from lime_jax.core import over_fills, pooling
from lime_jax.core.execution.host_model import HostModel
from lime_jax.core.execution.progress import Progress
from lime_jax.core.explain import explain, plan
from lime_jax.core.explanation import Explanation
from lime_jax.core.methods import Method
from lime_jax.core.over_fills import FillAverage, explain_over_fills
from lime_jax.core.plan import Plan
from lime_jax.core.predictor import Predict
from lime_jax.core.surrogates import uncertainty

_REPEAT = 2


@dataclasses.dataclass(frozen=True)
class RepeatedExplanation:
    """An explanation that is the mean over repeats, over fills, or over both.

    Attributes:
      explanation: the mean over all repeats and fills.
      repeats: each of them, a leading axis over repeats; None if none were asked for.
      over_fills: the fills, each the mean over all repeats; None for a single fill.
    """

    explanation: Explanation
    repeats: Explanation | None = None
    over_fills: FillAverage | None = None


def explain_repeatedly(
    predict: Predict | HostModel,
    audio: SegmentedAudio,
    method: Method,
    *,
    seed: int = 0,
    repeats: int = 1,
    fills: Sequence[str] = (),
    batch_size: int | None = None,
    precision: str | None = None,
    progress: Progress | None = None,
) -> RepeatedExplanation:
    """Explains an excerpt `repeats` times with different masks, each time with all fills.

    Args:
      predict: as for `explain`.
      audio: the excerpt with its components.
      method: as for `explain`.
      seed: of the masks; the first repeat is what a single one would be.
      repeats: how many at the most; an exact explanation is not repeated, as other masks change
        nothing.
      fills: their names, see `lime_jax.audio.fills`; none takes that of `audio`.
      batch_size: as for `explain`.
      precision: as for `explain`.
      progress: called as `progress(done, total)`, in model evaluations; at first with 0 done,
        where whole inputs are evaluated.
    """
    key = jax.random.key(seed)
    fill_signals = _fill_signals(audio, key, fills)
    expected = repeats
    if progress is not None:
        planned = plan_repeat(
            predict,
            audio,
            method,
            seed=seed,
            fills=fills,
            batch_size=batch_size,
            precision=precision,
            progress=progress,
        )
        expected = 1 if planned.is_exact else repeats
        if planned.unit == "evaluations":
            progress(0, expected * planned.num_evaluations * max(1, len(fills)))

    def explain_once(number: int) -> Explanation | FillAverage:
        options: dict[str, Any] = {
            "key": repeat_key(key, number),
            "batch_size": batch_size,
            "precision": precision,
            "progress": None if progress is None else _share_of(progress, number, expected),
        }
        if not fill_signals:
            return explain(predict, audio.components, method, **options)
        return explain_over_fills(predict, audio.components, fill_signals, method, **options)

    explanations = [explain_once(0)]
    if not uncertainty.is_exact(_explanation(explanations[0])):
        explanations += [explain_once(number) for number in range(1, repeats)]
    return _pool(explanations, is_repeated=repeats > 1)


def plan_repeat(
    predict: Predict | HostModel,
    audio: SegmentedAudio,
    method: Method,
    *,
    seed: int = 0,
    fills: Sequence[str] = (),
    batch_size: int | None = None,
    precision: str | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Says how one repeat will be computed, with all fills; the arguments are those of repeats."""
    key = jax.random.key(seed)
    return plan(
        predict,
        audio.components,
        method,
        key=key,
        fills=_fill_signals(audio, key, fills) or None,
        batch_size=batch_size,
        precision=precision,
        progress=progress,
    )


def _fill_signals(audio: SegmentedAudio, key: Key[Array, ""], fills: Sequence[str]) -> list[Any]:
    signal = audio.components.sources[0]
    return [fill_of(name, signal, fill_key(key, name)) for name in fills]


def repeat_key(key: Key[Array, ""], number: int) -> Key[Array, ""]:
    """Returns the key of the masks of a repeat; the first one, 0, has the key itself."""
    return jax.random.fold_in(fold_in_beside_masks(key, _REPEAT), number) if number else key


def _explanation(explanation: Explanation | FillAverage) -> Explanation:
    return explanation.explanation if isinstance(explanation, FillAverage) else explanation


def _share_of(progress: Progress, number: int, repeats: int) -> Progress:
    """Progress of one repeat as a share of all."""
    return lambda done, total: progress(number * total + done, repeats * total)


def _pool(
    explanations: Sequence[Explanation | FillAverage], *, is_repeated: bool
) -> RepeatedExplanation:
    averages = [average for average in explanations if isinstance(average, FillAverage)]
    average = over_fills.pool(averages) if len(averages) > 1 else next(iter(averages), None)
    plain = [_explanation(explanation) for explanation in explanations]
    if not is_repeated:
        return RepeatedExplanation(plain[0], None, average)
    repeats = pooling.stack(plain)
    return RepeatedExplanation(pooling.pool(repeats), repeats, average)
