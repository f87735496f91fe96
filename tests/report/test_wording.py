"""Sentences: they follow the numbers and admit what is not known."""

import pytest

import lime_jax as lj
from lime_jax.report import wording

LABELS = ["drums", "bass"]


def output(**fields):
    return {
        "name": "rock", "status": "OK", "prediction": 0.9, "fidelity": 0.9,
        "coefficients": [0.6, -0.2], "std_error": [0.01, 0.01], "top_components": [0], **fields,
    }  # fmt: skip


def test_headline_names_the_component_and_its_share():
    sentence = wording.headline(output(), LABELS)
    assert sentence == (
        "The model gives “rock” a score of 0.9. What raises it most is “drums”: weight +0.6, 75% "
        "of the absolute weight of all components."
    )


def test_headline_without_positive_weight():
    sentence = wording.headline(output(coefficients=[-0.6, 0.0], top_components=[]), LABELS)
    assert "No component speaks for it" in sentence


@pytest.mark.parametrize("status", [status for status in lj.Status if status != lj.Status.OK])
def test_failed_outputs_carry_the_advice(status):
    failed = output(status=status.name, coefficients=[None, None], top_components=[])
    assert wording.warnings(failed) == [f"Do not read these weights: {status.advice}"]
    assert "could not be determined" in wording.headline(failed, LABELS)
    assert "mean nothing" in wording.silence(failed)


@pytest.mark.parametrize(
    ("fidelity", "word", "warns"),
    [(0.95, "closely", False), (0.6, "roughly", False), (0.2, "barely", True),
     (-1.0, "barely", True), (None, "undefined", True)],
)  # fmt: skip
def test_fidelity_is_read_plainly(fidelity, word, warns):
    assert word in wording.fidelity(fidelity)
    assert bool(wording.warnings(output(fidelity=fidelity))) == warns


def test_noise_is_not_sold_as_an_answer():
    noisy = output(std_error=[0.4, 0.4])
    assert "within twice its standard error" in wording.warnings(noisy)[0]
    assert wording.warnings(output(std_error=[0.0, 0.0])) == []
    assert wording.cautions(output(std_error=[0.4, 0.0], fidelity=0.1)) == [
        "low fidelity",
        "within noise",
    ]
    assert wording.cautions(output()) == []


def test_the_noise_is_that_of_the_component_named_in_the_headline():
    clear_is_negative = output(
        coefficients=[0.02, -0.6], std_error=[0.02, 0.01], top_components=[0]
    )
    assert "within twice its standard error" in wording.warnings(clear_is_negative)[0]
    noise_is_negative = output(coefficients=[0.3, -0.6], std_error=[0.01, 0.9], top_components=[0])
    assert wording.warnings(noise_is_negative) == []


def test_standard_errors_stand_beside_weights_unless_there_are_none():
    assert wording.because(output(top_components=[0]), LABELS) == "drums +0.600 ±0.010"
    tiny = output(coefficients=[0.6, 0.2], std_error=[1e-9, 0.0], top_components=[0, 1])
    assert wording.because(tiny, LABELS) == "drums +0.600 ±<0.001, bass +0.200"


def test_exhaustive_runs_are_not_called_random():
    failed = output(status="NONFINITE_OUTPUT", std_error=[None, None])
    assert "in every combination" in wording.procedure([output(std_error=[0.0, 0.0]), failed])
    assert "at random" in wording.procedure([output(std_error=[0.0, 0.01])])
    assert "at random" in wording.procedure([failed])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5, -0.07, 0.0, None], ["+0.500", "−0.070", "+0.000", "–"]),
        ([1234.5, 2.0], ["+1234", "+2"]),
        ([12.34], ["+12.3"]),
        ([3e-9, 0.0], ["+3.00e−09", "+0.00e+00"]),
        ([None], ["–"]),
    ],
)
def test_weights_share_their_decimals(values, expected):
    assert wording.format_signed(values) == expected


@pytest.mark.parametrize(
    ("extent", "expected"),
    [
        ((0.0, 10.0, 0.0, 8000.0), "x"),
        ((2.5, 3.75, 0.0, 8000.0), "x (2.5–3.75 s)"),
        ((0.0, 10.0, 0.0, 512.345), "x (0–512 Hz)"),
        ((9.0, 10.0, 100.0, 8000.0), "x (9–10 s, 100–8000 Hz)"),
    ],
)
def test_labels_say_where_a_component_lies(extent, expected):
    component = {"name": "x", **dict(zip(("start", "end", "low", "high"), extent, strict=True))}
    assert wording.label(component, {"duration": 10.0, "sample_rate": 16_000}) == expected
