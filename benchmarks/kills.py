"""A run that is killed twenty times at random moments ends as one that was never interrupted.

SIGKILL between zero and ten seconds after the start of `lime-jax run`, again and again, then one
call that is left alone; beside it a run without interruption. Every item must be there exactly
once, with the same numbers to 1e-6.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import cells

SECONDS, MOST_SECONDS, SEED = 3, 10.0, 7


def run(*, quick: bool) -> dict[str, Any]:
    """Kills, completes and compares."""
    import pandas as pd

    from benchmarks import whole_run
    from lime_jax.runs.verify import verify

    num_kills, rng = 3 if quick else 20, random.Random(SEED)
    with tempfile.TemporaryDirectory() as folder:
        songs = whole_run.make_noise(Path(folder, "songs"), 30 if quick else 1000, SECONDS)
        killed, whole = Path(folder, "killed"), Path(folder, "whole")
        kills = [
            _killed_after(rng.uniform(0, MOST_SECONDS), songs, killed) for _ in range(num_kills)
        ]
        _command(songs, killed).wait()
        _command(songs, whole).wait()
        frames = [pd.read_parquet(path / "results.parquet") for path in (killed, whole)]
        verdicts = [verify(path) for path in (killed, whole)]
        left, right = (
            frame.sort_values(["id", "output_index"], ignore_index=True) for frame in frames
        )
        assert list(left["id"]) == list(right["id"])
        weights = [np.stack(frame["coefficients"].tolist()) for frame in (left, right)]
        difference = np.abs(weights[0] - weights[1])
        lines = (killed / "log" / "0-of-1.jsonl").read_text(encoding="utf-8").splitlines()
    return {
        "num_items": verdicts[0].num_items,
        "kills": kills,
        "num_kills_before_the_end": sum(kill["before_the_end"] for kill in kills),
        "starts_in_the_log": sum(json.loads(line)["event"] == "start" for line in lines),
        "num_rows": len(left),
        "num_rows_twice": int(left.duplicated(["id", "snippet", "output"]).sum()),
        "is_whole": all(verification.is_whole for verification in verdicts),
        "largest_difference": float(difference.max()),
    }


def _command(songs: Path, store: Path) -> subprocess.Popen[bytes]:
    options = ["--components", "stems", "--part-items", "8"]
    command = [sys.executable, "-m", "lime_jax.cli", "run", str(songs), str(store), *options]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def _killed_after(seconds: float, songs: Path, store: Path) -> dict[str, Any]:
    process = _command(songs, store)
    time.sleep(seconds)
    before_the_end = process.poll() is None
    process.kill()
    process.wait()
    return {
        "after_s": round(seconds, 3),
        "before_the_end": before_the_end,
        "num_files": len(list((store / "results.parquet").glob("*.parquet"))),
    }


def rows(numbers: dict[str, Any]) -> Iterator[cells.Row]:
    """Yields the table of the stored numbers."""
    yield "items", "killed", "rows", "rows twice", "whole", "largest difference"
    yield (
        f"{numbers['num_items']:,}",
        f"{numbers['num_kills_before_the_end']} ×",
        f"{numbers['num_rows']:,}",
        str(numbers["num_rows_twice"]),
        "yes" if numbers["is_whole"] else "NO",
        f"{numbers['largest_difference']:.1e}",
    )
