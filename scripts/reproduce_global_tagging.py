r"""What a tagger means by a tag: the global analysis of the audioLIME paper, section 5.

All snippets of all songs whose top tag is the chosen one are explained by their stems, once with
the true stems and once with those of a separator. Explanations of a tag then have the same
components everywhere and can be looked at together: which stem speaks for the tag, how faithful the
surrogates are, and whether separated stems say the same as true ones.

    uv run lime-jax models fetch musicnn
    uv run scripts/reproduce_global_tagging.py --songs songs             # 12 min on two cores
    uv run scripts/reproduce_global_tagging.py --songs songs --smoke     # a minute, no download

The paper's data and separator:

    uv run lime-jax models fetch spleeter:5stems
    uv run scripts/reproduce_global_tagging.py --songs musdb18 --tag Hip-Hop \
        --separator spleeter:5stems

Expected: the same stem on top in at least 90 % of the snippets with true and with separated stems.
Explanations are made by `lime_jax.runs`: killed, the same command goes on where it was.

References:
  Haunschmid, Manilow, Widmer, Towards Musically Meaningful Explanations Using Source Separation,
    2020.
"""

import collections
import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import lime_jax as lj
from lime_jax import dataset, models
from lime_jax.audio import io
from lime_jax.errors import LimeJaxError
from lime_jax.experiments import results, script
from lime_jax.experiments.results import Figure, Picture
from lime_jax.report import summary as reports
from lime_jax.runs import aggregate, layouts, loop, pick, store
from lime_jax.runs.config import RunConfig
from lime_jax.runs.items import Item
from lime_jax.separation import musdb_mp4, one_vs_all, precomputed

TRUE, SEPARATED = "true", "separated"
RESIDUAL = "residual"

_NAMES = """
    SELECT layout, list(name ORDER BY index)
    FROM (SELECT DISTINCT layout, index, name FROM components) GROUP BY layout"""
_ROWS = """
    SELECT id, snippet, start, prediction, local_prediction, fidelity, coefficients, layout
    FROM explained WHERE "group" IS NULL ORDER BY id, snippet"""


@dataclasses.dataclass(frozen=True)
class Config:
    """What to run.

    Attributes:
      songs: a folder of songs with stems: of `render_songs.py`, MUSDB18, Slakh2100 or any other.
      layout: of the folder, see `lime-jax run`: stems, musdb18 or slakh2100; found out if not
        given.
      output_dir: where stores, tables and pictures go.
      tag: whose songs are explained; the one that is the top tag of most songs if not given.
      model: the tagger.
      separator: what separated stems come from, see `lime-jax explain`.
      separator_weights: of the separator, if they are not in the cache.
      snippet: seconds of a snippet.
      num_songs: of those with the tag, at most.
      smoke: the tagger that comes with the package, and three songs.
    """

    songs: Path = Path("songs")
    layout: str | None = None
    output_dir: Path = Path("experiments/global-tagging")
    tag: str | None = None
    model: str = "msd-musicnn"
    separator: str = one_vs_all.NAME
    separator_weights: Path | None = None
    snippet: float = 3.0
    num_songs: int = 60
    smoke: bool = False

    @property
    def sized(self) -> "Config":
        """The same, small if it is a smoke test."""
        if not self.smoke:
            return self
        return dataclasses.replace(self, model="instrument-tagger", num_songs=3)


def items_of(config: Config) -> list[Item]:
    """The songs, each with a file of its mixture."""
    found = layouts.items_of(str(config.songs), config.layout or layout_of(config.songs))
    mixes = config.output_dir / "mixes"
    return [item if item.path else with_mix(item, mixes) for item in found]


def layout_of(folder: Path) -> str:
    """How a folder is laid out, by the files in it."""
    if next(folder.rglob(precomputed.SLAKH_LISTING), None):
        return "slakh2100"
    return "musdb18" if next(folder.rglob(f"*{musdb_mp4.SUFFIX}"), None) else "stems"


def with_mix(item: Item, folder: Path) -> Item:
    """The song with the sum of its stems, written to a file."""
    path = folder / f"{item.id.replace('/', '-')}.flac"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _, stems = precomputed.load(item.stems, corpus_rate())
        io.save(path, stems.sum(axis=0), corpus_rate())
    return dataclasses.replace(item, path=path)


def corpus_rate() -> int:
    """In Hz, of all taggers here."""
    return 16_000


def top_tags(config: Config, items: Sequence[Item]) -> dict[str, str]:
    """The tag with the highest mean over the snippets of every song, found once."""
    path = config.output_dir / f"top-tags-{config.model}.parquet"
    known = {row["id"]: row["tag"] for row in results.read_table(path)} if path.exists() else {}
    if set(known) != {item.id for item in items}:
        model = models.load(config.model)
        heard = lj.models.Snippets(model, round(config.snippet * model.sample_rate))
        known = {item.id: top_tag(heard, item) for item in items}
        results.write_table(path, [{"id": id, "tag": tag} for id, tag in known.items()])
    return known


def top_tag(model: Any, item: Item) -> str:
    resampler = getattr(model, "resampler", "soxr")
    waveform = io.load(item.path, model.sample_rate, resampler=resampler)
    whole = waveform[: len(waveform) // model.num_samples * model.num_samples]
    return model.output_names[int(np.asarray(model(whole[None]))[0].argmax())]


def chosen(config: Config, items: Sequence[Item]) -> tuple[str, list[Item]]:
    """The tag, and the songs that have it as their top tag."""
    tags = top_tags(config, items)
    most = collections.Counter(tags.values()).most_common()
    tag = config.tag or most[0][0]
    some = [item for item in items if tags[item.id] == tag][: config.num_songs]
    if not some:
        others = ", ".join(f"{name} ({count})" for name, count in most[:5])
        raise LimeJaxError(f"`tag` {tag!r} is the top tag of no song; there are {others}.")
    return tag, [dataclasses.replace(item, label=tag) for item in some]


def explain(config: Config, tag: str, items: Sequence[Item], stems: str) -> store.Store:
    """The store of all snippets, with true or separated stems."""
    is_true = stems == TRUE
    asked = RunConfig(
        source=str(config.songs),
        output_dir=config.output_dir / f"store-{stems}",
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
    outcome = loop.run(asked, items=songs)
    print(f"{stems} stems: {dataset.summary(outcome.progress)}", flush=True)
    if outcome.signal is not None:
        raise SystemExit("stopped; the same command goes on.")
    return store.open_store(outcome.folder)


def rows_of(found: store.Store) -> list[dict[str, Any]]:
    """Every explanation with the names of its components, in the order of songs and snippets."""
    with aggregate.connected(found) as connection:
        names = dict(connection.execute(_NAMES).fetchall())
        table = connection.sql(_ROWS).to_arrow_table()
    return [{**row, "names": names[row["layout"]]} for row in table.to_pylist()]


def top_source(row: dict[str, Any]) -> str | None:
    """The stem of largest positive weight."""
    best = int(np.argmax(row["coefficients"]))
    return row["names"][best] if row["coefficients"][best] > 0 else None


def agreement(true: Sequence[dict], separated: Sequence[dict]) -> list[dict[str, Any]]:
    """The top stem of every snippet, both ways."""
    others = {(row["id"], row["snippet"]): row for row in separated}
    found = []
    for row in true:
        if (other := others.get((row["id"], row["snippet"]))) is None:
            continue
        tops = top_source(row), top_source(other)
        # What a separator has no stem for is in its rest.
        rest = {"other", RESIDUAL} & set(other["names"])
        is_same = tops[0] == tops[1] or (tops[0] not in other["names"] and tops[1] in rest)
        found.append(
            {"id": row["id"], "snippet": row["snippet"], "true": tops[0], "separated": tops[1],
             "same": is_same, "prediction": row["prediction"]}
        )  # fmt: skip
    return found


def mean_weights(rows: Sequence[dict]) -> dict[str, float]:
    """The mean weight of every stem over the snippets that have it, the largest first."""
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
    column = lambda name: np.array([row[name] for row in rows], float)
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
    with aggregate.connected(found) as connection:
        [(index,)] = connection.execute("SELECT DISTINCT output_index FROM explained").fetchall()
        drawn = pick.sample(connection, index, 5000, '"group" IS NULL')
    faithful = aggregate.aggregate(found).faithfulness.to_pylist()
    row = next(row for row in faithful if row["group"] is None)
    file = f"figure-4-{stems}.png"
    results.write_bytes(config.output_dir / file, reports.output_picture(row, drawn))
    return Picture(
        file, f"Figure 4 with {stems} stems: weights of every snippet, and faithfulness."
    )


def figures_of(
    tag: str, rows: dict[str, list[dict]], agreed: Sequence[dict], songs: Sequence[dict]
) -> list[Figure]:
    """The paper's observations and ours."""
    number, same = len(rows[TRUE]), 100 * np.mean([row["same"] for row in agreed])
    r2 = [song["r2"] for song in songs if song["r2"] is not None]
    means = {stems: mean_weights(some) for stems, some in rows.items()}
    listed = lambda stems: ", ".join(f"{name} {mean:+.3f}" for name, mean in means[stems].items())
    leads = {stems: next(iter(some)) for stems, some in means.items()}
    return [
        Figure("tag, songs, snippets", "Hip-Hop, 6, 478",
               f"{tag}, {len(songs)}, {number}", "≥ 400 snippets", number >= 400),
        Figure("mean weights, true stems", "vocals highest", listed(TRUE)),
        Figure("mean weights, separated stems", "looks extremely similar", listed(SEPARATED),
               "the same stem has the largest", leads[TRUE] == leads[SEPARATED]),
        Figure("the same stem on top, true and separated", None, f"{same:.1f} % of {len(agreed)}",
               "≥ 90 %", bool(same >= 90)),
        Figure("R² of local and global predictions per song, median", None,
               f"{np.median(r2):.3f} of {len(r2)} songs" if r2 else "too few snippets"),
        Figure("mean |local prediction - prediction| per song, median", None,
               f"{np.median([song['mean_difference'] for song in songs]):.4f}"),
    ]  # fmt: skip


def run(config: Config) -> results.Summary:
    """Chooses songs, explains, compares and draws."""
    start, asked, config = time.perf_counter(), config, config.sized
    tag, items = chosen(config, items_of(config))
    stores = {stems: explain(config, tag, items, stems) for stems in (TRUE, SEPARATED)}
    rows = {stems: rows_of(found) for stems, found in stores.items()}
    agreed, songs = agreement(rows[TRUE], rows[SEPARATED]), faithfulness(rows[TRUE])
    folder = config.output_dir
    results.write_table(folder / "agreement.parquet", agreed)
    results.write_table(folder / "faithfulness.parquet", songs)
    summary = results.Summary(
        title=f"What does {tag} sound like?",
        paper="Haunschmid, Manilow, Widmer: Towards Musically Meaningful Explanations Using Source "
        "Separation, 2020, section 5",
        claim="Explanations of a whole collection by its stems show what a tagger means by a tag, "
        "and separated stems tell the same as true ones.",
        command=script.command(__file__, asked),
        figures=figures_of(tag, rows, agreed, songs),
        differences=[
            f"{len(songs)} songs of `{config.songs.name}` whose top tag is {tag}, instead of six "
            "songs of MUSDB18 whose top tag is Hip-Hop.",
            f"The tagger is {config.model} (published: MSD_musicnn_big, whose weights are larger).",
            f"The separator is {config.separator} (published: spleeter:5stems).",
        ],
        pictures=[picture(config, found, stems) for stems, found in stores.items()],
        minutes=(time.perf_counter() - start) / 60,
        config=results.plain(config),
    )
    results.write(folder, summary)
    return summary


if __name__ == "__main__":
    sys.exit(script.main(run, Config))
