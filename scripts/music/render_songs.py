"""Composes songs and renders every instrument family of a song as a stem of its own.

    apt-get install fluidsynth fluid-soundfont-gm    # better sound; without it, packages from PyPI
    uv run --group music python -m scripts.music.render_songs --composer band --num-songs 400 --duration 30    # 3 min

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

    uv run --group music python -m scripts.music.render_songs --num-songs 1 --duration 10 --composer example

The rendered audio is released under CC0-1.0. The soundfonts are FluidR3 (MIT) or, without
FluidSynth, TimGM6mb (GPL-2).
"""

import dataclasses
import functools
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scripts.music import patterns, singing, synthesis
from scripts.music.patterns import Harmony, Note, Pattern, Step
from scripts.music.singing import VOICE, Singer
from scripts.music.synthesis import DRUM_CHANNEL, RENDER_RATE, Synthesizer

SAMPLE_RATE = 16_000
FAMILIES = ("piano", "guitar", "bass", "drums", "strings")

# Bank and program numbers of the soundfont. Harpsichord, clavinet, guitar harmonics, contrabass
# and harp are left out: they carry the family's number, not its sound.
PROGRAMS = {
    "piano": (*((0, n) for n in range(6)), (8, 4), (8, 5)),
    "guitar": (*((0, n) for n in range(24, 31)), (8, 24), (8, 25), (8, 26), (8, 28), (16, 25)),
    "bass": (*((0, n) for n in range(32, 40)), (8, 38), (8, 39)),
    "drums": tuple((0, n) for n in (0, 1, 3, 5, 8, 10, 12, 16, 18, 24, 25, 32, 34, 40, 41)),
    "strings": (*((0, n) for n in (40, 41, 42, 44, 45, 48, 49, 50, 51)), (8, 40), (8, 50)),
}
# MIDI pitches: where a part's lowest voice may lie, and the highest note of the family.
REGISTERS = {
    "piano": (32, 72, 100),
    "guitar": (40, 64, 86),
    "bass": (26, 36, 55),
    "strings": (40, 74, 98),
}
# Every family plays every way, only not equally often: rhythm must not give the instrument away.
TEXTURES = {
    "piano": {"pad": 1, "block": 3, "strum": 1, "arpeggio": 3, "melody": 3, "roots": 1},
    "guitar": {"pad": 1, "block": 2, "strum": 4, "arpeggio": 3, "melody": 3, "roots": 1},
    "bass": {"pad": 0.3, "block": 0.3, "strum": 0.1, "arpeggio": 1, "melody": 2, "roots": 5},
    "drums": {"kit": 1},
    "strings": {"pad": 4, "block": 2, "strum": 0.3, "arpeggio": 2, "melody": 4, "roots": 1},
}
# How likely a family pauses during a section. The drums of a band play through.
REST = dict.fromkeys(FAMILIES, 0.3)
BAND_REST, BAND_TEXTURES = REST | {"drums": 0.0}, TEXTURES | {"drums": {"full kit": 1}}
# How likely a band has strings, as in Slakh2100, and a second piano or guitar.
STRINGS, SECOND = 1758 / 2100, {"piano": 0.3, "guitar": 0.5}
SPLITS = (*["train"] * 7, "validation", "test", "test")
# Silence between the parts of a song, which are rendered one after another.
GAP_SECONDS = 2.0
SHORTEST = 1.0  # seconds in which every composer has something to play
FADE_SECONDS = 0.02
LEVEL_DB, GAIN_DB = -20.0, 6.0


@dataclasses.dataclass(frozen=True)
class Config:
    """What to render.

    Attributes:
      folder: where the songs go, one folder each.
      num_songs: how many.
      seed: another seed gives other songs.
      duration: of every song, in seconds.
      composer: "random"; "all" for songs in which every family plays; "band" for songs cast as in
        Slakh2100; "sung" for those with a voice; or "example" for the song that the package ships.
      synthesizer: fluidsynth, tinysoundfont (from PyPI), or auto: the first where it is installed.
      soundfont: a General MIDI soundfont; FluidR3 or, without FluidSynth, TimGM6mb if not given.
      processes: songs rendered at a time.
    """

    folder: Path = Path("songs")
    num_songs: int = 300
    seed: int = 0
    duration: float = 20.0
    composer: Literal["random", "all", "band", "sung", "example"] = "random"
    synthesizer: Literal["auto", "fluidsynth", "tinysoundfont"] = "auto"
    soundfont: Path | None = None
    processes: int = 2


@dataclasses.dataclass(frozen=True)
class Part:
    """What one family plays, with its sound: bank, program, reverb send (0-127) and gain in dB."""

    family: str
    bank: int
    program: int
    reverb: int
    gain: float
    notes: tuple[Note, ...]


@dataclasses.dataclass(frozen=True)
class Song:
    """A composition; a family may have several parts, and words have a singer."""

    name: str
    duration: float
    harmony: Harmony
    parts: tuple[Part, ...]
    singer: Singer | None = None


def compose(config: Config, index: int) -> Song:
    """The song of a number; it depends on nothing but the config and that number."""
    rng = np.random.default_rng((config.seed, index))
    harmony = patterns.draw_harmony(rng)
    count = rng.integers(1, len(FAMILIES), endpoint=True)
    chosen = rng.permutation(FAMILIES)[:count]
    families = [family for family in FAMILIES if family in chosen]
    return composed(config, f"{config.seed}-{index:05d}", rng, harmony, families)


def compose_for_all(config: Config, index: int) -> Song:
    """Like `compose`, with a part for every family."""
    rng = np.random.default_rng((config.seed, index))
    harmony = patterns.draw_harmony(rng)
    return composed(config, f"all-{config.seed}-{index:05d}", rng, harmony, FAMILIES)


def compose_for_band(config: Config, index: int) -> Song:
    """Like `compose`, with the families of Slakh2100 and as many parts of them."""
    rng = np.random.default_rng((config.seed, index))
    harmony = patterns.draw_harmony(rng)
    cast = [family for family in FAMILIES if family != "strings" or rng.random() < STRINGS]
    cast += [family for family, chance in SECOND.items() if rng.random() < chance]
    name = f"band-{config.seed}-{index:05d}"
    return composed(config, name, rng, harmony, cast, rest=BAND_REST, textures=BAND_TEXTURES)


def compose_for_singer(config: Config, index: int) -> Song:
    """Like `compose_for_band`, with a voice."""
    band = compose_for_band(config, index)
    rng = np.random.default_rng((config.seed, index, 1))
    manner = singing.draw_manner(rng)
    notes = singing.draw_notes(rng, manner, band.harmony, config.duration)
    gain = float(rng.uniform(*singing.GAIN_DB))
    name = f"sung-{config.seed}-{index:05d}"
    if manner == "choir":
        bank, program = singing.CHOIRS[rng.integers(len(singing.CHOIRS))]
        choir = Part(VOICE, bank, program, int(rng.integers(0, 90)), gain, notes)
        return dataclasses.replace(band, name=name, parts=(*band.parts, choir))
    singer = singing.draw_singer(rng, manner, gain, notes)
    return dataclasses.replace(band, name=name, singer=singer)


def composed(
    config: Config,
    name: str,
    rng: np.random.Generator,
    harmony: Harmony,
    families: Sequence[str],
    *,
    rest: Mapping[str, float] = REST,
    textures: Mapping[str, Mapping[str, float]] = TEXTURES,
) -> Song:
    bar_seconds = harmony.num_beats * 60 / harmony.tempo
    num_bars = int(np.ceil(config.duration / bar_seconds))
    sections = patterns.draw_sections(rng, num_bars)
    parts = tuple(
        draw_part(rng, family, harmony, sections, config, rest[family], textures[family])
        for family in families
    )
    return Song(name, config.duration, harmony, parts)


def draw_part(
    rng: np.random.Generator,
    family: str,
    harmony: Harmony,
    sections: list[range],
    config: Config,
    rest: float,
    textures: Mapping[str, float],
) -> Part:
    """What a family plays: a pattern per section, or a rest, but never nothing at all."""
    bank, program = PROGRAMS[family][rng.integers(len(PROGRAMS[family]))]
    plays = rng.random(len(sections)) >= rest
    plays[rng.integers(len(sections))] = True
    notes = []
    for bars in (bars for bars, play in zip(sections, plays, strict=True) if play):
        pattern, pitches = patterns.draw_pattern(rng, textures, harmony), draw_register(rng, family)
        loudness = rng.uniform(55, 110)
        for bar in bars:
            notes += patterns.play_bar(rng, pattern, harmony, bar, pitches, loudness)
    reverb, gain = int(rng.integers(0, 90)), float(rng.uniform(-GAIN_DB, GAIN_DB))
    return Part(family, bank, program, reverb, gain, patterns.in_time(notes, config.duration))


def draw_register(rng: np.random.Generator, family: str) -> range:
    if family == "drums":
        return range(128)
    lowest, highest_start, highest = REGISTERS[family]
    return range(int(rng.integers(lowest, highest_start, endpoint=True)), highest + 1)


def example(config: Config, index: int) -> Song:
    """A quiet pop song in C for all five families; four bars last ten seconds."""
    rng = np.random.default_rng((config.seed, index))
    harmony = Harmony(96.0, 4, 0.5, key=0, mode="major", degrees=(5, 3, 0, 4), chord_size=3)
    num_bars = int(np.ceil(config.duration / (4 * 60 / harmony.tempo)))
    parts = []
    for family, (program, gain, pitches, loudness, pattern) in EXAMPLE.items():
        bars = (
            patterns.play_bar(rng, pattern, harmony, n, pitches, loudness) for n in range(num_bars)
        )
        notes = patterns.in_time(list(itertools.chain.from_iterable(bars)), config.duration)
        parts.append(Part(family, 0, program, 40, gain, notes))
    return Song(f"example-{index:05d}", config.duration, harmony, tuple(parts))


def evenly(length: float, *voices: int) -> tuple[Step, ...]:
    """Single voices, half a beat apart; -1 is a rest."""
    timed = enumerate(voices)
    return tuple(Step(n / 2, length, (voice,)) for n, voice in timed if voice >= 0)


# Program, gain in dB, pitches, velocity and pattern of every family.
EXAMPLE = {
    "piano": (0, 0.0, range(57, 90), 78, Pattern(evenly(1.0, 0, 2, 4, 2, 3, 2, 5, 4), "chord")),
    "guitar": (
        25,
        -1.0,
        range(45, 77),
        72,
        Pattern(
            tuple(Step(beat, 0.5, (0, 1, 2, 3, 4)) for beat in (0.0, 1.0, 1.5, 2.5, 3.0, 3.5)),
            "chord",
            roll=0.014,
        ),
    ),
    "bass": (33, 0.0, range(28, 56), 90, Pattern(evenly(0.5, 0, -1, 0, 0, 0, -1, 2, 0), "root")),
    "drums": (
        0,
        0.0,
        range(128),
        88,
        Pattern(
            (
                *evenly(0.25, 36, -1, -1, 36, 36, -1, -1, -1),
                *evenly(0.25, -1, -1, 38, -1, -1, -1, 38, -1),
                *evenly(0.25, 42, 42, 42, 42, 42, 42, 42, 46),
            ),
            "kit",
        ),
    ),
    "strings": (
        48,
        0.0,
        range(60, 90),
        84,
        Pattern((Step(0.0, 2.0, (0, 2, 4)), Step(2.0, 2.0, (1, 3, 5))), "chord"),
    ),
}
COMPOSERS = {
    "random": compose,
    "all": compose_for_all,
    "band": compose_for_band,
    "sung": compose_for_singer,
    "example": example,
}


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
    """The stems of a song as 16 kHz waveforms, by family."""
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
    """What `song.json` says."""
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
    """Whether a song is for training, validation or tests."""
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
    partial = config.folder / f".{song.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    stems = render(song, synthesizer)
    for family, waveform in stems.items():
        soundfile.write(partial / f"{family}.flac", waveform, SAMPLE_RATE, subtype="PCM_16")
    if VOICE in stems:
        labels = singing.labels(stems[VOICE], SAMPLE_RATE)
        (partial / f"{VOICE}.lab").write_text(labels, encoding="utf-8")
    text = json.dumps(description, indent=1)
    (partial / "song.json").write_text(text + "\n", encoding="utf-8")
    os.replace(partial, target)


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
