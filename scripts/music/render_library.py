r"""Renders a library of music in many styles, and simulates listeners of known taste.

    apt-get install fluidsynth fluid-soundfont-gm espeak-ng
    # 800 tracks, 10 min
    uv run --group music python -m scripts.music.render_library --folder library

Writes `FOLDER/audio/TRACK/SOURCE.ogg` (16 kHz, mono) for those of Spleeter's five sources that play
in a track, `FOLDER/library.json`, and what the listeners of `personas.py` play: `FOLDER/plays.tsv`
and `FOLDER/personas.json`. A mix is the sum of its sources; no subset of them leaves [-1, 1].

Within a style (see `styles.py`) instruments come and go from track to track, so that a style does
not tell which sources play. A track depends on the seed and its index alone, and so does its split:
of ten tracks, eight are for training, one is for validation and one is for tests. Tracks that are
there already are left alone; an index that lists others than those asked for is not overwritten.

The sampler that the package ships, `lime_jax/data/lemons`, has the metadata of all tracks and the
audio of the first held-out ones; it is made from the library by

    uv run --group music python -m scripts.music.render_library \
        --folder library --sampler lime_jax/data/lemons

The rendered audio is released under CC0-1.0. The soundfonts are FluidR3 (MIT) or, without
FluidSynth, TimGM6mb (GPL-2).
"""

import functools
import json
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from lime_jax import storage
from scripts.music import composers, personas, render_songs, singing, synthesis, titles
from scripts.music.composers import SAMPLE_RATE, Song
from scripts.music.library_songs import (
    FADE_SECONDS,
    FRAME_SECONDS,
    FULL_SCALE,
    HEARD_DB,
    HEARD_SECONDS,
    LICENCE,
    NAME,
    TAIL_DB,
    TAIL_SECONDS,
    VOCALS,
    Config,
    compose,
    identifier,
    split_of,
    style_of,
)
from scripts.music.ogg import encoded
from scripts.music.singing import VOICE
from scripts.music.styles import SOURCES
from scripts.music.synthesis import Synthesizer


def render(song: Song, synthesizer: Synthesizer) -> dict[str, np.ndarray]:
    """Returns the sources of a song as 16 kHz waveforms, in the order of `SOURCES`."""
    sounds = render_songs.render(song, synthesizer)
    if VOICE in sounds:
        sounds[VOCALS] = sounds.pop(VOICE)
    stems = {source: without_tails(sounds[source]) for source in SOURCES if source in sounds}
    peak = np.abs(np.stack(list(stems.values()))).sum(axis=0).max()
    return {source: stem * min(1.0, FULL_SCALE / peak) for source, stem in stems.items()}


def without_tails(stem: np.ndarray) -> np.ndarray:
    """Returns the stem with digital silence wherever it is all but silent for a while."""
    size, fade = round(FRAME_SECONDS * SAMPLE_RATE), round(FADE_SECONDS * SAMPLE_RATE)
    peaks = np.abs(np.pad(stem, (0, -len(stem) % size))).reshape(-1, size).max(axis=1)
    loud = peaks > peaks.max() * 10 ** (TAIL_DB / 20)
    stem = stem.copy()
    for first, last in singing.runs_of(loud, False):
        start, end = first * size, last * size
        if end - start >= TAIL_SECONDS * SAMPLE_RATE:
            before = stem[max(0, start - fade) : start]
            before *= np.linspace(1, 0, len(before), dtype=stem.dtype)
            stem[start:end] = 0.0
    return stem


def describe(
    song: Song,
    config: Config,
    index: int,
    synthesizer: Synthesizer,
    heard: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Returns the entry of a track in the library."""
    mix = np.sum(list(heard.values()), axis=0)
    style = style_of(config, index)
    named = titles.draw(np.random.default_rng((config.seed, index, 3)), style.name, config.seed)
    return {
        "id": song.name,
        **named,
        "style": style.name,
        "tempo": song.harmony.tempo,
        "duration": len(mix) / SAMPLE_RATE,
        "sources": list(heard),
        "levels_db": {name: round(level_db(stem, mix), 2) for name, stem in heard.items()},
        "activity": {name: round(activity(stem, mix), 4) for name, stem in heard.items()},
        "split": split_of(config, index),
    }


def level_db(stem: np.ndarray, mix: np.ndarray) -> float:
    """Returns the level of a source relative to that of the mix."""
    power = np.square(stem, dtype=np.float64).mean(), np.square(mix, dtype=np.float64).mean()
    return float(10 * np.log10(max(power[0], 1e-12) / max(power[1], 1e-12)))


def activity(stem: np.ndarray, mix: np.ndarray) -> float:
    """Returns the share of time in which a source is heard beside the mix."""
    size = round(HEARD_SECONDS * SAMPLE_RATE)
    frames = np.pad(stem, (0, -len(stem) % size)).reshape(-1, size)
    power = np.square(frames, dtype=np.float64).mean(axis=1)
    total = max(float(np.square(mix, dtype=np.float64).mean()), 1e-12)
    return float(np.mean(power > total * 10 ** (HEARD_DB / 10)))


def write_track(index: int, config: Config, synthesizer: Synthesizer) -> dict[str, Any]:
    """Composes, renders and stores a track; its folder appears whole or not at all."""
    name = identifier(config, index)
    target = config.folder / "audio" / name
    settings = {"duration": config.duration, "synthesizer": synthesizer.credits}
    if target.exists():
        return read_track(target, settings)
    song = compose(config, index)
    with storage.whole_folder(target) as folder:
        files, heard = encoded(render(song, synthesizer))
        for source, file in files.items():
            (folder / f"{source}.ogg").write_bytes(file)
        entry = describe(song, config, index, synthesizer, heard)
        text = json.dumps({"settings": settings, **entry}, indent=1, ensure_ascii=False)
        (folder / "track.json").write_text(text + "\n", encoding="utf-8")
    return entry


def read_track(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entry of a track that is there; refuses one of other settings."""
    entry = json.loads((folder / "track.json").read_text(encoding="utf-8"))
    if entry.pop("settings") != settings:
        raise SystemExit(
            f"`{folder}` was rendered with other settings than {settings}. Choose another "
            "`--folder`, or delete it."
        )
    return entry


def check_keeps(folder: Path, wanted: Sequence[str]) -> None:
    """Refuses to replace an index by one that lacks some of its tracks."""
    listing = folder / "library.json"
    if not listing.is_file():
        return
    tracks = json.loads(listing.read_text(encoding="utf-8"))["tracks"]
    if lost := {track["id"] for track in tracks} - set(wanted):
        raise SystemExit(
            f"`{listing}` lists {len(tracks)} tracks, {len(lost)} of which are not asked for and "
            "would be lost. Choose another `--folder`, or the `--split`, `--num-tracks` and "
            "`--seed` of all of them."
        )


def write_library(folder: Path, tracks: Sequence[Mapping[str, Any]], seed: int) -> None:
    """Writes the index, a line per track, and what the listeners play."""
    head = {"name": NAME, "sample_rate": SAMPLE_RATE, "sources": list(SOURCES), "licence": LICENCE}
    start = json.dumps(head, ensure_ascii=False).removesuffix("}")
    lines = ",\n".join(json.dumps(track, ensure_ascii=False) for track in tracks)
    index = f'{start}, "tracks": [\n{lines}\n]}}\n'
    storage.write_whole(folder / "library.json", index.encode())
    personas.write(folder, tracks, seed)


def write_sampler(config: Config, sampler: Path) -> None:
    """Copies the index and the listeners, and the audio of the first held-out tracks.

    Every style gets as many tracks, as far as there are any.
    """
    listing = config.folder / "library.json"
    if not listing.is_file():
        raise SystemExit(f"`{listing}` was not found. Render the library first, without --sampler.")
    tracks = json.loads(listing.read_text(encoding="utf-8"))["tracks"]
    chosen = set(first_of_every_style(tracks, config.sampler_size))
    shutil.rmtree(sampler / "audio", ignore_errors=True)
    sampler.mkdir(parents=True, exist_ok=True)
    for track in tracks:
        track["audio"] = track["id"] in chosen
        for source in track["sources"] if track["audio"] else ():
            target = sampler / "audio" / track["id"] / f"{source}.ogg"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(config.folder / "audio" / track["id"] / target.name, target)
    write_library(sampler, tracks, config.seed)
    size = sum(path.stat().st_size for path in sampler.rglob("*.ogg"))
    print(f"{len(chosen)} of {len(tracks)} tracks with audio, {size / 1e6:.2f} MB")


def first_of_every_style(tracks: Sequence[Mapping[str, Any]], size: int) -> list[str]:
    """Identifiers of held-out tracks by index, taking turns among the styles."""
    held_out = [track for track in tracks if track["split"] == "test"]
    seen: dict[str, int] = {}
    turns = []
    for place, track in enumerate(held_out):
        seen[track["style"]] = seen.get(track["style"], 0) + 1
        turns.append((seen[track["style"]], place, track["id"]))
    return [name for _, _, name in sorted(turns)[:size]]


def run(config: Config) -> None:
    """Renders the library, or takes the sampler from it."""
    if config.sampler is not None:
        write_sampler(config, config.sampler)
        return
    if not config.duration >= composers.SHORTEST:
        raise SystemExit(f"`--duration` must be at least {composers.SHORTEST} s.")
    wanted = [n for n in range(config.num_tracks) if config.split in ("all", split_of(config, n))]
    check_keeps(config.folder, [identifier(config, n) for n in wanted])
    singing.check_installed()
    synthesizer = synthesis.find(config.synthesizer, config.soundfont)
    write = functools.partial(write_track, config=config, synthesizer=synthesizer)
    tracks = []
    # Nearly all the time goes to the synthesizers, so threads are enough.
    with ThreadPoolExecutor(config.processes) as pool:
        for track in pool.map(write, wanted):
            tracks.append(track)
            if len(tracks) % 50 == 0 or len(tracks) == len(wanted):
                print(f"{len(tracks)} of {len(wanted)} tracks", flush=True)
    write_library(config.folder, tracks, config.seed)


if __name__ == "__main__":
    import tyro

    run(tyro.cli(Config))
