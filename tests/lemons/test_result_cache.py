"""Results in memory and on disk."""

import pytest

from lime_jax.lemons.result_cache import Results, key_of


def test_results_on_disk_outlive_those_in_memory(tmp_path):
    results = Results(tmp_path, num_in_memory=2)
    keys = [key_of("k", number) for number in range(4)]
    for number, key in enumerate(keys):
        results.put(key, {"number": number}, on_disk=number != 1)
    assert [results.get(key) for key in keys] == [{"number": 0}, None, {"number": 2}, {"number": 3}]
    assert not list(tmp_path.rglob("*.partial"))


def test_results_about_an_upload_are_dropped_with_it(tmp_path):
    results = Results(tmp_path)
    for number, owner in enumerate((None, "one", "two")):
        results.put(key_of(number), {}, on_disk=False, owner=owner)
    results.retain({"two"})
    assert [results.get(key_of(number)) for number in range(3)] == [{}, None, {}]


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_keys_other_than_digests_have_no_results(tmp_path, key):
    assert Results(tmp_path).get(key) is None


def test_keys_depend_on_where_values_end():
    assert key_of("ab", "c") != key_of("a", "bc")
