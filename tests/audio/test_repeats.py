"""Keys of fills and repeats: no random number is drawn twice."""

import jax
import jax.numpy as jnp
import numpy as np

from lime_jax.audio import fills, repeats


def numbers(keys):
    return {tuple(np.asarray(jax.random.key_data(key)).tolist()) for key in keys}


def test_keys_of_fills_and_repeats_are_no_keys_of_masks():
    """Rows and rounds fold their numbers into the key, as fills and repeats once did."""
    key = jax.random.key(7)
    beside = [fills.fill_key(key, name) for name in fills.FILLS]
    beside += [repeats.repeat_key(key, number) for number in range(1, 6)]
    assert len(numbers(beside)) == len(fills.FILLS) + 5
    rows = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(1000))
    assert not numbers(beside) & numbers([key, *rows, *jax.random.split(key, 1000)])
    assert repeats.repeat_key(key, 0) is key


def test_random_fills_are_uncorrelated():
    """Normal and uniform numbers of one key correlate at .98."""
    key, waveform = jax.random.key(0), jax.random.normal(jax.random.key(1), (10_000,))
    names = ("uniform", "noise", "shuffle")
    drawn = [fills.fill_of(name, waveform, fills.fill_key(key, name)) for name in names]
    assert np.abs(np.corrcoef(np.stack(drawn)) - np.eye(3)).max() < 0.05
