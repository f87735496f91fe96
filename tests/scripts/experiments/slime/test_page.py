"""The page about SLIME is what the stored results say."""

import math

import pytest


@pytest.fixture(scope="module")
def writer(script):
    return script("experiments.slime.page")


def test_the_page_in_the_repository_is_up_to_date(writer):
    assert writer.run(writer.Config(check=True)) == 0, "run scripts/experiments/slime/page.py"


def test_the_kernel_is_that_of_the_published_setting(writer):
    """Masks with one segment off weigh .229 together, all others a thousandth of that."""
    lines = [line.split("|")[1:5] for line in writer.kernel().splitlines()]
    totals = [float(line[3]) for line in lines]
    assert math.isclose(totals[0], 68, rel_tol=0.01)
    assert math.isclose(totals[1], 0.23, rel_tol=0.01)
    assert sum(totals[2:]) < 4e-4


def test_methods_stand_side_by_side(writer):
    first = writer.claims.FOUND
    found = {
        f"{first}l2, 70 000 samples, zero": "1 %, 2 %, 1.00",
        f"{first}l2, 70 000 samples, all four": "2 %, 2 %, 1.00",
        f"{first}Shapley values, zero": "4 %, 5 %, 1.30",
        f"{first}Shapley values, all four": "5 %, 5 %, 1.30",
        "something else": "6",
    }
    assert writer.by_method(found).splitlines() == [
        "| content | l2, 70 000 samples | Shapley values |",
        "|---|---|---|",
        "| zero | 1 %, 2 %, 1.00 | 4 %, 5 %, 1.30 |",
        "| all four | 2 %, 2 %, 1.00 | 5 %, 5 %, 1.30 |",
    ]
