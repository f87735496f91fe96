"""A folder that collects explanations: files that appear whole, and one configuration for all.

config.json               everything that determines the numbers
items.parquet             the data set; itself a manifest
results.parquet/*         one row per item, snippet and output
components.parquet/*      names and places of the components, once
errors.parquet/*          one row per item that failed
sources.parquet/*         what the files of every item were, so that changed ones are noticed
log/*.jsonl               what happened when
"""

import contextlib
import dataclasses
import glob
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lime_jax import storage
from lime_jax.core.arguments import file_path
from lime_jax.errors import StoreError
from lime_jax.runs import manifest, parquet, schema
from lime_jax.runs.config import digest
from lime_jax.runs.items import Item

FORMAT = "lime-jax store"
SCHEMA_VERSION = 1
CONFIG, ITEMS = "config.json", "items.parquet"
RESULTS, COMPONENTS, ERRORS = "results.parquet", "components.parquet", "errors.parquet"
SOURCES = "sources.parquet"
TABLES = (RESULTS, COMPONENTS, ERRORS, SOURCES)
EMPTY = "none.parquet"
DAMAGED = "damaged"

_DIGEST_KEY = b"lime_jax.config"
_SECONDS_OF_WRITING = 3600.0
# Labels and groups may be corrected; these may not.
_SOUND_COLUMNS = ("path", "start", "duration", "stems")


@dataclasses.dataclass(frozen=True)
class Store:
    """A store that exists.

    Attributes:
      folder: where it lies.
      config: everything that determines its numbers.
      digest: SHA-256 of it; every file of results carries it.
    """

    folder: Path
    config: dict[str, Any]
    digest: str

    def parts(self, table: str) -> list[Path]:
        """Returns the files of one of `TABLES`."""
        return sorted((self.folder / table).glob("*.parquet"))

    def items(self) -> list[Item]:
        """Returns the data set, in the order of the ids."""
        return manifest.from_rows(read(self.folder / ITEMS).to_pylist())


def create_or_join(folder: Path, config: dict[str, Any]) -> Store:
    """Makes a store for a configuration, or opens the one that is there.

    Raises:
      StoreError: if the folder holds something else or results of another configuration, which is
        shown.
    """
    _check_folder(folder)
    if glob.has_magic(str(folder)):
        raise StoreError(f"`{folder}` must do without *, ? and [, which readers take for patterns.")
    try:
        for table in (*TABLES, "log"):
            (folder / table).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"`{folder}` cannot be written ({error.strerror}). Choose another folder."
        ) from error
    sha256 = digest(config)
    for table, columns in table_schemas("").items():
        # Readers of a table without any other part then still see its columns.
        if not (empty := folder / table / EMPTY).exists():
            parquet.write_table(empty, columns.empty_table())
    record = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "sha256": sha256,
        "config": config,
        "versions": {"jax": jax.__version__, "numpy": np.__version__},
    }
    text = json.dumps(record, indent=1, ensure_ascii=True, allow_nan=False) + "\n"
    try:
        storage.write_whole(folder / CONFIG, text.encode("ascii"), exclusive=True)
    except FileExistsError:
        existing = open_store(folder)
        if existing.digest != sha256:
            raise StoreError(
                f"`{folder}` holds results of another configuration: "
                f"{differences(existing.config, config)}. Repeat those options, or choose another "
                "folder."
            ) from None
        return existing
    return Store(folder, config, sha256)


def open_store(folder: Path) -> Store:
    """Opens a store.

    Raises:
      StoreError: if there is none, or its configuration was changed or is from a newer lime_jax.
    """
    folder = file_path("folder", folder)
    path = folder / CONFIG
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(
            f"`{folder}` holds no store of explanations ({CONFIG}: {error.strerror}). Name a "
            "folder that `lime-jax run` wrote."
        ) from error
    except ValueError as error:
        raise StoreError(f"`{path}` is not JSON. Restore it from a copy.") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise StoreError(f"`{path}` has no `format` = {FORMAT!r}. Name a folder of `lime-jax run`.")
    if record.get("schema_version") != SCHEMA_VERSION:
        raise StoreError(
            f"`{path}` has schema version {record.get('schema_version')!r}, this lime-jax reads "
            f"{SCHEMA_VERSION}. Update lime-jax."
        )
    config = record.get("config")
    if not isinstance(config, dict) or digest(config) != record.get("sha256"):
        raise StoreError(
            f"`{path}` was changed: its configuration does not have the SHA-256 it names. Restore "
            "it from a copy."
        )
    return Store(folder, config, record["sha256"])


def differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Returns what differs between two configurations, as a sentence."""
    sentences = []
    for name in sorted({*stored, *asked}):
        old, new = stored.get(name), asked.get(name)
        if old != new:
            flag = f"`--{name.replace('_', '-')}`" if name not in _COMPUTED else _COMPUTED[name]
            sentences.append(f"{flag} is {_short(old)} there, {_short(new)} now")
    return "; ".join(sentences)


def store_items(store: Store, items: Sequence[Item]) -> list[Item]:
    """Stores the items beside those that are stored, and returns all of them.

    The data set may grow from one run to the next, and files may vanish from it.

    Raises:
      StoreError: if an id stands for another sound than before.
    """
    path, known = store.folder / ITEMS, {}
    if path.exists():
        try:
            known = {row["id"]: row for row in read(path).to_pylist()}
        except StoreError:
            set_aside(store, [path])
    asked = {row["id"]: row for row in manifest.to_table(items).to_pylist()}
    for id in known.keys() & asked.keys():
        if any(known[id][name] != asked[id][name] for name in _SOUND_COLUMNS):
            raise StoreError(
                f"`{store.folder}` knows the id {id!r} as another sound: "
                f"{_columns(known[id])} there, {_columns(asked[id])} now. Give it another id, or "
                "choose another "
                "folder."
            )
    given = {item.id: item for item in items}
    if any(known.get(id) != row for id, row in asked.items()):
        rest = manifest.from_rows([known[id] for id in known.keys() - asked.keys()])
        everything = sorted([*rest, *items], key=lambda item: item.id)
        parquet.write_table(path, manifest.to_table(everything))
        return everything
    return [given.get(item.id, item) for item in store.items()]


def errors(store: Store, limit: int) -> list[dict[str, Any]]:
    """Returns the first failures, in the order of the ids."""
    rows = [row for path in store.parts(ERRORS) for row in read(path).to_pylist()]
    return sorted(rows, key=lambda row: row["id"])[:limit]


def set_aside(store: Store, damaged: Iterable[Path]) -> None:
    """Moves damaged files out of the tables, so that the same run computes their items again."""
    for path in damaged:
        (store.folder / DAMAGED).mkdir(exist_ok=True)
        path.rename(store.folder / DAMAGED / f"{path.parent.name}-{path.name}")


def sweep(store: Store) -> None:
    """Removes what killed runs left half written, once it is too old to be another run's work."""
    for folder in (store.folder, *(store.folder / table for table in TABLES)):
        for path in folder.glob(f".*{storage.PARTIAL}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _SECONDS_OF_WRITING:
                    path.unlink()


def table_schemas(sha256: str) -> dict[str, Any]:
    """Returns the columns of every table; results say which configuration they belong to."""
    return {
        RESULTS: schema.results_schema().with_metadata({_DIGEST_KEY: sha256.encode()}),
        COMPONENTS: schema.layouts_schema(),
        ERRORS: schema.errors_schema(),
        SOURCES: schema.sources_schema(),
    }


def stored_ids(store: Store) -> tuple[set[str], set[str], list[Path]]:
    """Returns the ids with results, the ids that failed, and files that are damaged."""
    import pyarrow as pa

    stored: dict[str, set[str]] = {RESULTS: set(), ERRORS: set()}
    damaged = []
    for table, ids in stored.items():
        for path in store.parts(table):
            try:
                column = parquet.read_table(path, ["id"])["id"]
            except FileNotFoundError:  # another shard has just forgotten all of its items
                continue
            except (pa.ArrowException, OSError):
                damaged.append(path)
            else:
                ids.update(column.unique().to_pylist())
    return stored[RESULTS], stored[ERRORS], damaged


def digest_of_part(path: Path) -> str | None:
    """Returns the digest of the configuration that a file of results was computed with."""
    from pyarrow import parquet

    metadata = parquet.read_schema(path).metadata or {}
    return metadata.get(_DIGEST_KEY, b"").decode("ascii", "replace") or None


def read(path: Path) -> Any:
    """Returns a table of the store, with a message that names the file if it is damaged.

    Raises:
      StoreError: if it cannot be read.
    """
    import pyarrow as pa

    try:
        return parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise StoreError(
            f"`{path}` is damaged or missing ({reason}). Restore it from a copy."
        ) from error


# What was not an option, but follows from options.
_COMPUTED = {
    "sample_rate": "the model's sample rate",
    "resampler": "the model's resampler",
    "output_names": "the outputs of the model",
    "weights": "the SHA-256 of the model's weights",
    "lime_jax": "the version of lime-jax",
}


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"`{folder}` is a file. Name a folder for the store.")
    if folder.is_dir() and not (folder / CONFIG).exists():
        ours = {ITEMS, *TABLES, "log"}
        names = {path.name for path in folder.iterdir() if not path.name.endswith(storage.PARTIAL)}
        if strange := sorted(names - ours):
            raise StoreError(
                f"`{folder}` holds {strange[0]!r} and no store. Choose a new or an empty folder."
            )


def _columns(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_short(row[name])}" for name in _SOUND_COLUMNS if row[name])


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
