"""The stability of an explanation under other masks and other fills."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lime_jax.core import metrics, ranking
from lime_jax.core.explanation import Explanation, Status
from lime_jax.core.item_axis import item_of
from lime_jax.core.over_fills import FillAverage
from lime_jax.report import wording
from lime_jax.storage import number_of

_NUM_ROWS = 12


def check(
    explanation: Explanation,
    repeats: Explanation | None,
    over_fills: FillAverage | None,
    fills: Sequence[str],
) -> None:
    """Checks that repeats and fills are of this explanation.

    Raises:
      ValueError: naming the argument.
    """
    shape = np.shape(explanation.coefficients)
    for name, several in (
        ("repeats", repeats),
        ("over_fills", None if over_fills is None else over_fills.fills),
    ):
        if several is not None and np.shape(several.coefficients)[1:] != shape:
            raise ValueError(
                f"`{name}` must hold explanations of shape {shape} behind a leading axis, got "
                f"{np.shape(several.coefficients)}. Pass those that `explanation` is the mean of."
            )
    number = 0 if over_fills is None else len(over_fills.fills.coefficients)
    if len(fills) != number:
        raise ValueError(f"`fills` must name the {number} fills of `over_fills`, got {fills!r}.")


def describe_repeats(
    repeats: Explanation | None, explanation: Explanation, output: int, top_k: int
) -> dict[str, Any]:
    """Returns what the record of an output says of repeats; empty where there are none."""
    if repeats is None:
        return {}
    if _status(explanation, output) is not Status.OK:
        return {"stability": {"u_n": None, "agreement": None, "top_components": []}}
    rows = np.asarray(repeats.coefficients)[:, output]
    tops = [ranking.strongest(row, top_k).tolist() for row in rows]
    agreement = metrics.agreement(tops, _top(explanation, output, top_k))
    return {
        "stability": {
            "u_n": metrics.u_n(tops),
            "agreement": number_of(agreement),
            "top_components": tops,
        }
    }


def describe_fills(
    over_fills: FillAverage | None,
    explanation: Explanation,
    fills: Sequence[str],
    output: int,
    top_k: int,
) -> dict[str, Any]:
    """Returns what the record of an output says of fills; empty where there is just one."""
    if over_fills is None:
        return {}
    best = _top(explanation, output, top_k)
    each = [item_of(over_fills.fills, number) for number in range(len(fills))]
    return {
        "spread": _numbers(over_fills.spread[output]),
        "fills": [
            {
                "name": name,
                "status": _status(explained, output).name,
                "coefficients": _numbers(explained.coefficients[output]),
                "std_error": _numbers(explained.std_error[output]),
                "top_components": (top := _top(explained, output, top_k)),
                "n_ce": metrics.n_ce(top, best),
            }
            for name, explained in zip(fills, each, strict=True)
        ],
    }


def stability_section(
    record: Mapping[str, Any], output: Mapping[str, Any], labels: Sequence[str]
) -> dict[str, Any] | None:
    """Returns what the page says of repeats; None where there is nothing to say."""
    if "stability" not in output or output["status"] != Status.OK.name:
        return None
    tops = output["stability"]["top_components"]
    times = {i: sum(i in top for top in tops) for i in sorted({i for top in tops for i in top})}
    weights = wording.format_signed(output["coefficients"])
    order = sorted(times, key=lambda i: (-times[i], -output["coefficients"][i]))
    return {
        "text": wording.stability(record, output),
        "num_repeats": len(tops),
        # A single repeat, which was exact, has nothing to count.
        "rows": []
        if len(tops) == 1
        else [
            {
                "label": labels[i],
                "weight": weights[i],
                "times": times[i],
                "is_top": i in output["top_components"],
            }
            for i in order[:_NUM_ROWS]
        ],
    }


def fills_section(
    record: Mapping[str, Any], output: Mapping[str, Any], labels: Sequence[str]
) -> dict[str, Any] | None:
    """Returns what the page says of fills; None where there is nothing to say."""
    if "fills" not in output or output["status"] != Status.OK.name:
        return None
    tops = [output["top_components"], *(fill["top_components"] for fill in output["fills"])]
    weights, spread = np.array(output["coefficients"], float), np.array(output["spread"], float)
    named = list(dict.fromkeys(i for top in tops for i in top))
    order = sorted(named, key=lambda i: -weights[i])[:_NUM_ROWS]
    columns = [output["coefficients"], *(fill["coefficients"] for fill in output["fills"])]
    every = np.ravel(columns).tolist()  # with as many decimals in all columns
    texts = np.reshape(wording.format_signed(every), np.shape(columns))
    margins = wording.errors(output["spread"], every)
    largest = max((abs(weights[i]) + spread[i] for i in order), default=0.0) or 1.0
    return {
        "text": wording.fills(record, output),
        "is_exact": record["is_exact"],
        "names": [fill["name"] for fill in output["fills"]],
        "shared": [f"{fill['n_ce']} of {len(tops[0])}" for fill in output["fills"]],
        "rows": [
            {
                "label": labels[i],
                "cells": [
                    {"text": text[i], "is_top": i in top}
                    for text, top in zip(texts, tops, strict=True)
                ],
                "spread": margins[i],
                "share": weights[i] / largest,
                "low": (weights[i] - spread[i]) / largest,
                "high": (weights[i] + spread[i]) / largest,
            }
            for i in order
        ],
    }


def _status(explanation: Explanation, output: int) -> Status:
    return Status(int(np.asarray(explanation.status)[output]))


def _top(explanation: Explanation, output: int, top_k: int) -> list[int]:
    if _status(explanation, output) is not Status.OK:
        return []
    return ranking.strongest(np.asarray(explanation.coefficients)[output], top_k).tolist()


def _numbers(values: Any) -> list[float | None]:
    return [number_of(value) for value in np.asarray(values)]
