"""One excerpt explained from end to end: a configuration in, a folder with a report out."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lime_jax import examples, models, options, report
from lime_jax.audio import io, segment
from lime_jax.audio.render import hearing
from lime_jax.audio.segment import SegmentedAudio
from lime_jax.core import locality
from lime_jax.core.auto import auto
from lime_jax.core.components import recompose
from lime_jax.core.explain import explain
from lime_jax.core.explanation import Explanation
from lime_jax.core.host import HostModel
from lime_jax.core.methods import Method, exhaustive, lime, most_evaluations
from lime_jax.errors import AudioError, LimeJaxError, ModelError, unknown_name
from lime_jax.options import DemoConfig, ExplainConfig

Progress = Callable[[int, int], None]

# All masks are few: the ridge then shrinks the weights more than LIME's does at its own default.
EQUIVALENT_NUM_SAMPLES = 1000


@dataclasses.dataclass(frozen=True)
class Result:
    """What was explained and where its report lies.

    Attributes:
      explanation: of all outputs of the model.
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


def explain_file(config: ExplainConfig, *, progress: Progress | None = None) -> Result:
    """Explains an excerpt of an audio file and writes the report.

    Args:
      config: what to do; stored in `explanation.json`.
      progress: called as `progress(done, total)`, in model evaluations; at first with 0 done.

    Raises:
      LimeJaxError: if a file, the model or the folder cannot be used.
      ValueError: if an option is impossible.
    """
    folder = config.output_dir or Path(f"explanation-of-{config.audio.name}")
    options.check(config)
    report.check_folder(folder)
    _method(config, None)
    model = _model(config)
    audio = _segmented(config, model)
    predict = hearing(models.named(model, config.model), audio)
    names = _output_names(config, model, predict, audio)
    _wanted_outputs(config.outputs, names, np.zeros(len(names)))
    method = _method(config, names)
    try:
        explanation = _explained(config, predict, audio, method, progress)
    except (LimeJaxError, ValueError):
        raise
    except Exception as error:  # what a device or a callback raises while it runs
        raise ModelError(f"`{config.model}` failed: {type(error).__name__}: {error}") from error
    outputs = _wanted_outputs(config.outputs, names, np.asarray(explanation.prediction))
    page = report.write(
        folder,
        explanation,
        audio,
        output_names=names,
        outputs=outputs,
        top_k=config.top_k,
        title=config.audio.name,
        config=_plain(config),
    )
    return Result(explanation, audio, names, outputs, page)


def explain_demo(config: DemoConfig, *, progress: Progress | None = None) -> Result:
    """Explains every output of the shipped tagger on the shipped song and writes the report."""
    options.check_top_k(config.top_k)
    report.check_folder(config.output_dir)
    song, tagger = examples.song(), examples.tagger()
    audio = segment.by_stems(song.stems, song.names, song.sample_rate)
    method = exhaustive(equivalent_num_samples=EQUIVALENT_NUM_SAMPLES)
    explanation = _explained(None, hearing(tagger, audio), audio, method, progress)
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


def _explained(
    config: ExplainConfig | None,
    predict: Any,
    audio: SegmentedAudio,
    method: Method,
    progress: Progress | None,
) -> Explanation:
    key = jax.random.key(config.seed if config else 0)
    if progress is not None and not locality.is_declared(predict):
        progress(0, most_evaluations(method, len(audio.pieces)))
    return explain(
        predict,
        audio.components,
        method,
        key=key,
        batch_size=config.batch_size if config else None,
        precision=config.precision if config else None,
        progress=progress,
    )


def _output_names(
    config: ExplainConfig, model: Any, predict: Any, audio: SegmentedAudio
) -> tuple[str, ...]:
    """One name per output, found out before any work is done that a wrong name would waste."""
    everything = recompose(audio.components, jnp.ones(len(audio.pieces), bool))
    batch = jnp.repeat(everything[None], config.batch_size or 1, axis=0)
    return models.output_names(model, models.num_outputs(predict, batch, config.model))


def _model(config: ExplainConfig) -> Any:
    model = models.resolve(config.model)
    if config.snippet is None:
        return model
    if isinstance(model, HostModel):
        raise ModelError(f"`--snippet` does not go with `{config.model}`, which is a host model.")
    num_samples = round(config.snippet * model.sample_rate)
    shortest = getattr(model, "patch_num_samples", 1)
    if num_samples < shortest:
        raise ValueError(
            f"`--snippet` must be at least {shortest / model.sample_rate:.3f} s for "
            f"{config.model}, got {config.snippet:g}."
        )
    return models.Snippets(model, num_samples)


def _method(config: ExplainConfig, names: Sequence[str] | None) -> Method:
    """How to explain; the names of the outputs are only known once the model is there."""
    parts: dict[str, Any] = {
        "kernel_width": config.kernel_width,
        "distance": config.distance,
        "alpha": config.alpha,
    }
    if config.num_samples == "exhaustive":
        return exhaustive(equivalent_num_samples=EQUIVALENT_NUM_SAMPLES, **parts)
    if config.num_samples == "auto":
        enough = auto(
            std_error=config.std_error,
            top_k=None if config.confidence is None else config.top_k,
            confidence=0.95 if config.confidence is None else config.confidence,
            outputs=_target_outputs(config.outputs, names) if names else None,
            equivalent_num_samples=EQUIVALENT_NUM_SAMPLES,
            max_evaluations=config.max_evaluations or 70_000,
        )
        return lime(enough, **parts)
    return lime(config.num_samples, **parts)


def _target_outputs(text: str, names: Sequence[str]) -> tuple[int, ...] | int:
    """The outputs that are reported, whose errors must be small: how many, or which."""
    chosen = _wanted_outputs(text, names, np.zeros(len(names)))
    return len(chosen) if text.startswith("top:") else chosen


def _segmented(config: ExplainConfig, model: Any) -> SegmentedAudio:
    waveform = io.load(config.audio, model.sample_rate, **_excerpt(config, model))
    shortest = getattr(model, "patch_num_samples", 1)
    if len(waveform) < shortest:
        raise AudioError(
            f"`{config.audio}` gives {len(waveform) / model.sample_rate:.2f} s, but "
            f"{config.model} needs at least {shortest / model.sample_rate:.2f} s. Use a longer "
            "excerpt or another model."
        )
    if config.stems is not None:
        return _by_stems(config, config.stems, waveform, model)
    cut = {
        "time": segment.by_time,
        "frequency": segment.by_frequency,
        "grid": segment.by_grid,
        "superpixels": segment.by_superpixels,
    }[config.components]
    # Another stream than the masks, which are drawn from the seed itself.
    key_fill = jax.random.fold_in(jax.random.key(config.seed), 1)
    segments = options.num_segments(config)
    return cut(waveform, model.sample_rate, segments, fill=config.fill, key=key_fill)


def _excerpt(config: ExplainConfig, model: Any) -> dict[str, Any]:
    resampler = getattr(model, "resampler", "soxr")
    return {"start": config.start, "duration": config.duration, "resampler": resampler}


def _by_stems(
    config: ExplainConfig, folder: Path, waveform: np.ndarray, model: Any
) -> SegmentedAudio:
    names, stems = io.load_stems(folder, model.sample_rate, **_excerpt(config, model))
    try:
        mixed, mixed_names = segment.with_residual(stems, names, waveform)
    except ValueError as error:
        raise AudioError(f"`{folder}` does not go with `{config.audio}`: {error}") from error
    if config.components == "stems":
        return segment.by_stems(mixed, mixed_names, model.sample_rate)
    segments = options.num_segments(config)
    return segment.by_stems_and_time(mixed, mixed_names, model.sample_rate, segments)


def _wanted_outputs(text: str, names: Sequence[str], prediction: np.ndarray) -> tuple[int, ...]:
    """The indices that `top:N` or a list of names stands for."""
    if text.startswith("top:"):
        count = text.removeprefix("top:")
        if not count.isdecimal() or int(count) < 1:
            raise ValueError(f"`--outputs` must be top:N with a number N, or names, got {text!r}.")
        # NaN counts as lowest, so that a broken output is not the first one shown.
        order = np.argsort(-np.nan_to_num(prediction, nan=-np.inf), kind="stable")
        return tuple(int(index) for index in order[: int(count)])
    wanted = [entry.strip() for entry in text.split(",") if entry.strip()]
    if not wanted:
        raise ValueError("`--outputs` is empty. Use top:N or names separated by commas.")
    return tuple(dict.fromkeys(_output_index(entry, names) for entry in wanted))


def _output_index(entry: str, names: Sequence[str]) -> int:
    """Of the output of that name, in another case only where a single one is meant."""
    if entry in names:
        return names.index(entry)
    alike = [name for name in names if name.casefold() == entry.casefold()]
    if len(alike) > 1:
        raise LimeJaxError(
            f"`--outputs` {entry!r} could be {' or '.join(map(repr, alike))}. Write it exactly."
        )
    if not alike:
        raise LimeJaxError(unknown_name("output", entry, names))
    return names.index(alike[0])


def _plain(config: Any) -> dict[str, Any]:
    """The configuration as plain values, for JSON."""
    values = {"command": type(config).__name__.removesuffix("Config").lower()}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        values[field.name] = str(value) if isinstance(value, Path) else value
    return values
