"""A three-minute song becomes five stems in bounded memory, faster than by the original.

Spleeter's network for five stems, untrained, from a stereo WAV file at 44.1 kHz to five; ours and
the original in turn, each in a process that has separated 12 s before. The original needs uv and a
package index, and runs in an environment of its own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import cells, timing
from benchmarks.memory import peak_resident_mib

RATE = 44_100
WARM_UP, SONG, LONG = 12, 180, 900  # seconds
REPEATS = 3


def run(*, quick: bool) -> dict[str, Any]:
    """Both in turn, and the peak memory of ours for longer songs."""
    with tempfile.TemporaryDirectory() as scratch:
        lengths = (WARM_UP, 24) if quick else (WARM_UP, SONG, LONG)
        files = {seconds: write(Path(scratch) / f"{seconds}.wav", seconds) for seconds in lengths}
        song = lengths[1]
        turns = [turn(files[WARM_UP], files[song]) for _ in range(1 if quick else REPEATS)]
        memory = {
            seconds: ours(files[WARM_UP], files[seconds])["host_mib"]
            for seconds in lengths
            if seconds != song and not quick
        }
    memory[song] = max(turn["ours"]["host_mib"] for turn in turns)
    numbers: dict[str, Any] = {
        "song_s": song,
        "times_real_time": timing.spread([song / turn["ours"]["seconds"] for turn in turns]),
        "host_mib": dict(sorted(memory.items())),
    }
    if turns[0]["original"] is not None:
        both = [(turn["ours"], turn["original"]) for turn in turns]
        numbers["original"] = {
            "times_real_time": timing.spread([song / its["seconds"] for _, its in both]),
            "ratio": timing.spread([its["seconds"] / own["seconds"] for own, its in both]),
            "host_mib": max(its["host_mib"] for _, its in both),
        }
    return numbers


def write(path: Path, seconds: int) -> Path:
    """Returns a stereo file; what it holds makes no difference to the work."""
    import soundfile

    noise = np.random.default_rng(0).standard_normal((seconds * RATE, 2)).astype(np.float32)
    soundfile.write(path, 0.1 * noise, RATE, "PCM_16")
    return path


def turn(warm_up: Path, song: Path) -> dict[str, Any]:
    """Returns one measurement of each."""
    return {"ours": ours(warm_up, song), "original": original(warm_up, song)}


def ours(warm_up: Path, song: Path) -> dict[str, Any]:
    """Ours, in a new process."""
    command = [sys.executable, "-m", "benchmarks.separation", str(warm_up), str(song)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def original(warm_up: Path, song: Path) -> dict[str, Any] | None:
    """Returns the original, in a new process; None where it cannot be installed."""
    script = Path(__file__).with_name("original_spleeter.py")
    command = ["uv", "run", "--quiet", "--no-project", str(script), str(warm_up), str(song)]
    variables = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)
    except (OSError, subprocess.CalledProcessError):
        return None
    return json.loads(done.stdout.splitlines()[-1])


def measure(warm_up: str, song: str) -> dict[str, Any]:
    """Separates both files, and tells the time and the peak of this process."""
    from flax import nnx

    from lime_jax import separation
    from lime_jax.core.execution.allocator import keep_freed_memory
    from lime_jax.separation.unet import CONFIGS, SpleeterNetwork

    keep_freed_memory()
    network = SpleeterNetwork(CONFIGS["5stems"], rngs=nnx.Rngs(0))
    spleeter = separation.Spleeter(network, "spleeter:5stems", "untrained")
    seconds = []
    for path in (warm_up, song):
        start = time.perf_counter()
        with separation.cached_stems(Path(path), spleeter, keep=False):
            seconds.append(time.perf_counter() - start)
    return {"first_s": seconds[0], "seconds": seconds[1], "host_mib": peak_resident_mib()}


def rows(numbers: dict[str, Any]) -> Iterator[cells.Row]:
    """Yields the table of the stored numbers."""
    yield "by", f"times real time, {numbers['song_s']} s of stereo", "faster", "peak memory, MiB"
    speed = cells.ratio(numbers["times_real_time"])
    peaks = ", ".join(f"{peak:,.0f} ({seconds} s)" for seconds, peak in numbers["host_mib"].items())
    original = numbers.get("original")
    ratio = cells.ratio(original["ratio"]) if original else "–"
    yield "lime_jax, 5 stems", speed, ratio, peaks
    if original:
        speed = cells.ratio(original["times_real_time"])
        peak = f"{original['host_mib']:,.0f} ({numbers['song_s']} s)"
        yield "spleeter 2.4.2", speed, "1", peak


def headline(numbers: dict[str, Any]) -> str:
    """Returns what the README says was measured."""
    original = numbers.get("original")
    beside = f", {original['ratio']['median']:.1f} × the original" if original else ""
    longest, peak = max(map(int, numbers["host_mib"])), max(numbers["host_mib"].values()) / 1024
    return (
        f"{numbers['times_real_time']['median']:.0f} × real time{beside}; "
        f"{peak:.1f} GiB at most, up to {longest} s"
    )


if __name__ == "__main__":
    from benchmarks import stand_in

    stand_in.install()
    print(json.dumps(measure(*sys.argv[1:])))
