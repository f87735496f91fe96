"""The options of the commands that explain: parsed by tyro, stored with every result."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from lime_jax.audio import fills as filling
from lime_jax.errors import unknown_name
from lime_jax.separation.precomputed import is_stems as is_stems_path

Kind = Literal["time", "frequency", "grid", "superpixels", "stems", "stems-time"]
Fill = Literal["zero", "minimum", "maximum", "mean", "uniform", "noise", "shuffle"]
Distance = Literal["cosine", "l2", "hamming"]


def _num_samples(words: list[str]) -> int | Literal["exhaustive", "auto"]:
    (word,) = words
    if word == "exhaustive" or word == "auto":
        return word
    if not word.removeprefix("-").isdecimal():
        raise ValueError(f"must be a whole number, auto or exhaustive, got {word!r}.")
    return int(word)


NumSamples = Annotated[
    int | Literal["exhaustive", "auto"],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT|auto|exhaustive",
        instance_from_str=_num_samples,
        is_instance=lambda value: isinstance(value, int) or value in ("exhaustive", "auto"),
        str_from_instance=lambda value: [str(value)],
    ),
]

# The descriptions say what None does, which "{None}|PATH" and "(default: None)" would only blur.
PATH, TEXT, INT, FLOAT = (
    tyro.conf.arg(metavar=metavar, help_behavior_hint="")
    for metavar in ("PATH", "STR", "INT", "FLOAT")
)

Precision = Literal["float32", "default"]

_SEGMENTS = {"time": "10", "frequency": "8", "grid": "6x4", "superpixels": "40", "stems-time": "5"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Separation:
    """Where stems come from that are not there yet.

    Attributes:
      separator: takes the sound apart for stems and stems-time: spleeter:2stems, spleeter:4stems or
        spleeter:5stems, with -16kHz behind it for the wider variant; or one-vs-all, trained by
        scripts/training/separator.py.
      separator_weights: folder with a TensorFlow checkpoint of that network, such as
        pretrained_models/5stems, or with the output of train_separator.py; what is in the cache if
        not given.
      separator_command: any other separator, as one quoted command line in which {audio} stands for
        a WAV file and {output_dir} for the folder that it writes one audio file per stem to; run
        without a shell.
      crossfade: seconds by which the separator's chunks overlap and fade into each other.
      residual: what the stems lack of the sound is a further stem, if it is louder than -60 dB.
      keep_stems: in the cache, so that the same sound is separated once.
    """

    separator: Annotated[str | None, TEXT] = None
    separator_weights: Annotated[Path | None, PATH] = None
    separator_command: Annotated[str | None, TEXT] = None
    crossfade: float = 0.0
    residual: bool = True
    keep_stems: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question(Separation):
    """What every command that explains can be asked.

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
      std_error: with auto, the largest standard error of a weight.
      confidence: with auto, how certain it must be that the top_k components are the right ones.
      max_evaluations: with auto, where it ends in any case; 70000 if not given.
      distance: between a mask and the mask of all ones.
      kernel_width: of the exponential kernel, in units of the distance.
      alpha: ridge penalty of the surrogate.
      top_k: how many components of positive weight make up the heard explanation.
      seed: of the masks, and of the fill where it is random.
      batch_size: inputs in memory at a time; if not given, what fits and, before long work, what
        runs fastest.
      precision: of the model's products: float32, or default, which is tf32 or bf16 where the
        device has it.
    """

    model: str = "instrument-tagger"
    components: Kind = "time"
    segments: Annotated[str | None, TEXT] = None
    fill: Fill = "zero"
    num_samples: NumSamples = 1000
    std_error: Annotated[float | None, FLOAT] = None
    confidence: Annotated[float | None, FLOAT] = None
    max_evaluations: Annotated[int | None, INT] = None
    distance: Distance = "cosine"
    kernel_width: float = 0.25
    alpha: float = 1.0
    top_k: int = 3
    seed: int = 0
    batch_size: Annotated[int | None, INT] = None
    precision: Precision = "float32"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplainConfig(Question):
    """Explains what made a model say what it said about an audio file.

    Attributes:
      audio: the file to explain: WAV, FLAC, Ogg Vorbis, Opus or MP3; or what holds stems, whose sum
        is explained: a folder with one such file per stem, or a track of Slakh2100 or MUSDB18.
      stems: folder with one audio file per stem, for stems and stems-time; or a track of Slakh2100
        or MUSDB18.
      outputs: top:N for the N highest predictions, or names separated by commas.
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

    audio: Annotated[Path, tyro.conf.Positional]
    stems: Annotated[Path | None, PATH] = None
    outputs: str = "top:3"
    start: float = 0.0
    duration: Annotated[float | None, FLOAT] = None
    snippet: Annotated[float | None, FLOAT] = None
    repeats: int = 1
    fills: Annotated[str | None, TEXT] = None
    output_dir: Annotated[Path | None, PATH] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeparateConfig(Separation):
    """Separates an audio file into stems: a WAV file (32-bit float) for each.

    Attributes:
      audio: the file to separate: WAV, FLAC, Ogg Vorbis, Opus or MP3, mono or stereo.
      output_dir: where the stems go; stems-of-FILE if not given.
      start: where the excerpt starts, in seconds.
      duration: of the excerpt, in seconds; to the end if not given.
    """

    audio: Annotated[Path, tyro.conf.Positional]
    output_dir: Annotated[Path | None, PATH] = None
    start: float = 0.0
    duration: Annotated[float | None, FLOAT] = None


@dataclasses.dataclass(frozen=True)
class DemoConfig:
    """Explains which instruments a small tagger hears in a ten-second song; needs no network.

    Attributes:
      top_k: how many components of positive weight make up the heard explanation.
      output_dir: where the report goes.
    """

    top_k: int = 1
    output_dir: Path = Path("lime-jax-demo")


def check(config: ExplainConfig) -> None:
    """Refuses what cannot be right, before anything is loaded.

    Raises:
      ValueError: naming the option.
    """
    check_question(config)
    check_snippet(config.snippet)
    is_separated, is_stems = separator_given(config) is not None, is_stems_path(config.audio)
    if is_stems and (is_separated or config.stems is not None):
        raise ValueError(
            f"`{config.audio}` holds the stems itself: leave out `--stems` and separators, or name "
            "an audio file."
        )
    if has_stems(config) and config.stems is None and not is_separated and not is_stems:
        raise ValueError(
            f"`--components {config.components}` needs `--stems FOLDER`, with one audio file per "
            "stem, or a `--separator` such as spleeter:5stems."
        )
    if config.stems is not None and is_separated:
        raise ValueError("`--stems` does not go with a separator: the stems are there already.")
    if not has_stems(config) and config.stems is not None:
        raise ValueError(
            f"`--stems` goes with `--components stems` or `stems-time`, got {config.components}."
        )
    if config.repeats < 1:
        raise ValueError(f"`--repeats` must be at least 1, got {config.repeats}.")
    if config.fills is not None:
        _check_fills(config, config.fills)


def fill_names(config: ExplainConfig) -> tuple[str, ...]:
    """The fills to average over; none where there is just one."""
    return tuple(name.strip() for name in config.fills.split(",")) if config.fills else ()


def _check_fills(config: ExplainConfig, fills: str) -> None:
    if has_stems(config):
        raise ValueError("`--fills` does not go with stems, where off is silent.")
    if config.fill != "zero":
        raise ValueError(
            f"`--fills` does not go with `--fill {config.fill}`. Name all of them in `--fills`."
        )
    names = fill_names(config)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"`--fills` must be at least two different names such as zero,mean, got {fills!r}."
        )
    for name in names:
        if config.components == "time":
            filling.check_waveform_fill(name, "`--fills`")
        elif name not in filling.FILLS:
            raise ValueError(unknown_name("`--fills`", name, filling.FILLS))


def check_question(question: Question) -> None:
    """Refuses what cannot be right in any command.

    Raises:
      ValueError: naming the option.
    """
    check_top_k(question.top_k)
    check_separation(question)
    if separator_given(question) is not None and not has_stems(question):
        raise ValueError(
            "a separator goes with `--components stems` or `stems-time`, got "
            f"{question.components}."
        )
    if not question.keep_stems and separator_given(question) is None:
        raise ValueError("`--no-keep-stems` goes with a separator.")
    if not question.residual and not has_stems(question):
        raise ValueError(f"`--no-residual` goes with stems, got {question.components}.")
    _check_parts(question)
    _check_targets(question)
    num_segments(question)
    if not 0 <= question.seed < 2**32:
        raise ValueError(f"`--seed` must lie in [0, 2**32), got {question.seed}.")
    if question.batch_size is not None and question.batch_size < 1:
        raise ValueError(f"`--batch-size` must be at least 1, got {question.batch_size}.")


def check_separation(config: Separation) -> None:
    """Refuses separators that cannot be meant.

    Raises:
      ValueError: naming the option.
    """
    if config.separator is not None and config.separator_command is not None:
        raise ValueError("`--separator` does not go with `--separator-command`. Use one of them.")
    for name in ("separator_weights", "crossfade"):
        if getattr(config, name) and config.separator is None:
            raise ValueError(f"`--{name.replace('_', '-')}` goes with `--separator`.")


def separator_given(config: Separation) -> str | None:
    """The separator asked for, or None."""
    return config.separator_command if config.separator is None else config.separator


def check_snippet(snippet: float | None) -> None:
    """Refuses snippets without length."""
    if snippet is not None and not 0 < snippet < float("inf"):
        raise ValueError(f"`--snippet` must be positive seconds, got {snippet}.")


def has_stems(question: Question) -> bool:
    """Whether the components are stems, or times of them."""
    return question.components in ("stems", "stems-time")


def _check_targets(question: Question) -> None:
    for name in ("std_error", "confidence", "max_evaluations"):
        if getattr(question, name) is not None and question.num_samples != "auto":
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"`{flag}` goes with `--num-samples auto`, got {question.num_samples}. A fixed "
                "number of samples has the errors it has."
            )


def _check_parts(question: Question) -> None:
    if not has_stems(question):
        if question.components == "time":
            filling.check_waveform_fill(question.fill)
        return
    if question.fill != "zero":
        raise ValueError(f"`--fill` must be zero for stems, got {question.fill}: off is silent.")
    if question.components == "stems" and question.segments is not None:
        raise ValueError("`--segments` does not go with stems. Use `--components stems-time`.")


def check_top_k(top_k: int) -> None:
    """Refuses to hear no component."""
    if top_k < 1:
        raise ValueError(f"`--top-k` must be at least 1, got {top_k}.")


def num_segments(question: Question) -> Any:
    """A number of segments, or a pair of them for a grid; None for whole stems."""
    if question.components == "stems":
        return None
    text = question.segments or _SEGMENTS[question.components]
    parts = text.lower().split("x")
    wanted = 2 if question.components == "grid" else 1
    if len(parts) != wanted or not all(part.strip().isdecimal() for part in parts):
        form = "two numbers such as 6x4 (time x frequency)" if wanted == 2 else "one number"
        raise ValueError(f"`--segments` must be {form} for {question.components}, got {text!r}.")
    numbers = tuple(int(part) for part in parts)
    if min(numbers) < 1:
        raise ValueError(f"`--segments` must be at least 1, got {text!r}.")
    return numbers if wanted == 2 else numbers[0]
