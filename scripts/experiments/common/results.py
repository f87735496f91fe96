"""What an experiment leaves behind: tables, pictures, and the paper's numbers beside ours."""

import contextlib
import dataclasses
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lime_jax import machine, storage
from lime_jax.errors import StoreError
from lime_jax.report import style
from lime_jax.runs import parquet

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

SUMMARY, SETTINGS = "summary.json", "settings.json"
Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Figure:
    """A number of the paper and what came out here.

    Attributes:
      what: in a few words.
      paper: as printed there; None if it has no such number.
      ours: as it should be printed.
      condition: what was asked of it, in words; None if nothing was.
      passed: whether it holds; None without a condition, or where nothing could be counted.
    """

    what: str
    paper: str | None
    ours: str
    condition: str | None = None
    passed: bool | None = None


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture in the folder of an experiment, and what it shows."""

    file: str
    caption: str


@dataclasses.dataclass(frozen=True)
class Summary:
    """An experiment on a page.

    Attributes:
      title: of the experiment.
      paper: where it was published.
      claim: in a sentence.
      command: that repeats it.
      figures: the paper's numbers and ours.
      differences: between the paper's data, models and protocol and ours, a sentence each.
      pictures: of the results.
      minutes: the whole took, stored parts included.
      config: plain values.
    """

    title: str
    paper: str
    claim: str
    command: str
    figures: Sequence[Figure]
    differences: Sequence[str]
    pictures: Sequence[Picture]
    minutes: float
    config: Mapping[str, Any]


def begin(folder: Path, settings: Mapping[str, Any]) -> None:
    """Begins a folder of results, or goes on in one that was begun with the same settings.

    Args:
      folder: of the experiment.
      settings: everything that the numbers depend on.

    Raises:
      StoreError: if it was begun with other settings.
    """
    path = folder / SETTINGS
    wanted = {**storage.plain(settings), "lime_jax": machine.version("lime-jax")}
    text = json.dumps(wanted, indent=1, ensure_ascii=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        storage.write_whole(path, text.encode(), exclusive=True)
    found = json.loads(path.read_text(encoding="utf-8"))
    differing = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
    if differing:
        raise StoreError(
            f"`{folder}` was begun with other settings: {', '.join(differing)}. Repeat those in "
            f"`{path}`, or choose another `--output-dir`."
        )


def write(folder: Path, summary: Summary) -> Path:
    """Stores a summary with the versions and the machine it comes from; returns its path."""
    path = folder / SUMMARY
    record = {**storage.plain(summary), "machine": machine.describe_machine()}
    record["config"] = _without_places(record["config"])
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Stores rows as Parquet; returns the path."""
    import pyarrow as pa

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(path, pa.Table.from_pylist([dict(row) for row in rows]))
    return path


def read_table(path: Path) -> list[dict[str, Any]]:
    """Returns the rows that `write_table` stored."""
    return parquet.read_table(path).to_pylist()


def write_bytes(path: Path, data: bytes) -> Path:
    """Writes a file, whole or not at all; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    storage.write_whole(path, data)
    return path


def write_picture(path: Path, drawing: "Drawing") -> Path:
    """Returns the same for a figure of matplotlib, as PNG."""
    buffer = io.BytesIO()
    with style.own_style():
        drawing.savefig(buffer, format="png", metadata={"Software": None})
    return write_bytes(path, buffer.getvalue())


def write_text(path: Path, text: str) -> Path:
    """Returns the same for text."""
    return write_bytes(path, text.encode())


def where(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """Returns the rows that have these values."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def percent(count: int, number: int) -> str:
    """Returns a share such as "98 % of 200", or none."""
    return f"{100 * count / number:.0f} % of {number}" if number else "none"


def mean_and_deviation(values: Sequence[float]) -> str:
    """As the papers print it: "99.90 ± 0.29"; the deviation needs two values."""
    if not len(values):
        return "none"
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return f"{mean:.2f}"
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
    return f"{mean:.2f} ± {spread:.2f}"


def show(summary: Summary) -> None:
    """Prints the paper's numbers and ours, two lines each."""
    for one in summary.figures:
        unknown = "not evaluated" if one.condition else ""
        held = {True: "holds", False: "FAILS", None: unknown}[one.passed]
        told = {"here": one.ours, "paper": one.paper, "asked": one.condition}
        print(f"{one.what}{f': {held}' if held else ''}")
        print("    " + "; ".join(f"{name} {text}" for name, text in told.items() if text))


def _without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """Paths by their last part: where things lay on a machine is nobody's business."""

    def is_path(value):
        return isinstance(value, str) and os.path.isabs(value)

    return {name: Path(v).name if is_path(v) else v for name, v in config.items()}
