"""Writes down how relevant all tracks of a library are, so that the first page need not wait.

python -m lime_jax.lemons.precompute_relevance [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

from lime_jax.lemons import HOME
from lime_jax.lemons import relevance as recommending
from lime_jax.lemons.application import Application


def precompute(folder: Path) -> Path:
    """Judges all tracks of a library for all listeners it comes with; returns the file."""
    with tempfile.TemporaryDirectory() as cache:
        application = Application(folder, cache=Path(cache))
        try:
            relevance = dict(application.judged(name) for name in application.personas)
        finally:
            application.close()
    return recommending.write_precomputed(folder, relevance)


if __name__ == "__main__":
    sys.stdout.write(f"{precompute(Path(sys.argv[1]) if sys.argv[1:] else HOME)}\n")
