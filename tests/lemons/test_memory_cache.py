"""The cache in memory: which values stay."""

import functools

import pytest

from lime_jax.lemons.memory_cache import MemoryCache


@pytest.fixture
def cache():
    """Room for ten bytes."""
    return MemoryCache(len, num_bytes=10)


@pytest.fixture
def get(cache):
    """Asks for four bytes, and returns whether they had to be made."""

    def get(key, owner=None):
        made = []
        assert cache.get(key, lambda: made.append(key) or b"1234", owner) == b"1234"
        return made == [key]

    return get


def test_a_known_value_is_not_made_again(get):
    assert [get(key) for key in "abab"] == [True, True, False, False]


def test_the_value_used_longest_ago_is_dropped_when_bytes_run_out(get):
    assert [get(key) for key in "abac"] == [True, True, False, True]
    assert [get(key) for key in "ab"] == [False, True]


def test_values_of_an_upload_are_dropped_with_it(cache, get):
    get("a", "upload")
    get("b")
    cache.retain(set())
    assert get("a") and not get("b")


def test_values_of_a_remembered_upload_stay(cache, get):
    get("a", "upload")
    cache.retain({"upload"})
    assert not get("a")


def test_a_value_larger_than_the_cache_is_returned_and_not_stored(cache):
    assert cache.get("large", functools.partial(bytes, 11)) == bytes(11)
    assert cache.get("large", bytes) == b""
