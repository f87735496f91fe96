r"""Composes songs and renders every instrument family of a song as a stem of its own.

    apt-get install fluidsynth fluid-soundfont-gm    # better sound; without it, packages from PyPI
    # 3 min
    uv run --group music python -m scripts.music.render_songs \
        --composer band --num-songs 400 --duration 30

Writes `FOLDER/NAME/{piano,guitar,bass,drums,strings}.flac` (16 kHz, mono; only the families that
play) and `song.json`. The mix is the sum of the stems; no subset of them leaves [-1, 1]. A song
depends on the seed and its index alone, and songs that are there already are left alone. So does
its split: of ten songs, seven are for training, one is for validation and two are for tests.

The composer `band` casts songs as Slakh2100 does: piano, guitar, bass and drums in every song,
several pianos or guitars in some, strings in five of six; a full drum kit plays through. The
composer `sung` adds a voice to such a band: a choir of the soundfont, or words that eSpeak NG says
and Praat tunes to a melody (`apt-get install espeak-ng`), or speech. Its stem is `voice.flac`;
`voice.lab` says when it is heard, be it sung or spoken, in the form of the Jamendo corpus.

The song that the package ships, as `lime_jax/data/song`, is the one of

    uv run --group music python -m scripts.music.render_songs \
        --num-songs 1 --duration 10 --composer example

The rendered audio is released under CC0-1.0. The soundfonts are FluidR3 (MIT) or, without
FluidSynth, TimGM6mb (GPL-2).
"""

import dataclasses
import functools
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from lime_jax import storage
from scripts.music import singing, synthesis
from scripts.music.composers import (
    COMPOSERS,
    FADE_SECONDS,
    GAP_SECONDS,
    LEVEL_DB,
    SAMPLE_RATE,
    SHORTEST,
    SPLITS,
    Config,
    Song,
)
from scripts.music.singing import VOICE
from scripts.music.synthesis import DRUM_CHANNEL, RENDER_RATE, Synthesizer


def messages(song: Song) -> Iterator[tuple[float, Any]]:
    """MIDI messages with their times in seconds, in any order except at equal times."""
    from mido import Message

    for slot, part in enumerate(song.parts):
        origin = slot * (song.duration + GAP_SECONDS)
        channel = DRUM_CHANNEL if part.family == "drums" else slot
        control = functools.partial(Message, "control_change", channel=channel)
        yield origin, control(control=0, value=part.bank)
        yield origin, Message("program_change", channel=channel, program=part.program)
        yield origin, control(control=91, value=part.reverb)
        for note in part.notes:
            key = {"channel": channel, "note": note.pitch}
            yield origin + note.start, Message("note_on", **key, velocity=note.velocity)
            yield origin + note.start + note.duration, Message("note_off", **key)
        yield origin + song.duration + 0.1, control(control=120, value=0)
        yield origin + song.duration + GAP_SECONDS, control(control=123, value=0)


def render(song: Song, synthesizer: Synthesizer) -> dict[str, np.ndarray]:
    """Returns the stems of a song as 16 kHz waveforms, by family."""
    import soxr

    duration = len(song.parts) * (song.duration + GAP_SECONDS)
    waveform = soxr.resample(synthesizer(messages(song), duration), RENDER_RATE, SAMPLE_RATE)
    slot = round((song.duration + GAP_SECONDS) * SAMPLE_RATE)
    num_samples = round(song.duration * SAMPLE_RATE)
    waveform = np.pad(waveform, (0, max(0, slot * len(song.parts) - len(waveform))))
    sounds = [waveform[n * slot :][:num_samples] for n in range(len(song.parts))]
    names = [part.family for part in song.parts]
    gains = [part.gain for part in song.parts]
    if song.singer is not None:
        sounds.append(singing.render(song.singer, song.duration, SAMPLE_RATE)[:num_samples])
        names.append(VOICE)
        gains.append(song.singer.gain)
    return balance(names, np.array(gains), np.stack(sounds))


def balance(names: Sequence[str], gains: np.ndarray, parts: np.ndarray) -> dict[str, np.ndarray]:
    """Sets the level of every part, and of all together so that no sum of stems can clip."""
    loud = np.abs(parts) > 1e-4
    power = (parts**2).sum(axis=1) / np.maximum(loud.sum(axis=1), 1)
    levels = 10 ** ((LEVEL_DB + gains) / 20)
    parts = parts * (levels / np.sqrt(np.maximum(power, 1e-12)))[:, None]
    fade = round(FADE_SECONDS * SAMPLE_RATE)
    parts[:, -fade:] *= np.linspace(1.0, 0.0, fade)
    parts *= 0.99 / max(np.abs(parts).sum(axis=0).max(), 0.99)
    stems: dict[str, np.ndarray] = {}
    for name, waveform in zip(names, parts.astype(np.float32), strict=True):
        stems[name] = stems.get(name, 0) + waveform
    return stems


def describe(song: Song, config: Config, index: int, synthesizer: Synthesizer) -> dict:
    """Returns what `song.json` says."""
    settings = dataclasses.asdict(config)
    shape = {name: settings[name] for name in ("composer", "seed", "duration")}
    parts = [{k: v for k, v in vars(part).items() if k != "notes"} for part in song.parts]
    speaker = "" if song.singer is None else ", the voice by eSpeak NG and Praat"
    licence = f"Audio: CC0-1.0, rendered by {synthesizer.credits}{speaker}."
    harmony = dataclasses.asdict(song.harmony)
    name = {"name": song.name, "split": split_of(index), "config": shape}
    singer = None if song.singer is None else dataclasses.asdict(song.singer)
    voice = {} if singer is None else {"singer": singer}
    return {**name, **harmony, "parts": parts, **voice, "licence": licence}


def split_of(index: int) -> str:
    """Returns whether a song is for training, validation or tests."""
    return SPLITS[index % len(SPLITS)]


def write_song(index: int, config: Config, synthesizer: Synthesizer) -> None:
    """Composes, renders and stores one song; its folder appears whole or not at all."""
    import soundfile

    song = COMPOSERS[config.composer](config, index)
    target = config.folder / song.name
    description = describe(song, config, index, synthesizer)
    if target.exists():
        check_same(target, description)
        return
    with storage.whole_folder(target) as folder:
        stems = render(song, synthesizer)
        for family, waveform in stems.items():
            soundfile.write(folder / f"{family}.flac", waveform, SAMPLE_RATE, subtype="PCM_16")
        if VOICE in stems:
            labels = singing.labels(stems[VOICE], SAMPLE_RATE)
            (folder / f"{VOICE}.lab").write_text(labels, encoding="utf-8")
        text = json.dumps(description, indent=1)
        (folder / "song.json").write_text(text + "\n", encoding="utf-8")


def check_same(folder: Path, description: dict) -> None:
    """Refuses to take a song of other settings for the one that was asked for."""
    found = json.loads((folder / "song.json").read_text(encoding="utf-8"))
    names = ("config", "split", "licence")
    if differing := [name for name in names if found.get(name) != description[name]]:
        raise SystemExit(
            f"`{folder}` was rendered with other settings ({', '.join(differing)}). Choose another "
            "`--folder`, or delete it."
        )


def run(config: Config) -> None:
    """Renders all songs."""
    if not config.duration >= SHORTEST:
        raise SystemExit(f"`--duration` must be at least {SHORTEST} s, got {config.duration:g}.")
    if config.composer == "sung":
        singing.check_installed()
    synthesizer = synthesis.find(config.synthesizer, config.soundfont)
    write = functools.partial(write_song, config=config, synthesizer=synthesizer)
    # Nearly all the time goes to the synthesizers, so threads are enough; forking a process that
    # has imported jax is not safe.
    with ThreadPoolExecutor(config.processes) as pool:
        done = pool.map(write, range(config.num_songs))
        for number, _ in enumerate(done, start=1):
            if number % 50 == 0 or number == config.num_songs:
                print(f"{number} of {config.num_songs} songs", flush=True)


if __name__ == "__main__":
    import tyro

    run(tyro.cli(Config))
