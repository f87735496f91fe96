"""`lime-jax separate`, and stems that `explain` and `run` make."""

import json
import shlex
import sys

import numpy as np
import pytest
import soundfile

from lime_jax.errors import AudioError
from lime_jax.models import weights
from lime_jax.models.crc32c import crc32c
from lime_jax.runs import reload, store
from lime_jax.separation import spleeter_weights
from lime_jax.separation.unet import SpleeterConfig, SpleeterNetwork
from tests.checkpoints import CheckpointWriter
from tests.commands.conftest import record_of
from tests.separation.conftest import PROGRAM, RATE, noise, read, write

MODEL = '''
import jax.numpy as jnp

class Loudness:
    """How loud the sound is."""

    sample_rate = 8_000
    output_names = ("loudness",)

    def __call__(self, waveforms):
        return jnp.sqrt(jnp.square(waveforms).mean(axis=1, keepdims=True))
'''
LINE = f"{shlex.quote(sys.executable)} separate.py {{audio}} {{output_dir}}"
COMMAND = ("--separator-command", LINE)
ASKED = ("--model", "loudness_of_all:Loudness", "--num-samples", "exhaustive")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A working folder with a stereo song, a model and a program that separates."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIME_JAX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "loudness_of_all.py").write_text(MODEL, encoding="utf-8")
    (tmp_path / "separate.py").write_text(PROGRAM, encoding="utf-8")
    write(tmp_path / "song.wav", noise(RATE, 2))
    yield tmp_path
    sys.modules.pop("loudness_of_all", None)


def entries(place):
    folder = place / "cache" / "stems"
    return list(folder.iterdir()) if folder.exists() else []


def names_of(folder):
    listing = json.loads((folder / "stems.json").read_text(encoding="utf-8"))
    assert sorted(listing["files"]) == sorted(path.name for path in folder.iterdir())
    return [stem["name"] for stem in listing["stems"]]


class TestSeparate:
    def test_stems_sum_to_the_input(self, place, call):
        code, out, printed = call("separate", "song.wav", *COMMAND)
        folder = place / "stems-of-song.wav"
        assert code == 0 and not out
        assert printed.splitlines() == [
            "lime-jax: separating 1 s of song.wav with " + sys.executable.rpartition("/")[2],
            f"lime-jax: high, low, residual: {folder}",
        ]
        assert names_of(folder) == ["high", "low", "residual"]
        stems = {path.stem: read(path) for path in folder.glob("*.wav")}
        np.testing.assert_array_equal(stems["high"], 0.5 * read(place / "song.wav"))
        np.testing.assert_allclose(sum(stems.values()), read(place / "song.wav"), atol=1e-6)
        assert soundfile.info(folder / "low.wav").subtype == "FLOAT"

    def test_separates_once_and_replaces_what_it_wrote(self, place, call):
        assert "separating" in call("separate", "song.wav", *COMMAND)[2]
        code, _, printed = call("separate", "song.wav", *COMMAND, "--no-residual")
        assert code == 0 and "separating" not in printed and len(entries(place)) == 1
        assert names_of(place / "stems-of-song.wav") == ["high", "low"]

    def test_takes_an_excerpt(self, place, call):
        excerpt = ("--start", "0.25", "--duration", "0.5", "--output-dir", "a/b")
        assert call("separate", "song.wav", *COMMAND, *excerpt)[0] == 0
        expected = 0.25 * read(place / "song.wav")[2_000:6_000]
        np.testing.assert_array_equal(read(place / "a" / "b" / "low.wav"), expected)

    def test_without_the_cache_no_stems_stay(self, place, call):
        assert call("separate", "song.wav", *COMMAND, "--no-keep-stems")[0] == 0
        assert not (place / "cache").exists()
        assert names_of(place / "stems-of-song.wav") == ["high", "low", "residual"]

    def test_folders_with_foreign_files_are_refused(self, place, call):
        assert call("separate", "song.wav", *COMMAND)[0] == 0
        (place / "stems-of-song.wav" / "notes.txt").write_text("mine")
        code, _, printed = call("separate", "song.wav", *COMMAND)
        assert code == 2 and "notes.txt" in printed


BAD = {
    "no separator": ((), "`--separator` is missing"),
    "an unknown one": (("--separator", "spleeter:6stems"), "did you mean 'spleeter:"),
    "no weights": (("--separator", "spleeter:2stems"), "lime-jax models fetch spleeter:2stems"),
    "no such weights": (
        ("--separator", "spleeter:2stems", "--separator-weights", "nowhere"),
        "`nowhere` is not a folder",
    ),
    "two": ((*COMMAND, "--separator", "spleeter:2stems"), "does not go with `--separator-command`"),
    "weights of a command": ((*COMMAND, "--separator-weights", "x"), "goes with `--separator`"),
    "a cross-fade of a command": ((*COMMAND, "--crossfade", "1"), "goes with `--separator`"),
    "too long a cross-fade": (
        ("--separator", "spleeter:2stems", "--crossfade", "9"),
        "`--crossfade` must lie between 0 and 5.94 s",
    ),
    "a command without places": (("--separator-command", "demucs"), "`--separator-command` must"),
    "an open quote": (("--separator-command", "'"), "`--separator-command` is no command"),
    "no such program": (
        ("--separator-command", "no-such-program {audio} {output_dir}"),
        "`no-such-program` cannot be started",
    ),
    "a program that fails": (
        ("--separator-command", "ls /nowhere/at/all {audio} {output_dir}"),
        "ended with code 2",
    ),
    "a program without stems": (("--separator-command", "echo {audio} {output_dir}"), "no stems"),
    "beyond the end": ((*COMMAND, "--start", "9"), "Choose `--start` and `--duration`"),
    "an endless excerpt": ((*COMMAND, "--duration", "inf"), "`--duration` above 0 s"),
    "no number": ((*COMMAND, "--start", "nan"), "`--start` must be at least 0 s"),
    "a folder of others": ((*COMMAND, "--output-dir", "."), "holds nothing that lime-jax wrote"),
    "a file": ((*COMMAND, "--output-dir", "song.wav"), "is a file"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_gets_one_clear_line_and_leaves_nothing(place, call, arguments, message):
    before = sorted(place.iterdir())
    code, out, printed = call("separate", "song.wav", *arguments)
    *_, last = printed.splitlines()
    assert code == 2 and not out and message in last, printed
    assert all(line.startswith("lime-jax: separating") for line in printed.splitlines()[:-1])
    assert sorted(path for path in place.iterdir() if path.name != "cache") == before
    assert entries(place) == []


BAD_SOUNDS = {
    "missing": (lambda path: None, "does not exist"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "empty": (lambda path: path.touch(), "is empty"),
    "text": (lambda path: path.write_text("no audio"), "is not audio"),
    "three channels": (lambda path: write(path, noise(RATE, 3)), "3 channels, more than 2"),
    "silence": (lambda path: write(path, np.zeros(RATE)), "is silent there"),
    "NaN": (lambda path: write(path, np.full(RATE, np.nan)), "NaN"),
}


@pytest.mark.parametrize("name", BAD_SOUNDS)
def test_bad_sounds_get_one_clear_line(place, call, name):
    make, message = BAD_SOUNDS[name]
    make(place / "bad.wav")
    code, _, printed = call("separate", "bad.wav", *COMMAND)
    assert code == 2 and message in printed.splitlines()[-1]
    assert not (place / "stems-of-bad.wav").exists() and entries(place) == []


class TestExplain:
    def explained(self, call, *options):
        code, _, printed = call(
            "explain", "song.wav", *ASKED, *COMMAND, *options, "--output-dir", "o"
        )
        assert code == 0, printed
        return printed

    @pytest.mark.slow
    def test_stems_are_made_and_explained(self, place, call):
        printed = self.explained(call, "--components", "stems")
        assert "separating 1 s of song.wav" in printed and len(entries(place)) == 1
        record = record_of(place / "o")
        assert [component["name"] for component in record["components"]] == [
            "high", "low", "residual",
        ]  # fmt: skip
        assert record["config"]["separator_command"] == LINE
        assert len(record["config"]["separator_version"]) == 64
        high, *others = record["outputs"][0]["coefficients"]
        assert high > max(others) > 0

    @pytest.mark.slow
    def test_times_of_the_stems_of_an_excerpt_are_explained(self, place, call):
        excerpt = ("--start", "0.25", "--duration", "0.5", "--no-keep-stems")
        components = ("--components", "stems-time", "--segments", "2")
        self.explained(call, *components, *excerpt)
        record, sound = record_of(place / "o"), read(place / "song.wav").mean(axis=1)
        names = [component["name"] for component in record["components"]]
        assert names == ["high T1", "low T1", "residual T1", "high T2", "low T2", "residual T2"]
        expected = np.sqrt(np.square(sound[2_000:6_000]).mean())
        assert record["outputs"][0]["prediction"] == pytest.approx(expected, rel=1e-4)
        assert not (place / "cache").exists()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--components", "time"), "a separator goes with `--components stems`"),
            (("--components", "stems", "--stems", "stems"), "does not go with a separator"),
        ],
    )
    def test_a_separator_beside_other_components_or_stems_is_refused(self, call, options, message):
        code, _, printed = call("explain", "song.wav", *ASKED, *COMMAND, *options)
        assert code == 2 and message in printed and printed.count("\n") == 1


class TestRun:
    @pytest.fixture
    def ran(self, place, call):
        """Runs over two songs."""
        for seed in (1, 2):
            write(place / "songs" / f"{seed}.wav", noise(RATE, 2, seed=seed))

        def run(*options):
            components = ("--components", "stems")
            return call("run", "songs", "store", *ASKED, *COMMAND, *components, *options)

        return run

    def rows(self, place):
        import pandas as pd

        return pd.read_parquet(place / "store" / "results.parquet").sort_values("id")

    @pytest.mark.slow
    def test_every_sound_is_separated_or_a_failure(self, place, ran):
        write(place / "songs" / "3.wav", np.zeros(RATE))
        write(place / "songs" / "4.wav", noise(RATE, 3))
        code, _, printed = ran()
        assert code == 12 and "2 explained, 2 failed" in printed
        assert "is silent from 0 s" in printed and "3 channels, more than 2" in printed
        assert len(entries(place)) == 2
        for high, low, rest in self.rows(place)["coefficients"]:
            assert high > low > 0 and rest == pytest.approx(low, rel=1e-3)

    @pytest.mark.slow
    def test_a_store_belongs_to_one_separator(self, place, ran):
        assert ran("--no-keep-stems")[0] == 0
        assert entries(place) == []
        assert ran("--keep-stems")[0] == 0
        with (place / "separate.py").open("a") as script:
            script.write("# another\n")
        code, _, printed = ran()
        assert code == 2 and "separator" in printed and len(printed.splitlines()) == 1

    @pytest.mark.slow
    def test_reports_separate_again(self, place, ran, call):
        assert ran("--no-keep-stems")[0] == 0
        code, _, printed = call("report", "store", "--output-dir", "page")
        assert code == 0, printed
        html = (place / "page" / "report.html").read_text(encoding="utf-8")
        assert "audio/flac;base64," in html or "audio/mpeg;base64," in html

    @pytest.mark.slow
    def test_items_of_a_changed_separator_are_not_read_again(self, place, ran):
        """The stems of a changed program would have other sounds under the old names."""
        assert ran()[0] == 0
        run = store.open_store(place / "store")
        (item,) = [item for item in run.items() if item.id == "1.wav"]
        assert len(reload.segmented_audio(run, item, 0).extents) > 1
        with (place / "separate.py").open("a", encoding="utf-8") as file:
            file.write("# changed\n")
        with pytest.raises(AudioError, match="is not what it was when"):
            reload.segmented_audio(run, item, 0)

    @pytest.mark.slow
    def test_what_cannot_be_explained_is_not_separated(self, place, ran):
        write(place / "songs" / "3.wav", noise(10))
        assert ran("--snippet", "0.5")[0] == 11
        assert len(entries(place)) == 2

    def test_the_reason_of_a_failure_is_that_of_the_program(self, place, ran):
        (place / "separate.py").write_text("import sys; sys.exit('no GPU')")
        code, _, printed = ran()
        assert code == 12 and "ended with code 1: no GPU" in printed


SMALL = SpleeterConfig(("vocals", "accompaniment"), num_filters=(2, 2, 2, 2, 2, 2))


@pytest.fixture
def checkpoint(place, monkeypatch):
    """Of a small network that hears nothing and shares out equally."""
    from flax import nnx

    def make():
        return SpleeterNetwork(SMALL, rngs=nnx.Rngs(0))

    scopes, kinds = spleeter_weights.layers(2), {"mean": "moving_mean", "var": "moving_variance"}
    kinds |= {"scale": "gamma"}
    tensors = {}
    for name, shape in weights.shapes_of(make).items():
        layer, _, leaf = name.rpartition(".")
        kind = {"bias": "beta", **kinds}[leaf] if "norm" in layer else leaf
        tensors[f"{scopes[layer]}/{kind}"] = np.full(shape, float(leaf == "var"), np.float32)
    CheckpointWriter(crc=crc32c).write(place / "weights", "model", tensors)
    monkeypatch.setattr(spleeter_weights, "CONFIGS", {"2stems": SMALL})
    return place / "weights"


@pytest.mark.slow
def test_a_separator_by_name_separates_and_explains(place, call, checkpoint):
    separator = ("--separator", "spleeter:2stems", "--separator-weights", checkpoint)
    tone = 0.5 * np.sin(np.arange(44_100) * 0.1) * np.hanning(44_100)
    write(place / "song.wav", tone.astype(np.float32), 44_100)
    code, _, printed = call("separate", "song.wav", *separator)
    assert code == 0 and "separating 1 s of song.wav with spleeter:2stems" in printed
    folder = place / "stems-of-song.wav"
    assert names_of(folder) == ["vocals", "accompaniment"]
    for name in names_of(folder):
        stem = read(folder / f"{name}.wav")
        np.testing.assert_allclose(stem, 0.5 * read(place / "song.wav"), atol=1e-4)
    components = ("--components", "stems", "--output-dir", "o")
    code, _, printed = call("explain", "song.wav", *ASKED, *separator, *components)
    assert code == 0 and "separating" not in printed
    vocals, accompaniment = record_of(place / "o")["outputs"][0]["coefficients"]
    assert vocals == pytest.approx(accompaniment, rel=1e-2)
