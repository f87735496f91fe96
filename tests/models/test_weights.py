"""Weights fit their network exactly, or all misfits are told at once."""

import concurrent.futures
import gc
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lime_jax.errors import ModelError
from lime_jax.models import conversion, tf_checkpoint, weights
from lime_jax.models.musicnn import Musicnn, MusicnnConfig
from lime_jax.models.vgg import Vgg, VggConfig
from tests.networks import initialise


class Tiny(nnx.Module):
    def __init__(self, *, rngs):
        self.layers = nnx.List([nnx.Linear(2, 3, rngs=rngs), nnx.Linear(3, 1, rngs=rngs)])
        self.norm = nnx.BatchNorm(1, use_running_average=True, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.layers[1](self.layers[0](x)))


def make_tiny():
    return initialise(lambda: Tiny(rngs=nnx.Rngs(0)))


# As the original names and shapes them, in the order in which it made them.
def musicnn_variables(num_filters, num_units, num_outputs):
    heights = [(7, 38, 1, 204), (7, 67, 1, 204), (128, 1, 1, 51), (64, 1, 1, 51), (32, 1, 1, 51)]
    heights += [(7, 561, 1, num_filters), *2 * [(7, num_filters, 1, num_filters)]]
    num_pooled = 2 * (561 + 3 * num_filters)
    shapes = {}
    for i, shape in enumerate(heights):
        add_layer(shapes, numbered("conv2d", i), shape)
    for i, shape in enumerate([(num_pooled, num_units), (num_units, num_outputs)]):
        add_layer(shapes, numbered("dense", i), shape)
    for i, size in enumerate([1, *(shape[-1] for shape in heights), num_pooled, num_units]):
        add_norm(shapes, numbered("batch_normalization", i), size)
    return shapes


def vgg_variables(num_filters, num_outputs):
    shapes = {}
    for i, num_inputs in enumerate([1, *4 * [num_filters]]):
        add_layer(shapes, f"{i + 1}CNN", (3, 3, num_inputs, num_filters))
        add_norm(shapes, f"batch_normalization_{i + 1}", num_filters)
    add_norm(shapes, "batch_normalization", 1)
    add_layer(shapes, "dense", (2 * num_filters, num_outputs))
    return shapes


def add_layer(shapes, name, kernel_shape):
    shapes |= {f"{name}/kernel": kernel_shape, f"{name}/bias": kernel_shape[-1:]}


def add_norm(shapes, name, size):
    for variable in ("gamma", "beta", "moving_mean", "moving_variance"):
        shapes[f"{name}/{variable}"] = (size,)


def numbered(name, i):
    return f"{name}_{i}" if i else name


def fill(shapes):
    rng = np.random.default_rng(0)
    return {name: rng.random(shape, np.float32) for name, shape in shapes.items()}


NETWORKS = {
    "musicnn": (
        lambda: Musicnn(MusicnnConfig(8, 10, 5), rngs=nnx.Rngs(0)),
        conversion.MUSICNN_LAYERS,
        musicnn_variables(8, 10, 5),
    ),
    "vgg": (
        lambda: Vgg(VggConfig(6, 5), rngs=nnx.Rngs(0)),
        conversion.VGG_LAYERS,
        vgg_variables(6, 5),
    ),
}


def test_saved_weights_give_the_same_network(tmp_path):
    network = make_tiny()
    weights.save(tmp_path / "tiny", weights.arrays_of(network))
    arrays = weights.restore(tmp_path / "tiny")
    assert arrays.keys() == weights.shapes_of(make_tiny).keys()
    again = weights.network_of(lambda: Tiny(rngs=nnx.Rngs(1)), arrays, source="tiny")
    x = jnp.arange(8.0).reshape(4, 2)
    np.testing.assert_array_equal(again(x), network(x))


def test_archives_are_read_by_many_threads_at_once(tmp_path):
    """As by a server whose first visitors come together; NumPy alone fails at it in Python 3.11."""
    arrays = {f"layers.{number}": np.full((2, 3), number, np.float32) for number in range(200)}
    np.savez(tmp_path / "weights.npz", **arrays)

    def read(_):
        return weights.read_archive(tmp_path / "weights.npz", advice="")

    # Threads change while rubbish is collected: as often, and in turns as short, as can be.
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(10)
    try:
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            for given in pool.map(read, range(24)):
                assert given.keys() == arrays.keys()
                assert all((given[name] == arrays[name]).all() for name in arrays)
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)


def test_all_misfits_are_reported_at_once():
    arrays = weights.arrays_of(make_tiny())
    arrays["layers.2.bias"] = arrays.pop("layers.1.bias")
    arrays["layers.0.kernel"] = arrays["layers.0.kernel"].T
    with pytest.raises(ModelError) as error:
        weights.network_of(make_tiny, arrays, source="here.orbax")
    for part in (
        "`here.orbax`",
        "missing `layers.1.bias` (1,)",
        "unexpected `layers.2.bias` (1,)",
        "`layers.0.kernel` has shape (3, 2) instead of (2, 3)",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(("make", "layers", "shapes"), NETWORKS.values(), ids=NETWORKS)
class TestConversion:
    def convert(self, tensors, make, layers):
        return conversion.from_tensorflow(tensors, layers, make, source="model.index")

    def test_every_weight_finds_its_variable(self, make, layers, shapes):
        tensors = fill(shapes)
        arrays = self.convert(tensors, make, layers)
        assert {name: array.shape for name, array in arrays.items()} == weights.shapes_of(make)
        assert sorted(map(id, map(base_of, arrays.values()))) == sorted(
            map(id, map(base_of, tensors.values()))
        )

    @pytest.mark.slow
    def test_goes_through_a_checkpoint_of_the_users(self, make, layers, shapes, tf, tmp_path):
        from lime_jax.models.crc32c import crc32c

        tensors = fill(shapes)
        tf(crc=crc32c).write(tmp_path, "model", tensors)
        arrays = self.convert(tf_checkpoint.read(tmp_path, "model"), make, layers)
        network = weights.network_of(make, arrays, source="model.index")
        assert network(jnp.ones((1, 187, 96))).shape == (1, 5)

    def test_the_optimisers_state_is_left_out(self, make, layers, shapes):
        extra = {"dense/kernel/Adam": (3,), "dense/kernel/Adam_1": (3,), "beta1_power": ()}
        assert (
            self.convert(fill(shapes | extra), make, layers).keys()
            == weights.shapes_of(make).keys()
        )

    def test_misfits_are_reported_by_the_names_in_the_checkpoint(self, make, layers, shapes):
        tensors = fill(shapes)
        del tensors["batch_normalization_3/gamma"]
        tensors["conv9/kernel"] = np.zeros((1, 2), np.float32)
        tensors["dense/bias"] = np.zeros(7, np.float32)
        with pytest.raises(ModelError) as error:
            self.convert(tensors, make, layers)
        for part in (
            "`model.index`",
            "missing `batch_normalization_3/gamma`",
            "unexpected `conv9/kernel` (1, 2)",
            "`dense/bias` has shape (7,) instead of",
        ):
            assert part in str(error.value)


def test_names_say_which_layer_is_meant():
    """The variables whose shapes alone cannot tell them apart."""
    make, layers, shapes = NETWORKS["musicnn"]
    tensors = fill(shapes)
    arrays = conversion.from_tensorflow(tensors, layers, make, source="test")
    for ours, theirs in {
        "input_norm.scale": "batch_normalization/gamma",
        "timbral.0.norm.bias": "batch_normalization_1/beta",
        "temporal.2.norm.mean": "batch_normalization_5/moving_mean",
        "middle.1.conv.bias": "conv2d_6/bias",
        "middle.2.norm.var": "batch_normalization_8/moving_variance",
        "hidden_norm.var": "batch_normalization_10/moving_variance",
    }.items():
        np.testing.assert_array_equal(arrays[ours], tensors[theirs])


def base_of(array):
    return array if array.base is None else array.base
