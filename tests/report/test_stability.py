"""Repeats and fills: in the record, in sentences, on the page."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax import report
from lime_jax.core import pooling
from lime_jax.report import wording
from tests.report.test_page import ATTRIBUTES, TAGS, Page

NAMES = ("a", "b")


@pytest.fixture
def record(varied_folder):
    return report.read(varied_folder)


def test_the_record_says_how_far_repeats_agree(record, varied):
    found = lj.metrics.stability(varied["repeats"], 2)
    first, failed = record["outputs"]
    assert record["num_repeats"] == 3 and record["num_samples"] == 300
    assert first["stability"]["top_components"] == [[0, 2], [0, 1], [0, 2]]
    assert first["stability"]["u_n"] == found.u_n[0] == 3
    assert first["stability"]["agreement"] == pytest.approx(2 / 3)
    assert first["top_k_confidence"] == pytest.approx(float(found.confidence[0]))
    assert failed["stability"] == {"u_n": None, "agreement": None, "top_components": []}


def test_the_record_says_what_every_fill_answers(record, varied):
    first, failed = record["outputs"]
    assert record["fills"] == ["zero", "noise"]
    assert [fill["name"] for fill in first["fills"]] == ["zero", "noise"]
    assert [fill["top_components"] for fill in first["fills"]] == [[0, 2], [1]]
    assert [fill["n_ce"] for fill in first["fills"]] == [2, 0]
    np.testing.assert_array_equal(
        np.array([fill["coefficients"] for fill in first["fills"]], np.float32),
        varied["over_fills"].fills.coefficients[:, 0],
    )
    np.testing.assert_array_equal(np.float32(first["spread"]), varied["over_fills"].spread[0])
    assert failed["spread"] == [None] * 3
    assert failed["fills"][0]["status"] == "NONFINITE_OUTPUT"
    assert failed["fills"][0]["top_components"] == []


@pytest.mark.slow
def test_without_them_the_record_is_what_it_was(explain, song):
    record = report.to_json(explain(np.eye(2, 3)), song, output_names=NAMES)
    assert not {"num_repeats", "fills"} & set(record)
    assert not {"stability", "spread", "fills"} & set(record["outputs"][0])


def test_sentences_say_what_the_numbers_say(record):
    first = record["outputs"][0]
    assert wording.stability(record, first) == (
        "The sound was explained 3 times with other masks; the weights are the mean. The top 2 of "
        "the repeats are 3 different components (U_n); 2 of 3 repeats name the same ones as the "
        "mean. The probability that these are the 2 components of largest weight is at least "
        f"{int(100 * first['top_k_confidence'])} %."
    )
    assert wording.fills(record, first) == (
        "Removed parts were replaced by “zero” and “noise” in turn; the weights are the average "
        "over them. The top 2 of the average shares 0 with the top 1 of “noise” (N_ce)."
    )
    assert "with “noise” it does not" in wording.warnings(first)[-1]
    assert wording.cautions(first) == ["hangs on the fill"]


def output(tops, confidence=0.987, **fields):
    stability = {
        "u_n": len({i for top in tops for i in top}),
        "agreement": 1.0,
        "top_components": tops,
    }
    return {
        "top_components": tops[0], "stability": stability, "top_k_confidence": confidence, **fields
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "is_exact", "end"),
    [
        ({}, False, "the same top 1. The probability that these are the 3 components of largest "
         "weight is at least 98 %."),
        ({}, True, "the same top 1. The weights are exact: other masks change nothing."),
        ({"confidence": 0.2}, False, "Nothing assures that these are the 3 components of largest "
         "weight: use more samples or repeats, or fewer components."),
        ({"confidence": None}, False, "All repeats name the same top 1."),
        ({"tops": [[], []]}, False, "No repeat finds a component of positive weight."),
    ],
)  # fmt: skip
def test_the_probability_is_reported_without_promises(fields, is_exact, end):
    record = {"num_repeats": 2, "top_k": 3, "is_exact": is_exact}
    assert wording.stability(record, output(**{"tops": [[1], [1]], **fields})).endswith(end)


def test_fills_that_agree_are_no_caution():
    fill = {"coefficients": [0.5], "top_components": [0], "n_ce": 1}
    fills = [{"name": name, **fill} for name in ("zero", "mean", "noise")]
    one = {"top_components": [0], "fills": fills}
    text = wording.fills({"fills": ["zero", "mean", "noise"]}, one)
    assert "“zero”, “mean” and “noise” in turn" in text
    assert text.endswith("Each of them by itself names the same top 1.")


@pytest.mark.parametrize(
    ("average", "tops", "end"),
    [
        # All of the average's two are among the fill's three.
        ([0, 1], [[1, 0], [2, 0, 1]], "average shares 2 with the top 3 of “b” (N_ce)."),
        ([0], [[0], []], "average shares 0 with the empty top of “b” (N_ce)."),
        ([], [[], [2]], "Only with “b” is any weight positive."),
        ([], [[], []], "the average over them."),
    ],
)  # fmt: skip
def test_tops_of_different_lengths_are_not_the_same(average, tops, end):
    fills = [
        {"name": name, "top_components": top, "n_ce": lj.metrics.n_ce(top, average)}
        for name, top in zip(NAMES, tops, strict=True)
    ]
    text = wording.fills({"fills": NAMES}, {"top_components": average, "fills": fills})
    assert text.endswith(end) and "the same top" not in text


def test_an_exact_answer_was_explained_once(explain, song, tmp_path):
    one = explain(np.eye(1, 3), std_error=np.zeros((1, 3)), degrees_of_freedom=0)
    path = tmp_path / "exact"
    report.write(path, one, song, output_names=["a"], repeats=pooling.stack([one]))
    record = report.read(path)
    assert record["num_repeats"] == 1 and record["is_exact"]
    assert record["outputs"][0]["stability"]["agreement"] == 1
    text = Page((path / "report.html").read_text(encoding="utf-8")).text
    told = "The sound was explained once. The weights are exact: other masks change nothing."
    assert told in text and "1 of 1" not in text


def test_the_spread_holds_sampling_unless_exact(varied_folder, varied, song, tmp_path):
    sampled = Page((varied_folder / "report.html").read_text(encoding="utf-8")).text
    assert "some of it comes from the random choice of masks" in sampled
    exact = dataclasses.replace(
        varied["explanation"], degrees_of_freedom=jnp.int32(0), std_error=jnp.zeros((2, 3))
    )
    report.write(
        tmp_path / "x", exact, song, output_names=NAMES,
        over_fills=varied["over_fills"], fills=varied["fills"],
    )  # fmt: skip
    text = Page((tmp_path / "x" / "report.html").read_text(encoding="utf-8")).text
    assert "between the columns on the right." in text and "random choice" not in text


def test_the_page_shows_both_and_stays_inert(varied_folder):
    page = Page((varied_folder / "report.html").read_text(encoding="utf-8"))
    assert {tag for tag, _ in page.tags} <= TAGS
    assert {name for _, attributes in page.tags for name in attributes} <= ATTRIBUTES
    # The failed output has nothing to show.
    assert page.text.count("How stable is this?") == 1
    assert page.text.count("Does it depend on what stands in for removed parts?") == 1
    assert "2 of 3" in page.text and "±0.99" in page.text and "+1.30" in page.text


def test_the_page_of_a_single_explanation_has_neither(folder):
    text = Page((folder / "report.html").read_text(encoding="utf-8")).text
    assert "How stable" not in text and "stands in for removed" not in text


def test_what_does_not_belong_together_is_refused(explain, song, varied):
    other = explain(np.eye(1, 3))
    with pytest.raises(ValueError, match=r"`repeats` must hold explanations of shape \(1, 3\)"):
        report.to_json(other, song, output_names=["a"], repeats=varied["repeats"])
    with pytest.raises(ValueError, match=r"`over_fills` must hold explanations of shape \(1, 3\)"):
        report.to_json(other, song, output_names=["a"], over_fills=varied["over_fills"])
    with pytest.raises(ValueError, match="`fills` must name the 2 fills"):
        average = varied["over_fills"]
        report.to_json(varied["explanation"], song, output_names=NAMES, over_fills=average)
    with pytest.raises(ValueError, match="`fills` must name the 0 fills"):
        report.to_json(other, song, output_names=["a"], fills=["zero"])
