"""The command that separates a sound into files."""

import tempfile
from pathlib import Path

from lime_jax import recipe
from lime_jax import report
from lime_jax import separation
from lime_jax import settings
from lime_jax.commands import terminal
from lime_jax.report.folder import write_folder
from lime_jax.separation import stem_cache
from lime_jax.separation.residual import residual_file
from lime_jax.settings import SeparateConfig


def separate(config: SeparateConfig) -> int:
    """Separates, writes the stems and says where; returns 0.

    Raises:
      LimeJaxError: if the sound, the separator or the folder cannot be used.
      ValueError: if an option is impossible.
    """
    settings.check_separation(config)
    separator = recipe.separator_of(config)
    if separator is None:
        raise ValueError("`--separator` is missing. Name one, such as spleeter:5stems.")
    folder = config.output_dir or Path(f"stems-of-{config.audio.absolute().name}")
    report.check_folder(folder)
    excerpt = {"start": config.start, "duration": config.duration}
    with (
        tempfile.TemporaryDirectory() as scratch,
        separation.separated(
            config.audio, separator, **excerpt, keep=config.keep_stems, tell=terminal.say
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
