"""The command that separates an audio file into stems."""

import dataclasses
import tempfile
from pathlib import Path

from lime_jax import report, separation, settings
from lime_jax.commands import terminal
from lime_jax.commands.annotations import command
from lime_jax.report.folder import write_folder
from lime_jax.separation import stem_cache
from lime_jax.separation.residual import residual_file
from lime_jax.settings import SeparationSettings


@command(audio=None)
@dataclasses.dataclass(frozen=True, kw_only=True)
class SeparateConfig(SeparationSettings):
    """Separates an audio file into stems: a WAV file (32-bit float) for each.

    Attributes:
      audio: the file to separate: WAV, FLAC, Ogg Vorbis, Opus or MP3, mono or stereo.
      output_dir: where the stems go; stems-of-FILE if not given.
      start: where the excerpt starts, in seconds.
      duration: of the excerpt, in seconds; to the end if not given.
    """

    audio: Path
    output_dir: Path | None = None
    start: float = 0.0
    duration: float | None = None


def run(config: SeparateConfig) -> int:
    """Separates, writes the stems and says where; returns 0.

    Raises:
      LimeJaxError: if the file, the separator or the folder cannot be used.
      ValueError: if an option is impossible.
    """
    settings.check_separation_settings(config)
    separator = settings.separator_of(config)
    if separator is None:
        raise ValueError("`--separator` is missing. Name one, such as spleeter:5stems.")
    folder = config.output_dir or Path(f"stems-of-{config.audio.absolute().name}")
    report.check_folder(folder)
    excerpt = {"start": config.start, "duration": config.duration}
    with (
        tempfile.TemporaryDirectory() as scratch,
        separation.cached_stems(
            config.audio, separator, **excerpt, keep=config.keep_stems, report=terminal.say
        ) as entry,
    ):
        residual = None
        if config.residual:
            residual = residual_file(config.audio, entry, Path(scratch), **excerpt)
        stems = entry if residual is None else entry.with_stem(residual.stem, residual)
        files = {path.name: path for path in stems.files.values()}
        written = write_folder(folder, {stem_cache.LISTING: stems.dumps(), **files})
    terminal.say(f"{', '.join(stems.files)}: {written}")
    return 0
