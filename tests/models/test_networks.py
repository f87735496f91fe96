"""The networks of published experiments: sizes, shapes, pooling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lime_jax.models.singing_voice import SvdNet
from lime_jax.models.vgg16 import Vgg16, Vgg16Config, adaptive_average_pool


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


def test_svdnet_tells_a_probability():
    network = SvdNet(rngs=nnx.Rngs(0))
    shape = jax.eval_shape(network, jax.ShapeDtypeStruct((2, 115, 80), jnp.float32))
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
