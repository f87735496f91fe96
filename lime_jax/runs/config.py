"""What a run over a data set can be asked."""

import dataclasses
import importlib.metadata
from pathlib import Path
from typing import Any

from lime_jax import settings, storage
from lime_jax.core.arguments import whole_number
from lime_jax.outputs import OutputSelection
from lime_jax.separation.base import Separator
from lime_jax.settings import ExplainSettings

# What may differ from one call of a run to the next, because the numbers do not depend on it.
_FREE = frozenset(
    "source layout output_dir batch_size num_workers part_items part_seconds shard ray "
    "num_engines retry_failed keep_stems".split()
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(ExplainSettings):
    """Explains a model on every sound of a data set; the same command goes on after a stop.

    Attributes:
      source: a folder, a glob in quotes, or a manifest (.csv or .parquet with the columns id, path,
        and if wanted start, duration or end, stems, label, group).
      output_dir: the store: a folder that collects the explanations.
      layout: of a folder: files (every audio file is an item), stems (every folder of audio files
        is one), musdb18, slakh2100, jamendo, ccmixter. If not given: stems where the components
        need them and no separator makes them, else files.
      outputs: all, top:N for the N highest predictions of every sound, or names separated by
        commas, those with commas in double quotes; all if not given. An output that is called as
        you write comes first.
      snippet: explain every snippet of so many seconds on its own; whole sounds if not given.
      hop: seconds from one snippet to the next; the length of a snippet if not given.
      max_channels: files with more channels are refused, because their mean may not be what you
        mean.
      num_workers: threads that read and decode ahead; as many as there are processors if not given.
      part_items: how many items one file of the store holds, at most.
      part_seconds: after so many seconds a file is written in any case.
      shard: i/n, to do only the i-th of n parts of the work, counted from 0, into one shared
        store; auto/n takes i from SLURM, Kubernetes or MPI, and auto both. If not given, both come
        from a SLURM array or step or a Kubernetes indexed job, where there is one and no terminal.
      ray: address of a Ray cluster that does the work, such as auto or host:6379; local starts one
        here. Needs lime-jax[ray].
      num_engines: with ray, how many engines; one per GPU, else per node, if not given.
      retry_failed: forget earlier failures and try those items again.
    """

    source: str
    output_dir: Path
    layout: str | None = None
    outputs: str | None = None
    snippet: float | None = None
    hop: float | None = None
    max_channels: int = 2
    num_workers: int | None = None
    part_items: int = 256
    part_seconds: float = 60.0
    shard: str | None = None
    ray: str | None = None
    num_engines: int | None = None
    retry_failed: bool = False


def check(config: RunConfig) -> None:
    """Refuses what cannot be right, before anything is loaded.

    Raises:
      ValueError: naming the option.
    """
    settings.check_explain_settings(config)
    settings.check_snippet(config.snippet)
    if config.hop is not None and (config.snippet is None or not 0 < config.hop < float("inf")):
        raise ValueError(
            f"`--hop` must be positive seconds and goes with `--snippet`, got {config.hop}."
        )
    for name in ("max_channels", "num_workers", "part_items", "num_engines"):
        value = getattr(config, name)
        if value is not None:
            whole_number(f"--{name.replace('_', '-')}", value)
    if not config.part_seconds > 0:
        raise ValueError(f"`--part-seconds` must be positive, got {config.part_seconds}.")
    if config.ray is not None and config.shard is not None:
        raise ValueError("`--shard` does not go with `--ray`, which shares the work out itself.")


def layout_of(config: RunConfig) -> str:
    """Returns the layout asked for, or the one that the components need."""
    needs_stems = config.has_stems and not config.has_separator
    return config.layout or ("stems" if needs_stems else "files")


def determinants(
    config: RunConfig,
    model: Any,
    output_names: tuple[str, ...],
    separator: Separator | None = None,
) -> dict[str, Any]:
    """Returns everything that the numbers of a run depend on, as plain values.

    Items are left out: each is explained by itself, and its id and file are stored with it.
    """
    from lime_jax.models import weights

    chosen = {
        field.name: storage.plain(getattr(config, field.name), field.name)
        for field in dataclasses.fields(config)
        if field.name not in _FREE
    }
    return {
        **chosen,
        "segments": storage.plain(config.num_segments),
        "hop": storage.plain(config.hop or config.snippet),
        "outputs": OutputSelection.parse(config.outputs).serialise(output_names),
        "sample_rate": int(model.sample_rate),
        "resampler": getattr(model, "resampler", "soxr"),
        "output_names": list(output_names),
        "weights": weights.digest(model),
        "separator_version": None if separator is None else separator.version,
        "lime_jax": importlib.metadata.version("lime-jax"),
    }


def settings_of(values: dict[str, Any]) -> ExplainSettings:
    """Returns what the configuration of a store asks for."""
    names = {field.name for field in dataclasses.fields(ExplainSettings)}
    given = {name: value for name, value in values.items() if name in names}
    segments = given["segments"]
    if segments is not None:
        numbers = segments if isinstance(segments, list) else [segments]
        given["segments"] = "x".join(map(str, numbers))
    if given.get("separator_weights") is not None:
        given["separator_weights"] = Path(given["separator_weights"])
    return ExplainSettings(**given)


def digest(values: dict[str, Any]) -> str:
    """Returns the SHA-256 of the canonical JSON, in hexadecimal."""
    return storage.digest_of_json(values, sort_keys=True)
