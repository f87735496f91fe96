"""Components, beside the laws of tests/laws.py."""

import jax
import numpy as np
import pytest

import lime_jax as lj

N, T, F, S = 101, 23, 17, 3


def noise(*shape):
    drawn = np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)
    return jax.device_put(drawn)


def ones(*shape):
    return jax.device_put(np.ones(shape, np.float32))


def mask_of(on):
    return jax.device_put(np.asarray(on, bool))


def segments(size, num_segments):
    return np.asarray(lj.equal_segments(size, num_segments))


@pytest.mark.parametrize(
    ("size", "n", "starts"),
    [
        (115, 10, [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]),
        (80, 10, list(range(0, 80, 8))),
        (10_007, 5, [0, 2001, 4002, 6003, 8004]),
        (3, 3, [0, 1, 2]),
    ],
)
def test_equal_segments_have_the_published_edges(size, n, starts):
    labels = np.asarray(lj.equal_segments(size, n))
    assert np.flatnonzero(np.diff(labels, prepend=-1)).tolist() == starts
    assert labels[-1] == n - 1


segments_of_used = jax.jit(lambda used: lj.equal_segments(7, 3, used=used))


@pytest.mark.parametrize("used", [1, 3, 5, 7])
def test_a_traced_number_of_used_elements_gives_the_same_segments(used):
    traced = np.asarray(segments_of_used(used))
    np.testing.assert_array_equal(traced, lj.equal_segments(7, 3, used=used))
    assert traced.max() <= 2


def test_a_component_inside_a_segment_comes_behind_those_of_earlier_segments():
    pairs = lj.from_labels(np.zeros(6), np.array([0, 1, 0, 1, 0, 1]), 2)
    crossed = lj.cross(pairs, np.array([0, 0, 1, 1, 2, 2]), 3)
    assert crossed.labels.tolist() == [0, 1, 2, 3, 4, 5]


def test_ids_are_segment_major():
    stems = np.repeat([[1.0], [2.0]], 6, axis=1)
    components = lj.cross(lj.from_stems(stems), lj.equal_segments(6, 3), 3)
    piece = lj.recompose(components, mask_of(np.arange(6) == 2 * 2 + 1))
    np.testing.assert_array_equal(piece, [0, 0, 0, 0, 2, 2])


def test_grid_ids_are_time_major():
    components = lj.from_labels(ones(4, 6), lj.grid((2, 3), (4, 6)), 6)
    piece = np.asarray(lj.recompose(components, mask_of(np.arange(6) == 1 * 3 + 2)))
    np.testing.assert_array_equal(np.argwhere(piece), [[2, 4], [2, 5], [3, 4], [3, 5]])


FILLS = {
    "zero": (lambda x: lj.fills.zero(x), lambda x: np.zeros_like(x)),
    "minimum": (lambda x: lj.fills.minimum(x), lambda x: np.full_like(x, x.min())),
    "mean": (lambda x: lj.fills.mean(x), lambda x: np.full_like(x, x.mean())),
    "array": (lambda x: 2 * x, lambda x: 2 * x),
}


@pytest.mark.parametrize(("fill", "expected"), FILLS.values(), ids=FILLS)
def test_fills_stand_where_components_are_off(fill, expected):
    signal = noise(T, F)
    labels = segments(T, 2)[:, None]
    components = lj.from_labels(signal, labels, 2, fill(signal))
    left = lj.recompose(components, mask_of([True, False]))
    wanted = np.where(labels == 0, signal, expected(np.asarray(signal)))
    np.testing.assert_allclose(left, wanted, rtol=1e-5, atol=1e-6)


def test_noise_is_standardised_per_band(getkey):
    offset, scale = map(jax.device_put, np.array([[[1, -2]], [[2, 0.5]]], np.float32))
    signal = jax.device_put(np.zeros((20_000, 2), np.float32))
    drawn = np.asarray(lj.fills.noise(signal, key=getkey(), offset=offset, scale=scale))
    np.testing.assert_allclose(drawn.mean(axis=0), [-0.5, 4.0], atol=0.06)
    np.testing.assert_allclose(drawn.std(axis=0), [0.5, 2.0], rtol=0.03)


def test_uniform_lies_between_nothing_and_the_largest(getkey):
    signal = noise(T, F)
    drawn = np.asarray(lj.fills.uniform(signal, key=getkey()))
    largest = float(signal.max())
    assert 0 <= drawn.min() < 0.1 * largest and 0.9 * largest < drawn.max() <= largest


def test_shuffle_keeps_the_values(getkey):
    signal = noise(T, F)
    shuffled = lj.fills.shuffle(signal, key=getkey())
    np.testing.assert_array_equal(np.sort(shuffled, axis=None), np.sort(signal, axis=None))
    assert not np.array_equal(shuffled, signal)


BAD = {
    "one axis per axis": lambda: lj.from_labels(ones(4, 5), np.zeros(4, int), 1),
    "do not fit": lambda: lj.from_labels(ones(4), np.zeros(3, int), 1),
    r"in \[0, 2\), got values from 0 to 3": lambda: lj.from_labels(ones(4), np.arange(4), 2),
    "must be integers": lambda: lj.from_labels(ones(4), np.zeros(4), 1),
    "must be floating": lambda: lj.from_stems(np.ones((2, 4), int)),
    "num_sources": lambda: lj.from_stems(ones(4)),
    "`fill` must be broadcastable": lambda: lj.from_stems(ones(2, 4), ones(3)),
    "between 1 and `size` = 4, got 5": lambda: lj.equal_segments(4, 5),
    r"`mask` must have shape \(2,\)": lambda: lj.recompose(
        lj.from_stems(ones(2, 4)), mask_of(np.ones(3))
    ),
}


@pytest.mark.parametrize(("message", "call"), BAD.items(), ids=BAD)
def test_mistakes_are_named(message, call):
    with pytest.raises(ValueError, match=message):
        call()


def test_known_labels_can_be_used_inside_jit():
    """Their range was once checked with jax.numpy, which jit traces."""

    def cut(x):
        return lj.from_labels(x, lj.equal_segments(6, 3), 3).fill

    assert jax.jit(cut)(ones(6)).shape == (1, 1)
    with pytest.raises(ValueError, match="must lie in"):
        jax.jit(lambda x: lj.from_labels(x, np.arange(6), 3).fill)(ones(6))
