"""Explaining a data set from its files keeps most of the rate of the bare network.

`lime-jax run` over songs of ten seconds with five stems each, all 32 masks, through the instrument
tagger: decoding, recomposition, surrogates and storing included. Beside it the bare jitted network
on inputs that are in memory already, measured before and after.

Songs are rendered by scripts/music/render_songs.py where FluidSynth is installed, which takes ten
minutes; LIME_JAX_SONGS names a folder of rendered ones. Otherwise they are noise, which costs the
same.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

import lime_jax as lj
from benchmarks import cells

STEMS = ("bass", "drums", "guitar", "piano", "strings")
SECONDS, RATE, BATCH = 10, 16_000, 32


def run(*, quick: bool) -> dict[str, Any]:
    """Runs over the songs, with the bare network before and after."""
    from lime_jax import runs
    from lime_jax.runs.verify import verify

    with tempfile.TemporaryDirectory() as folder:
        songs, made_of = make_songs(Path(folder, "songs"), 24 if quick else 1000)
        loading = _loading(songs)
        before = _bare()
        config = runs.RunConfig(
            source=str(songs), output_dir=Path(folder, "store"), components="stems"
        )
        start = time.perf_counter()
        progress = runs.run(config).progress
        seconds = time.perf_counter() - start
        bare = statistics.mean([before, _bare()])
        verification = verify(Path(folder, "store"))
    return {
        "songs": made_of,
        "num_items": progress.done,
        "num_failed": progress.failed,
        "is_whole": verification.is_whole,
        "whole_s": seconds,
        "items_per_s": progress.items_per_s,
        "masks_per_s": progress.evaluations_per_s,
        "busy_share": progress.busy_share,
        "bare_per_s": bare,
        "run_over_bare": progress.evaluations_per_s / bare,
        "outside_the_model": 1 - progress.evaluations_per_s / bare,
        "loading_items_per_s": loading,
    }


def make_songs(folder: Path, number: int) -> tuple[Path, str]:
    """Returns a folder of songs, and what they are."""
    if given := os.environ.get("LIME_JAX_SONGS"):
        return Path(given), "rendered"
    if shutil.which("fluidsynth") and number > 100:
        options = ["--num-songs", str(number), "--duration", str(SECONDS), "--composer", "all"]
        command = [
            sys.executable,
            "-m",
            "scripts.music.render_songs",
            "--folder",
            str(folder),
            *options,
        ]
        subprocess.run(command, check=True, capture_output=True)
        return folder, "rendered"
    return make_noise(folder, number, SECONDS), "noise"


def make_noise(folder: Path, number: int, seconds: int) -> Path:
    """Returns a folder of songs that are five stems of noise."""
    import soundfile

    rng = np.random.default_rng(0)
    for index in range(number):
        (folder / f"{index:05}").mkdir(parents=True)
        for stem in STEMS:
            noise = 0.05 * rng.standard_normal(seconds * RATE)
            soundfile.write(folder / f"{index:05}" / f"{stem}.flac", noise, RATE)
    return folder


def _bare() -> float:
    """Inputs per second of the jitted network alone."""
    tagger = lj.examples.tagger()
    network = jax.jit(lambda waveforms: tagger(waveforms))
    inputs = 0.1 * jax.random.normal(jax.random.key(0), (BATCH, SECONDS * RATE))

    def judge():
        return jax.block_until_ready([network(inputs) for _ in range(16)])

    judge()
    times = []
    for _ in range(9):
        start = time.perf_counter()
        judge()
        times.append(time.perf_counter() - start)
    return 16 * BATCH / statistics.median(times)


def _loading(songs: Path) -> float:
    """Items per second that the loaders give with nothing else to do."""
    from lime_jax.runs import items_of
    from lime_jax.runs.reader import AudioRequirements, load_ahead

    items = items_of(str(songs), "stems")[:200]
    requirements = AudioRequirements(RATE, 1, True, None, 0, "soxr", 2)
    start = time.perf_counter()
    number = sum(1 for _ in load_ahead(items, requirements, os.cpu_count() or 1))
    return number / (time.perf_counter() - start)


def rows(numbers: dict[str, Any]) -> Iterator[cells.Row]:
    """Yields the table of the stored numbers."""
    yield (
        "items",
        "whole run, s",
        "items/s",
        "masks/s",
        "bare, masks/s",
        "outside the model",
        ("loading alone, items/s"),
    )
    yield (
        f"{numbers['num_items']:,} {numbers['songs']} songs",
        cells.number(numbers["whole_s"]),
        cells.number(numbers["items_per_s"]),
        cells.number(numbers["masks_per_s"]),
        cells.number(numbers["bare_per_s"]),
        f"{numbers['outside_the_model']:.0%}",
        cells.number(numbers["loading_items_per_s"]),
    )


def headline(numbers: dict[str, Any]) -> str:
    """Returns what the README says was measured."""
    return (
        f"{numbers['items_per_s']:.1f} songs of 10 s with 5 stems per second, all 32 masks; "
        f"{numbers['outside_the_model']:.0%} of the time outside the model"
    )
