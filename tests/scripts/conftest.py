"""Scripts as modules of the repository, and the folder that they run in."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def script():
    """A function that imports scripts by their names below `scripts`, several as one namespace."""
    return load


def load(*names):
    """The module of that name below `scripts`; of several names, what any of them holds."""
    modules = [importlib.import_module(f"scripts.{name}") for name in names]
    return modules[0] if len(modules) == 1 else Namespace(modules)


class Namespace:
    """What some modules hold; what is set is set in all that hold it, until it is deleted."""

    def __init__(self, modules):
        vars(self).update(modules=modules, originals={})

    def __getattr__(self, name):
        for module in self.modules:
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(name)

    def __setattr__(self, name, value):
        for module in self.modules:
            if hasattr(module, name):
                self.originals.setdefault((module, name), getattr(module, name))
                setattr(module, name, value)

    def __delattr__(self, name):
        for module in self.modules:
            if (module, name) in self.originals:
                setattr(module, name, self.originals.pop((module, name)))
