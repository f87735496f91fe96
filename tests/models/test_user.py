"""Models of the user are found, checked, and blamed by name."""

import enum
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import lime_jax as lj
from lime_jax import models
from lime_jax.errors import ModelError

MODULE = """
import functools

class Model:
    sample_rate = 8000
    output_names = ("low", "high")

    def __call__(self, waveforms):
        return waveforms[:, :2]

def with_rate(rate):
    model = Model()
    model.sample_rate = rate
    return model

make = Model
text_rate = functools.partial(with_rate, "16 kHz")
negative_rate = functools.partial(with_rate, -1)
not_a_function = 3.5

def no_rate():
    return lambda waveforms: waveforms

def not_a_model():
    return [1, 2]

def fails():
    raise KeyError("my weights")

def wants_an_argument(path):
    return Model()
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder with modules of the user in it."""
    (tmp_path / "my_models.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "my_broken.py").write_text("1 / 0\n", encoding="utf-8")
    (tmp_path / "my_imports.py").write_text("import no_such_dependency\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in ("my_models", "my_broken", "my_imports"):
        sys.modules.pop(name, None)


def test_a_factory_in_the_current_folder_is_called(here):
    model = models.resolve("my_models:make")
    assert model.sample_rate == 8000
    assert models.output_names(model, 2) == ("low", "high")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("my_models:", "package.module:factory"),
        (":make", "package.module:factory"),
        ("my_modells:make", "ModuleNotFoundError: No module named 'my_modells'"),
        ("my_imports:make", "ModuleNotFoundError: No module named 'no_such_dependency'"),
        ("my_broken:make", "ZeroDivisionError: division by zero"),
        ("my_models:mak", r"my_models\.py.*no attribute `mak`"),
        ("my_models:not_a_function", "type `float`, which cannot be called"),
        ("my_models:fails", "raised KeyError: 'my weights'"),
        ("my_models:wants_an_argument", "TypeError: .*missing 1 required positional argument"),
        ("my_models:not_a_model", "type `list`, which cannot be called"),
        ("my_models:no_rate", "`sample_rate` is None"),
        ("my_models:text_rate", "`sample_rate` is '16 kHz'"),
        ("my_models:negative_rate", "`sample_rate` is -1"),
    ],
)
def test_mistakes_are_named(here, spec, message):
    with pytest.raises(ModelError, match=f"(?s)^`{spec}`.*{message}"):
        models.resolve(spec)


def test_other_names_are_those_of_the_registry():
    with pytest.raises(ModelError, match="did you mean 'msd-vgg'"):
        models.resolve("msd-vg")


def test_outputs_without_names_are_numbered():
    predict = jax.tree_util.Partial(lambda x: x)
    nameless = lj.host_model(lambda batch: batch, sample_rate=8000)
    for model in (predict, nameless):
        assert models.output_names(model, 3) == ("output 0", "output 1", "output 2")


def test_names_must_fit_the_outputs(here):
    with pytest.raises(ModelError, match=r"2 entries.*3 outputs"):
        models.output_names(models.resolve("my_models:make"), 3)


def test_names_must_differ():
    alike = lj.host_model(lambda batch: batch, output_names=("rock", "pop", "rock"))
    with pytest.raises(ModelError, match="'rock' more than once"):
        models.output_names(alike, 3)


class Colour(enum.Enum):
    RED = 1

    def __str__(self):
        return "red"


# Names of outputs as people have them; `if names` of an array was an error of NumPy.
LISTS = {
    "list": (["a", "b"], ("a", "b")),
    "array": (np.array(["a", "b"]), ("a", "b")),
    "array of objects": (np.array(["a", 2], object), ("a", "2")),
    "integers": ([0, 1], ("0", "1")),
    "array of integers": (np.arange(2), ("0", "1")),
    "numbers of JAX": (jnp.arange(2), ("0", "1")),
    "bytes": (np.array([b"a", "\xe4".encode()]), ("a", "\xe4")),
    "members": ([Colour.RED], ("red",)),
    "range": (range(2), ("0", "1")),
    "index of pandas": (pd.Index(["a", "b"]), ("a", "b")),
    "nothing": (np.array([]), ()),
    "none": (None, ()),
}


@pytest.mark.parametrize("name", LISTS)
def test_names_may_be_of_any_kind(name):
    given, expected = LISTS[name]
    model = types.SimpleNamespace(output_names=given)
    assert models.names_of_outputs(model) == expected
    if expected:
        assert models.output_names(model, len(expected)) == expected
        hosted = lj.host_model(lambda batch: batch, output_names=given)
        assert hosted.output_names == expected


@pytest.mark.parametrize("given", ["rock", b"rock", {0: "rock"}, 7, np.array([["a"]]), np.array(1)])
def test_names_must_be_a_list(given):
    with pytest.raises(ModelError, match="`output_names` must be a list of names, got"):
        models.names_of_outputs(types.SimpleNamespace(output_names=given))


def test_outputs_are_counted_and_failures_blamed_on_the_model():
    batch = jnp.ones((2, 5))
    for model in (lambda x: x[:, :3], lj.host_model(lambda x: x[:, :3])):
        assert models.num_outputs(models.wrap_errors(model, "mine"), batch, "mine") == 3

    def raising(x):
        raise KeyError("boom\nat length")

    for model, message in [
        (raising, r"`mine` failed: KeyError: .boom"),
        (lambda x: np.asarray(x), r"`mine` failed: TracerArray.*`lime_jax.host_model`"),
        (lambda x: x[0], r"`mine` must map a batch of 2 inputs .* got shape \(5,\)"),
    ]:
        with pytest.raises(ModelError, match=f"^{message}"):
            models.num_outputs(models.wrap_errors(model, "mine"), batch, "mine")


def test_named_models_keep_their_weights_as_leaves():
    model = jax.tree_util.Partial(jnp.multiply, jnp.arange(3.0))
    assert len(jax.tree.leaves(models.wrap_errors(model, "mine"))) == 1
