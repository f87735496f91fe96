"""The reader gives back what was written, and notices whatever is wrong."""

import shutil
import zipfile

import numpy as np
import pytest

from lime_jax.errors import ModelError
from lime_jax.models import tf_checkpoint
from lime_jax.models.crc32c import crc32c

TENSORS = {
    "conv2d/kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 1, 4),
    "conv2d/kernel/Adam": np.zeros((2, 3), np.float32),
    "conv2d_1/bias": np.array([1.5, -2.5], np.float16),
    "conv2d_1/kernel": np.linspace(0, 1, 6).reshape(3, 2),
    "counts": np.arange(300, dtype=np.uint16),
    "empty": np.zeros((0, 3), np.float32),
    "flags": np.array([True, False]),
    "global_step": np.asarray(12345678901, np.int64),
    "signed": np.array([-128, 127], np.int8),
    "wave": np.array([1 + 2j], np.complex64),
}
SMALL = {"a/kernel": np.arange(6, dtype=np.float32), "a/kernel_1": np.ones(2, np.int32)}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)


@pytest.fixture
def small(tf, tmp_path):
    tf().write(tmp_path, "model", SMALL)
    return tmp_path


def broken(tf, folder, **options):
    tf(**options).write(folder, "model", SMALL)
    with pytest.raises(ModelError) as error:
        tf_checkpoint.read(folder, "model")
    return str(error.value)


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 31, 32, 1000, 4099])
def test_checksum_is_that_of_the_bytewise_rule(tf, size):
    data = np.random.default_rng(size).bytes(size)
    assert crc32c(data) == tf().crc(data)


def test_checksum_has_its_published_check_value():
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize("rows_per_block", [1, 2, 3, 100])
@pytest.mark.parametrize("num_shards", [1, 3])
def test_tensors_come_back_as_written(tf, tmp_path, rows_per_block, num_shards):
    tf(rows_per_block=rows_per_block).write(tmp_path, "", TENSORS, num_shards)
    assert_same(tf_checkpoint.read(tmp_path, ""), TENSORS)


def test_reads_inside_an_archive(small, tmp_path_factory):
    archive = shutil.make_archive(str(tmp_path_factory.mktemp("zip") / "a"), "zip", small)
    assert_same(tf_checkpoint.read(zipfile.Path(archive), "model"), SMALL)


def test_strings_are_left_out(tf, tmp_path):
    tf().write(tmp_path, "model", {**SMALL, "graph": np.asarray(b"text")})
    assert_same(tf_checkpoint.read(tmp_path, "model"), SMALL)


def test_every_truncation_of_the_index_is_noticed(small):
    index = small / "model.index"
    whole = index.read_bytes()
    for size in range(len(whole)):
        index.write_bytes(whole[:size])
        with pytest.raises(ModelError, match=r"model\.index"):
            tf_checkpoint.read(small, "model")


def test_every_flipped_byte_of_the_index_is_noticed_or_harmless(small):
    index = small / "model.index"
    whole = index.read_bytes()
    num_noticed = 0
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 0x55
        index.write_bytes(flipped)
        try:
            assert_same(tf_checkpoint.read(small, "model"), SMALL)
        except ModelError:
            num_noticed += 1
    unread = 13 + 40  # the empty meta index, and the padding of the footer
    assert len(whole) - num_noticed <= unread


def test_damaged_data_are_noticed_by_the_tensor(small):
    data = small / "model.data-00000-of-00001"
    whole = data.read_bytes()
    data.write_bytes(b"\1" + whole[1:])
    with pytest.raises(ModelError, match=r"`a/kernel`.*checksum"):
        tf_checkpoint.read(small, "model")
    data.write_bytes(whole[:-1])
    with pytest.raises(ModelError, match=r"`a/kernel_1`.*8 bytes"):
        tf_checkpoint.read(small, "model")


@pytest.mark.parametrize("name", ["model.index", "model.data-00000-of-00001"])
def test_missing_files_are_named(small, name):
    (small / name).unlink()
    with pytest.raises(ModelError, match=name):
        tf_checkpoint.read(small, "model")


@pytest.mark.parametrize("content", [b"", b"PK\3\4" + bytes(100), b"text " * 100])
def test_other_files_are_refused(small, content):
    (small / "model.index").write_bytes(content)
    with pytest.raises(ModelError, match="magic number"):
        tf_checkpoint.read(small, "model")


def test_what_is_not_supported_is_said(tf, tmp_path):
    assert "Snappy" in broken(tf, tmp_path, compression=1)
    assert "unknown method" in broken(tf, tmp_path, compression=9)
    assert "big-endian" in broken(tf, tmp_path, header=b"\x08\x01\x10\x01")
    assert "how many data files" in broken(tf, tmp_path, header=b"")
    assert "wire type" in broken(tf, tmp_path, entry=b"\x0b")
    assert "partitioned" in broken(tf, tmp_path, entry=b"\x3a\x00")
    assert "type (number 14)" in broken(tf, tmp_path, entry=b"\x08\x0e")
    assert "data file 7" in broken(tf, tmp_path, entry=b"\x18\x07")
