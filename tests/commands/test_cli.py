"""The command line from end to end: what it writes, and one clear line for everything bad."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax import cli, examples
from lime_jax.audio import io, repeats
from lime_jax.commands import explain
from lime_jax.errors import AudioError

MODEL = '''
import jax.numpy as jnp
import numpy as np
import lime_jax as lj

class Halves:
    """How loud the first and the second half of a waveform are."""
    sample_rate = 8000
    output_names = ("first <b>half</b>", "second half")
    def __call__(self, waveforms):
        halves = waveforms.reshape(len(waveforms), 2, -1)
        return jnp.sqrt(jnp.square(halves).mean(axis=2))

def broken(batch):
    raise RuntimeError("no such layer")

class Misshapen(Halves):
    def __call__(self, waveforms):
        return waveforms @ jnp.ones((3, 2))

class Raising(Halves):
    def __call__(self, waveforms):
        raise ValueError("boom inside the model")

class Constant(Halves):
    def __call__(self, waveforms):
        return jnp.ones((len(waveforms), 2))

class Miscounted(Halves):
    output_names = ("one", "two", "three")

class Alike(Halves):
    output_names = ("Rock", "ROCK")

halves = Halves
raising, constant, miscounted, alike = Raising, Constant, Miscounted, Alike
misshapen = Misshapen
def host():
    call = lambda batch: np.sqrt(np.square(batch.reshape(len(batch), 2, -1)).mean(axis=2))
    return lj.host_model(call, sample_rate=8000)
def broken_host():
    return lj.host_model(broken, sample_rate=8000)
'''


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a song, its stems and a model of the user."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_model.py").write_text(MODEL, encoding="utf-8")
    rng = np.random.default_rng(0)
    loud = np.linspace(0, 1, 16_000)[None] * rng.standard_normal((2, 16_000)) * 0.1
    (tmp_path / "stems").mkdir()
    for name, stem in zip(("left", "right"), loud.astype(np.float32), strict=True):
        io.save(tmp_path / "stems" / f"{name}.wav", stem, 8000)
    io.save(tmp_path / "song.wav", loud.sum(axis=0).astype(np.float32), 8000)
    yield tmp_path
    sys.modules.pop("my_model", None)


def run(*arguments):
    """The exit code of a command, from its return value or its `SystemExit`."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code


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
    record = json.loads((place / "out" / "explanation.json").read_text(encoding="utf-8"))
    assert record["config"]["components"] == kind
    if num_components is not None:
        assert len(record["components"]) == num_components
    assert (place / "out" / "report.html").exists()
    assert (place / "out" / "1-second-half-top-highlight.wav").exists()
    assert "second half" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stems", "time"])
def test_a_folder_of_stems_is_the_sound_of_their_sum(kind, place):
    arguments = ["--model", "my_model:halves", "--components", kind, "--num-samples", "64"]
    stems = ["--stems", "stems"] if kind == "stems" else []
    assert run("explain", "song.wav", *arguments, *stems, "--output-dir", "file") == 0
    assert run("explain", "stems", *arguments, "--output-dir", "folder") == 0
    file, folder = (
        json.loads((place / name / "explanation.json").read_text(encoding="utf-8"))
        for name in ("file", "folder")
    )
    assert [c["name"] for c in file["components"]] == [c["name"] for c in folder["components"]]
    for one, other in zip(file["outputs"], folder["outputs"], strict=True):
        np.testing.assert_allclose(one["coefficients"], other["coefficients"], atol=1e-4)


@pytest.mark.slow
def test_reports_the_evaluations_really_made(place, capsys):
    arguments = ["--model", "my_model:halves", "--segments", "4", "--num-samples", "70000"]
    assert run("explain", "song.wav", *arguments) == 0
    told = capsys.readouterr()
    assert "16 evaluations of the model for 70,000 samples" in told.out
    assert told.err == "lime-jax: explaining song.wav with 16 evaluations of the model\n"
    record = json.loads((place / "explanation-of-song.wav" / "explanation.json").read_text("utf-8"))
    assert (record["num_samples"], record["num_evaluations"]) == (70_000, 16)


@pytest.mark.slow
def test_a_host_model_is_explained_like_a_traced_one(place):
    for factory in ("halves", "host"):
        assert (
            run("explain", "song.wav", "--model", f"my_model:{factory}", "--output-dir", factory)
            == 0
        )
    one, other = (
        json.loads((place / name / "explanation.json").read_text("utf-8"))["outputs"][0]
        for name in ("halves", "host")
    )
    np.testing.assert_allclose(one["coefficients"], other["coefficients"], atol=1e-6)
    assert (one["name"], other["name"]) == ("second half", "output 1")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_record(place, capsys):
    coefficients = []
    for folder in ("a", "b"):
        arguments = ["--model", "my_model:halves", "--segments", "12", "--fill", "noise"]
        assert run("explain", "song.wav", *arguments, "--seed", "7", "--output-dir", folder) == 0
        record = json.loads((place / folder / "explanation.json").read_text("utf-8"))
        coefficients.append(record["outputs"][0]["coefficients"])
    assert coefficients[0] == coefficients[1]
    assert "±" in capsys.readouterr().out


@pytest.mark.slow
def test_nothing_explained_is_no_success(place, capsys):
    arguments = ["--model", "my_model:constant", "--segments", "3", "--output-dir", "out"]
    assert run("explain", "song.wav", *arguments) == 1
    told = capsys.readouterr()
    assert "no output could be explained" in told.err
    assert "not explained" in told.out and "`--fill`" in told.out
    assert (place / "out" / "report.html").exists()


BAD = {
    "a missing file": (["explain", "nothing.wav"], "nothing.wav"),
    "a folder": (["explain", "stems"], "stems"),
    "an empty file": (["explain", "empty.wav"], "empty.wav"),
    "no audio": (["explain", "my_model.py"], "my_model.py"),
    "too short for the model": (["explain", "song.wav"], "needs at least 2.53 s"),
    "an unknown model": (["explain", "song.wav", "--model", "msd-musicn"], "'msd-musicnn'"),
    "an unknown output": (
        ["explain", "song.wav", "--model", "my_model:halves", "--outputs", "secnd half"],
        "'second half'",
    ),
    "an unknown fill": (
        ["explain", "song.wav", "--model", "my_model:halves", "--fill", "men"],
        "'mean'",
    ),
    "a fill that shifts a waveform": (
        ["explain", "song.wav", "--fill", "minimum"],
        "`--fill` must be zero, mean, uniform, noise or shuffle",
    ),
    "samples that are no number": (
        ["explain", "song.wav", "--num-samples", "abc"],
        "--num-samples: must be a whole number, auto or exhaustive, got 'abc'.",
    ),
    "an unknown command": (["explian", "song.wav"], "demo, explain, separate, run, verify"),
    "more names than outputs": (
        ["explain", "song.wav", "--model", "my_model:miscounted"],
        "3 entries, but the model returns 2 outputs",
    ),
    "an output in two cases": (
        ["explain", "song.wav", "--model", "my_model:alike", "--outputs", "rock"],
        "could be 'Rock' or 'ROCK'",
    ),
    "an output that a model without names lacks": (
        ["explain", "song.wav", "--model", "my_model:host", "--outputs", "output 2"],
        "'output 1'",
    ),
    "a model that raises": (
        ["explain", "song.wav", "--model", "my_model:raising", "--components", "grid"],
        "`my_model:raising` failed: ValueError: boom inside the model",
    ),
    "an unknown distance": (["explain", "song.wav", "--distance", "cosin"], "'cosine'"),
    "too many components for all masks": (
        ["explain", "song.wav", "--model", "my_model:halves", "--segments", "30",
         "--num-samples", "exhaustive"],
        "1,073,741,824 masks, too many to evaluate all (at most 20 components, 1,048,576 masks). "
        "Use `--num-samples N`",
    ),
    "more segments than samples": (
        ["explain", "song.wav", "--model", "my_model:halves", "--segments", "20000"],
        "`--segments` must lie between",
    ),
    "segments that are none": (
        ["explain", "song.wav", "--model", "my_model:halves", "--segments", "2x2"],
        "one number for time",
    ),
    "stems without a folder": (
        ["explain", "song.wav", "--model", "my_model:halves", "--components", "stems"],
        "--stems FOLDER",
    ),
    "a folder for stems without need": (
        ["explain", "song.wav", "--model", "my_model:halves", "--stems", "stems"],
        "--components stems",
    ),
    "stems of another length": (
        ["explain", "song.wav", "--model", "my_model:halves", "--components", "stems",
         "--stems", "short"],
        "short",
    ),
    "an excerpt beyond the end": (
        ["explain", "song.wav", "--model", "my_model:halves", "--start", "99"],
        "Choose `--start` and `--duration`",
    ),
    "a broken model": (["explain", "song.wav", "--model", "my_model:broken_host"], "no such layer"),
    "a broken traced model": (
        ["explain", "song.wav", "--model", "my_model:misshapen"],
        "`my_model:misshapen` failed: TypeError",
    ),
    "an impossible seed": (["explain", "song.wav", "--seed", "99999999999999999999"], "`--seed`"),
    "no top component": (["explain", "song.wav", "--top-k", "0"], "`--top-k`"),
    "an empty batch": (["explain", "song.wav", "--batch-size", "0"], "`--batch-size`"),
    "a kernel without width": (
        ["explain", "song.wav", "--kernel-width", "nan"],
        "`--kernel-width`",
    ),
    "a negative penalty": (["explain", "song.wav", "--alpha", "-1"], "`--alpha`"),
    "a module that is not there": (["explain", "song.wav", "--model", "no.such:model"], "no.such"),
    "one sample": (
        ["explain", "song.wav", "--model", "my_model:halves", "--num-samples", "1"],
        "at least 2",
    ),
    "samples beyond counting": (
        ["explain", "song.wav", "--model", "my_model:halves", "--num-samples", "99999999999"],
        "`--num-samples`",
    ),
    "a foreign folder": (
        ["explain", "song.wav", "--model", "my_model:halves", "--output-dir", "stems"],
        "stems",
    ),
    "a separator without need": (
        ["explain", "song.wav", "--separator", "spleeter:2stems"],
        "goes with `--components stems` or `stems-time`, got time",
    ),
    "an unknown separator": (
        ["explain", "song.wav", "--components", "stems", "--separator", "spleeter:6stems"],
        "did you mean 'spleeter:",
    ),
    "a separator without weights": (
        ["explain", "song.wav", "--components", "stems", "--separator", "spleeter:5stems"],
        "run `lime-jax models fetch spleeter:5stems`",
    ),
    "weights of a separator that are none": (
        ["explain", "song.wav", "--components", "stems", "--separator", "spleeter:5stems",
         "--separator-weights", "stems"],
        "model.index` cannot be read",
    ),
    "two separators": (
        ["explain", "song.wav", "--components", "stems", "--separator", "spleeter:2stems",
         "--separator-command", "demucs {audio} -o {output_dir}"],
        "`--separator` does not go with `--separator-command`",
    ),
    "a separator beside stems": (
        ["explain", "song.wav", "--components", "stems-time", "--stems", "stems",
         "--separator", "spleeter:2stems"],
        "`--stems` does not go with a separator",
    ),
    "a cross-fade without a separator": (
        ["explain", "song.wav", "--crossfade", "1"],
        "`--crossfade` goes with `--separator`",
    ),
    "a separator's command without places": (
        ["explain", "song.wav", "--components", "stems", "--separator-command", "demucs"],
        "`--separator-command` must hold {audio}",
    ),
    "a run with an unknown separator": (
        ["run", "stems", "store", "--components", "stems", "--separator", "spleeter"],
        "did you mean 'spleeter:",
    ),
    "an unknown model to read about": (["models", "info", "vgg"], "did you mean"),
    "a wheel that is none": (["models", "fetch", "musicnn", "--wheel", "song.wav"], "song.wav"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_gets_one_clear_line(arguments, message, place, capsys, monkeypatch):
    monkeypatch.setenv("LIME_JAX_CACHE", str(place / "cache"))
    (place / "empty.wav").touch()
    (place / "short").mkdir()
    for name in ("left", "right"):
        io.save(place / "short" / f"{name}.wav", np.full(9000, 0.1, np.float32), 8000)
    before = {path for path in place.rglob("*") if "__pycache__" not in path.parts}
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("lime-jax: ") and error.count("\n") == 1, error
    assert message in error and "Traceback" not in error
    after = {path for path in place.rglob("*") if "__pycache__" not in path.parts}
    assert {path for path in after - before if "cache" not in str(path)} == set()


def test_a_wrong_flag_is_refused_by_the_parser(place, capsys):
    assert run("explain", "song.wav", "--component", "time") == 2
    assert "--components" in capsys.readouterr().err


def test_help_names_units_and_defaults(capsys):
    assert run("explain", "--help") == 0
    text = re.sub(r"\s+", " ", re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out))
    assert "in seconds" in text and "default: 1000" in text
    assert "{cosine,l2,hamming}" in text and "{None}" not in text
    assert run("--help") == 0
    assert "LIME_JAX_TRACEBACK=1" in capsys.readouterr().out


def test_says_its_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"lime-jax {importlib.metadata.version('lime-jax')}\n"


def test_where_an_error_comes_from_is_shown_on_request(place, monkeypatch):
    monkeypatch.setenv("LIME_JAX_TRACEBACK", "1")
    with pytest.raises(AudioError, match="does not exist"):
        run("explain", "nothing.wav", "--model", "my_model:halves")


def test_outputs_are_found_in_their_own_case_first(place):
    arguments = ["--model", "my_model:alike", "--outputs", "ROCK", "--num-samples", "50"]
    assert run("explain", "song.wav", *arguments, "--output-dir", "out") == 0
    record = json.loads((place / "out" / "explanation.json").read_text("utf-8"))
    assert [output["name"] for output in record["outputs"]] == ["ROCK"]


def test_models_are_listed_and_described(capsys):
    assert run("models", "list") == 0
    assert "msd-musicnn" in capsys.readouterr().out
    assert run("models", "info", "mtt-vgg") == 0
    text = capsys.readouterr().out
    assert "licence: ISC" in text and "choral" in text and "sample rate: 16000 Hz" in text
    assert run("models", "info", "instrument-tagger") == 0
    assert "None" not in capsys.readouterr().out


def test_the_demo_shows_every_instrument_as_the_reason_for_its_own_tag(tmp_path, capsys):
    assert run("demo", "--output-dir", tmp_path / "demo") == 0
    record = json.loads((tmp_path / "demo" / "explanation.json").read_text(encoding="utf-8"))
    names = [component["name"] for component in record["components"]]
    for output in record["outputs"]:
        assert output["status"] == "OK"
        assert names[int(np.argmax(output["coefficients"]))] == output["name"]
    assert [output["name"] for output in record["outputs"]] == list(examples.song().names)


def test_runs_as_a_program_without_a_terminal(place):
    program = [sys.executable, "-m", "lime_jax.cli", "explain", "nothing.wav"]
    done = subprocess.run(program, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("lime-jax: ") and len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_top_k_and_the_command_line_agree(place):
    assert run("explain", "song.wav", "--model", "my_model:halves", "--output-dir", "out") == 0
    record = json.loads((place / "out" / "explanation.json").read_text("utf-8"))
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
            "`--max-evaluations` must be a whole",
        ),
        (["--snippet", "-1"], "`--snippet` must be positive seconds"),
        (["--num-samples", "many"], "must be a whole number, auto or exhaustive, got 'many'"),
    ],
)
def test_impossible_targets_get_one_clear_line(place, options, message, capsys):
    assert run("explain", "song.wav", "--model", "my_model:halves", *options) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_auto_meets_its_target_and_says_what_it_took(place, capsys):
    targets = ["--num-samples", "auto", "--std-error", "0.01", "--outputs", "second half"]
    arguments = ["--model", "my_model:halves", "--segments", "12", *targets]
    assert run("explain", "song.wav", *arguments, "--output-dir", "out") == 0
    told = capsys.readouterr().out
    record = json.loads((place / "out" / "explanation.json").read_text("utf-8"))
    (output,) = record["outputs"]
    assert max(output["std_error"]) <= 0.01 and not record["is_exact"]
    assert f"{record['num_evaluations']:,} evaluations" in told and "LIME would take" in told
    assert all(low <= high for low, high in output["confidence_interval"])
    assert 0 <= output["top_k_confidence"] <= 1


ASKED = ["--model", "my_model:halves", "--segments", "12", "--num-samples", "100"]


def record_of(folder):
    return json.loads((folder / "explanation.json").read_text("utf-8"))


@pytest.mark.slow
def test_repeats_say_how_stable_the_answer_is(place, capsys):
    assert run("explain", "song.wav", *ASKED, "--repeats", "3", "--output-dir", "out") == 0
    told = capsys.readouterr()
    assert "in the top 3 of 3 repeats (U_n)" in told.out and "of 3" in told.out
    assert "with 300 evaluations of the model" in told.err
    record = record_of(place / "out")
    assert (record["num_repeats"], record["num_evaluations"]) == (3, 300)
    output = record["outputs"][0]
    tops = output["stability"]["top_components"]
    assert output["stability"]["u_n"] == lj.metrics.u_n(tops) >= 3
    assert "How stable is this?" in (place / "out" / "report.html").read_text("utf-8")


def test_the_first_repeat_is_the_answer_without_repeats(place):
    audio = lj.audio.segment.by_time(io.load(place / "song.wav", 8000), 8000, 12)
    model = lambda x: jnp.sqrt(jnp.square(x.reshape(len(x), 2, -1)).mean(axis=2))
    once = repeats.explain_repeatedly(model, audio, lj.lime(100), seed=7)
    thrice = repeats.explain_repeatedly(model, audio, lj.lime(100), seed=7, repeats=3)
    assert once.repeats is None and once.over_fills is None
    first = jax.tree.map(lambda x: x[0], thrice.repeats)
    np.testing.assert_array_equal(first.coefficients, once.explanation.coefficients)
    assert len(np.unique(np.asarray(thrice.repeats.coefficients[:, 0, 0]))) == 3
    mean = np.asarray(thrice.repeats.coefficients, np.float64).mean(axis=0)
    np.testing.assert_allclose(thrice.explanation.coefficients, mean, atol=1e-6)


@pytest.mark.slow
def test_fills_say_how_much_hangs_on_what_stands_in_for_removed_parts(place, capsys):
    fills = ["--fills", "zero, mean,noise", "--seed", "7"]
    assert run("explain", "song.wav", *ASKED, *fills, "--output-dir", "out") == 0
    told = capsys.readouterr().out
    assert "shared (N_ce)" in told and "average ± spread" in told
    record = record_of(place / "out")
    assert record["fills"] == ["zero", "mean", "noise"] and record["num_evaluations"] == 300
    (found, *_) = record["outputs"]
    each = np.array([fill["coefficients"] for fill in found["fills"]])
    np.testing.assert_allclose(found["coefficients"], each.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found["spread"], each.std(axis=0, ddof=1), atol=1e-5)
    assert run("explain", "song.wav", *ASKED, "--fill", "noise", *fills[2:],
               "--output-dir", "noise") == 0  # fmt: skip
    alone = record_of(place / "noise")["outputs"][0]
    np.testing.assert_allclose(found["fills"][2]["coefficients"], alone["coefficients"], atol=1e-5)
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
    (found, *_) = record["outputs"]
    each = np.array([fill["coefficients"] for fill in found["fills"]])
    np.testing.assert_allclose(found["coefficients"], each.mean(axis=0), atol=1e-5)
    assert "U_n" in (told := capsys.readouterr().out) and "N_ce" in told


@pytest.mark.slow
def test_a_receptive_field_pays_for_repeats_and_fills_too(place):
    options = ["--repeats", "2", "--fills", "zero,mean", "--num-samples", "exhaustive"]
    arguments = ["--model", "my_model:halves", "--segments", "10", "--snippet", "0.2"]
    assert run("explain", "song.wav", *arguments, *options, "--output-dir", "out") == 0
    record = record_of(place / "out")
    # Exact after the first repeat, which the second would only repeat.
    assert record["num_evaluations"] == 2 * 20 and record["is_exact"]
    assert record["num_repeats"] == 1
    found = record["outputs"][0]
    assert found["stability"]["agreement"] == 1 and found["stability"]["u_n"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("number", ["exhaustive", "auto"])
def test_exact_answers_are_not_repeated(place, number, capsys):
    asked = ["--model", "my_model:halves", "--segments", "6", "--num-samples", number]
    assert run("explain", "song.wav", *asked, "--repeats", "5", "--output-dir", "out") == 0
    told = capsys.readouterr()
    assert "with 64 evaluations of the model" in told.err
    assert "1 repeat (U_n)" in told.out and "1 of 1" in told.out
    record = record_of(place / "out")
    assert (record["num_repeats"], record["num_evaluations"], record["is_exact"]) == (1, 64, True)
    stability = record["outputs"][0]["stability"]
    assert (stability["u_n"], stability["agreement"]) == (3, 1.0)
    page = (place / "out" / "report.html").read_text("utf-8")
    assert "The weights are exact: other masks change nothing." in page


@pytest.mark.slow
def test_nothing_explained_has_no_stability(place, capsys):
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
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert not list(place.glob("explanation-of-*"))


@pytest.mark.slow
def test_snippets_are_exact_for_many_components(place, capsys):
    """Ten snippets of two stems: 40 evaluations instead of a million."""
    arguments = ["--model", "my_model:halves", "--components", "stems-time", "--stems", "stems"]
    options = ["--segments", "10", "--snippet", "0.2", "--num-samples", "exhaustive"]
    assert run("explain", "song.wav", *arguments, *options, "--output-dir", "out") == 0
    record = json.loads((place / "out" / "explanation.json").read_text("utf-8"))
    assert len(record["components"]) == 20
    assert record["num_evaluations"] == 40 and record["is_exact"]
    assert "40 evaluations of the model: exact" in capsys.readouterr().out
