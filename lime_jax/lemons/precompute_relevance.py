"""Writes down how relevant all tracks of a library are, so that the first page need not wait.

python -m lime_jax.lemons.precompute_relevance [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

from lime_jax.lemons import HOME, relevance
from lime_jax.lemons.application import Application


def precompute(folder: Path) -> Path:
    """Computes the relevance of all tracks for all listeners of a library; returns the file."""
    with tempfile.TemporaryDirectory() as cache:
        application = Application(folder, cache=Path(cache))
        try:
            compute = application.recommendations.compute
            relevances = dict(compute(persona) for persona in application.audience.personas)
        finally:
            application.close()
    return relevance.write_precomputed(folder, relevances)


if __name__ == "__main__":
    sys.stdout.write(f"{precompute(Path(sys.argv[1]) if sys.argv[1:] else HOME)}\n")
