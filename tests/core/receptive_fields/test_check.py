"""Wrong declarations are found wherever explanations would show them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.core.receptive_fields.check import pairwise_masks
from tests import programs

SIZE, D = 24, 8
SIGNAL = np.random.default_rng(0).normal(size=SIZE).astype(np.float32)
KEY = jax.random.key(0)
METHOD = lj.lime(200)


def components_of(signal=SIGNAL):
    return lj.from_labels(signal, lj.equal_segments(SIZE, D), D)


def energies(x):
    return jnp.square(x).reshape(len(x), D, 3).sum(axis=2)


def declare(whole, head=lambda x: x.max(axis=1, keepdims=True), backbone=None):
    backbone = backbone or (lambda x: jnp.square(x).sum(axis=1))
    return lj.receptive_fields.windowed(whole, backbone=backbone, head=head, window=3, stride=3)


def explain(model, signal=SIGNAL):
    return lj.explain(model, components_of(signal), METHOD, key=KEY)


@pytest.mark.parametrize("d", [1, 2, 3, 8, 33])
def test_masks_take_all_combinations_of_pairs(d):
    masks = pairwise_masks(d)
    for one, other in itertools.combinations(range(d), 2):
        assert len(np.unique(masks[:, [one, other]], axis=0)) == 4


@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4])
def test_a_large_offset_hides_nothing(offset):
    """Windows that multiply cannot be a maximum; the offset dwarfs both."""

    def whole(x):
        loud = energies(x)
        return offset + loud.max(axis=1, keepdims=True) + 0.1 * loud[:, :1] * loud[:, 5:6]

    right = declare(
        lambda x: offset + energies(x).max(axis=1, keepdims=True),
        head=lambda x: offset + x.max(axis=1, keepdims=True),
    )
    assert explain(right).num_evaluations == 2 * D
    with pytest.raises(ValueError, match="differ from `whole`"):
        explain(declare(whole, head=lambda x: offset + x.max(axis=1, keepdims=True)))


@pytest.mark.parametrize(("on", "off"), [(2, 5), (0, 7), (6, 1)])
def test_what_links_two_windows_is_found(on, off):
    def whole(x):
        loud = energies(x)
        linked = (loud[:, on] > 0) & (loud[:, off] == 0)
        return loud.max(axis=1, keepdims=True) + linked[:, None].astype(jnp.float32)

    with pytest.raises(ValueError, match="differ from `whole`"):
        explain(declare(whole))


def test_new_weights_are_checked_anew_and_old_ones_are_not():
    def model_of(factor):
        def whole(factor, x):
            return energies(x).max(axis=1, keepdims=True) * jnp.where(factor > 3, 2.0, 1.0)

        return declare(jax.tree_util.Partial(whole, jnp.float32(factor)))

    right = model_of(1.0)
    explain(right)
    with programs.counted() as made:
        explain(right)
    assert not made
    with pytest.raises(ValueError, match="differ from `whole`"):
        explain(model_of(5.0))


def test_weights_that_numpy_changed_in_place_are_checked_anew():
    factor = np.ones(1, np.float32)
    model = declare(
        jax.tree_util.Partial(lambda f, x: energies(x).max(axis=1, keepdims=True) * f[None], factor)
    )
    explain(model)
    factor[:] = 5
    with pytest.raises(ValueError, match="differ from `whole`"):
        explain(model)


def test_silent_ends_do_not_hide_wrong_padding():
    """Zeros are what padding is made of, so a silent end looks like any declaration of it."""
    kernel = np.random.default_rng(1).normal(size=(4, 2)).astype(np.float32)

    def columns(x):
        padded = jnp.pad(x, [(0, 0), (2, 2)])
        starts = np.arange(0, SIZE + 1, 2)
        return jnp.tanh(padded[:, starts[:, None] + np.arange(4)] @ kernel)

    model = lj.receptive_fields.layerwise(
        lambda x: columns(x).max(axis=1),
        layers=[
            lj.receptive_fields.layer(lambda w: jnp.tanh(w @ kernel), window=4, stride=2, pad=2)
        ],
        head=lambda x: x.max(axis=1),
    )
    silent = SIGNAL.copy()
    silent[:6] = silent[-6:] = 0
    with pytest.raises(ValueError, match="differ from `whole`"):
        explain(model, silent)
