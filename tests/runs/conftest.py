"""A small data set with stems, and a model that is quick to compile."""

import json
import shutil

import numpy as np
import pytest
import soundfile

RATE = 8_000
STEMS = ("bass", "drums", "voice")

MODEL = '''
import jax.numpy as jnp

class Loudness:
    """How loud the low, the middle and all of the sound are."""

    sample_rate = 8_000
    output_names = ("low", "middle", "total")
    patch_num_samples = 2_000

    def __call__(self, waveforms):
        power = jnp.square(jnp.abs(jnp.fft.rfft(waveforms[:, :2_000])))
        bands = (power[:, :100], power[:, 100:300], power)
        return jnp.stack([jnp.log1p(band.sum(axis=1)) for band in bands], axis=1)

def make():
    return Loudness()
'''


def write_song(folder, seed, seconds=1.0):
    """Three stems of noise that differ from song to song."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number, name in enumerate(STEMS, start=1):
        noise = rng.standard_normal(round(seconds * RATE)).astype(np.float32)
        shaped = np.convolve(noise, np.ones(number**3) / number**3, "same")
        soundfile.write(folder / f"{name}.wav", 0.1 * rng.uniform(0.5, 2) * shaped, RATE)
    return folder


@pytest.fixture(scope="session")
def songs(tmp_path_factory):
    """A folder of twelve songs, each a folder of stems; ids are s00 to s11."""
    root = tmp_path_factory.mktemp("songs")
    for seed in range(12):
        write_song(root / f"s{seed:02}", seed)
    return root


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A folder with the module `loudness`, whose `make` is the model's factory."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "loudness.py").write_text(MODEL)
    return folder


@pytest.fixture(scope="session")
def model(model_folder):
    """The model itself."""
    from lime_jax import models

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(model_folder))
        return models.resolve("loudness:make")


def run_into(store, songs, model, *, items=None, report=None, say=None, **options):
    """Runs over the songs into a store; options replace the defaults."""
    from lime_jax import runs

    given = {"source": str(songs), "components": "stems", "model": "loudness:make"}
    # As many masks and items at a time in every store, so that the tests share one program.
    shared = {"num_samples": 100, "part_items": 4}
    config = runs.RunConfig(output_dir=store, **{**given, **shared, **options})
    return runs.run(config, items=items, model=model, report=report, say=say)


@pytest.fixture
def run(songs, model, tmp_path):
    """`run_into` a store of this test, by its name."""

    def call(store="store", *, use=model, **options):
        return run_into(tmp_path / store, songs, use, **options)

    return call


@pytest.fixture(scope="session")
def whole(songs, model, tmp_path_factory):
    """A store with all songs, in several parts, which tests only read."""
    folder = tmp_path_factory.mktemp("whole") / "store"
    assert run_into(folder, songs, model).progress.done == 12
    return folder


@pytest.fixture
def stored(whole, tmp_path):
    """A copy of it at the place where `run` goes on."""
    return shutil.copytree(whole, tmp_path / "store")


def parts_of(store, table="results.parquet"):
    """The files of a table that hold rows."""
    return sorted(path for path in (store / table).iterdir() if path.stem != "none")


def frame(store):
    """The results of a store, in a fixed order and without timings."""
    import pandas as pd

    rows = pd.read_parquet(store / "results.parquet")
    rows = rows.drop(columns=["explain_seconds", "load_seconds"])
    return rows.sort_values(["id", "snippet", "output_index"], ignore_index=True)


def assert_same(store, other, tolerance=1e-6):
    """Both stores have the same rows, each once."""
    left, right = frame(store), frame(other)
    assert list(left["id"]) == list(right["id"])
    for name in left.columns:
        if name in ("coefficients", "std_error"):
            for a, b in zip(left[name], right[name], strict=True):
                np.testing.assert_allclose(a, b, atol=tolerance, rtol=1e-5)
        elif name == "top_components":
            assert [list(a) for a in left[name]] == [list(b) for b in right[name]]
        elif left[name].dtype.kind == "f":
            np.testing.assert_allclose(left[name], right[name], atol=tolerance, rtol=1e-5)
        else:
            assert list(left[name]) == list(right[name]), name


def log(store, shard="0-of-1"):
    """The events in the log of a store."""
    lines = (store / "log" / f"{shard}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
