"""Lists of items as CSV and Parquet files, and from folders and globs."""

import glob
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lime_jax import storage
from lime_jax.audio.io import AUDIO_SUFFIXES
from lime_jax.core.arguments import file_path
from lime_jax.errors import StoreError
from lime_jax.runs import columns, parquet
from lime_jax.runs.columns import COLUMNS
from lime_jax.runs.items import Item, check_items

SUFFIXES = (".csv", ".parquet")


def from_folder(folder: str | Path) -> list[Item]:
    """Returns an item for every audio file in a folder and the folders in it, hidden ones left out.

    Its id is the path from `folder` on.

    Raises:
      StoreError: if there are none.
    """
    folder = Path(folder)
    return _from_paths(sound_files(folder), folder)


def sound_files(folder: Path) -> list[Path]:
    """Returns all audio files in a folder and the folders in it, hidden ones left out."""

    def is_hidden(path):
        return any(part.startswith(".") for part in path.relative_to(folder).parts)

    return [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES and not is_hidden(path) and not path.is_dir()
    ]


def from_glob(pattern: str) -> list[Item]:
    """Returns an item for every file that a pattern such as "songs/**/*.flac" finds.

    Its id is the path from the last folder without a wildcard on.

    Raises:
      StoreError: if there are none.
    """
    fixed: list[str] = []
    for part in Path(pattern).parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    every = (Path(path) for path in glob.iglob(pattern, recursive=True))
    paths = [path for path in every if not path.is_dir()]
    if not paths:
        raise StoreError(f"`{pattern}` finds no file. Name a folder, glob or manifest with audio.")
    return _from_paths(paths, Path(*fixed))


def read_manifest(path: str | Path) -> list[Item]:
    """Reads items from a CSV file with a header, or from a Parquet file.

    Columns: `path` or `stems`, and if wanted `id` (else the path), `start` and `duration` or `end`
    in seconds, `label`, `group`. `stems` is a folder with one file per stem, or JSON that lists the
    files of every stem: `{"drums": ["kick.wav", "snare.wav"], "bass": ["bass.wav"]}`. Paths are
    relative to the manifest. Other columns are ignored; those that tell times in other words, such
    as `offset` or `end_s`, are refused.

    Raises:
      StoreError: if it cannot be read, or a row makes no item.
    """
    path = file_path("path", path)
    try:
        rows = list(_rows(path))
    except UnicodeDecodeError as error:
        raise StoreError(f"`{path}` holds text that is not UTF-8. Write it again.") from error
    items = (_item(row, path, number) for number, row in enumerate(rows, start=1))
    return check_items(items, f"`{path}`")


def write_manifest(path: str | Path, items: Iterable[Item]) -> None:
    """Writes items to a .csv or .parquet file that `read_manifest` and `lime-jax run` take.

    Raises:
      StoreError: if items are unusable or the file cannot be written.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     manifest = Path(folder, "clips.csv")
      ...     write_manifest(manifest, [Item("a", Path("/music/a.flac"), label="rock")])
      ...     [item] = read_manifest(manifest)
      >>> item.id, item.label
      ('a', 'rock')
    """
    path = file_path("path", path)
    table = to_table(check_items(items, "`items`"))
    if path.suffix.lower() == ".csv":
        from pyarrow import csv

        storage.write_whole(path, lambda partial: csv.write_csv(table, partial))
    elif path.suffix.lower() == ".parquet":
        parquet.write_table(path, table)
    else:
        raise StoreError(f"`{path}` must end in .csv or .parquet.")


def to_table(items: Iterable[Item]) -> Any:
    """Returns the items as a `pyarrow.Table` with `COLUMNS`, paths absolute."""
    import pyarrow as pa

    number, text = pa.float64(), pa.string()
    types = (text, text, number, number, text, text, text)
    schema = pa.schema(list(zip(COLUMNS, types, strict=True)))
    rows = [
        {
            "id": item.id,
            "path": None if item.path is None else as_text(item.path.absolute()),
            "start": item.start,
            "duration": item.duration,
            "stems": _stems_text(item.stems),
            "label": item.label,
            "group": item.group,
        }
        for item in items
    ]
    return pa.Table.from_pylist(rows, schema)


def from_rows(rows: Iterable[Mapping[str, Any]]) -> list[Item]:
    """Returns the items of the rows of such a table."""
    return [_item(row, Path(), number) for number, row in enumerate(rows, start=1)]


def printable(path: Path) -> str:
    """Returns a path as an id: what cannot be printed is escaped."""

    def escaped(c):
        return c.encode("unicode_escape").decode("ascii")

    return "".join(c if c.isprintable() else escaped(c) for c in str(path))


def as_text(path: Path) -> str:
    """Returns a path as every file format can hold it: only bytes that are no text are escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def _from_paths(paths: list[Path], root: Path) -> list[Item]:
    relative = {path: path.relative_to(root) for path in paths}
    return check_items(
        [Item(printable(name), path) for path, name in relative.items()], f"`{root}`"
    )


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    from pyarrow import csv

    try:
        if path.suffix.lower() == ".parquet":
            table = parquet.read_table(path)
        else:
            # As text, so that ids such as 007 stay what they are.
            parse = csv.ParseOptions(newlines_in_values=True)
            with csv.open_csv(path, parse_options=parse) as reader:
                names = reader.schema.names
            options = csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
            )
            table = csv.read_csv(path, parse_options=parse, convert_options=options)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"`{path}` is not a manifest that can be read ({_first_line(error)}). Use CSV with a "
            "header or Parquet."
        ) from error
    known = columns.known_columns(table.column_names, f"`{path}`")
    if not {"path", "stems"} & set(known):
        raise StoreError(
            f"`{path}` has neither a column `path` nor `stems`, only "
            f"{', '.join(map(repr, table.column_names))}. Name the sound of every row."
        )
    table = table.select(list(known.values())).rename_columns(list(known))
    for batch in table.to_batches(max_chunksize=10_000):
        yield from batch.to_pylist()


def _item(row: Mapping[str, Any], manifest: Path, number: int) -> Item:
    where = f"`{manifest}`, row {number}"

    def text(name):
        return None if row.get(name) in (None, "") else str(row[name])

    path, folder = text("path"), manifest.parent
    start, duration = columns.excerpt_of(row, where)
    return Item(
        id=text("id") or path or text("stems") or "",
        path=None if path is None else folder / path,
        start=start,
        duration=duration,
        stems=_stems(text("stems"), folder, where),
        label=text("label"),
        group=text("group"),
    )


def _stems(text: str | None, folder: Path, where: str) -> Any:
    if text is None or not text.startswith("{"):
        return None if text is None else folder / text
    try:
        listed = json.loads(text)
        several = {n: [p] if isinstance(p, str) else p for n, p in listed.items()}
        if not several or not all(isinstance(p, list) and p for p in several.values()):
            raise ValueError("a stem without files")
        stems = {name: tuple(folder / path for path in paths) for name, paths in several.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{where}: `stems` must be a folder or JSON such as "
            f'{{"drums": ["kick.wav", "snare.wav"]}}, got {text[:60]!r} ({error}).'
        ) from error
    return stems


def _stems_text(stems: Any) -> str | None:
    if stems is None or isinstance(stems, Path):
        return None if stems is None else as_text(stems.absolute())
    listed = {name: [as_text(p.absolute()) for p in paths] for name, paths in stems.items()}
    return json.dumps(listed, ensure_ascii=False)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
