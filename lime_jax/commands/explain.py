"""One excerpt explained from end to end: a configuration in, a folder with a report out."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lime_jax import examples
from lime_jax import models
from lime_jax import recipe
from lime_jax import report
from lime_jax import separation
from lime_jax import settings
from lime_jax import streams
from lime_jax.audio import io, segment
from lime_jax.audio.render import waveform_predictor
from lime_jax.audio.repeats import Progress
from lime_jax.audio.repeats import ask
from lime_jax.audio.segment import SegmentedAudio
from lime_jax.core.components import recompose
from lime_jax.core.explanation import Explanation
from lime_jax.core.methods import exhaustive
from lime_jax.errors import AudioError, LimeJaxError, ModelError
from lime_jax.separation import precomputed
from lime_jax.settings import DemoConfig, ExplainConfig

Tell = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Result:
    """What was explained and where its report lies.

    Attributes:
      explanation: of all outputs of the model; the mean over repeats and fills.
      audio: with its components.
      output_names: of the model.
      outputs: indices of the outputs reported, the first one first.
      page: the path of `report.html`.
    """

    explanation: Explanation
    audio: SegmentedAudio
    output_names: tuple[str, ...]
    outputs: tuple[int, ...]
    page: Path


def explain_file(
    config: ExplainConfig, *, progress: Progress | None = None, tell: Tell | None = None
) -> Result:
    """Explains an excerpt of an audio file and writes the report.

    Args:
      config: what to do; stored in `explanation.json`.
      progress: called as `progress(done, total)`, in model evaluations; at first with 0 done.
      tell: called with a sentence before the sound is separated.

    Raises:
      LimeJaxError: if a file, the model or the folder cannot be used.
      ValueError: if an option is impossible.
    """
    folder = config.output_dir or Path(f"explanation-of-{config.audio.absolute().name}")
    settings.check(config)
    report.check_folder(folder)
    recipe.method_of(config, config.outputs, None)
    separator = recipe.separator_of(config)
    model = _model(config)
    if known := tuple(getattr(model, "output_names", None) or ()):
        recipe.wanted_outputs(config.outputs, known, np.zeros(len(known)))
    audio = _segmented(config, model, separator, tell)
    predict = waveform_predictor(models.named(model, config.model), audio)
    names = _output_names(config, model, predict, audio)
    recipe.wanted_outputs(config.outputs, names, np.zeros(len(names)))
    method = recipe.method_of(config, config.outputs, names)
    try:
        answer = ask(
            predict, audio, method,
            seed=config.seed, repeats=config.repeats, fills=settings.fill_names(config),
            batch_size=config.batch_size, precision=config.precision, progress=progress,
        )  # fmt: skip
    except (LimeJaxError, ValueError):
        raise
    except Exception as error:  # what a device or a callback raises while it runs
        raise ModelError(f"`{config.model}` failed: {type(error).__name__}: {error}") from error
    explanation = answer.explanation
    outputs = recipe.wanted_outputs(config.outputs, names, np.asarray(explanation.prediction))
    stored = _plain(config)
    if separator is not None:
        stored["separator_version"] = separator.version
    page = report.write(
        folder,
        explanation,
        audio,
        output_names=names,
        outputs=outputs,
        top_k=config.top_k,
        title=config.audio.absolute().name,
        config=stored,
        repeats=answer.repeats,
        marginal=answer.marginal,
        fills=settings.fill_names(config),
    )
    return Result(explanation, audio, names, outputs, page)


def explain_demo(config: DemoConfig, *, progress: Progress | None = None) -> Result:
    """Explains every output of the shipped tagger on the shipped song and writes the report."""
    settings.check_top_k(config.top_k)
    report.check_folder(config.output_dir)
    song, tagger = examples.song(), examples.tagger()
    audio = segment.by_stems(song.stems, song.names, song.sample_rate)
    method = exhaustive(equivalent_num_samples=recipe.EQUIVALENT_NUM_SAMPLES)
    explanation = ask(
        waveform_predictor(tagger, audio), audio, method, progress=progress
    ).explanation
    outputs = tuple(range(len(tagger.output_names)))
    page = report.write(
        config.output_dir,
        explanation,
        audio,
        output_names=tagger.output_names,
        outputs=outputs,
        top_k=config.top_k,
        title="Which instruments does the tagger hear?",
        config=_plain(config),
    )
    return Result(explanation, audio, tagger.output_names, outputs, page)


def _output_names(
    config: ExplainConfig, model: Any, predict: Any, audio: SegmentedAudio
) -> tuple[str, ...]:
    """One name per output, found out before any work is done that a wrong name would waste."""
    everything = recompose(audio.components, jnp.ones(len(audio.pieces), bool))
    batch = jnp.repeat(everything[None], config.batch_size or 1, axis=0)
    return models.output_names(model, models.num_outputs(predict, batch, config.model))


def _model(config: ExplainConfig) -> Any:
    model = models.resolve(config.model)
    return model if config.snippet is None else recipe.in_snippets(model, config, config.snippet)


def _segmented(
    config: ExplainConfig, model: Any, separator: separation.Separator | None, tell: Tell | None
) -> SegmentedAudio:
    given = None
    if precomputed.is_stems(config.audio):
        given = precomputed.load(config.audio, model.sample_rate, **_excerpt(config, model))
        waveform = given[1].sum(axis=0)
    else:
        waveform = io.load(config.audio, model.sample_rate, **_excerpt(config, model))
    if problem := recipe.too_short(str(config.audio), len(waveform), model, config.model):
        raise AudioError(problem)
    if settings.has_stems(config):
        names, stems = given or _stems(config, model, separator, tell)
        return _by_stems(config, names, stems, waveform, model)
    cut = {
        "time": segment.by_time,
        "frequency": segment.by_frequency,
        "grid": segment.by_grid,
        "superpixels": segment.by_superpixels,
    }[config.components]
    segments = settings.num_segments(config)
    key = streams.fill_key(jax.random.key(config.seed), config.fill)
    return cut(waveform, model.sample_rate, segments, fill=config.fill, key=key)


def _excerpt(config: ExplainConfig, model: Any) -> dict[str, Any]:
    resampler = getattr(model, "resampler", "soxr")
    return {"start": config.start, "duration": config.duration, "resampler": resampler}


def _stems(
    config: ExplainConfig, model: Any, separator: separation.Separator | None, tell: Tell | None
) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and waveforms, from files or made of the sound."""
    excerpt = _excerpt(config, model)
    if separator is None:
        assert config.stems is not None
        return precomputed.load(config.stems, model.sample_rate, **excerpt)
    start, duration = config.start, config.duration
    with separation.separated(
        config.audio, separator, start=start, duration=duration, keep=config.keep_stems, tell=tell
    ) as entry:
        excerpt["start"] = 0.0
        return precomputed.load(entry.stems, model.sample_rate, **excerpt)


def _by_stems(
    config: ExplainConfig,
    names: tuple[str, ...],
    stems: np.ndarray,
    waveform: np.ndarray,
    model: Any,
) -> SegmentedAudio:
    if config.residual:
        try:
            stems, names = segment.with_residual(stems, names, waveform)
        except ValueError as error:
            given = config.stems or "the separated stems"
            raise AudioError(f"`{given}` do not go with `{config.audio}`: {error}") from error
    if config.components == "stems":
        return segment.by_stems(stems, names, model.sample_rate)
    segments = settings.num_segments(config)
    return segment.by_stems_and_time(stems, names, model.sample_rate, segments)


def _plain(config: Any) -> dict[str, Any]:
    """The configuration as plain values, for JSON."""
    values = {"command": type(config).__name__.removesuffix("Config").lower()}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        values[field.name] = str(value) if isinstance(value, Path) else value
    return values
