"""Folders: whole or not at all, and never somebody else's."""

import itertools
import os

import pytest

from lime_jax.errors import LimeJaxError
from lime_jax.report.folder import check_folder, write_folder
from lime_jax.storage import slug

RECORD = (
    b'{"format": "lime-jax explanation", "schema_version": 1, "files": ["explanation.json", "a"]}'
)
REPORT = {"explanation.json": RECORD, "a": b"1"}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_parents_are_created(tmp_path):
    path = write_folder(tmp_path / "x" / "y", REPORT)
    assert contents(path) == REPORT
    assert os.listdir(tmp_path / "x") == ["y"]


def test_empty_folder_is_used(tmp_path):
    (tmp_path / "x").mkdir()
    assert contents(write_folder(tmp_path / "x", REPORT)) == REPORT


def test_earlier_report_is_replaced(tmp_path):
    write_folder(tmp_path / "x", REPORT)
    write_folder(tmp_path / "x", {**REPORT, "a": b"2"})
    assert contents(tmp_path / "x")["a"] == b"2"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("failing_call", range(7))
@pytest.mark.parametrize("earlier", [None, REPORT])
def test_a_failure_leaves_the_old_or_the_new(tmp_path, monkeypatch, failing_call, earlier):
    new = {**REPORT, "a": b"2"}
    if earlier is not None:
        write_folder(tmp_path / "x", earlier)
    calls = itertools.count()

    def failing_once(real):
        def call(*args):
            if next(calls) == failing_call:
                raise OSError(28, "No space left on device")
            return real(*args)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing_once(os.fsync))
        patch.setattr(os, "rename", failing_once(os.rename))
        try:
            write_folder(tmp_path / "x", new)
        except LimeJaxError as error:
            assert "cannot be written (No space left on device)" in str(error)
        else:
            assert failing_call >= next(calls) - 1
            earlier = new
    left = contents(tmp_path / "x") if (tmp_path / "x").exists() else None
    assert left in (earlier, new)
    assert os.listdir(tmp_path) == ([] if left is None else ["x"])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"thesis.txt": b""}, "not empty and holds nothing that lime-jax wrote"),
        ({**REPORT, "thesis.txt": b""}, "holds 'thesis.txt', which no report wrote"),
        ({"explanation.json": b"{}"}, "no `format`"),
        ({"explanation.json": RECORD.replace(b": 1", b": 9")}, "schema version 9"),
    ],
)
def test_foreign_folders_are_left_alone(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(LimeJaxError, match=message):
        write_folder(tmp_path, REPORT)
    assert contents(tmp_path) == files


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "x").write_text("mine")
    for path in (tmp_path / "x", tmp_path / "x" / "y"):
        with pytest.raises(LimeJaxError, match=r"(Name a|Choose another) folder"):
            write_folder(path, REPORT)
    assert (tmp_path / "x").read_text() == "mine"


def test_check_changes_nothing(tmp_path):
    assert check_folder(tmp_path / "x" / "y") == tmp_path / "x" / "y"
    assert os.listdir(tmp_path) == []


def test_folders_without_permission_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *args: False)
    with pytest.raises(LimeJaxError, match=f"no permission in `{tmp_path}`"):
        check_folder(tmp_path / "x" / "y")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("drums", "drums"),
        ("../../etc/passwd", "etc-passwd"),
        ("C:\\nul\x00.txt", "c-nul-txt"),
        ("日本語", "output"),
        ("", "output"),
        ("a" * 300, "a" * 40),
        ("Hip-Hop / R&B", "hip-hop-r-b"),
    ],
)
def test_slugs_are_safe(name, expected):
    assert slug(name) == expected
