"""Scripts as modules of the repository, and the folder that they run in."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def script():
    """A function that imports a script by its name below `scripts`."""
    return load


def load(name):
    """The module of that name below `scripts`."""
    return importlib.import_module(f"scripts.{name}")
