"""Files appear whole or not at all; digests and plain JSON are what they were."""

import dataclasses
import enum
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from lime_jax import storage
from lime_jax.errors import AudioError, StoreError


def _fail(file):
    file.write(b"half")
    raise OSError("no room")


def test_a_file_has_its_content_and_leaves_nothing_beside_it(tmp_path):
    storage.write_whole(tmp_path / "a", b"bytes")
    storage.write_whole(tmp_path / "b", lambda file: file.write(b"written"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a": b"bytes",
        "b": b"written",
    }


def test_a_failed_write_keeps_the_earlier_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"before")
    with pytest.raises(StoreError, match=r"cannot be written \(no room\). What was written before"):
        storage.write_whole(path, _fail)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"before")]


def test_callers_choose_the_error_and_its_advice(tmp_path):
    with pytest.raises(AudioError, match=r"No such file or directory\). Make the folder.$"):
        storage.write_whole(tmp_path / "no" / "a", b"", error=AudioError, advice="Make the folder.")


def test_an_exclusive_write_leaves_an_existing_file_alone(tmp_path):
    (tmp_path / "a").write_bytes(b"before")
    with pytest.raises(FileExistsError):
        storage.write_whole(tmp_path / "a", b"after", exclusive=True)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def test_names_of_the_greatest_length_can_be_written(tmp_path):
    storage.write_whole(tmp_path / ("a" * 255), b"")


def test_a_folder_has_its_name_once_it_is_full(tmp_path):
    with storage.whole_folder(tmp_path / "new") as folder:
        (folder / "file").touch()
        assert not (tmp_path / "new").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "file"]


def test_a_folder_that_could_not_be_filled_does_not_appear(tmp_path):
    with pytest.raises(ValueError, match="half"):
        with storage.whole_folder(tmp_path / "new"):
            raise ValueError("half")
    assert not (tmp_path / "new").exists()


def test_digests_are_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    expected = hashlib.sha256(b"content").hexdigest()
    assert storage.digest("con", b"tent") == expected
    assert storage.digest_of_file(tmp_path / "a") == expected


def test_digests_of_json_are_those_of_its_default_form():
    value = {"b": [1, 0.5, None], "a": "ä"}
    text = '{"b": [1, 0.5, null], "a": "\\u00e4"}'
    assert storage.digest_of_json(value) == hashlib.sha256(text.encode()).hexdigest()
    other = dict(reversed(value.items()))
    assert storage.digest_of_json(value, sort_keys=True) == storage.digest_of_json(
        other, sort_keys=True
    )


class _Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass(frozen=True)
class _Settings:
    path: Path
    numbers: tuple[float, ...]
    colour: _Colour = _Colour.RED


def test_plain_values_are_json():
    settings = _Settings(Path("a"), (1, np.float32(0.5), np.int8(3), float("inf"), float("nan")))
    value = storage.plain({"settings": settings, 3: True})
    assert value == {
        "settings": {"path": "a", "numbers": [1, 0.5, 3, None, None], "colour": "RED"},
        "3": True,
    }
    json.dumps(value, allow_nan=False)


def test_values_that_are_not_plain_are_named():
    with pytest.raises(ValueError, match=r"`config\.a\[1\]` must be a plain value, got set"):
        storage.plain({"a": [1, set()]}, "config")


def test_a_float32_is_its_shortest_decimal():
    assert storage.number_of(np.float32(0.3)) == 0.3
    assert storage.number_of(np.float32("nan")) is None


@pytest.mark.parametrize("name", ["", "//", "日本", "-" * 50, "x" * 100, "a" * 39 + " b"])
def test_slugs_are_safe_file_names(name):
    assert 0 < len(storage.slug(name)) <= 40
    assert set(storage.slug(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert storage.slug(name) == storage.slug(name).strip("-")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (np.bool_(True), True),
        (np.array(2), 2),
        (np.array([[1.5, np.inf]]), [[1.5, None]]),
        (np.array(["a"]), ["a"]),
    ],
)
def test_numbers_of_numpy_are_plain(value, expected):
    assert storage.plain({"a": value}) == {"a": expected}
    assert json.dumps(storage.plain(value)) == json.dumps(expected)
