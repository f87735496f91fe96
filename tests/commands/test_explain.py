"""`lime-jax explain` from end to end: what it writes and prints."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.audio import io, repeats
from lime_jax.commands import explain
from tests.commands.conftest import record_of, run

ASKED = ["--model", "my_model:halves", "--segments", "12", "--num-samples", "100"]


KINDS = {
    "time": (["--segments", "4"], 4),
    "frequency": (["--segments", "5"], 5),
    "grid": (["--segments", "2x3"], 6),
    "superpixels": (["--segments", "6"], None),
    "stems": (["--stems", "stems"], 2),
    "stems-time": (["--stems", "stems", "--segments", "3"], 6),
}


SLOW = ("frequency", "grid", "superpixels")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "case"),
    [
        pytest.param(*item, marks=pytest.mark.slow if item[0] in SLOW else (), id=item[0])
        for item in KINDS.items()
    ],
)
def test_explains_every_kind_of_component(kind, case, place, capsys):
    options, num_components = case
    arguments = ["--model", "my_model:halves", "--components", kind, *options]
    assert run("explain", "song.wav", *arguments, "--num-samples", "64", "--output-dir", "out") == 0
    record = record_of(place / "out")
    assert record["config"]["components"] == kind
    if num_components is not None:
        assert len(record["components"]) == num_components
    assert (place / "out" / "report.html").exists()
    assert (place / "out" / "1-second-half-top-highlight.wav").exists()
    assert "second half" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stems", "time"])
def test_a_folder_of_stems_is_explained_as_the_sum_of_them(kind, place):
    arguments = ["--model", "my_model:halves", "--components", kind, "--num-samples", "64"]
    stems = ["--stems", "stems"] if kind == "stems" else []
    assert run("explain", "song.wav", *arguments, *stems, "--output-dir", "file") == 0
    assert run("explain", "stems", *arguments, "--output-dir", "folder") == 0
    file, folder = (record_of(place / name) for name in ("file", "folder"))
    assert [c["name"] for c in file["components"]] == [c["name"] for c in folder["components"]]
    for output, other in zip(file["outputs"], folder["outputs"], strict=True):
        np.testing.assert_allclose(output["coefficients"], other["coefficients"], atol=1e-4)


@pytest.mark.slow
def test_reports_the_evaluations_really_made(place, capsys):
    arguments = ["--model", "my_model:halves", "--segments", "4", "--num-samples", "70000"]
    assert run("explain", "song.wav", *arguments) == 0
    printed = capsys.readouterr()
    assert "16 evaluations of the model for 70,000 samples" in printed.out
    assert printed.err == "lime-jax: explaining song.wav with 16 evaluations of the model\n"
    record = record_of(place / "explanation-of-song.wav")
    assert (record["num_samples"], record["num_evaluations"]) == (70_000, 16)


@pytest.mark.slow
def test_a_host_model_is_explained_like_a_traced_one(place):
    for factory in ("halves", "host"):
        assert (
            run("explain", "song.wav", "--model", f"my_model:{factory}", "--output-dir", factory)
            == 0
        )
    traced, host = (record_of(place / name)["outputs"][0] for name in ("halves", "host"))
    np.testing.assert_allclose(traced["coefficients"], host["coefficients"], atol=1e-6)
    assert (traced["name"], host["name"]) == ("second half", "output 1")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_record(place, capsys):
    coefficients = []
    for folder in ("a", "b"):
        arguments = ["--model", "my_model:halves", "--segments", "12", "--fill", "noise"]
        assert run("explain", "song.wav", *arguments, "--seed", "7", "--output-dir", folder) == 0
        record = record_of(place / folder)
        coefficients.append(record["outputs"][0]["coefficients"])
    assert coefficients[0] == coefficients[1]
    assert "±" in capsys.readouterr().out


@pytest.mark.slow
def test_an_explanation_of_no_output_exits_with_1(place, capsys):
    arguments = ["--model", "my_model:constant", "--segments", "3", "--output-dir", "out"]
    assert run("explain", "song.wav", *arguments) == 1
    printed = capsys.readouterr()
    assert "no output could be explained" in printed.err
    assert "not explained" in printed.out and "`--fill`" in printed.out
    assert (place / "out" / "report.html").exists()


@pytest.mark.slow
def test_top_k_and_the_command_line_agree(place):
    assert run("explain", "song.wav", "--model", "my_model:halves", "--output-dir", "out") == 0
    record = record_of(place / "out")
    first = record["outputs"][0]
    strongest = np.argsort(-np.array(first["coefficients"]), kind="stable")[:3]
    assert first["name"] == "second half" and set(strongest) == {7, 8, 9}
    assert lj.Status[first["status"]] == lj.Status.OK


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--std-error", "0.1"], "`--std-error` goes with `--num-samples auto`, got 1000"),
        (["--confidence", "0.9"], "`--confidence` goes with `--num-samples auto`"),
        (["--num-samples", "auto", "--std-error", "-1"], "`--std-error` must be positive"),
        (["--num-samples", "auto", "--confidence", "95"], "`--confidence` must lie between 0"),
        (
            ["--num-samples", "auto", "--max-evaluations", "3"],
            "`--max-evaluations` must be at least 128, got 3",
        ),
        (["--snippet", "-1"], "`--snippet` must be positive seconds"),
        (["--num-samples", "many"], "must be a whole number, auto or exhaustive, got 'many'"),
    ],
)
def test_impossible_targets_get_one_clear_line(place, options, message, capsys):
    assert run("explain", "song.wav", "--model", "my_model:halves", *options) == 2
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1


@pytest.mark.slow
def test_auto_meets_its_target_and_prints_its_evaluations(place, capsys):
    targets = ["--num-samples", "auto", "--std-error", "0.01", "--outputs", "second half"]
    arguments = ["--model", "my_model:halves", "--segments", "12", *targets]
    assert run("explain", "song.wav", *arguments, "--output-dir", "out") == 0
    printed = capsys.readouterr().out
    record = record_of(place / "out")
    (output,) = record["outputs"]
    assert max(output["std_error"]) <= 0.01 and not record["is_exact"]
    assert f"{record['num_evaluations']:,} evaluations" in printed and "LIME would take" in printed
    assert all(low <= high for low, high in output["confidence_interval"])
    assert 0 <= output["top_k_confidence"] <= 1


@pytest.mark.slow
def test_repeats_report_the_stability_of_the_explanation(place, capsys):
    assert run("explain", "song.wav", *ASKED, "--repeats", "3", "--output-dir", "out") == 0
    printed = capsys.readouterr()
    assert "in the top 3 of 3 repeats (U_n)" in printed.out and "of 3" in printed.out
    assert "with 300 evaluations of the model" in printed.err
    record = record_of(place / "out")
    assert (record["num_repeats"], record["num_evaluations"]) == (3, 300)
    output = record["outputs"][0]
    tops = output["stability"]["top_components"]
    assert output["stability"]["u_n"] == lj.metrics.u_n(tops) >= 3
    assert "How stable is this?" in (place / "out" / "report.html").read_text("utf-8")


def test_the_first_repeat_is_the_explanation_without_repeats(place):
    audio = lj.audio.segment.by_time(io.load(place / "song.wav", 8000), 8000, 12)

    def model(x):
        return jnp.sqrt(jnp.square(x.reshape(len(x), 2, -1)).mean(axis=2))

    once = repeats.explain_repeatedly(model, audio, lj.lime(100), seed=7)
    thrice = repeats.explain_repeatedly(model, audio, lj.lime(100), seed=7, repeats=3)
    assert once.repeats is None and once.over_fills is None
    first = jax.tree.map(lambda x: x[0], thrice.repeats)
    np.testing.assert_array_equal(first.coefficients, once.explanation.coefficients)
    assert len(np.unique(np.asarray(thrice.repeats.coefficients[:, 0, 0]))) == 3
    mean = np.asarray(thrice.repeats.coefficients, np.float64).mean(axis=0)
    np.testing.assert_allclose(thrice.explanation.coefficients, mean, atol=1e-6)


@pytest.mark.slow
def test_fills_report_their_mean_and_spread(place, capsys):
    fills = ["--fills", "zero, mean,noise", "--seed", "7"]
    assert run("explain", "song.wav", *ASKED, *fills, "--output-dir", "out") == 0
    printed = capsys.readouterr().out
    assert "shared (N_ce)" in printed and "average ± spread" in printed
    record = record_of(place / "out")
    assert record["fills"] == ["zero", "mean", "noise"] and record["num_evaluations"] == 300
    (output, *_) = record["outputs"]
    each = np.array([fill["coefficients"] for fill in output["fills"]])
    np.testing.assert_allclose(output["coefficients"], each.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(output["spread"], each.std(axis=0, ddof=1), atol=1e-5)
    assert run("explain", "song.wav", *ASKED, "--fill", "noise", *fills[2:],
               "--output-dir", "noise") == 0  # fmt: skip
    alone = record_of(place / "noise")["outputs"][0]
    np.testing.assert_allclose(output["fills"][2]["coefficients"], alone["coefficients"], atol=1e-5)
    page = (place / "out" / "report.html").read_text("utf-8")
    assert "Does it depend on what stands in for removed parts?" in page


def test_the_example_of_fills_goes_with_the_default_components():
    (example,) = re.findall(r"such as\s+(zero,\S+);", explain.ExplainConfig.__doc__)
    explain.check(explain.ExplainConfig(audio=Path("song.wav"), fills=example))


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["frequency", *(pytest.param(k, marks=pytest.mark.slow) for k in ("grid", "time"))]
)
def test_repeats_and_fills_go_together(kind, place, capsys):
    second = "noise" if kind == "time" else "minimum"
    options = ["--components", kind, "--repeats", "2", "--fills", f"zero,{second}"]
    segments = ["--segments", "3x3" if kind == "grid" else "9"]
    arguments = ["--model", "my_model:host", *segments, "--num-samples", "60", *options]
    assert run("explain", "song.wav", *arguments, "--output-dir", "out") == 0
    record = record_of(place / "out")
    assert record["num_evaluations"] <= 2 * 2 * 60 and record["num_repeats"] == 2
    (output, *_) = record["outputs"]
    each = np.array([fill["coefficients"] for fill in output["fills"]])
    np.testing.assert_allclose(output["coefficients"], each.mean(axis=0), atol=1e-5)
    assert "U_n" in (printed := capsys.readouterr().out) and "N_ce" in printed


@pytest.mark.slow
def test_a_receptive_field_saves_evaluations_with_repeats_and_fills(place):
    options = ["--repeats", "2", "--fills", "zero,mean", "--num-samples", "exhaustive"]
    arguments = ["--model", "my_model:halves", "--segments", "10", "--snippet", "0.2"]
    assert run("explain", "song.wav", *arguments, *options, "--output-dir", "out") == 0
    record = record_of(place / "out")
    # Exact after the first repeat, which the second would only repeat.
    assert record["num_evaluations"] == 2 * 20 and record["is_exact"]
    assert record["num_repeats"] == 1
    output = record["outputs"][0]
    assert output["stability"]["agreement"] == 1 and output["stability"]["u_n"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("number", ["exhaustive", "auto"])
def test_exact_explanations_are_not_repeated(place, number, capsys):
    asked = ["--model", "my_model:halves", "--segments", "6", "--num-samples", number]
    assert run("explain", "song.wav", *asked, "--repeats", "5", "--output-dir", "out") == 0
    printed = capsys.readouterr()
    assert "with 64 evaluations of the model" in printed.err
    assert "1 repeat (U_n)" in printed.out and "1 of 1" in printed.out
    record = record_of(place / "out")
    assert (record["num_repeats"], record["num_evaluations"], record["is_exact"]) == (1, 64, True)
    stability = record["outputs"][0]["stability"]
    assert (stability["u_n"], stability["agreement"]) == (3, 1.0)
    page = (place / "out" / "report.html").read_text("utf-8")
    assert "The weights are exact: other masks change nothing." in page


@pytest.mark.slow
def test_an_explanation_of_no_output_has_no_stability(place, capsys):
    arguments = ["--model", "my_model:constant", "--segments", "3", "--repeats", "2"]
    fills = ["--fills", "zero,mean", "--output-dir", "out"]
    assert run("explain", "song.wav", *arguments, *fills) == 1
    assert "no output could be explained" in capsys.readouterr().err
    assert record_of(place / "out")["outputs"][0]["stability"]["u_n"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--repeats", "0"], "`--repeats` must be at least 1, got 0"),
        (["--fills", "zero"], "`--fills` must be at least two different names such as zero,mean"),
        (["--fills", "zero,zero"], "at least two different names"),
        (["--fills", ""], "at least two different names such as zero,mean, got ''"),
        (["--fills", "zero,men"], "`--fills` 'men' is unknown; did you mean 'mean'?"),
        (["--fills", "zero,minimum"], "`--fills` must be zero, mean, uniform, noise or shuffle"),
        (["--components", "grid", "--fills", "zero,minimm"], "did you mean 'minimum'"),
        (["--fills", "zero,mean", "--fill", "noise"], "does not go with `--fill noise`"),
        (
            ["--components", "stems", "--stems", "stems", "--fills", "zero,mean"],
            "`--fills` does not go with stems",
        ),
    ],
)
def test_impossible_repeats_and_fills_get_one_clear_line(place, options, message, capsys):
    assert run("explain", "song.wav", "--model", "my_model:halves", *options) == 2
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1
    assert not list(place.glob("explanation-of-*"))


@pytest.mark.slow
def test_snippets_are_exact_for_many_components(place, capsys):
    """Ten snippets of two stems: 40 evaluations instead of a million."""
    arguments = ["--model", "my_model:halves", "--components", "stems-time", "--stems", "stems"]
    options = ["--segments", "10", "--snippet", "0.2", "--num-samples", "exhaustive"]
    assert run("explain", "song.wav", *arguments, *options, "--output-dir", "out") == 0
    record = record_of(place / "out")
    assert len(record["components"]) == 20
    assert record["num_evaluations"] == 40 and record["is_exact"]
    assert "40 evaluations of the model: exact" in capsys.readouterr().out
