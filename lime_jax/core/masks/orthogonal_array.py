"""Designed neighbourhoods: far fewer masks than fair coins need for the same error."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from lime_jax.core.masks.neighbourhood import Neighbourhood, check_num_samples, needed_key
from lime_jax.core.pytree import pytree, static

# Irreducible polynomials over GF(2), by degree.
_POLYNOMIALS = {
    2: 0b111,
    3: 0b1011,
    4: 0b10011,
    5: 0b100101,
    6: 0b1000011,
    7: 0b10000011,
    8: 0b100011011,
    9: 0b1000010001,
    10: 0b10000001001,
}


MOST_COMPONENTS = 2 ** max(_POLYNOMIALS)


_MOST_REPLICATES = 32


@pytree
class OrthogonalArray:
    """Masks in which any five components take all their combinations equally often.

    What depends on up to five components at a time is averaged without sampling error. Arrays are
    the duals of BCH codes: `2**(2m + 1)` masks for up to `2**m` components. Each array takes
    random columns and a random shift, so that arrays are independent of each other and tell the
    error; as many are used as `num_samples` holds, 32 at most. The unperturbed input is evaluated
    in addition and does not count.

    Attributes:
      num_samples: at least one array; standard errors need three.

    References:
      Hedayat, Sloane and Stufken, Orthogonal Arrays, 1999, chapters 4 and 5.
    """

    num_samples: int = static()

    def __call__(self, key: Key[Array, ""] | None, num_components: int) -> Neighbourhood:
        check_num_samples(self.num_samples)
        size = array_size(num_components)
        replicates = min(self.num_samples // size, _MOST_REPLICATES)
        if replicates < 1:
            raise ValueError(
                f"`num_samples` must be at least {size} for an orthogonal array of "
                f"{num_components} components, got {self.num_samples}."
            )
        num_counted = replicates * size
        return Neighbourhood(
            needed_key(key),
            None,
            _rows_of(replicates),
            num_counted,
            num_components,
            num_counted + 1,
            replicates,
            num_counted,
            distribution="uniform",
        )


def array_size(num_components: int) -> int:
    """Returns how many masks an orthogonal array of strength five has.

    Raises:
      ValueError: if there are too many components.
    """
    return 2 ** (2 * _degree(num_components) + 1)


def _degree(num_components: int) -> int:
    degree = max(2, (num_components - 1).bit_length())
    if degree > max(_POLYNOMIALS):
        raise ValueError(
            f"`num_components` = {num_components} is too many for orthogonal arrays (at most "
            f"{MOST_COMPONENTS}). Use `lime(num_samples=…)`, or fewer components."
        )
    return degree


@functools.cache
def _rows_of(replicates: int) -> Callable[..., Any]:
    """The same function for the same number, because jit compares functions by identity."""
    return functools.partial(_array_rows, replicates)


def _array_rows(
    replicates: int,
    key: Key[Array, ""] | None,
    rows: Int[Array, " num_rows"],
    num_components: int,
) -> Bool[Array, "num_rows num_components"]:
    """Row `i` is row `i // replicates` of array `i % replicates`; the one behind them is all on."""
    keys = jax.random.split(needed_key(key), replicates)
    columns, shifts = jax.vmap(lambda key: _columns(key, num_components))(keys)
    array, row = rows % replicates, rows // replicates
    ones = jnp.bitwise_count(row[:, None] & columns[array])
    masks = (ones.astype(jnp.int32) & 1 == 1) ^ shifts[array]
    return masks | (row == array_size(num_components))[:, None]


def _columns(
    key: Key[Array, ""], num_components: int
) -> tuple[Int[Array, " num_components"], Bool[Array, " num_components"]]:
    """The bits (1, x, x³) of a random element x per component, and whether it is flipped."""
    degree = _degree(num_components)
    key_elements, key_shift = jax.random.split(key)
    elements = jax.random.permutation(key_elements, 2**degree)[:num_components]
    cubes = jnp.asarray(_cubes(degree))[elements]
    columns = 1 | elements << 1 | cubes << (degree + 1)
    return columns, jax.random.bernoulli(key_shift, jnp.float32(0.5), (num_components,))


@functools.cache
def _cubes(degree: int) -> np.ndarray:
    """x³ of all elements x of GF(2**degree), as bits of polynomials over GF(2)."""

    def times(a: int, b: int) -> int:
        product = 0
        for shift in range(degree):
            product ^= (a << shift) * (b >> shift & 1)
        for shift in range(degree - 2, -1, -1):
            product ^= (_POLYNOMIALS[degree] << shift) * (product >> (degree + shift) & 1)
        return product

    return np.array([times(x, times(x, x)) for x in range(2**degree)], np.int32)
