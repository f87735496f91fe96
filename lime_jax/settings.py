"""What a person can ask for: components, method and separator, as plain values."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, SupportsIndex

from lime_jax import separation
from lime_jax.audio.fills import check_waveform_fill
from lime_jax.audio.segment import Kind
from lime_jax.core.arguments import whole_number
from lime_jax.core.masks.sequential import Auto, auto
from lime_jax.core.methods import Method, exhaustive, lime
from lime_jax.outputs import Outputs

Fill = Literal["zero", "minimum", "maximum", "mean", "uniform", "noise", "shuffle"]
Distance = Literal["cosine", "l2", "hamming"]
NumSamples = int | Literal["exhaustive", "auto"]
Precision = Literal["float32", "default"]

EQUIVALENT_NUM_SAMPLES = 1000
"""The ridge is as strong as LIME has it by default; few masks would shrink coefficients more."""

_SEGMENTS = {"time": "10", "frequency": "8", "grid": "6x4", "superpixels": "40", "stems-time": "5"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeparationSettings:
    """Where stems come from that are not there yet.

    Attributes:
      separator: takes the sound apart for stems and stems-time: spleeter:2stems, spleeter:4stems or
        spleeter:5stems, with -16kHz behind it for the wider variant; or one-vs-all, trained by
        scripts/training/separator.py.
      separator_weights: folder with a TensorFlow checkpoint of that network, such as
        pretrained_models/5stems, or with the output of
        scripts/training/separator.py; what is in the cache if
        not given.
      separator_command: any other separator, as one quoted command line in which {audio} stands for
        a WAV file and {output_dir} for the folder that it writes one audio file per stem to; run
        without a shell.
      crossfade: seconds by which the separator's chunks overlap and fade into each other.
      residual: what the stems lack of the sound is a further stem, if it is louder than -60 dB.
      keep_stems: in the cache, so that the same sound is separated once.
    """

    separator: str | None = None
    separator_weights: Path | None = None
    separator_command: str | None = None
    crossfade: float = 0.0
    residual: bool = True
    keep_stems: bool = True

    @property
    def has_separator(self) -> bool:
        """Whether a separator makes the stems."""
        return self.separator is not None or self.separator_command is not None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplainSettings(SeparationSettings):
    """What every command that explains can be asked for.

    Attributes:
      model: a name from `lime-jax models list`, or package.module:factory for your own.
      components: what is switched on and off.
      segments: how many times, bands or superpixels; time x frequency for grid. If not given: 10
        times, 8 bands, 6x4, 40 superpixels, or 5 times per stem.
      fill: what stands where a component is off: any for frequency, grid and superpixels, any but
        minimum and maximum for time; stems are silent, which is zero.
      num_samples: masks drawn, or exhaustive for all of them. If there are no more different masks
        than samples (2**components), each is evaluated once. auto is exact where that is cheap,
        and otherwise takes better masks than LIME's and as few as will do.
      std_error: with auto, the largest standard error of a coefficient.
      confidence: with auto, how certain it must be that the top_k components are the right ones.
      max_evaluations: with auto, where it ends in any case; 70000 if not given.
      distance: between a mask and the mask of all ones.
      kernel_width: of the exponential kernel, in units of the distance.
      alpha: ridge penalty of the surrogate.
      top_k: how many components of positive coefficient make up the explanation to listen to.
      seed: of the masks, and of the fill where it is random.
      batch_size: inputs in memory at a time; if not given, what fits and, before long work, what
        runs fastest.
      precision: of the model's products: float32, or default, which is tf32 or bf16 where the
        device has it.
    """

    model: str = "instrument-tagger"
    components: Kind = "time"
    segments: str | None = None
    fill: Fill = "zero"
    num_samples: NumSamples = 1000
    std_error: float | None = None
    confidence: float | None = None
    max_evaluations: int | None = None
    distance: Distance = "cosine"
    kernel_width: float = 0.25
    alpha: float = 1.0
    top_k: int = 3
    seed: int = 0
    batch_size: int | None = None
    precision: Precision = "float32"

    @property
    def has_stems(self) -> bool:
        """Whether the components are stems, or times of them."""
        return self.components in ("stems", "stems-time")

    @property
    def num_segments(self) -> int | tuple[int, int] | None:
        """How many segments: a pair of numbers for a grid, None for whole stems.

        Raises:
          ValueError: if `segments` is not such a number, or a pair.
        """
        if self.components == "stems":
            return None
        text = str(self.segments or _SEGMENTS[self.components])  # a number may come from Python
        words = text.lower().split("x")
        count = 2 if self.components == "grid" else 1
        if len(words) != count or not all(word.strip().isdecimal() for word in words):
            form = "two numbers such as 6x4 (time x frequency)" if count == 2 else "one number"
            raise ValueError(f"`--segments` must be {form} for {self.components}, got {text!r}.")
        numbers = [int(word) for word in words]
        if min(numbers) < 1:
            raise ValueError(f"`--segments` must be at least 1, got {text!r}.")
        return (numbers[0], numbers[1]) if count == 2 else numbers[0]


def check_explain_settings(settings: ExplainSettings) -> None:
    """Refuses what cannot be right in any command that explains.

    Raises:
      ValueError: naming the option.
    """
    check_top_k(settings.top_k)
    check_separation_settings(settings)
    if settings.has_separator and not settings.has_stems:
        raise ValueError(
            "a separator goes with `--components stems` or `stems-time`, got "
            f"{settings.components}."
        )
    if not settings.keep_stems and not settings.has_separator:
        raise ValueError("`--no-keep-stems` goes with a separator.")
    if not settings.residual and not settings.has_stems:
        raise ValueError(f"`--no-residual` goes with stems, got {settings.components}.")
    _check_components(settings)
    _check_targets(settings)
    _ = settings.num_segments  # which refuses what it cannot parse
    if not 0 <= whole_number("--seed", settings.seed, least=0) < 2**32:
        raise ValueError(f"`--seed` must lie in [0, 2**32), got {settings.seed}.")
    if settings.batch_size is not None:
        whole_number("--batch-size", settings.batch_size)


def check_separation_settings(settings: SeparationSettings) -> None:
    """Refuses separators that cannot be meant.

    Raises:
      ValueError: naming the option.
    """
    if settings.separator is not None and settings.separator_command is not None:
        raise ValueError("`--separator` does not go with `--separator-command`. Use one of them.")
    for name in ("separator_weights", "crossfade"):
        if getattr(settings, name) and settings.separator is None:
            raise ValueError(f"`--{name.replace('_', '-')}` goes with `--separator`.")


def check_snippet(snippet: float | None) -> None:
    """Refuses snippets without length, with a `ValueError`."""
    if snippet is not None and not 0 < snippet < float("inf"):
        raise ValueError(f"`--snippet` must be positive seconds, got {snippet}.")


def check_top_k(top_k: SupportsIndex) -> None:
    """Refuses explanations without a component, with a `ValueError`."""
    whole_number("--top-k", top_k)


def method_of(settings: ExplainSettings) -> Method:
    """Returns how to explain; see `target_outputs` for what `auto` aims at.

    Raises:
      ValueError: if a number is impossible.
    """
    options: dict[str, Any] = {
        "kernel_width": settings.kernel_width,
        "distance": settings.distance,
        "alpha": settings.alpha,
    }
    if settings.num_samples == "exhaustive":
        return exhaustive(equivalent_num_samples=EQUIVALENT_NUM_SAMPLES, **options)
    if settings.num_samples == "auto":
        sampler = auto(
            std_error=settings.std_error,
            top_k=None if settings.confidence is None else settings.top_k,
            confidence=0.95 if settings.confidence is None else settings.confidence,
            equivalent_num_samples=EQUIVALENT_NUM_SAMPLES,
            max_evaluations=settings.max_evaluations or 70_000,
        )
        return lime(sampler, **options)
    return lime(settings.num_samples, **options)


def target_outputs(method: Method, outputs: Outputs) -> Method:
    """Returns the method with targets for the errors of the reported outputs, if it has targets."""
    if not isinstance(method.sampler, Auto):
        return method
    counting = outputs.count if outputs.indices is None else outputs.indices
    targets = dataclasses.replace(method.sampler.targets, outputs=counting)
    sampler = dataclasses.replace(method.sampler, targets=targets)
    return dataclasses.replace(method, sampler=sampler)


def separator_of(settings: SeparationSettings) -> separation.Separator | None:
    """Loads the separator asked for, if any.

    Raises:
      LimeJaxError: if there is no such separator, or its weights cannot be used.
      ValueError: if an option is impossible.
    """
    if settings.separator_command is not None:
        return separation.Command.from_line(settings.separator_command)
    if settings.separator is None:
        return None
    return separation.load(
        settings.separator, checkpoint=settings.separator_weights, crossfade=settings.crossfade
    )


def snippet_num_samples(model: Any, name: str, seconds: float) -> int:
    """Returns how many samples a snippet of so many seconds has.

    Raises:
      ValueError: if they are too few for the model of that name.
    """
    num_samples, shortest = round(seconds * model.sample_rate), shortest_input(model)
    if num_samples < shortest:
        raise ValueError(
            f"`--snippet` must be at least {shortest / model.sample_rate:.3f} s for {name}, got "
            f"{seconds:g}."
        )
    return num_samples


def shortest_input(model: Any) -> int:
    """Returns the fewest samples that a model can judge, as far as it says so."""
    return getattr(model, "patch_num_samples", 1)


def _check_components(settings: ExplainSettings) -> None:
    if not settings.has_stems:
        if settings.components == "time":
            check_waveform_fill(settings.fill)
    elif settings.fill != "zero":
        raise ValueError(f"`--fill` must be zero for stems, got {settings.fill}: off is silent.")
    elif settings.components == "stems" and settings.segments is not None:
        raise ValueError("`--segments` does not go with stems. Use `--components stems-time`.")


def _check_targets(settings: ExplainSettings) -> None:
    for name in ("std_error", "confidence", "max_evaluations"):
        if getattr(settings, name) is not None and settings.num_samples != "auto":
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"`{flag}` goes with `--num-samples auto`, got {settings.num_samples}. A fixed "
                "number of samples has the errors it has."
            )
