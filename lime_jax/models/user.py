"""Models of the user: an object that a function in the user's own code returns."""

import importlib
import numbers
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Inexact

from lime_jax.core.arguments import texts
from lime_jax.core.execution.host_model import HostModel
from lime_jax.core.predictor import check_outputs
from lime_jax.core.pytree import pytree, static
from lime_jax.errors import LimeJaxError, ModelError
from lime_jax.models import registry


def resolve(spec: str) -> Any:
    """Loads the model that a name of the registry or `package.module:factory` stands for.

    Modules are also found in the current folder. The factory is called without arguments and
    returns what `lime_jax.explain` takes as `predict`, with a `sample_rate` in Hz and, if it
    likes, `output_names`, a list, tuple or array of texts or numbers.

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


def wrap_errors(model: Any, name: str) -> Any:
    """Wraps a model so that whatever it raises becomes a `ModelError` with its name."""
    return model if isinstance(model, HostModel) else _WrappedModel(model, name)


def num_outputs(predict: Any, inputs: Inexact[Array, "batch ..."], name: str) -> int:
    """Returns the number of outputs, from shapes alone; a host model is called once.

    Args:
      predict: what `lime_jax.explain` takes.
      inputs: a batch as `predict` takes it.
      name: of the model, for messages.

    Raises:
      ModelError: if the model fails or does not return one row per input.
    """
    if isinstance(predict, HostModel):
        return predict(np.asarray(inputs)).shape[1]

    def checked_predict(batch: Inexact[Array, "batch ..."]) -> Inexact[Array, "batch outputs"]:
        return check_outputs(predict(batch), len(batch))

    try:
        return jax.eval_shape(checked_predict, inputs).shape[1]
    except ValueError as error:
        raise ModelError(str(error).replace("`predict`", f"`{name}`")) from error


def output_names(model: Any, num_outputs: int) -> tuple[str, ...]:
    """Returns the names of a model's outputs; "output 0", "output 1" … if it has none.

    Raises:
      ModelError: if it names more or fewer than it has, two alike, or in no list.
    """
    names = names_of_outputs(model)
    if not names:
        return tuple(f"output {index}" for index in range(num_outputs))
    if len(names) != num_outputs:
        raise ModelError(
            f"`output_names` of {_kind(model)} has {len(names)} entries, but the model returns "
            f"{num_outputs} outputs. Name each output once."
        )
    return names


def names_of_outputs(model: Any) -> tuple[str, ...]:
    """Returns the names that a model gives its outputs, of any kind, as text; none if it has none.

    Raises:
      ModelError: if it has two alike, or what is no list of names.
    """
    given = getattr(model, "output_names", None)
    try:
        names = () if given is None else texts("output_names", given)
    except ValueError as error:
        raise ModelError(f"{_kind(model)}: {error}") from error
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ModelError(
            f"`output_names` of {_kind(model)} has {twice!r} more than once. Give every output a "
            "name of its own."
        )
    return names


@pytree
class _WrappedModel:
    """A model whose name is in what it raises."""

    model: Any
    name: str = static()

    @property
    def receptive_field(self) -> Any:
        """What the model declares, or None."""
        return getattr(self.model, "receptive_field", None)

    def __call__(self, inputs: Any) -> Any:
        try:
            return self.model(inputs)
        except LimeJaxError:
            raise
        except Exception as error:  # whatever the user's code raises
            hint = ""
            if isinstance(error, jax.errors.TracerArrayConversionError):
                hint = " Wrap a model that is not JAX in `lime_jax.host_model`."
            raise ModelError(f"`{self.name}` failed: {_first_line(error)}{hint}") from error


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
            f"`{spec}`: importing `{module_name}` raised {_first_line(error)}. Check the name, "
            "install what is missing, or run from the folder that holds the module."
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
            f"`{spec}` raised {_first_line(error)}. It is called without arguments and must "
            "return the model."
        ) from error


def _kind(value: Any) -> str:
    return f"an object of type `{type(value).__name__}`"


def _first_line(error: Exception) -> str:
    """The type and the first line of an error; those of JAX fill pages."""
    first, *_ = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first}"
