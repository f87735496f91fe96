"""The networks of published experiments: sizes, shapes, pooling."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lime_jax.models.singing_voice_network import SvdNet
from scripts.experiments.confounder.vgg16 import Vgg16, Vgg16Config, adaptive_average_pool


def num_parameters(make):
    state = nnx.state(nnx.eval_shape(make), nnx.Param)
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(state))


def test_svdnet_has_the_published_size():
    assert num_parameters(lambda: SvdNet(rngs=nnx.Rngs(0))) == 1_408_225


def test_vgg16_has_the_published_size():
    """torchvision's vgg16_bn with one channel and 50 outputs instead of three and 1000."""
    published = 138_365_992
    fewer = 2 * 9 * 64 + 950 * 4097
    config = Vgg16Config(num_outputs=50)
    assert num_parameters(lambda: Vgg16(config, rngs=nnx.Rngs(0))) == published - fewer


# Input and output as (mel, time, channel), and the number of parameters.
SVDNET_LAYERS = {
    "convs.0": ((80, 115, 1), (78, 113, 64), 640),
    "convs.1": ((78, 113, 64), (76, 111, 32), 18_464),
    "convs.2": ((25, 37, 32), (23, 35, 128), 36_992),
    "convs.3": ((23, 35, 128), (21, 33, 64), 73_792),
    "dense.0": ((4928,), (256,), 1_261_824),
    "dense.1": ((256,), (64,), 16_448),
    "output": ((64,), (1,), 65),
}


@pytest.mark.parametrize("name", list(SVDNET_LAYERS))
def test_layers_of_svdnet_have_the_published_shapes(name):
    before, after, number = SVDNET_LAYERS[name]

    def layer_of(network):
        return functools.reduce(getitem_or_attribute, name.split("."), network)

    def make():
        return layer_of(SvdNet(rngs=nnx.Rngs(0)))

    assert num_parameters(make) == number
    found = jax.eval_shape(lambda x: make()(x), jax.ShapeDtypeStruct((2, *before), jnp.float32))
    assert found.shape == (2, *after)


def getitem_or_attribute(module, name):
    return module[int(name)] if name.isdigit() else getattr(module, name)


def test_maxima_of_svdnet_take_a_third_along_both_axes():
    excerpts = jax.ShapeDtypeStruct((2, 115, 80), jnp.float32)
    features = jax.eval_shape(lambda x: SvdNet(rngs=nnx.Rngs(0)).features(x), excerpts)
    assert features.shape == (2, 7, 11, 64) and 7 * 11 * 64 == 4928


def test_svdnet_tells_a_probability():
    excerpts = jax.ShapeDtypeStruct((2, 115, 80), jnp.float32)
    shape = jax.eval_shape(lambda x: SvdNet(rngs=nnx.Rngs(0))(x), excerpts)
    assert shape.shape == (2, 1)


@pytest.mark.parametrize("shape", [(128, 63), (80, 115)])
def test_vgg16_takes_any_size(shape):
    def make():
        network = Vgg16(Vgg16Config(3, width=4, num_units=8), rngs=nnx.Rngs(0))
        network.eval()
        return network(jnp.ones((2, *shape)))

    assert jax.eval_shape(make).shape == (2, 3)


@pytest.mark.parametrize("size", [(4, 1), (7, 7), (9, 16)])
def test_adaptive_pooling_takes_means_of_cells(size):
    x = np.random.default_rng(0).normal(size=(1, *size, 2)).astype(np.float32)
    found = adaptive_average_pool(jnp.asarray(x), 7)
    for i in range(7):
        for j in range(7):
            rows = slice(i * size[0] // 7, int(np.ceil((i + 1) * size[0] / 7)))
            columns = slice(j * size[1] // 7, int(np.ceil((j + 1) * size[1] / 7)))
            expected = x[0, rows, columns].mean(axis=(0, 1))
            np.testing.assert_allclose(found[0, i, j], expected, atol=1e-6)
