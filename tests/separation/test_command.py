"""Programs that separate: what they are given, and whatever they may do wrong."""

import os
import runpy
import shlex
import sys
import tempfile

import numpy as np
import pytest

from lime_jax.errors import AudioError, LimeJaxError
from lime_jax.separation import Command, Separator, cached_stems, stream_stems
from lime_jax.separation import command as command_module
from tests.separation.conftest import RATE, noise, read, write

PLACES = ("{audio}", "{output_dir}")

READ = """
import sys
from pathlib import Path
import numpy as np
import soundfile

sound, rate = soundfile.read(sys.argv[1], dtype="float32", always_2d=True)
out = Path(sys.argv[2])

def write(path, frames, rate=rate):
    (out / path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(out / path, frames, rate, "FLOAT")
"""


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Where temporary folders lie, which must be empty again at the end."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def program_of(tmp_path):
    """Makes a program of some lines, in which `sound` is given and `write(path, frames)` a stem."""

    def make(lines, *more):
        script = tmp_path / "program.py"
        script.write_text(READ + lines, encoding="utf-8")
        return Command((sys.executable, str(script), *PLACES, *more))

    return make


@pytest.fixture
def writing(program_of, monkeypatch):
    """Makes such a program and runs it in this process, where only what it writes matters."""

    def run(arguments):
        _, script, *words = arguments
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", [script, *words])
            runpy.run_path(script)

    monkeypatch.setattr(command_module, "_run", run)
    return program_of


@pytest.mark.parametrize("shape", [(RATE,), (1, RATE), (2, RATE)])
def test_stems_are_what_the_program_writes(program, shape):
    command, waveform = Command(program), noise(*shape)
    assert isinstance(command, Separator)
    stems = command(waveform, RATE)
    assert (stems.names, stems.sample_rate) == (("high", "low"), RATE)
    assert stems.waveforms.shape == (2, *shape) and stems.waveforms.dtype == np.float32
    np.testing.assert_allclose(stems.waveforms[0], 0.5 * waveform, atol=1e-7)
    np.testing.assert_allclose(stems.waveforms[1], 0.25 * waveform, atol=1e-7)


def test_long_sounds_come_back_in_blocks(program):
    waveform = noise(2, 200_000)
    stream = stream_stems(Command(program), iter(np.split(waveform, [30_000], axis=1)), RATE)
    blocks = list(stream.blocks)
    assert len(blocks) > 2 and max(block.shape[-1] for block in blocks) <= 2**16
    np.testing.assert_allclose(np.concatenate(blocks, -1)[0], 0.5 * waveform, atol=1e-7)


def test_a_stream_that_is_not_read_to_the_end_leaves_nothing(program):
    stream = Command(program).stream(iter([noise(2, 200_000)]), RATE)
    next(stream.blocks)
    del stream


class TestArguments:
    @pytest.mark.parametrize(
        ("line", "place"),
        [
            ("program {audio}", "{output_dir}"),
            ("program --out {output_dir}", "{audio}"),
            ("program {Audio} {output_dir}", "{audio}"),
            ("{audio} {output_dir}", "{audio}"),
            ("program", "{audio}"),
            ("", "{audio}"),
        ],
    )
    def test_need_both_places(self, line, place):
        with pytest.raises(ValueError, match=f"`separator_command` must hold {place}.*got"):
            Command.from_line(line)

    def test_are_cut_as_shells_do(self):
        command = Command.from_line("a --in={audio} 'b c' \"d e\" f\\ g -o {output_dir}/x")
        assert command.arguments == (
            "a", "--in={audio}", "b c", "d e", "f g", "-o", "{output_dir}/x",
        )  # fmt: skip

    def test_without_end_of_a_quote_are_no_command(self):
        with pytest.raises(ValueError, match=r"`separator_command` is no command \(No closing"):
            Command.from_line("program '{audio} {output_dir}")

    @pytest.mark.parametrize(
        "word",
        ["; touch owned", "$(touch owned)", "`touch owned`", "a b", "*", "'", '"', "", "|", "é鼓"],
    )
    def test_see_no_shell(self, program_of, tmp_path, monkeypatch, word):
        monkeypatch.chdir(tmp_path)
        command = program_of("assert sys.argv[3:] == [eval(sys.argv[4]), sys.argv[4]]\n"
                        "write('a.wav', sound)", word, repr(word))  # fmt: skip
        line = shlex.join(command.arguments)
        assert Command.from_line(line) == command
        assert command(noise(RATE), RATE).names == ("a",)
        assert not (tmp_path / "owned").exists()

    def test_may_hold_places_within_words(self, tmp_path):
        code = "import sys; from shutil import copy; copy(sys.argv[1][3:], sys.argv[2] + '.wav')"
        command = Command((sys.executable, "-c", code, "in={audio}", "{output_dir}/copy"))
        np.testing.assert_allclose(command(noise(RATE), RATE).waveforms, [noise(RATE)], atol=1e-7)


class TestFailures:
    def test_are_quoted_with_their_code(self, program_of):
        command = program_of("sys.stderr.write('no GPU\\n  found\\n'); sys.exit(3)")
        with pytest.raises(LimeJaxError, match=r"program.py.*ended with code 3: no GPU found$"):
            command(noise(RATE), RATE)

    def test_are_quoted_by_their_last_words(self, program_of):
        command = program_of("print('x' * 100_000, 'the end', file=sys.stderr); sys.exit(1)")
        with pytest.raises(LimeJaxError, match=r"the end$") as error:
            command(noise(RATE), RATE)
        assert len(str(error.value)) < 1_200

    def test_may_speak_on_stdout_or_not_at_all(self, program_of):
        with pytest.raises(LimeJaxError, match="code 1: sorry"):
            program_of("print('sorry'); sys.exit(1)")(noise(RATE), RATE)
        with pytest.raises(LimeJaxError, match="code 2: no message"):
            program_of("sys.exit(2)")(noise(RATE), RATE)
        with pytest.raises(LimeJaxError, match="code 1: ca"):
            program_of("sys.stderr.buffer.write(b'ca\\xff'); sys.exit(1)")(noise(RATE), RATE)

    def test_that_wait_for_input_get_none(self, program_of):
        with pytest.raises(LimeJaxError, match="EOFError"):
            program_of("input()")(noise(RATE), RATE)

    @pytest.mark.parametrize("name", ["no-such-program", "./no-such-program"])
    def test_to_start_name_the_program(self, name):
        with pytest.raises(LimeJaxError, match=rf"`{name}` cannot be started \(No such file"):
            Command((name, *PLACES))(noise(RATE), RATE)

    def test_to_be_allowed_name_the_program(self, tmp_path):
        (tmp_path / "text").write_text("no program")
        with pytest.raises(LimeJaxError, match=r"text` cannot be started \(Permission denied\)"):
            Command((str(tmp_path / "text"), *PLACES))(noise(RATE), RATE)


HALVES = "write('a.wav', 0.5 * sound); write('b.wav', 0.5 * sound)\n"

WRONG = {
    "no stems": ("", "`python.*` wrote no stems. It must write an audio file per stem"),
    "text alone": ("(out / 'a.txt').write_text('a')", "wrote no stems"),
    "a mixture alone": ("write('mix.wav', sound); write('Mixture.wav', sound)", "wrote no stems"),
    "two folders": ("write('x/a.wav', sound); write('y/b.wav', sound)", "stems into 2 folders"),
    "two depths": ("write('a.wav', sound); write('y/b.wav', sound)", "stems into 2 folders"),
    "half as long": ("write('a.wav', sound[:4_000])", "`a.wav` has 0.500 s, the sound 1.000 s"),
    "twice as long": ("write('a.wav', np.tile(sound, (2, 1)))", "`a.wav` has 2.000 s, the sound"),
    "one of two": (HALVES + "write('b.wav', sound[:4_000])", "`b.wav` has 0.500 s"),
    "of other rate": ("write('a.wav', sound, 16_000)", "`a.wav` has 0.500 s, the sound 1.000 s"),
    "no audio": ("(out / 'a.wav').write_text('no audio')", "a.wav` is not audio"),
    "empty": ("(out / 'a.wav').touch()", "a.wav` is empty"),
    "channels": ("write('a.wav', np.tile(sound[:, :1], 3))", "`a.wav` has 3 channels, the sound 2"),
    "NaN": ("sound[10] = np.nan; write('a.wav', sound)", "a.wav` holds 1 sample that is NaN"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_written_wrong_gets_one_line(writing, case):
    lines, message = WRONG[case]
    with pytest.raises(AudioError, match=message) as error:
        writing(lines)(noise(2, RATE), RATE)
    assert len(str(error.value).splitlines()) == 1


def test_two_files_of_one_name_are_refused(writing, tmp_path, cache_folder):
    song = write(tmp_path / "song.wav", noise(RATE))
    lines = "write('a.wav', sound); soundfile.write(out / 'a.flac', sound, rate)"
    with (
        pytest.raises(ValueError, match="must have different names"),
        cached_stems(song, writing(lines)),
    ):
        pass


@pytest.mark.parametrize("change", [-300, -1, 1, 300])
def test_small_differences_in_length_are_mended(writing, change):
    lines = f"write('a.wav', np.resize(sound, (len(sound) + {change}, 2)))"
    waveform = noise(2, RATE)
    (stem,) = writing(lines)(waveform, RATE).waveforms
    size = RATE + min(change, 0)
    assert stem.shape == waveform.shape
    np.testing.assert_allclose(stem[:, :size], waveform[:, :size], atol=1e-7)
    assert not stem[:, size:].any()


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_other_rates_are_resampled_back(writing, rate):
    lines = f"import soxr\nwrite('a.wav', soxr.resample(sound, rate, {rate}), {rate})"
    waveform = np.stack([np.sin(np.arange(12_345) * f / RATE) for f in (500, 3_000)])
    waveform = 0.5 * waveform.astype(np.float32)
    stems = writing(lines)(waveform, RATE)
    assert stems.sample_rate == RATE and stems.waveforms.shape == (1, *waveform.shape)
    inner = slice(500, -500)
    np.testing.assert_allclose(stems.waveforms[0, :, inner], waveform[:, inner], atol=2e-3)


def test_mono_stems_of_a_stereo_sound_are_in_both_channels(writing):
    (stem,) = writing("write('a.wav', sound.mean(axis=1))")(noise(2, RATE), RATE).waveforms
    assert stem.shape == (2, RATE)
    np.testing.assert_array_equal(stem[0], stem[1])


def test_stereo_stems_of_a_mono_sound_are_averaged(writing):
    lines = "write('a.wav', sound * np.float32([0.5, 1.5]))"
    (stem,) = writing(lines)(noise(RATE), RATE).waveforms
    np.testing.assert_allclose(stem, noise(RATE), atol=1e-7)


def test_mixtures_and_hidden_files_are_no_stems(writing):
    lines = (
        "for name in 'mix.wav Mixture.WAV .hidden.wav x/mix.wav'.split(): write(name, sound)\n"
        "(out / 'log.txt').write_text('done')\n"
    )
    assert writing(HALVES + lines)(noise(RATE), RATE).names == ("a", "b")


def test_other_formats_are_read(writing):
    lines = (
        "for kind in ('flac', 'ogg', 'WAV'): soundfile.write(out / f'a-{kind}.{kind}', sound, rate)"
    )
    assert writing(lines)(noise(RATE), RATE).names == ("a-WAV", "a-flac", "a-ogg")


class TestVersion:
    def test_changes_with_the_arguments(self):
        versions = {Command(("a", *PLACES, *more)).version for more in [(), ("b",), ("c",)]}
        assert len(versions) == 3

    def test_is_the_same_for_the_same(self, program):
        assert Command(program).version == Command(program).version

    def test_changes_with_a_file_among_them(self, program, tmp_path):
        (tmp_path / "weights").write_text("1")
        command = Command((*program, str(tmp_path / "weights")))
        versions = {command.version}
        (tmp_path / "weights").write_text("2")
        versions.add(command.version)
        with open(program[1], "a") as script:
            script.write("# another\n")
        versions.add(command.version)
        assert len(versions) == 3

    @pytest.mark.parametrize("word", ["x" * 5_000, os.fsdecode(b"\xff"), "a\0b", "/"])
    def test_takes_words_that_no_file_can_be_called(self, word):
        assert Command(("a", *PLACES, word)).version

    def test_decides_what_is_in_the_cache(self, program, tmp_path):
        song = write(tmp_path / "song.wav", noise(RATE, 2))
        for gain, expected in (("0.25", 0.25), ("0.125", 0.125)):
            script = (tmp_path / "separate.py").read_text(encoding="utf-8")
            (tmp_path / "separate.py").write_text(script.replace("0.25", gain), encoding="utf-8")
            with cached_stems(song, Command(program)) as entry:
                assert list(entry.files) == ["high", "low"]
                np.testing.assert_array_equal(read(entry.files["low"]), expected * read(song))


def test_it_is_called_as_the_program():
    assert Command(("/usr/bin/demucs", *PLACES)).name == "demucs"


@pytest.mark.parametrize("num_samples", [RATE + 2_000, 2 * RATE, 20 * RATE])
def test_stems_that_are_too_long_are_refused_however_long(writing, num_samples):
    lines = f"soundfile.write(out / 'a.wav', np.zeros({num_samples}), rate)"
    with pytest.raises(AudioError, match="must keep the length"):
        writing(f"import numpy as np; {lines}")(noise(RATE), RATE)
