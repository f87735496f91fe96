"""What is learned from is what is sung; training learns, and leaves weights and their scores."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from flax import nnx

from lime_jax.errors import LimeJaxError
from lime_jax.models import singing_voice, singing_voice_front_end
from lime_jax.models.singing_voice_network import SvdNet
from scripts.experiments.common import augmentation
from scripts.experiments.common import command_line as command
from tests.networks import initialise
from tests.scripts.experiments.common.test_augmentation import unchanged

RATE = 16_000
SPLITS = ("train", "train", "train", "validation", "test")


@pytest.fixture(scope="module")
def trainer(script):
    pytest.importorskip("optax", reason="training needs the extra `train`")
    return script("training.singing_voice")


def write_songs(folder, splits=SPLITS, seconds=3.0):
    """Noise, to which a wavering voice sings in the middle third; the first song is louder."""
    time = np.arange(round(seconds * RATE)) / RATE
    is_sung = (time >= seconds / 3) & (time < 2 * seconds / 3)
    for number, split in enumerate(splits):
        rng = np.random.default_rng(number)
        song = folder / f"song-{number}"
        song.mkdir(parents=True)
        phase = 2 * np.pi * 300 * time + 3 * np.sin(2 * np.pi * 5 * time)
        voice = sum(np.sin(k * phase) / k for k in range(1, 9)) * is_sung
        noise = (0.2 if number else 0.4) * rng.uniform(-0.5, 0.5, len(time))
        soundfile.write(song / "voice.flac", 0.2 * voice, RATE)
        soundfile.write(song / "drums.flac", noise, RATE)
        third = f"{seconds / 3:.3f} {2 * seconds / 3:.3f}"
        (song / "voice.lab").write_text(f"{third} sing\n", encoding="utf-8")
        text = json.dumps({"name": song.name, "split": split})
        (song / "song.json").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def starts(trainer):
    """The first frames of the examples of a sequence."""
    return 9 * np.arange(trainer._NUM_EXAMPLES)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    return write_songs(tmp_path_factory.mktemp("songs") / "songs")


@pytest.fixture(scope="module")
def alternating(trainer):
    """A song that is loud where it is sung: for 15 to 50 frames at a time."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(15, 50, 60)
    is_singing = np.repeat(np.arange(len(lengths)) % 2 == 0, lengths)
    num_samples = (len(is_singing) - 1) * 315 + 1024
    # Frames are known by their centres.
    frames = (np.arange(num_samples) - 512 + 157) // 315
    is_loud = is_singing[np.clip(frames, 0, len(is_singing) - 1)]
    samples = np.where(is_loud, 8000, 8) * rng.uniform(-1, 1, num_samples)
    return trainer.Recording(samples.astype(np.int16), is_singing)


class TestReading:
    def test_songs_have_a_label_for_every_frame(self, trainer, songs):
        found = trainer.read(songs, "train", None)
        assert len(found) == 3
        for song in found:
            assert song.samples.dtype == np.int16
            assert len(song.is_singing) == len(singing_voice_front_end.log_mel(song.waveform))
            sung = song.is_singing.nonzero()[0]
            assert sung.tolist() == list(range(sung[0], sung[-1] + 1))
            np.testing.assert_allclose((sung[[0, -1]] * 315 + 512) / 22_050, [1, 2], atol=0.015)

    def test_short_songs_end_in_silence(self, trainer, songs):
        (song,) = trainer.read(songs, "test", None)
        assert len(song.samples) == trainer._SOURCE_SAMPLES + 1
        assert song.samples[: 3 * 22_050 - 100].any()
        assert not song.samples[3 * 22_050 + 100 :].any()

    @pytest.mark.parametrize("number", [1, 2, 7])
    def test_so_many_songs_are_read_at_most(self, trainer, songs, number):
        found, everything = (trainer.read(songs, "train", most) for most in (number, None))
        assert len(found) == min(number, 3)
        for one, other in zip(found, everything, strict=False):
            np.testing.assert_array_equal(one.samples, other.samples)

    @pytest.mark.parametrize("number", [0, -1])
    def test_no_songs_cannot_be_asked_for(self, trainer, songs, number):
        with pytest.raises(ValueError, match=f"`max_songs` must be at least 1, got {number}"):
            trainer.read(songs, "train", number)

    def test_missing_splits_and_folders_are_named(self, trainer, tmp_path):
        write_songs(tmp_path / "songs", ["train"], seconds=0.5)
        with pytest.raises(LimeJaxError, match="holds no validation songs with labels"):
            trainer.run(trainer.Config(tmp_path / "songs", output=tmp_path))
        with pytest.raises(LimeJaxError, match="holds no songs with a voice"):
            trainer.run(trainer.Config(tmp_path / "nowhere", output=tmp_path))

    def test_statistics_are_those_of_all_frames_together(self, trainer, songs):
        found = trainer.read(songs, "train", None)
        frames = [
            np.asarray(singing_voice_front_end.log_mel(song.waveform), float) for song in found
        ]
        together = np.concatenate(frames)
        mean, std = trainer.statistics_of(found)
        np.testing.assert_allclose(mean, together.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(std, together.std(axis=0), rtol=1e-4)
        assert mean.dtype == std.dtype == np.float32


class TestExamples:
    @pytest.mark.parametrize("speed", [0.7, 1.0, 1.29])
    def test_targets_are_what_is_heard(self, trainer, alternating, starts, speed):
        """In the middle of examples, after the change of speed, where it is loud or quiet."""
        rng, speeds = np.random.default_rng(1), np.full(8, speed, np.float32)
        waveforms, targets = trainer.draw(rng, [alternating], speeds)
        same = jax.vmap(lambda _: unchanged())(jnp.arange(8))
        variants = dataclasses.replace(same, speed=jnp.asarray(speeds))
        nothing = (np.zeros(80, np.float32), np.ones(80, np.float32))
        levels = trainer.sequences(nothing, jnp.asarray(waveforms), variants).mean(axis=2)
        assert levels.shape == (8, starts[-1] + 115)
        middle = np.asarray(levels)[:, starts + 57]
        is_clear = (middle < middle.min() + 0.5) | (middle > middle.max() - 0.5)
        assert is_clear.mean() > 0.7
        expected = np.where(middle > (middle.min() + middle.max()) / 2, 0.98, 0.02)
        np.testing.assert_allclose(targets[is_clear], expected[is_clear], rtol=1e-6)
        assert len(np.unique(targets)) == 2

    def test_excerpts_begin_at_frames_everywhere_in_all_songs(self, trainer):
        num_samples = trainer._SOURCE_SAMPLES + 1 + 3 * 315
        labels = np.zeros((num_samples - 1024) // 315 + 1, bool)
        places = (np.arange(num_samples) // 315).astype(np.int16)
        songs = [trainer.Recording(places, labels), trainer.Recording(-1000 - places, labels)]
        waveforms, targets = trainer.draw(np.random.default_rng(0), songs, np.full(200, 1.3))
        assert waveforms.shape == (200, trainer._SOURCE_SAMPLES) and waveforms.dtype == np.int16
        assert set(waveforms[:, 0].tolist()) == {0, 1, 2, 3, -1000, -1001, -1002, -1003}
        assert (np.abs(waveforms[:, 314] - waveforms[:, 0]) == 0).all()
        assert targets.shape == (200, trainer._NUM_EXAMPLES) and (targets == np.float32(0.02)).all()

    def test_the_fastest_sequence_fits_into_its_excerpt(self, trainer, starts):
        last = (starts[-1] + 115 - 1) * (1 + augmentation.MOST_STRETCH)
        assert last <= trainer._SOURCE - 1

    @pytest.mark.slow
    def test_unchanged_sequences_are_standardised_frames(self, trainer, alternating):
        statistics = trainer.statistics_of([alternating])
        waveforms, _ = trainer.draw(np.random.default_rng(2), [alternating], np.ones(1))
        same = jax.vmap(lambda _: unchanged())(jnp.arange(1))
        found = trainer.sequences(statistics, jnp.asarray(waveforms), same)
        frames = singing_voice_front_end.log_mel(waveforms.astype(np.float32) / 32767)
        expected = (np.asarray(frames) - statistics[0]) / statistics[1]
        np.testing.assert_allclose(found, expected[:, : found.shape[1]], atol=1e-4)


@pytest.mark.slow
def test_the_loss_is_that_of_the_network_on_every_example(trainer, getkey, monkeypatch):
    monkeypatch.setattr(trainer, "_NUM_EXAMPLES", 3)
    network = initialise(lambda: SvdNet(rngs=nnx.Rngs(0)))
    frames = jax.random.normal(getkey(), (2, 115 + 2 * 9, 80))
    targets = jax.random.uniform(getkey(), (2, 3), minval=0.02, maxval=0.98)
    excerpts = jnp.stack([frames[:, start : start + 115] for start in (0, 9, 18)], axis=1)
    told = np.asarray(network(excerpts.reshape(-1, 115, 80)), float)[:, 0]
    assert np.ptp(told) > 0.1
    wanted = np.asarray(targets, float).ravel()
    expected = -(wanted * np.log(told) + (1 - wanted) * np.log(1 - told)).mean()
    assert float(trainer.loss_of(network, frames, targets, None)) == pytest.approx(expected, 1e-4)


def test_a_licence_is_given_to_weights_of_our_own_songs_only(trainer, songs, tmp_path):
    ours, theirs = (
        trainer.describe(trainer.Config(folder), {}, {}) for folder in (songs, tmp_path / "jamendo")
    )
    assert ours["licence"] == "CC0-1.0" and "render_songs.py" in ours["data"]
    assert "licence" not in theirs and theirs["data"] == "jamendo"


def test_wrong_options_are_one_line(trainer, tmp_path, monkeypatch, capsys):
    write_songs(tmp_path / "songs", SPLITS, seconds=0.5)
    for arguments, problem in (
        (["--songs", str(tmp_path / "nowhere")], "holds no songs with a voice"),
        (["--songs", str(tmp_path / "songs"), "--max-songs", "0"], "`max_songs` must be at least"),
    ):
        monkeypatch.setattr(sys, "argv", ["train_singing_voice.py", *arguments])
        assert command.main(trainer.run, trainer.Config, trainer.tell) == 2
        told = capsys.readouterr()
        assert problem in told.err and len(told.err.splitlines()) == 1


@pytest.mark.slow
def test_training_learns_and_exports(trainer, songs, tmp_path):
    """In a process of its own, without the checks of shapes, which nnx.jit does not take."""
    write_songs(tmp_path / "more", ["test"])
    arguments = ["--songs", songs, "--test-songs", "more", "--output", "data"]
    arguments += "--num-epochs 3 --steps-per-epoch 12".split()
    arguments += "--num-sequences 2 --max-songs 2".split()
    program = [sys.executable, "-m", "scripts.training.singing_voice", *arguments]
    optimised = {k: v for k, v in os.environ.items() if k != "JAX_DISABLE_MOST_OPTIMIZATIONS"}
    done = subprocess.run(
        program, check=True, cwd=tmp_path, env=optimised, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    epochs = [line for line in lines if "training loss" in line]
    losses = [float(line.split("training loss")[1].split()[0]) for line in epochs]
    assert losses[2] < losses[0] and done.stderr == ""
    assert any("R0 on Jamendo" in line and "8.1 %" in line for line in lines)

    description = json.loads((tmp_path / "data" / "singing_voice.json").read_text("utf-8"))
    assert description["licence"] == "CC0-1.0"
    assert description["num_songs"] == {"training": 2, "validation": 1, "test": 1}
    assert description["training"]["max_songs"] == 2 and "songs" not in description["training"]
    assert {name.split(",")[0] for name in description["test"]} == {"our test songs", "more"}
    assert all(0 <= scores["error"] <= 1 for scores in description["test"].values())

    with np.load(tmp_path / "data" / "singing_voice.npz", allow_pickle=False) as arrays:
        assert arrays["dense.0.kernel"].dtype == np.float16 and arrays["std"].dtype == np.float32
        voice = singing_voice.from_arrays(dict(arrays), source="a test")
    read = trainer.read(songs, "train", 2)
    for found, expected in zip((voice.mean, voice.std), trainer.statistics_of(read), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    truth, told = trainer.judge(voice, trainer.read(songs, "test", 2))
    assert told.shape == truth.shape and np.isfinite(told).all()
