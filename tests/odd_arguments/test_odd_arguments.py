"""Every public function is given odd arguments, in a process where no types are checked."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = ("of_core", "of_core_programs", "of_the_rest")


def run_plain(name, marked):
    """Without tests/conftest.py, whose checks of types would come before those of a user."""
    command = [sys.executable, "-m", "pytest", "--noconftest", "-o", "addopts=", "-q", "-m", marked]
    done = subprocess.run(
        [*command, str(HERE / f"{name}.py")], cwd=HERE.parents[1], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_core_functions_are_right_or_say_what_is_wrong():
    run_plain("of_core", "not slow")


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_all_functions_are_right_or_say_what_is_wrong(name):
    run_plain(name, "slow or not slow")
