"""Every experiment, small, as its first lines say: from rendered songs to pictures."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.scripts import lemons_library

PICTURES = {
    "experiments.confounder.reproduce": {
        "figure-2-t_dr-gtr.png",
        "figure-2-t_dr-pno.png",
        "figure-3.png",
    },
    "experiments.global_tagging.reproduce": {"figure-4-true.png", "figure-4-separated.png"},
    "experiments.lemons.reproduce": {"loved.png", "stability.png"},
    "experiments.mml.reproduce": {"curves.png"},
    "experiments.veracity.reproduce": {"flips.png", "subsets.png", "fidelity.png", "horses.png"},
}
# The trained separator of the first is that of the second.
SEPARATOR = "confounder/separator"


def run(name, *options):
    command = [sys.executable, "-m", f"scripts.{name}", *map(str, options)]
    # Gradients of strided convolutions are NaN on jax 0.10.2's CPU without optimisations.
    optimised = {k: v for k, v in os.environ.items() if k != "JAX_DISABLE_MOST_OPTIMIZATIONS"}
    return subprocess.run(command, env=optimised, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("experiments")


@pytest.fixture(scope="module")
def songs(folder):
    if shutil.which("fluidsynth") is None:
        pytest.skip("needs fluidsynth and fluid-soundfont-gm")
    options = "--num-songs 40 --duration 30 --composer band".split()
    done = run("music.render_songs", "--folder", folder / "songs", *options)
    assert done.returncode == 0, done.stderr
    return folder / "songs"


@pytest.fixture(scope="module")
def library(folder):
    """Tracks of half a second, and networks that recommend all of them to Ada, and none else."""
    from flax import nnx

    from lime_jax.models import recommender, recommender_network

    library = lemons_library.write_library(folder / "library", rate=16_000, num_samples=8000)
    (library / "recommenders").mkdir()
    network = recommender.Recommender(recommender_network.Network(rngs=nnx.Rngs(0)))
    arrays = recommender.to_arrays(network)
    scale = {"norm.mean": [-60.0], "norm.var": [400.0]}
    arrays |= {name: np.array(value, np.float32) for name, value in scale.items()}
    kernel = 0.01 * np.abs(arrays["output.kernel"])
    for listener in lemons_library.PERSONAS:
        arrays["output.kernel"] = kernel if listener == "ada" else -kernel
        judge = recommender.from_arrays(arrays, source=listener)
        recommender.save(library / "recommenders" / f"{listener}.npz", judge)
    return library


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_experiments_run_and_go_on_without_new_work(name, folder, request):
    output = folder / name.split(".")[1]
    of = "library" if name == "experiments.lemons.reproduce" else "songs"
    options = [f"--{of}", request.getfixturevalue(of), "--output-dir", output, "--smoke"]
    if name == "experiments.global_tagging.reproduce":
        options += ["--separator-weights", folder / SEPARATOR]
    if name == "experiments.confounder.reproduce":
        # The other variant has one more stem, and takes as long again.
        options += ["--variants", "gpdb"]
    done = run(name, *options)
    assert done.returncode == 0, done.stderr
    summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    assert summary["figures"] and summary["differences"] and summary["machine"]["versions"]["jax"]
    assert {picture["file"] for picture in summary["pictures"]} == PICTURES[name]
    for file in PICTURES[name]:
        assert (output / file).read_bytes().startswith(b"\x89PNG")
    stamps = {path: path.stat().st_mtime_ns for path in made_once(output)}
    assert stamps
    again = run(name, *options)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in made_once(output)} == stamps
    after = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    assert after["figures"] == summary["figures"]


def made_once(output):
    """What takes the time, and is not made again."""
    kept = ("parts", "weights", "separator", "store-true/results.parquet", "mixes")
    kept += ("relevances-", "explanations-")
    return [
        path
        for path in output.rglob("*")
        if (path.is_file() and path.relative_to(output).as_posix().startswith(kept))
        or path.name == "clips.parquet"
    ]


@pytest.mark.slow
def test_folders_of_other_settings_are_refused_in_a_line(songs, folder):
    output = folder / "veracity"
    if not output.exists():
        pytest.skip("needs the folder of the test before")
    done = run(
        "experiments.veracity.reproduce",
        "--songs",
        songs,
        "--output-dir",
        output,
        "--smoke",
        "--seed",
        1,
    )
    assert done.returncode == 2
    assert "was begun with other settings: seed" in done.stderr and "Traceback" not in done.stderr
