r"""Do listenable explanations of recommendations name the instrument that a listener loves?

Repeats, with listeners whose taste is known: Alessandro B. Melchiorre, Verena Haunschmid, Markus
Schedl, Gerhard Widmer: LEMONS: Listenable Explanations for Music recOmmeNder Systems, ECIR 2021.

    uv run --group music python -m scripts.music.render_library --folder library       # 10 min
    uv run python -m scripts.training.recommender \
        --library library --output-dir library/recommenders
    # 5 min on a GPU with --time-limit 270
    # 10 min on two cores
    uv run python -m scripts.experiments.lemons.reproduce --library library

Every listener's network judges the test tracks; AUC and average precision tell how well. Tracks
that it recommends rightly are explained by times, by sources and by both. Where the loved
instrument plays, its component should stand first; how often the loudest component is the loved
one is counted beside that. Five repeats with other masks tell how many samples an explanation of
times and sources needs: U_n, the size of the union of their top three. The folder `--output-dir`
then holds tables, pictures and `summary.json` with the paper's numbers beside these. The same
command goes on where it was stopped.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lime_jax import storage
from lime_jax.lemons import library as libraries
from lime_jax.lemons import listeners as personas
from lime_jax.lemons.library import Library
from lime_jax.lemons.listeners import Persona
from scripts.experiments.common import command_line, results
from scripts.experiments.lemons import play_counts
from scripts.experiments.lemons.figures import drawn, figures_of
from scripts.experiments.lemons.measures import (
    Row,
    measured,
    recommender_in,
    relevances,
    with_loudest,
)


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
      num_tracks: explained of each listener; None takes all that are recommended rightly, up to 50.
      num_repeats: of the neighbourhood of times and sources.
      sizes: of the neighbourhoods that are compared.
    """

    num_tracks: int | None
    num_repeats: int
    sizes: tuple[int, ...]


_SIZES = (512, 1024, 2048, 4096)
SIZES = {
    "smoke": Size(1, 2, (512, 2048)),
    "default": Size(6, 5, _SIZES),
    "full": Size(None, 5, _SIZES),
}
MOST_TRACKS = 50


@dataclasses.dataclass(frozen=True)
class Config:
    """What is repeated, and on which library.

    Attributes:
      library: the folder that `render_library.py` filled.
      recommenders: the folder of networks that `scripts.training.recommender` wrote; that in the
        library if not given.
      output_dir: where tables, pictures and the summary go; experiments/lemons if not given, with
        -smoke or -full behind it.
      smoke: a minute's work, to see that it runs.
      full: all tracks that are recommended rightly, up to 50 of each listener; an hour on two
        cores, minutes on a GPU.
      seed: of the masks.
    """

    library: Path = Path("library")
    recommenders: Path | None = None
    output_dir: Path | None = None
    smoke: bool = False
    full: bool = False
    seed: int = 0

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        return command_line.folder("lemons", self)


def judged(config: Config, library: Library, persona: Persona) -> list[Row]:
    """Returns the relevance of every test track, and whether it was played; stored once."""
    path = config.folder / f"relevances-{persona.id}.parquet"
    if not path.exists():
        tracks = [track.id for track in library.tracks.values() if track.split == "test"]
        plays = dict(personas.plays_of(config.library, persona.id))
        found = relevances(network_of(config, persona), library, tracks)
        rows = [
            {"persona": persona.id, "track": t, "is_relevant": t in plays, "relevance": r}
            for t, r in zip(tracks, found, strict=True)
        ]
        results.write_table(path, rows)
    return results.read_table(path)


def explained(
    config: Config, size: Size, library: Library, persona: Persona, rows: list[Row]
) -> list[Row]:
    """Explanations of what is recommended rightly and holds a loved source; stored once."""
    path = config.folder / f"explanations-{persona.id}.parquet"
    if not path.exists():
        right = [
            row["track"]
            for row in rows
            if row["is_relevant"]
            and row["relevance"] >= 0.5
            and (not persona.loves or set(persona.loves) & set(_sources(library, row)))
        ]
        most = MOST_TRACKS if size.num_tracks is None else size.num_tracks
        chosen = {"sizes": size.sizes, "num_repeats": size.num_repeats, "seed": config.seed}
        found = []
        for track in sorted(right)[:most]:
            network = network_of(config, persona)
            found += measured(network, library, persona, track, **chosen)
            print(f"{persona.id}: {track}", flush=True)
        results.write_table(path, found)
    return results.read_table(path)


def network_of(config: Config, persona: Persona):
    return recommender_in(folder_of_networks(config), persona.id)


def folder_of_networks(config: Config) -> Path:
    return config.recommenders or config.library / "recommenders"


def scores_of(rows: list[Row], seed: int) -> Row:
    """AUC and average precision on played tracks and as many others, as in training."""
    plays = {row["track"]: int(row["is_relevant"]) for row in rows}
    relevance = {row["track"]: row["relevance"] for row in rows}
    examples = play_counts.examples_of(plays, plays, seed)
    labels = np.array([example.is_relevant for example in examples])
    scores = np.array([relevance[example.track] for example in examples])
    return {
        "persona": rows[0]["persona"],
        "num_tracks": len(labels),
        "auc": play_counts.roc_auc(labels, scores),
        "map": play_counts.average_precision(labels, scores),
    }


def training_of(folder: Path) -> list[str]:
    """How the training that `scores.json` tells of differs from the paper's; none without it."""
    try:
        record = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
        done, config = record["epochs"], record["config"]
        wanted, every, precision = (
            config[name] for name in ("epochs", "validate_every", "precision")
        )
        limit, device = config["time_limit"], record["machine"]["device"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    stopped = f", where a limit of {limit:g} s stopped it" if limit and done < wanted else ""
    is_tf32 = precision == "default" and "NVIDIA" in device
    products = f"products in {'tf32 ' if is_tf32 else ''}(precision {precision})"
    judged_every = f"validation every {every} epochs" if every > 1 else "validation every epoch"
    data = f" Data: {record['data']}" if "data" in record else ""
    again = ", that is, encoded once more" if "--export-mixes" in data else ""
    return [
        f"Training of the networks: {done} of {wanted} epochs{stopped}; {products}, "
        f"{judged_every}, weights kept in 16 bits.{data}{again}{'.' * bool(data)}"
    ]


def differences(config: Config, size: Size) -> list[str]:
    """Between the paper and this, a sentence each."""
    return [
        *training_of(folder_of_networks(config)),
        "The Million Song Dataset and the Taste Profile are a library of our own: 800 rendered "
        "tracks of 16 s in fourteen styles, and seven listeners whose taste is a rule, with play "
        "counts drawn from it. So whether an explanation is right can be counted.",
        "Tracks of a test split that is the same for all listeners; in the paper each user's "
        "tracks were split.",
        "Sources are the stems as rendered; in the paper Spleeter estimated them.",
        "All are explained for the relevance; LEMONS explains irrelevance where that is more "
        "likely. A switched-off component is silent; LEMONS' version of audioLIME fed a constant "
        "where all were off.",
        "Times, or sources: all 32 masks once, in the place of 2048 drawn from them.",
        f"Up to {size.num_tracks or MOST_TRACKS} tracks of each listener that were recommended "
        "rightly and hold a loved source; the paper's study of samples used 50 of each user.",
    ]


def run(config: Config) -> results.Summary:
    """Makes what is not stored yet, pictures and the summary; returns the summary."""
    start = time.perf_counter()
    size = command_line.chosen(SIZES, smoke=config.smoke, full=config.full)
    library = libraries.load_library(config.library)
    listeners = personas.load_personas(config.library)
    settings = {"seed": config.seed, "size": size, "library": library.name}
    for name in (libraries.LISTING, libraries.PLAYS, libraries.PERSONAS):
        settings[name] = _digest([config.library / name])
    networks = folder_of_networks(config)
    settings["recommenders"] = _digest(networks / f"{one.id}.npz" for one in listeners)
    results.begin(config.folder, settings)
    judgements = {one.id: judged(config, library, one) for one in listeners}
    scores = [scores_of(rows, config.seed) for rows in judgements.values()]
    explanations = [
        row
        for one in listeners
        for row in explained(config, size, library, one, judgements[one.id])
    ]
    explanations = with_loudest(explanations, library, listeners)
    pictures = []
    for name, (figure, caption) in drawn(scores, explanations, size.sizes).items():
        results.write_picture(config.folder / f"{name}.png", figure)
        pictures.append(results.Picture(f"{name}.png", caption))
    summary = results.Summary(
        title="LEMONS: do explanations name what a listener loves?",
        paper="Melchiorre, Haunschmid, Schedl, Widmer: LEMONS: Listenable Explanations for Music "
        "recOmmeNder Systems, ECIR 2021",
        claim="A recommender that hears audio can be explained by parts of the recommended track: "
        "times, sources, or both; 2048 samples give explanations that are stable enough.",
        command=command_line.command(__file__, config),
        figures=figures_of(scores, explanations, size.sizes),
        differences=differences(config, size),
        pictures=pictures,
        minutes=round((time.perf_counter() - start) / 60, 2),
        config=storage.plain(config) | {"size": storage.plain(size)},
    )
    results.write(config.folder, summary)
    return summary


def _sources(library: Library, row: Row) -> tuple[str, ...]:
    return library.tracks[row["track"]].sources


def _digest(paths: Iterable[Path]) -> str:
    """What tells files from others; those that are missing are missed when they are needed."""
    contents = (path.read_bytes() if path.is_file() else b"" for path in paths)
    return storage.digest(*(bytes.fromhex(storage.digest(content)) for content in contents))


if __name__ == "__main__":
    sys.exit(command_line.main(run, Config))
