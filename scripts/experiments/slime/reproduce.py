r"""SLIME's reliability: how many samples, which content. Mishra et al., 2020.

    uv run --group music python -m scripts.music.render_songs \
        --composer sung --num-songs 400 --duration 30
    uv run python -m scripts.experiments.slime.reproduce --songs sung              # the whole grid
    uv run python -m scripts.experiments.slime.reproduce --experiment ground-truth --songs sung
    uv run python -m scripts.experiments.slime.reproduce --songs sung --smoke      # a minute
    uv run python -m scripts.experiments.slime.reproduce \
        --songs jamendo --excerpts-per-song 25 --weights \
        model1/Jamendo_augment_mel --mean-std jamendo_meanstd.npz   # the published network

Three experiments about the singing voice detector: `num-samples` (Figure 3: do five explanations
agree?), `contents` (Table II, Figures 5 and 6: what stands for what is off) and `ground-truth`
(Figure 7: are the segments found where a voice was planted?). Ten segments have 1024 masks: the
network is evaluated once for each, from windows that excerpts share, and samples are counts of
them, so 70 000 samples cost what 1024 do. What the network said is kept by song, and the same
command goes on after the last one that was finished.

Writes Parquet and the paper's pictures to `slime-num-samples`, `slime-contents` and
`slime-ground-truth` in `--output-dir`.
"""

import dataclasses
import sys
import time

from lime_jax import storage
from lime_jax.errors import LimeJaxError
from scripts.experiments.common import command_line, results
from scripts.experiments.slime import figures, measures, neighbourhoods
from scripts.experiments.slime.measures import NUM_REPEATS, Rows
from scripts.experiments.slime.study import EXPERIMENTS, NUM_MIXES, NUM_TIMES, Config, Study, check


def num_samples(study: Study) -> results.Summary:
    """Figure 3, and why it looks as it does."""
    config, part = study.config, ("temporal", "zero")
    which, found, seconds = study.outputs((part,))
    outputs = found[part]
    again = [study.outputs((part,), turn) for turn in range(1, NUM_REPEATS)]
    seconds += sum(one[2] for one in again)
    start = time.perf_counter()
    rows = measures.stability(which, outputs, config.seed)
    repeated = [one[1][part] for one in again]
    exact = measures.exact_stability(which, outputs, repeated)
    numbers = measures.analysis(outputs, config.seed)
    tables = {"u_n": rows, "exhaustive": exact, "analysis": [numbers]}
    seconds += time.perf_counter() - start
    return finish(study, "num-samples", tables, seconds)


def contents(study: Study) -> results.Summary:
    """Table II, Figures 5 and 6."""
    config = study.config
    parts = tuple((s, c) for s in neighbourhoods.SEGMENTATIONS for c in neighbourhoods.CONTENTS)
    which, outputs, seconds = study.outputs(parts)
    start = time.perf_counter()
    rows = measures.grid_rows(which, outputs, config.seed, config.sign)
    tables = {"grid": rows, "table-2": measures.table_2(rows)}
    return finish(study, "contents", tables, seconds + time.perf_counter() - start)


def ground_truth(study: Study) -> results.Summary:
    """Figure 7."""
    config = study.config
    which, outputs, made, seconds = study.planted()
    if not which:
        raise LimeJaxError(
            f"the network hears a voice in none of {made} planted excerpts. Use more songs."
        )
    start = time.perf_counter()
    rows = measures.planted_rows(which, outputs, config.seed, config.sign)
    seconds += time.perf_counter() - start
    tables = {"planted": rows, "kept": [{"made": made, "kept": len(which)}]}
    return finish(study, "ground-truth", tables, seconds)


def finish(study: Study, name: str, tables: dict[str, Rows], seconds: float) -> results.Summary:
    """Writes tables, pictures and the summary of an experiment."""
    config, folder = study.config, study.config.folder / f"slime-{name}"
    for table, rows in tables.items():
        results.write_table(folder / f"{table}.parquet", rows)
    told = figures.OF[name]
    pictures = []
    for file, draw, caption in told.pictures:
        results.write_picture(folder / file, draw(tables))
        pictures.append(results.Picture(file, caption))
    summary = results.Summary(
        title=told.title,
        paper="Mishra, Benetos, Sturm, Dixon: Reliable Local Explanations for Machine Listening, "
        f"2020, {told.section}",
        claim=told.claim,
        command=command_line.command(__file__, dataclasses.replace(config, experiment=name)),
        figures=told.figures(tables, seconds),
        differences=differences(study, name),
        pictures=pictures,
        minutes=seconds / 60,
        config={**storage.plain(config), "experiment": name},
    )
    results.write(folder, summary)
    return summary


def differences(study: Study, name: str) -> list[str]:
    size, voice = study.config.size, "the published network"
    if study.config.weights is None:
        voice = "the network of the same layout that scripts/training/singing_voice.py trained"
    number, songs = len(study.songs), study.config.songs.name
    data = {
        "num-samples": f"{size.excerpts_per_song} excerpts of each of {number} test songs of "
        f"`{songs}`, and {voice}; the paper: 25 of each of 16 and 20 songs of Jamendo and RWC.",
        "contents": f"{size.excerpts_per_song} excerpts of each of {number} test songs of `{songs}`"
        f", and {voice}; the paper: 2 of each song for Figure 5, 50 for Figure 6.",
        "ground-truth": f"{NUM_TIMES * NUM_MIXES} planted excerpts of each of "
        f"{min(number, size.planted_songs)} test songs of `{songs}`, and {voice}; the paper: the "
        "50 songs of ccMixter.",
    }
    return [
        data[name],
        "Masks come from another random generator, and are drawn as counts of the 1024 that there "
        "are; what the network says to each is put together from windows.",
    ]


RUN = {"num-samples": num_samples, "contents": contents, "ground-truth": ground_truth}


def run(config: Config) -> list[results.Summary]:
    """Runs the experiments asked for; of all, those that the songs are good for."""
    check(config)
    study = Study(config)
    chosen = EXPERIMENTS if config.experiment == "all" else (config.experiment,)
    if not all(song.has_stems for song in study.songs):
        problem = (
            f"`{config.songs}` has no stems of voice and accompaniment, which ground-truth needs. "
            "Use ccMixter or rendered songs for it."
        )
        if config.experiment == "ground-truth":
            raise LimeJaxError(problem)
        chosen = tuple(name for name in chosen if name != "ground-truth")
        print(problem, flush=True)
    return [RUN[name](study) for name in chosen]


def tell(summaries: list[results.Summary]) -> None:
    """Prints the paper's numbers and ours."""
    for summary in summaries:
        print(f"\n{summary.title}, {summary.minutes:.1f} minutes of work")
        results.show(summary)


if __name__ == "__main__":
    sys.exit(command_line.main(run, Config, tell))
