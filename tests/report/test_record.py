"""The record: strict JSON, complete, documented, and read back."""

import dataclasses
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest

import lime_jax as lj
from lime_jax import report
from lime_jax.errors import LimeJaxError
from lime_jax.report.record import SCHEMA_VERSION, dumps

SCHEMA = Path(__file__).parents[2] / "docs" / "explanation-schema.md"
NAMES = ("a", "b", "c", "d")


def field_names(value, prefix=""):
    """Paths of all leaves as the documentation writes them, `outputs[].name`."""
    if isinstance(value, dict) and prefix != "config":
        stem = f"{prefix}." if prefix else ""
        return set().union(*(field_names(entry, stem + key) for key, entry in value.items()))
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return set().union(*(field_names(entry, f"{prefix}[]") for entry in value))
    return {prefix}


def test_file_is_strict_json(folder):
    def refuse(constant):
        raise AssertionError(constant)

    text = (folder / "explanation.json").read_text(encoding="utf-8")
    record = json.loads(text, parse_constant=refuse)
    assert record["outputs"][3]["fidelity"] is None
    assert record["outputs"][3]["coefficients"] == [None, None, None]
    assert record["predictions"][3]["prediction"] is None


def test_config_survives_the_round_trip(folder):
    config = report.read(folder)["config"]
    hostile = "</script><img src=x onerror=alert(1)>"
    assert config == {"seed": 7, "model": hostile, "audio": "\udcff.wav"}


def test_dumps_refuses_nan():
    with pytest.raises(ValueError, match="JSON compliant"):
        dumps({"fidelity": float("nan")})


def test_documentation_names_the_same_fields(folder, varied_folder):
    documented = re.findall(r"^\| `([^`]+)`", SCHEMA.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(documented) == len(set(documented))
    varied = field_names(report.read(varied_folder))
    assert set(documented) == varied and field_names(report.read(folder)) < varied
    assert f"`schema_version` | integer | {SCHEMA_VERSION} |" in SCHEMA.read_text(encoding="utf-8")


def test_numbers_survive_the_round_trip(explanation, folder):
    record = report.read(folder)
    assert record["num_samples"] == explanation.num_samples
    assert record["num_evaluations"] == explanation.num_evaluations
    for field in ("coefficients", "std_error", "intercept", "fidelity", "local_prediction"):
        stored = np.array([output[field] for output in record["outputs"]], np.float32)
        np.testing.assert_array_equal(stored, np.asarray(getattr(explanation, field)))


def test_the_device_is_named(folder):
    device = report.read(folder)["device"]
    assert device["platform"] == jax.default_backend() and device["kind"]


def test_floats_are_short(folder):
    assert '"intercept": 0.1,' in (folder / "explanation.json").read_text(encoding="utf-8")


def test_components_carry_their_extents(folder, song):
    for stored, extent in zip(report.read(folder)["components"], song.extents, strict=True):
        assert {key: stored[key] for key in dataclasses.asdict(extent)} == dataclasses.asdict(
            extent
        )


def test_top_components_are_those_of_top_k(folder, explanation):
    record = report.read(folder)
    for output in record["outputs"][:3]:
        indices, _ = lj.top_k(explanation, output["index"], record["top_k"])
        assert output["top_components"] == indices.tolist()
    assert record["outputs"][2]["top_components"] == []
    assert record["outputs"][3]["top_components"] == []


def test_default_outputs_are_the_highest_predictions(explain, song):
    explanation = explain(np.eye(4, 3), prediction=[0.1, np.nan, 0.9, 0.5])
    record = report.to_json(explanation, song, output_names=NAMES)
    assert [output["name"] for output in record["outputs"]] == ["c", "d", "a"]


@pytest.mark.parametrize("given", [np.array(["a", "b", "c"]), np.arange(3), [0, 1, 2], range(3)])
def test_names_and_numbers_may_be_of_any_kind(explain, song, given):
    options = {"outputs": np.array([2, 0]), "top_k": np.int64(2)}
    record = report.to_json(explain(np.eye(3)), song, output_names=given, **options)
    assert [output["name"] for output in record["outputs"]] == [str(given[2]), str(given[0])]
    assert json.loads(json.dumps(record, allow_nan=False))["top_k"] == 2


@dataclasses.dataclass(frozen=True)
class Config:
    seed: int = 3
    fill: str = "zero"
    paths: tuple = (Path("stems"), np.float32(0.5), np.inf)


def test_config_is_stored_as_plain_values(explain, song):
    record = report.to_json(explain(np.eye(3)), song, output_names=NAMES[:3], config=Config())
    assert record["config"] == {"seed": 3, "fill": "zero", "paths": ["stems", 0.5, None]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_names": NAMES}, "must name 3 outputs, got 4"),
        ({"outputs": [3]}, r"must lie in \[0, 3\)"),
        ({"outputs": [-1]}, r"must lie in \[0, 3\)"),
        ({"outputs": []}, "distinct indices"),
        ({"outputs": [1, 1]}, "distinct indices"),
        ({"top_k": 0}, "`top_k` must be at least 1"),
        ({"config": {"model": object()}}, "`config.model` must be a plain value, got object"),
    ],
)
def test_arguments_that_do_not_fit(explain, song, options, message):
    with pytest.raises(ValueError, match=message):
        report.to_json(explain(np.eye(3)), song, **{"output_names": NAMES[:3], **options})


def test_another_audio_is_refused(explain, song):
    with pytest.raises(ValueError, match="has 4 components, `audio` 3"):
        report.to_json(explain(np.eye(4)), song, output_names=NAMES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": "lime-jax explanation", "schema_version": 3}', "schema version 3.*Update"),
        ('{"format": "lime-jax explanation", "schema_version": "1"}', "schema version '1'"),
        ('{"format": "lime-jax explanation"}', "schema version None"),
        ('{"schema_version": 1}', "no `format`"),
        ("[]", "no `format`"),
        ("{", "not JSON"),
        ("\udcff", "not JSON"),
    ],
)
def test_foreign_records_are_refused(tmp_path, text, message):
    path = tmp_path / "explanation.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(LimeJaxError, match=message):
        report.read(path)


def test_missing_record_is_named(tmp_path):
    with pytest.raises(LimeJaxError, match=r"explanation\.json` cannot be read \(No such file"):
        report.read(tmp_path)
