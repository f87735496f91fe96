"""One excerpt explained from end to end: a configuration in, a folder with a report out."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
import tyro

from lime_jax import examples, models, report
from lime_jax.audio import io, segment
from lime_jax.audio.render import hearing
from lime_jax.audio.segment import SegmentedAudio
from lime_jax.core.explain import explain
from lime_jax.core.explanation import Explanation
from lime_jax.core.methods import Method, exhaustive, lime
from lime_jax.errors import AudioError, LimeJaxError, ModelError, unknown_name

Progress = Callable[[int, int], None]
Kind = Literal["time", "frequency", "grid", "superpixels", "stems", "stems-time"]

_SEGMENTS = {"time": "10", "frequency": "8", "grid": "6x4", "superpixels": "40", "stems-time": "5"}


@dataclasses.dataclass(frozen=True)
class ExplainConfig:
    """Explains what made a model say what it said about an audio file.

    Attributes:
      audio: the file to explain: WAV, FLAC, Ogg Vorbis, Opus or MP3.
      model: a name from `lime-jax models list`, or package.module:factory for your own.
      components: what is switched on and off.
      stems: folder with one audio file per stem; for stems and stems-time.
      segments: how many times, bands or superpixels; time x frequency for grid. Default: 10 times,
        8 bands, 6x4, 40 superpixels, or 5 times per stem.
      fill: what stands where a component is off.
      num_samples: masks drawn, or exhaustive for all of them; repeated masks are evaluated once.
      distance: between a mask and the mask of all ones.
      kernel_width: of the exponential kernel, in units of the distance.
      alpha: ridge penalty of the surrogate.
      outputs: top:N for the N highest predictions, or names separated by commas.
      start: where the excerpt starts, in seconds.
      duration: of the excerpt, in seconds; to the end if not given.
      top_k: how many components of positive weight make up the heard explanation.
      seed: of the masks, and of the fill where it is random.
      batch_size: inputs in memory at a time; chosen from the memory there is if not given.
      output_dir: where the report goes; explanation-of-NAME if not given.
    """

    audio: Annotated[Path, tyro.conf.Positional]
    model: str = "instrument-tagger"
    components: Kind = "time"
    stems: Path | None = None
    segments: str | None = None
    fill: str = "zero"
    num_samples: int | Literal["exhaustive"] = 1000
    distance: str = "cosine"
    kernel_width: float = 0.25
    alpha: float = 1.0
    outputs: str = "top:3"
    start: float = 0.0
    duration: float | None = None
    top_k: int = 3
    seed: int = 0
    batch_size: int | None = None
    output_dir: Path | None = None


@dataclasses.dataclass(frozen=True)
class DemoConfig:
    """Explains which instruments a small tagger hears in a ten-second song; needs no network.

    Attributes:
      top_k: how many components of positive weight make up the heard explanation.
      output_dir: where the report goes.
    """

    top_k: int = 1
    output_dir: Path = Path("lime-jax-demo")


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
      progress: called as `progress(done, total)`, in model evaluations.

    Raises:
      LimeJaxError: if a file, the model or the folder cannot be used.
      ValueError: if an option is impossible.
    """
    folder = config.output_dir or Path(f"explanation-of-{config.audio.stem}")
    _check_options(config)
    report.check_folder(folder)
    method = _method(config)
    model = models.resolve(config.model)
    known = getattr(model, "output_names", None)
    if known:
        _wanted_outputs(config.outputs, tuple(known), np.zeros(len(known)))
    audio = _segmented(config, model)
    try:
        explanation = explain(
            hearing(model, audio),
            audio.components,
            method,
            key=jax.random.key(config.seed),
            batch_size=config.batch_size,
            progress=progress,
        )
    except (LimeJaxError, ValueError):
        raise
    except Exception as error:  # whatever the model raises
        raise ModelError(f"`{config.model}` failed: {type(error).__name__}: {error}") from error
    prediction = np.asarray(explanation.prediction)
    names = models.output_names(model, len(prediction))
    outputs = _wanted_outputs(config.outputs, names, prediction)
    page = report.write(
        folder,
        explanation,
        audio,
        output_names=names,
        outputs=outputs,
        k=config.top_k,
        title=config.audio.name,
        config=_plain(config),
    )
    return Result(explanation, audio, names, outputs, page)


def explain_demo(config: DemoConfig, *, progress: Progress | None = None) -> Result:
    """Explains every output of the shipped tagger on the shipped song and writes the report."""
    _check_top_k(config.top_k)
    report.check_folder(config.output_dir)
    song, tagger = examples.song(), examples.tagger()
    audio = segment.by_stems(song.stems, song.names, song.sample_rate)
    predict = hearing(tagger, audio)
    explanation = explain(predict, audio.components, exhaustive(), progress=progress)
    outputs = tuple(range(len(tagger.output_names)))
    page = report.write(
        config.output_dir,
        explanation,
        audio,
        output_names=tagger.output_names,
        outputs=outputs,
        k=config.top_k,
        title="Which instruments does the tagger hear, and where?",
        config=_plain(config),
    )
    return Result(explanation, audio, tagger.output_names, outputs, page)


def _check_options(config: ExplainConfig) -> None:
    _check_top_k(config.top_k)
    if not 0 <= config.seed < 2**32:
        raise ValueError(f"`--seed` must lie in [0, 2**32), got {config.seed}.")
    if config.batch_size is not None and config.batch_size < 1:
        raise ValueError(f"`--batch-size` must be at least 1, got {config.batch_size}.")


def _check_top_k(top_k: int) -> None:
    if top_k < 1:
        raise ValueError(f"`--top-k` must be at least 1, got {top_k}.")


def _method(config: ExplainConfig) -> Method:
    options: dict[str, Any] = {
        "kernel_width": config.kernel_width,
        "distance": config.distance,
        "alpha": config.alpha,
    }
    if config.num_samples == "exhaustive":
        return exhaustive(**options)
    return lime(config.num_samples, **options)


def _segmented(config: ExplainConfig, model: Any) -> SegmentedAudio:
    waveform = io.load(config.audio, model.sample_rate, **_excerpt(config, model))
    shortest = getattr(model, "patch_num_samples", 1)
    if len(waveform) < shortest:
        raise AudioError(
            f"`{config.audio}` gives {len(waveform) / model.sample_rate:.2f} s, but "
            f"{config.model} needs at least {shortest / model.sample_rate:.2f} s. Use a longer "
            "excerpt or another model."
        )
    if config.components in ("stems", "stems-time"):
        return _by_stems(config, waveform, model)
    if config.stems is not None:
        raise ValueError(
            f"`--stems` goes with `--components stems` or `stems-time`, got {config.components}."
        )
    cut = {
        "time": segment.by_time,
        "frequency": segment.by_frequency,
        "grid": segment.by_grid,
        "superpixels": segment.by_superpixels,
    }[config.components]
    # Another stream than the masks, which are drawn from the seed itself.
    key_fill = jax.random.fold_in(jax.random.key(config.seed), 1)
    segments = _num_segments(config)
    return cut(waveform, model.sample_rate, segments, fill=config.fill, key=key_fill)


def _excerpt(config: ExplainConfig, model: Any) -> dict[str, Any]:
    resampler = getattr(model, "resampler", "soxr")
    return {"start": config.start, "duration": config.duration, "resampler": resampler}


def _by_stems(config: ExplainConfig, waveform: np.ndarray, model: Any) -> SegmentedAudio:
    if config.stems is None:
        raise ValueError(
            f"`--components {config.components}` needs `--stems FOLDER`, with one audio file per "
            "stem."
        )
    if config.fill != "zero":
        raise ValueError(f"`--fill` must be zero for stems, got {config.fill}: off is silent.")
    names, stems = io.load_stems(config.stems, model.sample_rate, **_excerpt(config, model))
    try:
        mixed, mixed_names = segment.with_residual(stems, names, waveform)
    except ValueError as error:
        raise AudioError(f"`{config.stems}` does not go with `{config.audio}`: {error}") from error
    if config.components == "stems":
        if config.segments is not None:
            raise ValueError("`--segments` does not go with stems. Use `--components stems-time`.")
        return segment.by_stems(mixed, mixed_names, model.sample_rate)
    segments = _num_segments(config)
    return segment.by_stems_and_time(mixed, mixed_names, model.sample_rate, segments)


def _num_segments(config: ExplainConfig) -> Any:
    """A number of segments, or a pair of them for a grid."""
    text = config.segments or _SEGMENTS[config.components]
    parts = text.lower().split("x")
    wanted = 2 if config.components == "grid" else 1
    if len(parts) != wanted or not all(part.strip().isdecimal() for part in parts):
        form = "two numbers such as 6x4 (time x frequency)" if wanted == 2 else "one number"
        raise ValueError(f"`--segments` must be {form} for {config.components}, got {text!r}.")
    numbers = tuple(int(part) for part in parts)
    if min(numbers) < 1:
        raise ValueError(f"`--segments` must be at least 1, got {text!r}.")
    return numbers if wanted == 2 else numbers[0]


def _wanted_outputs(text: str, names: Sequence[str], prediction: np.ndarray) -> tuple[int, ...]:
    """The indices that `top:N` or a list of names stands for."""
    if text.startswith("top:"):
        count = text.removeprefix("top:")
        if not count.isdecimal() or int(count) < 1:
            raise ValueError(f"`--outputs` must be top:N with a number N, or names, got {text!r}.")
        # NaN counts as lowest, so that a broken output is not the first one shown.
        order = np.argsort(-np.nan_to_num(prediction, nan=-np.inf), kind="stable")
        return tuple(int(index) for index in order[: int(count)])
    folded = {name.casefold(): index for index, name in enumerate(names)}
    wanted = [entry.strip() for entry in text.split(",") if entry.strip()]
    for entry in wanted:
        if entry.casefold() not in folded:
            raise LimeJaxError(unknown_name("output", entry, names))
    if not wanted:
        raise ValueError("`--outputs` is empty. Use top:N or names separated by commas.")
    return tuple(dict.fromkeys(folded[entry.casefold()] for entry in wanted))


def _plain(config: Any) -> dict[str, Any]:
    """The configuration as plain values, for JSON."""
    values = {"command": type(config).__name__.removesuffix("Config").lower()}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        values[field.name] = str(value) if isinstance(value, Path) else value
    return values
