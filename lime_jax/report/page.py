"""The report as one self-contained HTML page, which loads nothing and runs only its own script."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lime_jax import storage
from lime_jax.report import stability, wording
from lime_jax.report.players import Choice, Mask, strongest
from lime_jax.report.record import dumps

_TEMPLATES = Path(__file__).parent / "templates"
_NUM_ROWS = 12  # of a table before the rest is folded away


def page(
    record: Mapping[str, Any],
    *,
    pictures: Sequence[bytes],
    labels: Sequence[str],
    players: Sequence[Sequence[Choice]],
    sounds: Mapping[Mask, str],
) -> str:
    """Renders the page.

    Args:
      record: from `lime_jax.report.to_json`.
      pictures: PNG, one per entry of `outputs` in the record.
      labels: what to call each component.
      players: what every output offers to hear.
      sounds: base64 of mp3 by mask; choices without one are left out.
    """
    script, style = asset("player.js"), asset("style.css")
    ids = {mask: i for i, mask in enumerate(sounds)}
    return template("report.html.jinja").render(
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
        policy=policy(script, style),
        num_rows=_NUM_ROWS,
    )


def template(name: str) -> Any:
    """Returns a template that escapes what others wrote and refuses what nobody gave."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    environment.filters["number"] = wording.number
    return environment.get_template(name)


def asset(name: str) -> str:
    """Returns a style or a script that becomes part of the page."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def policy(script: str, style: str) -> str:
    """A content security policy that admits this script and this style and no connection."""
    return (
        f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; "
        "img-src data:; media-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    digest = bytes.fromhex(storage.digest(text))
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _facts(record: Mapping[str, Any]) -> list[str]:
    audio = record["audio"]
    return [
        f"{audio['duration']:.4g} s of audio at {audio['sample_rate'] / 1000:g} kHz",
        wording.parts(len(record["components"]), audio["components"]),
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
    heard = [choice for choice in choices if choice.mask in ids]
    return {
        "output": output,
        "headline": wording.headline(output, labels),
        "fidelity": wording.fidelity(output["fidelity"]),
        "warnings": wording.warnings(output),
        "silence": wording.silence(output),
        "picture": base64.b64encode(picture).decode("ascii"),
        "choices": [{"label": choice.label, "track": ids[choice.mask]} for choice in heard],
        "rows": _rows(output, labels, heard, ids),
        "stability": stability.stability_section(record, output, labels),
        "fills": stability.fills_section(record, output, labels),
    }


def _rows(
    output: Mapping[str, Any],
    labels: Sequence[str],
    heard: Sequence[Choice],
    ids: Mapping[Mask, int],
) -> list[dict[str, Any]]:
    tracks = {choice.component: ids[choice.mask] for choice in heard}
    order = strongest(output)
    weights = wording.signed(output["coefficients"])
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
