"""The report about a store: one page, its pictures, and the numbers as Parquet and CSV."""

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lime_jax.errors import LimeJaxError
from lime_jax.report import html, players, summary_plots, wording
from lime_jax.report.folder import SUMMARY, check_folder, write_folder
from lime_jax.runs import aggregate, reload, representatives
from lime_jax.runs.aggregate import Summary
from lime_jax.runs.store import Store

FORMAT = "lime-jax summary"
PAGE = "report.html"

_NUM_DRAWN = 1000
_MOST_ROWS = 2000  # of a table in the page; the files have all
_MOST_SECONDS = 30  # of a clip in the page


@dataclasses.dataclass(frozen=True)
class Clip:
    """A representative explanation with its sound, base64 of mp3.

    Attributes:
      id: of the item.
      where: which part of it.
      prediction: of the model.
      fidelity: of the surrogate.
      reason: the top components and their weights.
      original: the sound that was explained.
      highlight: the top components alone; empty if no weight is positive.
      problem: why there is no sound; empty if there is.
    """

    id: str
    where: str
    prediction: float
    fidelity: float
    reason: str
    original: str
    highlight: str
    problem: str


def write_tables(folder: str | Path, store: Store, summary: Summary) -> Path:
    """Writes the numbers of a summary as Parquet and CSV.

    Returns:
      The folder.

    Raises:
      LimeJaxError: if the folder cannot be written or holds something else.
    """
    return write_folder(folder, _with_record(store, aggregate.encode_tables(summary)))


def write_report(
    folder: str | Path,
    store: Store,
    *,
    compare: Sequence[Store] = (),
    num_outputs: int = 10,
    num_picked: int = 5,
) -> Path:
    """Writes `report.html`, which needs no other file, its pictures and the numbers.

    Args:
      folder: created with its parents; replaced if it is empty or holds an earlier report.
      store: the store.
      compare: see `lime_jax.runs.aggregate.aggregate`.
      num_outputs: how many outputs get a section: those with the highest mean predictions.
      num_picked: how many representative clips each of them gets.

    Returns:
      The path of `report.html`.

    Raises:
      LimeJaxError: if a store is damaged or empty, or the folder cannot be written.
    """
    check_folder(folder)
    summary = aggregate.aggregate(store, compare=compare, num_picked=num_picked)
    shown = _shown_outputs(summary, num_outputs)
    sections, pictures = [], {}
    clips = _clips(store, summary, shown)
    with aggregate.connect(store) as connection:
        for index in shown:
            row = shown[index]
            drawn = representatives.sample(connection, index, _NUM_DRAWN)
            picture = output_picture(row, drawn)
            pictures[f"{index}-weights.png"] = picture
            sections.append({"output": row, "picture": _base64(picture), "clips": clips[index]})
    further = _further_pictures(summary)
    pictures |= {name: picture for name, _, picture in further}
    html = _page(store, summary, sections, further)
    files = {PAGE: html.encode("utf-8", "replace"), **aggregate.encode_tables(summary), **pictures}
    return write_folder(folder, _with_record(store, files)) / PAGE


def _with_record(store: Store, files: Mapping[str, bytes]) -> dict[str, bytes]:
    record = {
        "format": FORMAT,
        "schema_version": 1,
        "store": str(store.folder),
        "config_sha256": store.digest,
        "config": store.config,
        "files": [SUMMARY, *files],
    }
    text = json.dumps(record, indent=1, ensure_ascii=True, allow_nan=False) + "\n"
    return {SUMMARY: text.encode("ascii"), **files}


def _shown_outputs(summary: Summary, number: int) -> dict[int, dict[str, Any]]:
    """Rows about faithfulness over all groups, by index of the output."""
    rows = [row for row in summary.faithfulness.to_pylist() if row["group"] is None]
    highest = sorted(rows, key=lambda row: (-row["mean_prediction"], row["output_index"]))
    return {row["output_index"]: row for row in highest[:number]}


def output_picture(row: Mapping[str, Any], drawn: representatives.Sample) -> bytes:
    """Returns the picture about an output, see `summary_plots.output_picture`.

    Args:
      row: of the table about faithfulness.
      drawn: explanations of that output.
    """

    def column(name):
        return drawn.rows[name].to_numpy().astype(float)

    return summary_plots.output_picture(
        row["output"],
        drawn.names,
        drawn.weights,
        column("prediction"),
        column("local_prediction"),
        np.nan_to_num(column("fidelity")),
        row,
    )


def _further_pictures(summary: Summary) -> list[tuple[str, str, bytes]]:
    """File name, heading and picture of what is about all outputs together."""
    cells = summary.cells.to_pylist()
    pictures = [("cells.png", "Most important components", summary_plots.cells_picture(cells))]
    if summary.stability.num_rows:
        number = summary.stability["num_stores"][0].as_py()
        title = f"Different components in the top lists of {number} stores"
        picture = summary_plots.violins_picture(_by_output(summary.stability, "u_n"), title, "Uₙ")
        pictures.append(("u-n.png", "Stability", picture))
        title = "Components that top lists have in common with those of the first store"
        numbers = _by_output(summary.stability, "n_ce")
        picture = summary_plots.violins_picture(numbers, title, "mean N_ce")
        pictures.append(("n-ce.png", "Agreement", picture))
    return pictures


def _by_output(stability: Any, column: str) -> dict[str, np.ndarray]:
    outputs = np.array(stability["output"].to_pylist())
    values = stability[column].to_numpy().astype(float)
    return {str(name): values[outputs == name] for name in np.unique(outputs)}


def _clips(store: Store, summary: Summary, shown: Mapping[int, Any]) -> dict[int, list[Clip]]:
    items = {item.id: item for item in store.items()}
    names = _component_names(store)
    clips: dict[int, list[Clip]] = {index: [] for index in shown}
    for row in summary.representatives.to_pylist():
        if row["output_index"] in clips:
            clips[row["output_index"]].append(_clip(store, items[row["id"]], row, names))
    return clips


def _component_names(store: Store) -> dict[str, list[str]]:
    with aggregate.connect(store) as connection:
        rows = connection.execute(
            "SELECT layout, list(name ORDER BY index) FROM "
            "(SELECT DISTINCT layout, index, name FROM components) GROUP BY layout"
        ).fetchall()
    return dict(rows)


def _clip(store: Store, item: Any, row: Mapping[str, Any], names: Mapping[str, Any]) -> Clip:
    top, weights = row["top_components"], wording.format_signed(row["coefficients"])
    reasons = [f"{names[row['layout']][i]} {weights[i]}" for i in top]
    sounds, problem = ["", ""], ""
    try:
        audio = reload.segmented_audio(store, item, row["snippet"])
    except LimeJaxError as error:
        problem = str(error)
    else:
        number = len(audio.extents)
        masks = [(True,) * number, *([players.mask_of(top, number)] if top else [])]
        most = _MOST_SECONDS * audio.sample_rate
        excerpts = [waveform[:most] for waveform in players.render(audio, masks)]
        for place, encoded in enumerate(players.encode(excerpts, audio.sample_rate)):
            sounds[place] = encoded
    end = row["start"] + row["duration"]
    return Clip(
        id=row["id"],
        where=f"{row['start']:.4g}–{end:.4g} s",
        prediction=row["prediction"],
        fidelity=row["fidelity"],
        reason=", ".join(reasons) or "nothing speaks for it",
        original=sounds[0],
        highlight=sounds[1],
        problem=problem,
    )


def _page(
    store: Store,
    summary: Summary,
    sections: Sequence[Mapping[str, Any]],
    further: Sequence[tuple[str, str, bytes]],
) -> str:
    script = html.asset("summary.js")
    style = html.asset("style.css") + html.asset("summary.css")
    everything = [row for row in summary.outputs.to_pylist() if row["group"] is None]
    rows = summary.components.to_pylist()
    facts = [
        f"{store.config['model']}",
        f"{sum(row['num_explanations'] for row in everything):,} explanations",
        f"{len({row['output'] for row in everything})} outputs",
        f"components: {store.config['components']}",
    ]
    return html.template("summary.html.jinja").render(
        title=f"What does {store.config['model']} listen to?",
        facts=facts,
        outputs=[row for row in summary.faithfulness.to_pylist() if row["group"] is None],
        unexplained=[row for row in everything if row["status"] != "OK"],
        sections=sections,
        further=[(heading, _base64(picture)) for _, heading, picture in further],
        rows=rows[:_MOST_ROWS],
        num_rows=len(rows),
        has_groups=any(row["group"] is not None for row in rows),
        settings=json.dumps(store.config, indent=1),
        script=script,
        style=style,
        policy=html.policy(script, style),
        mime="audio/mpeg" if store.config["sample_rate"] in players.MP3_RATES else "audio/flac",
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
