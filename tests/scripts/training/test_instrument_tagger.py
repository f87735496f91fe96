import json
import os
import subprocess
import sys

import numpy as np
import pytest


@pytest.fixture(scope="module")
def training():
    """The script as a module."""
    for needed in ("optax", "orbax.checkpoint", "sklearn"):
        pytest.importorskip(needed, reason="training needs the extra `train`")
    from scripts.training import instrument_tagger

    return instrument_tagger


@pytest.fixture
def stems():
    """Three songs without strings; piano, guitar, bass and drums are tones of their own."""
    time = np.arange(50_000) / 16_000
    tones = np.sin(2 * np.pi * np.array([400, 500, 100, 3000, 0])[:, None] * time)
    return np.stack([np.round(level * tones) for level in (3e3, 6e3, 9e3)]).astype(np.int16)


def test_what_is_silent_is_not_labelled(training, stems):
    _, labels = training.draw_examples(np.random.default_rng(0), stems, 200)
    assert not labels[:, 4].any()
    assert (labels[:, :4].mean(axis=0) > 0.2).all()


def test_every_subset_of_stems_occurs(training, stems):
    _, labels = training.draw_examples(np.random.default_rng(0), stems, 400)
    assert len({tuple(label) for label in labels}) == 16


def test_mixes_hold_what_the_labels_say(training, stems):
    mixes, labels = training.draw_examples(np.random.default_rng(1), stems, 100)
    spectra = np.abs(np.fft.rfft(mixes.astype(np.float64)))
    hertz = np.arange(spectra.shape[1]) * 16_000 / mixes.shape[1]
    for tone, label in zip((100, 3000), labels[:, 2:4].T, strict=True):
        near = spectra[:, (hertz > 0.85 * tone) & (hertz < 1.15 * tone)].max(axis=1)
        assert (near[label] > 10).all()
    empty = ~labels.any(axis=1)
    assert empty.any() and np.abs(mixes[empty]).max() < 1e-2


def test_transposed_excerpts_keep_their_sound(training):
    size = training.NETWORK.patch_num_samples
    longer = round(size * 2 ** (2 / 12))
    tone = np.sin(2 * np.pi * 1000 * np.arange(longer) / 16_000)
    spectrum = np.abs(np.fft.rfft(training.transpose(tone)))
    assert abs(spectrum.argmax() * 16_000 / size - 1000 * 2 ** (2 / 12)) < 1


@pytest.mark.parametrize(
    ("quiet_db", "heard"), [(-15.0, True), (-19.0, True), (-21.0, False), (-90.0, False)]
)
def test_labels_compare_a_stem_with_the_mix(training, quiet_db, heard):
    noise = np.random.default_rng(0).standard_normal((2, 40_000))
    parts = np.stack([0.1 * noise[0], 0.1 * 10 ** (quiet_db / 20) * noise[1]])
    assert training.present(parts).tolist() == [True, heard]
    assert training.present(1e-6 * parts).tolist() == [False, False]


def test_songs_are_in_one_split_only(training, stems, tmp_path):
    import soundfile

    for number in range(20):
        folder = tmp_path / f"{number:02d}"
        folder.mkdir()
        (folder / "song.json").write_text("{}")
        soundfile.write(folder / "piano.flac", np.full(50_000, number, np.int16), 16_000)
    splits = training.read_splits(training.Config(songs=tmp_path))
    numbers = {split: set(songs[:, 0, 0].tolist()) for split, songs in splits.items()}
    assert [len(songs) for songs in numbers.values()] == [16, 2, 2]
    assert set.union(*numbers.values()) == set(range(20))
    assert not np.concatenate(list(splits.values()))[:, 1:].any()


@pytest.mark.slow
def test_trains_keeps_the_best_and_exports(training, tmp_path):
    import soundfile

    rng = np.random.default_rng(0)
    for number in range(80):
        folder = tmp_path / "songs" / f"{number:02d}"
        folder.mkdir(parents=True)
        (folder / "song.json").write_text("{}")
        for family in rng.permutation(training.FAMILIES)[: rng.integers(1, 5)]:
            soundfile.write(folder / f"{family}.flac", rng.uniform(-0.3, 0.3, 50_000), 16_000)
    # Gradients of strided convolutions are NaN on jax 0.10.2's CPU without optimisations.
    optimised = {k: v for k, v in os.environ.items() if k != "JAX_DISABLE_MOST_OPTIMIZATIONS"}
    sizes = "--num-epochs 3 --steps-per-epoch 2 --batch-size 4 --num-validation 64".split()
    folders = "--songs songs --checkpoints checkpoints --output data".split()
    command = [sys.executable, "-m", "scripts.training.instrument_tagger", *folders, *sizes]
    subprocess.run(command, check=True, cwd=tmp_path, env=optimised)
    description = json.loads((tmp_path / "data" / "instrument_tagger.json").read_text())
    assert description["num_songs"] == {"training": 64, "validation": 8, "test": 8}
    with np.load(tmp_path / "data" / "instrument_tagger.npz", allow_pickle=False) as arrays:
        network = training.instrument_tagger.from_arrays(
            training.NETWORK, dict(arrays), source="test"
        )
    assert np.isfinite(training.predict(network, np.zeros((1, 40_448), np.float32))).all()
