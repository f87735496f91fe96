"""Trees of items: one of them, several, and one that is repeated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lime_jax.core.execution.compiled import pad_items
from lime_jax.core.item_axis import as_one_item, item_of

ITEMS = {"a": jnp.arange(6.0).reshape(3, 2), "b": jax.random.split(jax.random.key(0), 3)}


@pytest.mark.parametrize("index", range(3))
def test_an_item_is_that_of_every_leaf(index):
    item = item_of(ITEMS, index)
    np.testing.assert_array_equal(item["a"], ITEMS["a"][index])
    assert item["b"] == ITEMS["b"][index]


@pytest.mark.parametrize("index", [-1, 3])
def test_an_item_that_is_not_there_is_refused(index):
    with pytest.raises(IndexError, match=f"no item {index} of 3"):
        item_of(ITEMS, index)


def test_one_item_is_the_first_of_one():
    again = item_of(as_one_item(ITEMS), 0)
    np.testing.assert_array_equal(again["a"], ITEMS["a"])
    assert (again["b"] == ITEMS["b"]).all()


def test_the_last_item_is_repeated():
    padded = pad_items(ITEMS, 2)
    np.testing.assert_array_equal(padded["a"], ITEMS["a"][jnp.array([0, 1, 2, 2, 2])])
