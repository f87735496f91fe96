"""Fetches four real recorded songs with two stems each: guitar and backing.

    uv run python -m scripts.fetch_music songs/
    uv run lime-jax explain songs/feelings --duration 30 --components stems-time --model msd-musicnn
    uv run lime-jax run songs/ store/ --components stems --model msd-musicnn

The Debian package fretsonfire-songs-sectoid holds them (Copyright Carlos Viola Iborra, MIT licence;
29 MB). It is downloaded with apt and unpacked, not installed, so no rights are needed. A folder per
song gets guitar.ogg, backing.ogg and the copyright.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = "fretsonfire-songs-sectoid"
# What the game calls them, and what they are.
STEMS = {"guitar.ogg": "guitar.ogg", "song.ogg": "backing.ogg"}


def main() -> int:
    """Fetches; returns 0, or 2 after one line about what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="gets a folder per song")
    parser.add_argument("--package", type=Path, help="a copy of the .deb file")
    options = parser.parse_args()
    try:
        songs = fetch(options.folder, options.package)
    except (RuntimeError, OSError) as error:
        sys.stderr.write(f"fetch_music: {error}\n")
        return 2
    for song in songs:
        sys.stdout.write(f"{song}\n")
    return 0


def fetch(folder: Path, package: Path | None = None) -> list[Path]:
    """Puts the songs into a folder; those that are there are left alone.

    Raises:
      RuntimeError: if apt or dpkg are missing or fail, or the package holds no songs.
    """
    with tempfile.TemporaryDirectory() as scratch:
        package = package or download(Path(scratch))
        unpacked = Path(scratch) / "unpacked"
        run("dpkg-deb", "--extract", str(package.absolute()), str(unpacked))
        return [place(guitar.parent, unpacked, folder) for guitar in found(unpacked)]


def download(scratch: Path) -> Path:
    """Returns the package from the machine's own Debian archive."""
    run("apt-get", "download", PACKAGE, cwd=scratch)
    (package,) = scratch.glob(f"{PACKAGE}_*.deb")
    return package


def found(unpacked: Path) -> list[Path]:
    """Returns the guitar stem of every song."""
    guitars = sorted(unpacked.rglob("guitar.ogg"))
    if not guitars:
        raise RuntimeError(f"the package holds no guitar.ogg. Is it {PACKAGE}?")
    return guitars


def place(song: Path, unpacked: Path, folder: Path) -> Path:
    """Copies a song so that its folder appears whole."""
    target = folder / song.name.lower().replace(" ", "-")
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as partial:
        new = Path(partial) / "song"
        new.mkdir()
        for name, called in STEMS.items():
            shutil.copyfile(song / name, new / called)
        for notice in unpacked.rglob("copyright"):
            shutil.copyfile(notice, new / "copyright")
        new.rename(target)
    return target


def run(*command: str, cwd: Path | None = None) -> None:
    """Runs a program of Debian's.

    Raises:
      RuntimeError: if it is missing or fails.
    """
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise RuntimeError(
            f"`{command[0]}` is not here: songs come from Debian or one of its children. Get "
            f"{PACKAGE} from there and name it with --package."
        ) from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise RuntimeError(f"`{' '.join(command)}` failed: {' '.join(said)}. Try `apt-get update`.")


if __name__ == "__main__":
    sys.exit(main())
