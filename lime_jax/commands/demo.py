"""The command that explains the shipped song without a network."""

import dataclasses
from pathlib import Path

from lime_jax import examples, report, settings, storage
from lime_jax.audio import segment
from lime_jax.audio.render import waveform_predictor
from lime_jax.audio.repeats import explain_repeatedly
from lime_jax.commands import explanation_tables, terminal
from lime_jax.commands.annotations import command
from lime_jax.core.execution.progress import Progress
from lime_jax.core.methods import exhaustive


@command()
@dataclasses.dataclass(frozen=True)
class DemoConfig:
    """Explains which instruments a small tagger hears in a ten-second song; needs no network.

    Attributes:
      top_k: how many components of positive coefficient make up the explanation to listen to.
      output_dir: where the report goes.
    """

    top_k: int = 1
    output_dir: Path = Path("lime-jax-demo")


def run(config: DemoConfig) -> int:
    """Explains, writes the report and prints what it says; returns 1 if nothing was explained."""
    with terminal.progress_bar("explaining the song") as progress:
        page = explain_demo(config, progress=progress)
    return explanation_tables.show(page)


def explain_demo(config: DemoConfig, *, progress: Progress | None = None) -> Path:
    """Explains every output of the shipped tagger on the shipped song; returns the page's path."""
    settings.check_top_k(config.top_k)
    report.check_folder(config.output_dir)
    song, tagger = examples.song(), examples.tagger()
    audio = segment.by_stems(song.stems, song.names, song.sample_rate)
    method = exhaustive(equivalent_num_samples=settings.EQUIVALENT_NUM_SAMPLES)
    predict = waveform_predictor(tagger, audio)
    return report.write(
        config.output_dir,
        explain_repeatedly(predict, audio, method, progress=progress).explanation,
        audio,
        output_names=tagger.output_names,
        outputs=tuple(range(len(tagger.output_names))),
        top_k=config.top_k,
        title="Which instruments does the tagger hear?",
        config={"command": "demo", **storage.plain(config)},
    )
