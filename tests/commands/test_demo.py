"""`lime-jax demo` from end to end."""

import numpy as np
import pytest

from lime_jax import examples
from tests.commands.conftest import record_of, run


@pytest.mark.slow
def test_the_demo_shows_every_instrument_as_the_reason_for_its_own_tag(tmp_path, capsys):
    assert run("demo", "--output-dir", tmp_path / "demo") == 0
    record = record_of(tmp_path / "demo")
    names = [component["name"] for component in record["components"]]
    for output in record["outputs"]:
        assert output["status"] == "OK"
        assert names[int(np.argmax(output["coefficients"]))] == output["name"]
    assert [output["name"] for output in record["outputs"]] == list(examples.song().names)
