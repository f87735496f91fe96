"""The command that explains an excerpt of a file: a configuration in, a report out."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from lime_jax import models, report, settings, storage
from lime_jax.audio.fills import FILLS, check_waveform_fill
from lime_jax.audio.render import waveform_predictor
from lime_jax.audio.repeats import RepeatedExplanation, explain_repeatedly, plan_repeat
from lime_jax.audio.segment import SegmentedAudio
from lime_jax.commands import explanation_tables, terminal
from lime_jax.commands.annotations import command
from lime_jax.commands.excerpt import Excerpt, Say, cut_excerpt
from lime_jax.core.arguments import whole_number
from lime_jax.core.components import recompose
from lime_jax.core.execution import estimate
from lime_jax.core.execution.host_model import HostModel
from lime_jax.core.execution.progress import Progress
from lime_jax.core.methods import Method
from lime_jax.errors import LimeJaxError, ModelError, unknown_name
from lime_jax.outputs import OutputSelection
from lime_jax.separation import precomputed
from lime_jax.settings import ExplainSettings

_OUTPUTS = "top:3"


@command(audio=None)
@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplainConfig(ExplainSettings):
    """Explains what made a model say what it said about an audio file.

    Attributes:
      audio: the file to explain: WAV, FLAC, Ogg Vorbis, Opus or MP3; or what holds stems, whose sum
        is explained: a folder with one such file per stem, or a track of Slakh2100 or MUSDB18.
      stems: folder with one audio file per stem, for stems and stems-time; or a track of Slakh2100
        or MUSDB18.
      outputs: all, top:N for the N highest predictions, or names separated by commas, those with
        commas in double quotes; the three highest if not given. An output that is called as you
        write comes first.
      start: where the excerpt starts, in seconds.
      duration: of the excerpt, in seconds; to the end if not given.
      snippet: judge the excerpt in snippets of so many seconds, each on its own, and explain the
        mean; as a whole if not given.
      repeats: how many times it is explained, each time with other masks, but only once if that is
        exact; with two or more, the report shows their mean and says how far they agree.
      fills: at least two of the names that fill can have, separated by commas, such as
        zero,mean,noise; the report shows the mean over them and how far they differ.
      output_dir: where the report goes; explanation-of-FILE if not given.
    """

    audio: Path
    stems: Path | None = None
    outputs: str | None = None
    start: float = 0.0
    duration: float | None = None
    snippet: float | None = None
    repeats: int = 1
    fills: str | None = None
    output_dir: Path | None = None

    @property
    def fill_names(self) -> tuple[str, ...]:
        """The fills to average over; none where there is just one."""
        return tuple(name.strip() for name in self.fills.split(",")) if self.fills else ()


def run(config: ExplainConfig) -> int:
    """Explains, writes the report and prints what it says; returns 1 if nothing was explained."""
    with terminal.progress_bar(f"explaining {config.audio.name}") as progress:
        page = explain_file(config, progress=progress, say=terminal.say)
    return explanation_tables.show(page)


def explain_file(
    config: ExplainConfig, *, progress: Progress | None = None, say: Say | None = None
) -> Path:
    """Explains an excerpt of an audio file, writes the report and returns the path of its page.

    Args:
      config: what to do; stored in `explanation.json`.
      progress: called as `progress(done, total)`, in model evaluations; at first with 0 done.
      say: called with a sentence before the excerpt is separated.

    Raises:
      LimeJaxError: if a file, the model or the folder cannot be used.
      ValueError: if an option is impossible.
    """
    folder = config.output_dir or Path(f"explanation-of-{config.audio.absolute().name}")
    check(config)
    report.check_folder(folder)
    method, selection = settings.method_of(config), OutputSelection.parse(config.outputs, _OUTPUTS)
    separator = settings.separator_of(config)
    model = _model(config)
    if known := models.names_of_outputs(model):
        selection.resolve(known)  # refuses unknown names before a long separation
    excerpt = Excerpt(config.audio, config.start, config.duration, config.stems)
    audio = cut_excerpt(excerpt, config, model, separator, say)
    predict = waveform_predictor(models.wrap_errors(model, config.model), audio)
    names = _output_names(config, model, predict, audio)
    outputs = selection.resolve(names)
    method = settings.target_outputs(method, outputs)
    say_plan = None if say is None else functools.partial(_say_plan, config, model, say)
    repeated = _explain(config, predict, audio, method, progress, say_plan)
    version = {} if separator is None else {"separator_version": separator.version}
    return report.write(
        folder,
        repeated.explanation,
        audio,
        output_names=names,
        outputs=outputs.of(np.asarray(repeated.explanation.prediction)),
        top_k=config.top_k,
        title=config.audio.absolute().name,
        config={"command": "explain", **storage.plain(config), **version},
        repeats=repeated.repeats,
        over_fills=repeated.over_fills,
        fills=config.fill_names,
    )


def check(config: ExplainConfig) -> None:
    """Refuses what cannot be right, before anything is loaded.

    Raises:
      ValueError: naming the option.
    """
    settings.check_explain_settings(config)
    settings.check_snippet(config.snippet)
    _check_stems(config)
    whole_number("--repeats", config.repeats)
    if config.fills is not None:
        _check_fills(config, config.fills)


def _check_stems(config: ExplainConfig) -> None:
    is_stems = precomputed.is_stems(config.audio)
    if is_stems and (config.has_separator or config.stems is not None):
        raise ValueError(
            f"`{config.audio}` holds the stems itself: leave out `--stems` and separators, or name "
            "an audio file."
        )
    if config.has_stems and config.stems is None and not config.has_separator and not is_stems:
        raise ValueError(
            f"`--components {config.components}` needs `--stems FOLDER`, with one audio file per "
            "stem, or a `--separator` such as spleeter:5stems."
        )
    if config.stems is not None and config.has_separator:
        raise ValueError("`--stems` does not go with a separator: the stems are there already.")
    if config.stems is not None and not config.has_stems:
        raise ValueError(
            f"`--stems` goes with `--components stems` or `stems-time`, got {config.components}."
        )


def _check_fills(config: ExplainConfig, fills: str) -> None:
    if config.has_stems:
        raise ValueError("`--fills` does not go with stems, where off is silent.")
    if config.fill != "zero":
        raise ValueError(
            f"`--fills` does not go with `--fill {config.fill}`. Name all of them in `--fills`."
        )
    names = config.fill_names
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"`--fills` must be at least two different names such as zero,mean, got {fills!r}."
        )
    for name in names:
        if config.components == "time":
            check_waveform_fill(name, "`--fills`")
        elif name not in FILLS:
            raise ValueError(unknown_name("`--fills`", name, FILLS))


def _model(config: ExplainConfig) -> Any:
    """The model, behind `Snippets` if snippets are asked for."""
    model = models.resolve(config.model)
    if config.snippet is None:
        return model
    if isinstance(model, HostModel):
        raise ModelError(f"`--snippet` does not go with `{config.model}`, which is a host model.")
    num_samples = settings.snippet_num_samples(model, config.model, config.snippet)
    return models.Snippets(model, num_samples)


def _say_plan(
    config: ExplainConfig,
    model: Any,
    say: Say,
    predict: Any,
    audio: SegmentedAudio,
    method: Method,
) -> None:
    """Says before long work how it will be done and how long that takes."""
    planned = plan_repeat(
        predict,
        audio,
        method,
        seed=config.seed,
        fills=config.fill_names,
        batch_size=config.batch_size,
        precision=config.precision,
        progress=lambda done, total: None,
    )
    if estimate.is_long(planned):
        repeats = 1 if planned.is_exact else config.repeats
        seconds = estimate.measure_seconds(planned)
        each = [f"{len(config.fill_names)} fills"] if config.fill_names else []
        each += [f"{repeats} repeats"] if repeats > 1 else []
        often = f" × {' × '.join(each)}" if each else ""
        total = None if seconds is None else repeats * seconds
        say(planned.describe(sample_rate=model.sample_rate, seconds=total) + often)


def _explain(
    config: ExplainConfig,
    predict: Any,
    audio: SegmentedAudio,
    method: Method,
    progress: Progress | None,
    say_plan: Callable[[Any, SegmentedAudio, Method], None] | None,
) -> RepeatedExplanation:
    try:
        if say_plan is not None:
            say_plan(predict, audio, method)
        return explain_repeatedly(
            predict,
            audio,
            method,
            seed=config.seed,
            repeats=config.repeats,
            fills=config.fill_names,
            batch_size=config.batch_size,
            precision=config.precision,
            progress=progress,
        )
    except (LimeJaxError, ValueError):
        raise
    except Exception as error:  # what a device or a callback raises while it runs
        raise ModelError(f"`{config.model}` failed: {type(error).__name__}: {error}") from error


def _output_names(
    config: ExplainConfig, model: Any, predict: Any, audio: SegmentedAudio
) -> tuple[str, ...]:
    """One name per output, before any work is done that a wrong name would waste."""
    everything = recompose(audio.components, jnp.ones(len(audio.extents), bool))
    batch = jnp.repeat(everything[None], config.batch_size or 1, axis=0)
    return models.output_names(model, models.num_outputs(predict, batch, config.model))
