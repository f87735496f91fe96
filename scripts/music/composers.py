"""Composers of songs: who plays what, from a seed."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from scripts.music import patterns, singing
from scripts.music.patterns import Harmony, Note, Pattern, Step
from scripts.music.singing import VOICE, Singer

SAMPLE_RATE = 16_000
# How likely a band has strings, as in Slakh2100, and a second piano or guitar.
STRINGS, SECOND = 1758 / 2100, {"piano": 0.3, "guitar": 0.5}
SPLITS = (*["train"] * 7, "validation", "test", "test")
# Silence between the parts of a song, which are rendered one after another.
GAP_SECONDS = 2.0
SHORTEST = 1.0  # seconds in which every composer has something to play
FADE_SECONDS = 0.02
LEVEL_DB, GAIN_DB = -20.0, 6.0
FAMILIES = ("piano", "guitar", "bass", "drums", "strings")
# How likely a family pauses during a section. The drums of a band play through.
REST = dict.fromkeys(FAMILIES, 0.3)
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
BAND_REST, BAND_TEXTURES = REST | {"drums": 0.0}, TEXTURES | {"drums": {"full kit": 1}}


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
    """Returns the song of a number; it depends on nothing but the config and that number."""
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
    """Returns what a family plays: a pattern per section, or a rest, but never nothing at all."""
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
    """Returns a quiet pop song in C for all five families; four bars last ten seconds."""
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
