"""Models of the user: an object that a function in the user's own code returns."""

import importlib
import numbers
import sys
from pathlib import Path
from typing import Any

from lime_jax.errors import ModelError
from lime_jax.models import registry


def resolve(spec: str) -> Any:
    """The model that a name of the registry or `package.module:factory` stands for.

    Modules are also found in the current folder. The factory is called without arguments and
    returns what `lime_jax.explain` takes as `predict`, with a `sample_rate` in Hz and, if it
    likes, `output_names`.

    Args:
      spec: for example "msd-musicnn" or "my_package.my_module:make_model".

    Raises:
      ModelError: if it cannot be loaded, or is not such an object.
    """
    if ":" not in spec:
        return registry.load(spec)
    model = _call(spec, _find_factory(spec))
    if not callable(model):
        raise ModelError(
            f"`{spec}` returned {_kind(model)}, which cannot be called. Return a function of a "
            "batch of waveforms (batch, num_samples), or an object with such a `__call__`."
        )
    sample_rate = getattr(model, "sample_rate", None)
    if not isinstance(sample_rate, numbers.Integral) or sample_rate <= 0:
        raise ModelError(
            f"`{spec}` returned {_kind(model)} whose `sample_rate` is {sample_rate!r}. Set this "
            "attribute to the rate of the waveforms it expects, a whole number in Hz."
        )
    return model


def output_names(model: Any, num_outputs: int) -> tuple[str, ...]:
    """The names of a model's outputs; "output 0", "output 1" … if it has none.

    Raises:
      ModelError: if it names more or fewer than it has.
    """
    names = getattr(model, "output_names", None)
    if names is None:
        return tuple(f"output {index}" for index in range(num_outputs))
    if len(names) != num_outputs:
        raise ModelError(
            f"`output_names` of {_kind(model)} has {len(names)} entries, but the model returns "
            f"{num_outputs} outputs. Name each output once."
        )
    return tuple(str(name) for name in names)


def _find_factory(spec: str) -> Any:
    module_name, _, attribute = spec.partition(":")
    if not module_name or not attribute:
        raise ModelError(f"`{spec}` must have the form package.module:factory. Give both parts.")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's code raises
        raise ModelError(
            f"`{spec}`: importing `{module_name}` raised {_told(error)}. Check the name, install "
            "what is missing, or run from the folder that holds the module."
        ) from error
    if not hasattr(module, attribute):
        raise ModelError(
            f"`{spec}`: the module `{module_name}` ({getattr(module, '__file__', 'built in')}) has "
            f"no attribute `{attribute}`. Check the part behind the colon."
        )
    factory = getattr(module, attribute)
    if not callable(factory):
        raise ModelError(
            f"`{spec}` is {_kind(factory)}, which cannot be called. Name a function without "
            "arguments that returns the model."
        )
    return factory


def _call(spec: str, factory: Any) -> Any:
    try:
        return factory()
    except Exception as error:  # whatever the user's code raises
        raise ModelError(
            f"`{spec}` raised {_told(error)}. It is called without arguments and must return the "
            "model."
        ) from error


def _kind(value: Any) -> str:
    return f"an object of type `{type(value).__name__}`"


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
