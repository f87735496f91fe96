"""What is learned from is what was played; training learns, and leaves networks and scores."""

import dataclasses
import json
import os
import subprocess
import sys
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from lime_jax.errors import StoreError
from scripts.experiments.lemons import play_counts
from scripts.experiments.lemons.play_counts import Example

RATE = 16_000
SPLITS = ["train"] * 8 + ["validation"] * 4 + ["test"] * 4


@pytest.fixture(scope="module")
def trainer(script):
    pytest.importorskip("optax", reason="training needs the extra `train`")
    return script("training.recommender", "training.recommender_data", "training.recommender_steps")


def write_library(folder, splits=SPLITS, seconds=1.3):
    """Ada plays tracks of odd numbers, which are quiet noise; Bob plays none; Cy plays all."""
    lines, tracks = [], []
    for number, split in enumerate(splits):
        rng = np.random.default_rng(number)
        track = f"track-{number:02d}"
        (folder / "audio" / track).mkdir(parents=True)
        size = round((seconds + 0.1 * (number % 3)) * RATE)
        for stem in ("bass", "drums"):
            sound = (0.02 if number % 2 else 0.3) * rng.uniform(-1, 1, size)
            soundfile.write(folder / "audio" / track / f"{stem}.ogg", sound, RATE)
        tracks.append({"id": track, "split": split})
        lines += [f"ada\t{track}\t{number}"] if number % 2 else [f"bob\t{track}\t0"]
        lines += [f"cy\t{track}\t1"]
    (folder / "plays.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "library.json").write_text(json.dumps({"tracks": tracks}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return write_library(tmp_path_factory.mktemp("library"))


def test_networks_are_scored_after_training_only(trainer, library, tmp_path):
    config = trainer.Config(library, output_dir=tmp_path, evaluate=True)
    with pytest.raises(StoreError, match=r"scores\.json` cannot be read .* Train first"):
        trainer.run(config)


class TestData:
    def test_libraries_have_their_splits(self, trainer, library):
        data = trainer.open_data(trainer.Config(library))
        assert set(data.plays) == {"ada", "bob", "cy"} and len(data.files) == 16
        parts = data.examples("ada", 0)
        assert {part: len(examples) for part, examples in parts.items()} == {
            "train": 8,
            "validation": 4,
            "test": 4,
        }
        for part, examples in parts.items():
            for example in examples:
                number = int(example.track[-2:])
                assert SPLITS[number] == part and example.is_relevant == (number % 2 == 1)

    def test_others_are_split_at_random(self, trainer, library):
        config = trainer.Config(audio=library / "audio", triplets=library / "plays.tsv")
        parts = trainer.open_data(config).examples("ada", 0)
        assert [len(examples) for examples in parts.values()] == [13, 1, 2]

    def test_what_is_missing_is_named(self, trainer, library):
        with pytest.raises(ValueError, match="`library`, or `audio` and `triplets`, must be given"):
            trainer.open_data(trainer.Config(audio=library / "audio"))
        with pytest.raises(StoreError, match="holds no plays of dan"):
            trainer.open_data(trainer.Config(library, users=("ada", "dan")))

    @pytest.mark.parametrize("user", ["bob", "cy"])
    def test_users_need_played_and_unplayed_tracks(self, trainer, library, user, tmp_path):
        config = trainer.Config(library, users=(user,), output_dir=tmp_path)
        with pytest.raises(StoreError, match=f"user '{user}' has no played and unplayed tracks"):
            trainer.run(config)

    def test_tracks_are_sums_of_stems(self, trainer, library):
        files = play_counts.audio_files(library / "audio")
        names = ["track-02", "track-00"]
        tracks = trainer.read_tracks(files, names)
        assert tracks.samples.dtype == np.int16 and tracks.lengths.tolist() == [24_000, 20_800]
        stems = [soundfile.read(files["track-00"] / f"{s}.ogg")[0] for s in ("bass", "drums")]
        expected = np.clip(sum(stems), -1, 1) * 32767
        row = tracks.samples[tracks.rows["track-00"]]
        np.testing.assert_allclose(row[:20_800], expected, atol=1)
        assert not row[20_800:].any()

    def test_short_tracks_are_named(self, trainer, tmp_path):
        soundfile.write(tmp_path / "one.wav", np.sin(np.arange(15_999)) / 2, RATE)
        with pytest.raises(StoreError, match=r"one\.wav` is shorter than a second"):
            trainer.read_tracks(play_counts.audio_files(tmp_path), ["one"])


class TestExamples:
    def test_crops_come_from_anywhere_in_their_track(self, trainer, getkey):
        samples = np.zeros((2, 16_010), np.int16)
        samples[0] = np.arange(16_010)
        samples[1, :16_002] = -np.arange(16_002)
        lengths = jnp.array([16_010, 16_002])
        rows = jnp.asarray(np.arange(400) % 2)
        found = np.asarray(trainer.crops(jnp.asarray(samples), lengths, rows, getkey()))
        assert found.shape == (400, 16_000)
        starts = np.round(32767 * found[:, 0]).astype(int)
        assert set(starts[::2]) == set(range(11)) and set(starts[1::2]) == {0, -1, -2}
        np.testing.assert_allclose(found[0] * 32767, starts[0] + np.arange(16_000), atol=0.01)

    @pytest.mark.parametrize("number", [1, 19, 20, 21, 640])
    def test_every_item_is_in_every_epoch(self, trainer, number):
        found = trainer.batches(number, 20, np.random.default_rng(0))
        assert found.shape == (-(-number // 20), 20)
        counts = np.bincount(found.ravel(), minlength=number)
        assert counts.min() >= 1 and counts.max() - counts.min() <= 1
        other = trainer.batches(number, 20, np.random.default_rng(1))
        assert number == 1 or (found != other).any()


def test_the_optimiser_is_that_of_pytorch(trainer):
    """`torch.optim.Adam` with `weight_decay`: the decay is part of the gradient."""
    config = trainer.Config(learning_rate=0.01, weight_decay=0.3)
    optimiser = trainer.optimiser_of(config)
    weight = np.array([2.0, -1.0])
    params, expected = jnp.asarray(weight, jnp.float32), weight
    state, m, v = optimiser.init(params), 0.0, 0.0
    for step in range(1, 6):
        slope = np.sin(np.arange(2) + step)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimiser.update(jnp.asarray(slope, jnp.float32), state, params)
        params = params + updates
        slope = slope + 0.3 * expected
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
        m_hat, v_hat = m / (1 - 0.9**step), v / (1 - 0.999**step)
        expected = expected - 0.01 * m_hat / (np.sqrt(v_hat) + 1e-8)
    np.testing.assert_allclose(params, expected, rtol=1e-5)


def test_the_best_is_of_the_lowest_loss_or_the_highest_metrics(trainer):
    by_loss, by_metrics = trainer.Config(), trainer.Config(best="auc-map")
    one = {"loss": 0.5, "auc": 0.7, "map": 0.7}
    other = {"loss": 0.6, "auc": 0.6, "map": 0.9}
    assert trainer.is_better(by_loss, one, None) and trainer.is_better(by_loss, one, other)
    assert trainer.is_better(by_metrics, other, one)
    assert not trainer.is_better(by_loss, other, one)
    assert not trainer.is_better(by_metrics, one, other)
    assert not trainer.is_better(by_metrics, {**one, "loss": np.nan}, None)


def test_users_begin_with_other_weights_and_every_run_with_the_same(trainer):
    kernels = [
        trainer.recommender_of(
            trainer.begin(trainer.Config(seed=seed), user)
        ).network.output.kernel[...]
        for seed, user in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert all((kernels[0] != other).any() for other in kernels[2:])


@pytest.mark.slow
def test_whole_tracks_are_judged_up_to_their_last_second(trainer, library):
    """As the network in use judges them, in the order of the examples."""
    state = trainer.begin(trainer.Config(), 0)
    names = ["track-05", "track-00", "track-03"]
    tracks = trainer.read_tracks(play_counts.audio_files(library / "audio"), names)
    long = np.random.default_rng(0).integers(-9999, 9999, 33_000).astype(np.int16)
    samples = np.zeros((3, 33_000), np.int16)
    samples[:, : tracks.samples.shape[1]] = tracks.samples
    samples[1] = long
    tracks = trainer.Tracks(samples, np.array([20_000, 33_000, 16_000]), tracks.rows)
    examples = [Example(name, True) for name in names]
    found = trainer.judge(state, tracks, examples, "float32")
    judge = trainer.recommender_of(state)
    for logit, row, size in zip(found, samples, (16_000, 32_000, 16_000), strict=True):
        told = judge(jnp.asarray(row[None, :size].astype(np.float32) / 32767))
        assert 1 / (1 + np.exp(-logit)) == pytest.approx(float(told[0, 0]), abs=1e-4)


def test_mixes_travel_as_a_library(trainer, library, tmp_path):
    config = trainer.Config(library, export_mixes=tmp_path / "mixes", compression=0.1)
    assert trainer.run(config) is None
    data, before = (trainer.open_data(trainer.Config(f)) for f in (tmp_path / "mixes", library))
    assert data.plays == before.plays and data.splits == before.splits
    expected = before.examples("ada", 3)
    assert data.examples("ada", 3) == {**expected, "test": []}
    for track in ("track-00", "track-09"):
        mix, sum_of_stems = (
            trainer.sixteen_bit(d.files[track]).astype(float) for d in (data, before)
        )
        assert len(mix) == len(sum_of_stems)
        assert np.corrcoef(mix, sum_of_stems)[0, 1] > 0.9


@pytest.mark.parametrize("name", ["epochs", "batch_size", "validate_every"])
def test_impossible_numbers_are_named(trainer, library, name):
    config = dataclasses.replace(trainer.Config(library), **{name: 0})
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got 0"):
        trainer.run(config)


def run(*options):
    """In a process of its own: with optimisations, and without the checks of shapes."""
    program = [sys.executable, "-m", "scripts.training.recommender", *map(str, options)]
    optimised = {k: v for k, v in os.environ.items() if k != "JAX_DISABLE_MOST_OPTIMIZATIONS"}
    return subprocess.run(program, env=optimised, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("limit", "round_seconds", "is_over"), [(None, 9, False), (100, 40, False), (100, 60, True)]
)
def test_no_round_begins_that_would_end_too_late(trainer, limit, round_seconds, is_over):
    half_way = types.SimpleNamespace(
        config=trainer.Config(time_limit=limit), start=time.perf_counter() - 50
    )
    assert trainer.Trainer._is_over(half_way, round_seconds) == is_over


@pytest.fixture
def quick(trainer, monkeypatch):
    """Trainers whose steps and judgements cost nothing; every validation gives these logits."""

    def prepare(logits):
        monkeypatch.setattr(trainer.Trainer, "_step", lambda *_: jnp.float32(0.5))
        monkeypatch.setattr(trainer, "judge", lambda *args: np.full(len(args[2]), logits))

    return prepare


@pytest.mark.parametrize(
    ("changes", "logits", "message"),
    [
        ({"time_limit": 0.0}, 0.0, "nothing was learnt: `time_limit` of 0 s was over before"),
        ({"epochs": 1}, np.nan, "nothing was learnt for ada: no validation gave finite outputs"),
    ],
)
def test_what_has_learnt_nothing_leaves_what_was_there(
    trainer, library, tmp_path, quick, changes, logits, message
):
    quick(logits)
    (tmp_path / "scores.json").write_text("earlier", encoding="utf-8")
    config = trainer.Config(library, users=("ada",), output_dir=tmp_path, **changes)
    with pytest.raises(StoreError, match=message):
        trainer.run(config)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]
    assert (tmp_path / "scores.json").read_text(encoding="utf-8") == "earlier"


def test_networks_and_scores_are_there_after_every_validation(trainer, library, tmp_path, quick):
    quick(0.0)
    options = {"users": ("ada",), "output_dir": tmp_path, "epochs": 2, "validate_every": 1}
    ada = trainer.Trainer(
        config := trainer.Config(library, **options), trainer.open_data(config), time.perf_counter()
    )
    ada.rehearse()
    assert not list(tmp_path.iterdir())
    ada.train(1)
    assert {path.name for path in tmp_path.iterdir()} == {"ada.npz", "scores.json"}
    assert trainer.read_record(config)["epochs"] == 1


@pytest.mark.slow
def test_training_learns_and_is_scored_elsewhere(trainer, library, tmp_path):
    """Mixes travel without test tracks; their networks are scored on the stems' sums."""
    trainer.run(trainer.Config(library, export_mixes=tmp_path / "mixes"))
    shared = ["--users", "ada", "--output-dir", tmp_path, "--batch-size", 4]
    trained = ["--library", tmp_path / "mixes", "--epochs", 6, "--validate-every", 3]
    done = run(*shared, *trained)
    assert done.returncode == 0 and "test AUC" not in done.stdout, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    ada = scores["users"]["ada"]
    assert scores["epochs"] == 6 and [one["epoch"] for one in ada["curve"]] == [3, 6]
    assert ada["num_examples"] == {"train": 8, "validation": 4} and ada["test"] is None
    assert ada["curve"][1]["training"] < ada["curve"][0]["training"]
    assert ada["best"]["loss"] == min(one["loss"] for one in ada["curve"])
    assert "library" not in scores["config"] and scores["machine"]["versions"]["jax"]
    with np.load(tmp_path / "ada.npz", allow_pickle=False) as arrays:
        assert arrays["stages.1.conv.kernel"].dtype == np.float16

    done = run("--library", library, *shared, "--evaluate")
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    test = scores["users"]["ada"]["test"]
    assert scores["epochs"] == 6 and scores["users"]["ada"]["curve"] == ada["curve"]
    assert scores["users"]["ada"]["num_examples"] == {"train": 8, "validation": 4, "test": 4}
    assert scores["mean"]["auc"].startswith(f"{test['auc']:.3f}")
    assert f"ada: test AUC {test['auc']:.3f}, MAP {test['map']:.3f}" in done.stdout
