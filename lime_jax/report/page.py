"""The report as one self-contained HTML page, which loads nothing and runs only its own script."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from lime_jax.report import html, stability, wording
from lime_jax.report.players import Choice, Mask, by_absolute_weight
from lime_jax.report.record import dumps

_NUM_ROWS = 12  # of a table before the rest is folded away


def page(
    record: Mapping[str, Any],
    *,
    pictures: Sequence[bytes],
    labels: Sequence[str],
    players: Sequence[Sequence[Choice]],
    sounds: Mapping[Mask, str],
) -> str:
    """Returns the page.

    Args:
      record: from `lime_jax.report.to_json`.
      pictures: PNG, one per entry of `outputs` in the record.
      labels: what to call each component.
      players: what every output offers to hear.
      sounds: base64 of mp3 by mask; choices without one are left out.
    """
    script, style = html.asset("player.js"), html.asset("style.css")
    ids = {mask: i for i, mask in enumerate(sounds)}
    return html.template("report.html.jinja").render(
        record=record,
        title=record["title"] or "Why did the model say that?",
        facts=_facts(record),
        procedure=wording.procedure(record["outputs"]),
        settings=dumps({"config": record["config"], "versions": record["versions"]}),
        sections=[
            _section(record, output, labels, picture, choices, ids)
            for output, picture, choices in zip(record["outputs"], pictures, players, strict=True)
        ],
        predictions=sorted(record["predictions"], key=_descending),
        tracks={
            "sampleRate": record["audio"]["sample_rate"],
            "duration": record["audio"]["duration"],
            "tracks": list(sounds.values()),
        },
        script=script,
        style=style,
        policy=html.policy(script, style),
        num_rows=_NUM_ROWS,
    )


def _facts(record: Mapping[str, Any]) -> list[str]:
    audio = record["audio"]
    return [
        f"{audio['duration']:.4g} s of audio at {audio['sample_rate'] / 1000:g} kHz",
        wording.components(len(record["components"]), audio["components"]),
        wording.cost(record),
    ]


def _section(
    record: Mapping[str, Any],
    output: Mapping[str, Any],
    labels: Sequence[str],
    picture: bytes,
    choices: Sequence[Choice],
    ids: Mapping[Mask, int],
) -> dict[str, Any]:
    offered = [choice for choice in choices if choice.mask in ids]
    return {
        "output": output,
        "headline": wording.headline(output, labels),
        "fidelity": wording.fidelity(output["fidelity"]),
        "warnings": wording.warnings(output),
        "silence": wording.silence(output),
        "picture": base64.b64encode(picture).decode("ascii"),
        "choices": [{"label": choice.label, "track": ids[choice.mask]} for choice in offered],
        "rows": _rows(output, labels, offered, ids),
        "stability": stability.stability_section(record, output, labels),
        "fills": stability.fills_section(record, output, labels),
    }


def _rows(
    output: Mapping[str, Any],
    labels: Sequence[str],
    offered: Sequence[Choice],
    ids: Mapping[Mask, int],
) -> list[dict[str, Any]]:
    tracks = {choice.component: ids[choice.mask] for choice in offered}
    order = by_absolute_weight(output)
    weights = wording.format_signed(output["coefficients"])
    errors = wording.errors(output["std_error"], output["coefficients"])
    intervals = wording.intervals(output["confidence_interval"], output["coefficients"])
    largest = abs(output["coefficients"][order[0]] or 0.0) or 1.0
    return [
        {
            "label": labels[i],
            "weight": weights[i],
            "error": errors[i],
            "interval": intervals[i],
            "share": (output["coefficients"][i] or 0.0) / largest,
            "track": tracks.get(i),
        }
        for i in order
    ]


def _descending(entry: Mapping[str, Any]) -> float:
    return float("inf") if entry["prediction"] is None else -entry["prediction"]
