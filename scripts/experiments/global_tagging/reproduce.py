r"""What a tagger means by a tag: the global analysis of the audioLIME paper, section 5.

All snippets of all songs whose top tag is the chosen one are explained by their stems, once with
the true stems and once with those of a separator. Explanations of a tag then have the same
components everywhere and can be looked at together: which stem speaks for the tag, how faithful the
surrogates are, and whether separated stems say the same as true ones.

    uv run --group music python -m scripts.music.render_songs \
        --composer band --num-songs 400 --duration 30
    uv run python -m scripts.training.separator --songs songs
    uv run lime-jax models fetch musicnn
    # 12 min on two cores
    uv run python -m scripts.experiments.global_tagging.reproduce --songs songs
    # two minutes, no download
    uv run python -m scripts.experiments.global_tagging.reproduce --songs songs --smoke

Songs of a split called train are left out: separators may have been trained on them. There is no
`--full`: the size of the paper is that of its data.

The paper's data and separator:

    uv run lime-jax models fetch spleeter:5stems
    uv run python -m scripts.experiments.global_tagging.reproduce --songs musdb18 --tag Hip-Hop \
        --separator spleeter:5stems

Expected: the same stem on top in at least 90 % of the snippets with true and with separated stems.
Explanations are made by `lime_jax.runs`: killed, the same command goes on where it was.

References:
  Haunschmid, Manilow, Widmer, Towards Musically Meaningful Explanations Using Source Separation,
    2020.
"""

import collections
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import lime_jax as lj
from lime_jax import models, separation, storage
from lime_jax.audio import io
from lime_jax.commands import run as dataset
from lime_jax.errors import LimeJaxError
from lime_jax.report import summary as reports
from lime_jax.runs import aggregate, dataset_layouts, driver, representatives, store
from lime_jax.runs.config import RunConfig
from lime_jax.runs.items import Item
from lime_jax.separation import musdb_mp4, one_vs_all, precomputed
from scripts.experiments.common import command_line, results
from scripts.experiments.common.results import Figure, Picture
from scripts.training import separator as train_separator

TRUE, SEPARATED = "true", "separated"
RESIDUAL = "residual"
SAMPLE_RATE = 16_000  # in Hz, of all taggers here

_NAMES = """
    SELECT layout, list(name ORDER BY index)
    FROM (SELECT DISTINCT layout, index, name FROM components) GROUP BY layout"""
_ROWS = """
    SELECT id, snippet, start, prediction, local_prediction, fidelity, coefficients, layout,
        explain_seconds
    FROM explained WHERE "group" IS NULL ORDER BY id, snippet"""


@dataclasses.dataclass(frozen=True)
class Config:
    """What to run.

    Attributes:
      songs: a folder of songs with stems: of `render_songs.py`, MUSDB18, Slakh2100 or any other.
      layout: of the folder, see `lime-jax run`: stems, musdb18 or slakh2100; found out if not
        given.
      output_dir: where stores, tables and pictures go; experiments/global-tagging if not given,
        with -smoke behind it.
      tag: whose songs are explained; the one that is the top tag of most songs if not given.
      model: the tagger.
      separator: what separated stems come from, see `lime-jax explain`.
      separator_weights: of the separator, if they are not in the cache.
      snippet: seconds of a snippet.
      num_songs: of those with the tag, at most.
      smoke: the tagger that comes with the package, a separator trained in passing, three songs.
    """

    songs: Path = Path("songs")
    layout: str | None = None
    output_dir: Path | None = None
    tag: str | None = None
    model: str = "msd-musicnn"
    separator: str = one_vs_all.NAME
    separator_weights: Path | None = None
    snippet: float = 3.0
    num_songs: int = 42
    smoke: bool = False

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        return command_line.folder("global-tagging", self)

    @property
    def sized(self) -> "Config":
        """The same, small if it is a smoke test."""
        if not self.smoke:
            return self
        weights = self.separator_weights or self.folder / "separator"
        small = {"model": "instrument-tagger", "num_songs": 3, "separator_weights": weights}
        return dataclasses.replace(self, separator=one_vs_all.NAME, **small)


def items_of(config: Config) -> list[Item]:
    """Returns the songs that are not for training, each with a file of its mixture."""
    found = dataset_layouts.items_of(str(config.songs), config.layout or layout_of(config.songs))
    mixes = config.folder / "mixes"
    unheard = [item for item in found if split_of(item) != "train"]
    return [item if item.path else with_mix(item, mixes) for item in unheard]


def split_of(item: Item) -> str | None:
    """Returns the split of a rendered song, else the first folder of MUSDB18 and Slakh2100."""
    description = item.stems / "song.json" if isinstance(item.stems, Path) else None
    if description is not None and description.is_file():
        return json.loads(description.read_text(encoding="utf-8")).get("split")
    return item.group


def layout_of(folder: Path) -> str:
    """Returns how a folder is laid out, by the files in it."""
    if next(folder.rglob(precomputed.SLAKH_LISTING), None):
        return "slakh2100"
    return "musdb18" if next(folder.rglob(f"*{musdb_mp4.SUFFIX}"), None) else "stems"


def with_mix(item: Item, folder: Path) -> Item:
    """Returns the song with the sum of its stems, written to a file that clips nothing."""
    import soundfile

    digest = storage.digest(item.id)[:8]
    path = folder / f"{Path(item.id).name}-{digest}.wav"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _, stems = precomputed.load(item.stems, SAMPLE_RATE)
        mix, format = stems.sum(axis=0), {"format": "WAV", "subtype": "FLOAT"}
        storage.write_whole(path, lambda file: soundfile.write(file, mix, SAMPLE_RATE, **format))
    return dataclasses.replace(item, path=path)


def top_tags(config: Config, items: Sequence[Item]) -> dict[str, str]:
    """Returns the tag with the highest mean over the snippets of every song, found once."""
    path = config.folder / "top-tags.parquet"
    known = {row["id"]: row["tag"] for row in results.read_table(path)} if path.exists() else {}
    if set(known) != {item.id for item in items}:
        model = models.load(config.model)
        heard = lj.models.Snippets(model, round(config.snippet * model.sample_rate))
        known = {item.id: tag for item in items if (tag := top_tag(heard, item)) is not None}
        results.write_table(path, [{"id": id, "tag": tag} for id, tag in known.items()])
    return known


def top_tag(model: Any, item: Item) -> str | None:
    """None for a song that is shorter than a snippet."""
    waveform = io.load(item.path, model.sample_rate, resampler=model.resampler)
    number = len(waveform) // model.num_samples
    if not number:
        return None
    outputs = model(jnp.asarray(waveform[None, : number * model.num_samples]))
    return model.output_names[int(np.asarray(outputs)[0].argmax())]


def chosen(config: Config, items: Sequence[Item]) -> tuple[str, list[Item]]:
    """Returns the tag, and the songs that have it as their top tag."""
    tags = top_tags(config, items)
    if not tags:
        raise LimeJaxError(f"`{config.songs}` holds no song of {config.snippet:g} s or more.")
    most = collections.Counter(tags.values()).most_common()
    tag = config.tag or most[0][0]
    some = [item for item in items if tags.get(item.id) == tag][: config.num_songs]
    if not some:
        others = ", ".join(f"{name} ({count})" for name, count in most[:5])
        raise LimeJaxError(f"`tag` {tag!r} is the top tag of no song; there are {others}.")
    return tag, [dataclasses.replace(item, label=tag) for item in some]


def explain(config: Config, tag: str, items: Sequence[Item], stems: str) -> store.Store:
    """Returns the store of all snippets, with true or separated stems."""
    is_true = stems == TRUE
    asked = RunConfig(
        source=str(config.songs),
        output_dir=config.folder / f"store-{stems}",
        model=config.model,
        components="stems",
        outputs=tag,
        snippet=config.snippet,
        num_samples="exhaustive",
        separator=None if is_true else config.separator,
        separator_weights=None if is_true else config.separator_weights,
        retry_failed=True,
    )
    songs = [dataclasses.replace(item, stems=item.stems if is_true else None) for item in items]
    outcome = driver.run(asked, items=songs)
    print(f"{stems} stems: {dataset.summary(outcome.progress)}", flush=True)
    if outcome.signal is not None:
        raise SystemExit("stopped; the same command goes on.")
    return store.open_store(outcome.folder)


def rows_of(found: store.Store, items: Sequence[Item]) -> list[dict[str, Any]]:
    """The explanations of songs with the names of their components, in the order of snippets."""
    ids = {item.id for item in items}
    with aggregate.connect(found) as connection:
        names = dict(connection.execute(_NAMES).fetchall())
        table = connection.sql(_ROWS).to_arrow_table()
    rows = [row for row in table.to_pylist() if row["id"] in ids]
    return [{**row, "names": names[row["layout"]]} for row in rows]


def top_source(row: dict[str, Any]) -> str | None:
    """Returns the stem of largest positive weight."""
    best = int(np.argmax(row["coefficients"]))
    return row["names"][best] if row["coefficients"][best] > 0 else None


def agreement(true: Sequence[dict], separated: Sequence[dict]) -> list[dict[str, Any]]:
    """Returns the top stem of every snippet that is explained both ways."""
    others = {(row["id"], row["snippet"]): row for row in separated}
    found = []
    for row in true:
        if (other := others.get((row["id"], row["snippet"]))) is None:
            continue
        tops = top_source(row), top_source(other)
        found.append(
            {"id": row["id"], "snippet": row["snippet"], "true": tops[0], "separated": tops[1],
             "same": is_same(*tops, other["names"]), "prediction": row["prediction"]}
        )  # fmt: skip
    return found


def is_same(true: str | None, separated: str | None, names: Sequence[str]) -> bool:
    """Returns whether two stems mean the same; what a separator has no stem for is in its rest."""
    if true is None or separated is None:
        return False
    return true == separated or (true not in names and separated in ("other", RESIDUAL))


def mean_weights(rows: Sequence[dict]) -> dict[str, float]:
    """Returns the mean weight of every stem over the snippets that have it, the largest first."""
    weights = collections.defaultdict(list)
    for row in rows:
        for name, weight in zip(row["names"], row["coefficients"], strict=True):
            weights[name].append(weight)
    means = {name: float(np.mean(values)) for name, values in weights.items()}
    return dict(sorted(means.items(), key=lambda pair: -pair[1]))


def faithfulness(rows: Sequence[dict]) -> list[dict[str, Any]]:
    """For every song: R² of local against global predictions, and how far they are apart."""
    songs: dict[str, list[dict]] = {}
    for row in rows:
        songs.setdefault(row["id"], []).append(row)
    return [song_faithfulness(id, some) for id, some in songs.items()]


def song_faithfulness(id: str, rows: Sequence[dict]) -> dict[str, Any]:
    def column(name):
        return np.array([row[name] for row in rows], float)

    given, local = column("prediction"), column("local_prediction")
    varies = len(rows) > 2 and given.std() > 0 and local.std() > 0
    return {
        "id": id,
        "num_snippets": len(rows),
        "r2": float(np.corrcoef(given, local)[0, 1] ** 2) if varies else None,
        "mean_difference": float(np.abs(given - local).mean()),
        "mean_fidelity": float(column("fidelity").mean()),
    }


def picture(config: Config, found: store.Store, stems: str) -> Picture:
    """Figure 4: parallel coordinates, and surrogates against the model."""
    with aggregate.connect(found) as connection:
        [(index,)] = connection.execute("SELECT DISTINCT output_index FROM explained").fetchall()
        drawn = representatives.sample(connection, index, 5000, '"group" IS NULL')
    faithful = aggregate.aggregate(found).faithfulness.to_pylist()
    row = next(row for row in faithful if row["group"] is None)
    file = f"figure-4-{stems}.png"
    results.write_bytes(config.folder / file, reports.output_picture(row, drawn))
    return Picture(
        file, f"Figure 4 with {stems} stems: weights of every snippet, and faithfulness."
    )


def figures_of(
    tag: str, rows: dict[str, list[dict]], agreed: Sequence[dict], songs: Sequence[dict]
) -> list[Figure]:
    """Returns the paper's observations and ours."""
    number, same = len(rows[TRUE]), 100 * np.mean([row["same"] for row in agreed])
    r2 = [song["r2"] for song in songs if song["r2"] is not None]
    means = {stems: mean_weights(some) for stems, some in rows.items()}

    def listed(stems):
        return ", ".join(f"{name} {mean:+.3f}" for name, mean in means[stems].items())

    leads = [next(iter(some)) for some in means.values()]
    names = list(means[SEPARATED])
    return [
        Figure("tag, songs, snippets", "Hip-Hop, 6, 478",
               f"{tag}, {len(songs)}, {number}", "≥ 400 snippets", number >= 400),
        Figure("mean weights, true stems", "vocals highest", listed(TRUE)),
        Figure("mean weights, separated stems", "looks extremely similar", listed(SEPARATED),
               "the same stem has the largest", is_same(*leads, names)),
        Figure("the same stem on top, of snippets explained both ways", None,
               f"{same:.1f} % of {len(agreed)}",
               "≥ 90 %", bool(same >= 90)),
        Figure("R² of local and global predictions per song, median", None,
               f"{np.median(r2):.3f} of {len(r2)} songs" if r2 else "too few snippets"),
        Figure("mean |local prediction - prediction| per song, median", None,
               f"{np.median([song['mean_difference'] for song in songs]):.4f}"),
    ]  # fmt: skip


def separator_of(config: Config) -> separation.Separator:
    """Loaded before anything else, so that missing weights are told at once."""
    if config.smoke:
        return train_separator.quickly(config.songs, config.separator_weights)
    return separation.load(config.separator, checkpoint=config.separator_weights)


def settings(
    config: Config, items: Sequence[Item], separator: separation.Separator
) -> dict[str, Any]:
    """Returns what the numbers depend on."""
    sizes = [[item.id, item.path.stat().st_size] for item in items if item.path]
    return {
        "songs": storage.digest_of_json(sizes),
        "tag": config.tag,
        "model": config.model,
        "separator": [separator.name, separator.version],
        "snippet": config.snippet,
        "num_songs": config.num_songs,
    }


def run(config: Config) -> results.Summary:
    """Chooses songs, explains, compares and draws."""
    start, asked, config = time.perf_counter(), config, config.sized
    separator, _ = separator_of(config), models.load(config.model)
    everything = items_of(config)
    results.begin(config.folder, settings(config, everything, separator))
    tag, items = chosen(config, everything)
    stores = {stems: explain(config, tag, items, stems) for stems in (TRUE, SEPARATED)}
    rows = {stems: rows_of(found, items) for stems, found in stores.items()}
    explained = sum(row["explain_seconds"] for some in rows.values() for row in some)
    agreed, songs = agreement(rows[TRUE], rows[SEPARATED]), faithfulness(rows[TRUE])
    folder = config.folder
    results.write_table(folder / "agreement.parquet", agreed)
    results.write_table(folder / "faithfulness.parquet", songs)
    summary = results.Summary(
        title=f"What does {tag} sound like?",
        paper="Haunschmid, Manilow, Widmer: Towards Musically Meaningful Explanations Using Source "
        "Separation, 2020, section 5",
        claim="Explanations of a whole collection by its stems show what a tagger means by a tag, "
        "and separated stems tell the same as true ones.",
        command=command_line.command(__file__, asked),
        figures=figures_of(tag, rows, agreed, songs),
        differences=[
            f"{len(songs)} songs of `{config.songs.name}` whose top tag is {tag}, instead of six "
            "songs of MUSDB18 whose top tag is Hip-Hop.",
            f"The tagger is {config.model} (published: MSD_musicnn_big, whose weights are larger).",
            f"The separator is {config.separator} (published: spleeter:5stems).",
        ],
        pictures=[picture(config, found, stems) for stems, found in stores.items()],
        minutes=max(time.perf_counter() - start, explained) / 60,
        config=storage.plain(config),
    )
    results.write(folder, summary)
    return summary


if __name__ == "__main__":
    sys.exit(command_line.main(run, Config))
