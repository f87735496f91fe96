# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "mido>=1.3.3",
#   "numpy>=2.1",
#   "praat-parselmouth>=0.4.7",
#   "pretty_midi>=0.2.11",
#   "soundfile>=0.13.1",
#   "soxr>=0.5.0.post1",
#   "tinysoundfont>=0.3.7",
#   "tyro>=1.0",
# ]
# [tool.uv]
# override-dependencies = ["pyaudio ; sys_platform == 'none'"]  # plays, needs a compiler
# ///
"""Composes songs and renders every instrument family of a song as a stem of its own.

    apt-get install fluidsynth fluid-soundfont-gm    # better sound; without it, packages from PyPI
    uv run --script scripts/render_songs.py --composer band --num-songs 400 --duration 30    # 3 min

Writes `FOLDER/NAME/{piano,guitar,bass,drums,strings}.flac` (16 kHz, mono; only the families that
play) and `song.json`. The mix is the sum of the stems; no subset of them leaves [-1, 1]. A song
depends on the seed and its index alone, and songs that are there already are left alone. So does
its split: of ten songs, seven are for training, one is for validation and two are for tests.

The composer `band` casts songs as Slakh2100 does: piano, guitar, bass and drums in every song,
several pianos or guitars in some, strings in five of six; a full drum kit plays through. The
composer `sung` adds a voice to such a band: a choir of the soundfont, or words that eSpeak NG says
and Praat tunes to a melody (`apt-get install espeak-ng`), or speech. Its stem is `voice.flac`;
`voice.lab` says when it is heard, in the form of the Jamendo corpus.

The song that the package ships, as `lime_jax/data/song`, is the one of

    uv run --script scripts/render_songs.py --num-songs 1 --duration 10 --composer example

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
import singing
import synthesis
from singing import Singer
from synthesis import DRUM_CHANNEL, RENDER_RATE, Synthesizer

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
MODES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
# Scale degrees of the chords, one per bar.
PROGRESSIONS = (
    (0,),
    (0, 3),
    (0, 5),
    (0, 3, 4, 3),
    (0, 3, 5, 4),
    (0, 4, 5, 3),
    (0, 5, 1, 4),
    (0, 5, 3, 4),
    (1, 4, 0, 0),
    (3, 0, 4, 5),
    (5, 3, 0, 4),
    (0, 6, 5, 4),
    (0, 2, 3, 4),
)
TEMPI = (70.0, 160.0)
# How likely a family pauses during a section. The drums of a band play through.
REST = dict.fromkeys(FAMILIES, 0.3)
BAND_REST, BAND_TEXTURES = REST | {"drums": 0.0}, TEXTURES | {"drums": {"full kit": 1}}
# How likely a band has strings, as in Slakh2100, and a second piano or guitar.
STRINGS, SECOND = 1758 / 2100, {"piano": 0.3, "guitar": 0.5}
SPLITS = (*["train"] * 7, "validation", "test", "test")
KICKS, SNARES, EXTRAS = (35, 36), (37, 38, 39, 40), (41, 43, 45, 47, 48, 49, 56, 62, 63, 76)
CYMBALS = (42, 42, 42, 44, 46, 51, 53, 54, 59, 70)

# Voices: choirs and other programs of the soundfont, what they do, and how they come about.
VOICE, CHOIRS = "voice", ((0, 52), (0, 53), (0, 54), (0, 85), (0, 91))
VOICE_TEXTURES = {"melody": 1}
CHOIR_TEXTURES = {"pad": 1, "block": 1, "melody": 2}
VOICE_REGISTERS = (range(45, 65), range(52, 72), range(57, 77))
MANNERS = {"choir": 0.3, "sung": 0.5, "spoken": 0.2}
VOICE_GAIN_DB = (0.0, 10.0)
# How likely a voice rests during a section, and during a bar of the others.
VOICE_REST, VOICE_BAR_REST = 0.35, 0.25
# A frame counts as voice down to so much below the voice's own level; pauses for breath belong to
# it, clicks do not.
VOICE_FRAME_SECONDS, VOICE_BELOW_DB, VOICE_GAP_SECONDS, VOICE_LEAST_SECONDS = 0.02, 35, 0.3, 0.1

# Silence between the parts of a song, which are rendered one after another.
GAP_SECONDS = 2.0
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
class Note:
    """One note; start and duration in seconds, pitch and velocity as in MIDI."""

    start: float
    duration: float
    pitch: int
    velocity: int


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
class Harmony:
    """Time and tonality of a song; `degrees` are the chords, one per bar, in a circle."""

    tempo: float
    num_beats: int
    swing: float
    key: int
    mode: str
    degrees: tuple[int, ...]
    chord_size: int

    def seconds(self, beat: float) -> float:
        """The time of a beat; off-beats come late when the song swings."""
        whole, part = divmod(beat, 1.0)
        return (whole + np.interp(part, (0.0, 0.5, 1.0), (0.0, self.swing, 1.0))) * 60 / self.tempo

    def scale(self) -> frozenset[int]:
        """Pitch classes of the scale."""
        return frozenset((self.key + step) % 12 for step in MODES[self.mode])

    def chord(self, bar: int) -> tuple[int, frozenset[int]]:
        """Root and pitch classes of a bar's chord: thirds stacked on a degree of the scale."""
        degree = self.degrees[bar % len(self.degrees)]
        steps = [MODES[self.mode][(degree + 2 * n) % 7] for n in range(self.chord_size)]
        return (self.key + steps[0]) % 12, frozenset((self.key + step) % 12 for step in steps)


@dataclasses.dataclass(frozen=True)
class Song:
    """A composition; a family may have several parts, and words have a singer."""

    name: str
    duration: float
    harmony: Harmony
    parts: tuple[Part, ...]
    singer: Singer | None = None


@dataclasses.dataclass(frozen=True)
class Step:
    """An event of a pattern, in beats; `voices` count rungs of the pattern's ladder of pitches."""

    beat: float
    length: float
    voices: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Pattern:
    """What a part repeats in every bar of a section.

    Attributes:
      steps: the events.
      ladder: the pitches that voices count: "chord", "root" (chord, from its root), "scale", "kit".
      roll: seconds from one voice of a chord to the next.
    """

    steps: tuple[Step, ...]
    ladder: str
    roll: float = 0.0


def compose(config: Config, index: int) -> Song:
    """The song of a number; it depends on nothing but the config and that number."""
    rng = np.random.default_rng((config.seed, index))
    harmony = draw_harmony(rng)
    count = rng.integers(1, len(FAMILIES), endpoint=True)
    chosen = rng.permutation(FAMILIES)[:count]
    families = [family for family in FAMILIES if family in chosen]
    return composed(config, f"{config.seed}-{index:05d}", rng, harmony, families)


def compose_for_all(config: Config, index: int) -> Song:
    """Like `compose`, with a part for every family."""
    rng = np.random.default_rng((config.seed, index))
    harmony = draw_harmony(rng)
    return composed(config, f"all-{config.seed}-{index:05d}", rng, harmony, FAMILIES)


def compose_for_band(config: Config, index: int) -> Song:
    """Like `compose`, with the families of Slakh2100 and as many parts of them."""
    rng = np.random.default_rng((config.seed, index))
    harmony = draw_harmony(rng)
    cast = [family for family in FAMILIES if family != "strings" or rng.random() < STRINGS]
    cast += [family for family, chance in SECOND.items() if rng.random() < chance]
    name = f"band-{config.seed}-{index:05d}"
    return composed(config, name, rng, harmony, cast, rest=BAND_REST, textures=BAND_TEXTURES)


def compose_for_singer(config: Config, index: int) -> Song:
    """Like `compose_for_band`, with a voice."""
    band = compose_for_band(config, index)
    rng = np.random.default_rng((config.seed, index, 1))
    manner = str(rng.choice(list(MANNERS), p=list(MANNERS.values())))
    textures = CHOIR_TEXTURES if manner == "choir" else VOICE_TEXTURES
    notes = draw_vocals(rng, band.harmony, config, textures)
    gain = float(rng.uniform(*VOICE_GAIN_DB))
    name = f"sung-{config.seed}-{index:05d}"
    if manner == "choir":
        bank, program = CHOIRS[rng.integers(len(CHOIRS))]
        choir = Part(VOICE, bank, program, int(rng.integers(0, 90)), gain, notes)
        return dataclasses.replace(band, name=name, parts=(*band.parts, choir))
    singer = singing.draw_singer(rng, manner, gain, notes)  # type: ignore[arg-type]
    return dataclasses.replace(band, name=name, singer=singer)


def draw_vocals(
    rng: np.random.Generator, harmony: Harmony, config: Config, textures: Mapping[str, float]
) -> tuple[Note, ...]:
    """What a voice sings: sections and bars in which it rests are part of it."""
    bar_seconds = harmony.num_beats * 60 / harmony.tempo
    sections = draw_sections(rng, int(np.ceil(config.duration / bar_seconds)))
    sings = rng.random(len(sections)) >= VOICE_REST
    sings[rng.integers(len(sections))] = True
    pitches = VOICE_REGISTERS[rng.integers(len(VOICE_REGISTERS))]
    notes: list[Note] = []
    for bars in (bars for bars, sing in zip(sections, sings, strict=True) if sing):
        pattern, loudness = draw_pattern(rng, textures, harmony), rng.uniform(70, 110)
        rests = rng.random(len(bars)) < VOICE_BAR_REST
        rests[0] = False
        for bar in (bar for bar, rest in zip(bars, rests, strict=True) if not rest):
            notes += play_bar(rng, pattern, harmony, bar, pitches, loudness)
    if not notes:
        return draw_vocals(rng, harmony, config, textures)
    return in_time(notes, config.duration)


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
    sections = draw_sections(rng, num_bars)
    parts = tuple(
        draw_part(rng, family, harmony, sections, config, rest[family], textures[family])
        for family in families
    )
    return Song(name, config.duration, harmony, parts)


def draw_harmony(rng: np.random.Generator) -> Harmony:
    progression = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    if rng.random() < 0.3:
        progression = tuple(int(degree) for degree in rng.integers(0, 6, rng.integers(2, 7)))
    return Harmony(
        tempo=float(rng.uniform(*TEMPI)),
        num_beats=int(rng.choice((3, 4, 4, 4))),
        swing=float(rng.choice((0.5, 0.5, 0.5, 0.58, 0.66))),
        key=int(rng.integers(12)),
        mode=str(rng.choice(list(MODES))),
        degrees=progression,
        chord_size=int(rng.choice((3, 3, 4))),
    )


def draw_sections(rng: np.random.Generator, num_bars: int) -> list[range]:
    """One to four runs of bars that fill the song."""
    num_cuts = min(int(rng.integers(0, 4)), num_bars - 1)
    cuts = rng.choice(np.arange(1, num_bars), num_cuts, replace=False)
    edges = [0, *sorted(int(cut) for cut in cuts), num_bars]
    return [range(*edge) for edge in itertools.pairwise(edges)]


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
        pattern, pitches = draw_pattern(rng, textures, harmony), draw_register(rng, family)
        loudness = rng.uniform(55, 110)
        for bar in bars:
            notes += play_bar(rng, pattern, harmony, bar, pitches, loudness)
    reverb, gain = int(rng.integers(0, 90)), float(rng.uniform(-GAIN_DB, GAIN_DB))
    return Part(family, bank, program, reverb, gain, in_time(notes, config.duration))


def in_time(notes: list[Note], end: float) -> tuple[Note, ...]:
    """The notes that begin before the end, in order, none lasting beyond it."""
    return tuple(
        dataclasses.replace(note, duration=min(note.duration, end - note.start))
        for note in sorted(notes, key=lambda note: note.start)
        if note.start < end - 0.05
    )


def draw_register(rng: np.random.Generator, family: str) -> range:
    if family == "drums":
        return range(128)
    lowest, highest_start, highest = REGISTERS[family]
    return range(int(rng.integers(lowest, highest_start, endpoint=True)), highest + 1)


def draw_pattern(
    rng: np.random.Generator, textures: Mapping[str, float], harmony: Harmony
) -> Pattern:
    names, weights = zip(*textures.items(), strict=True)
    name = rng.choice(names, p=np.array(weights) / sum(weights))
    return PATTERNS[name](rng, harmony.num_beats)


def pad(rng: np.random.Generator, num_beats: int) -> Pattern:
    voices = tuple(range(rng.integers(1, 5)))
    return Pattern((Step(0.0, num_beats, voices),), "chord")


def block(rng: np.random.Generator, num_beats: int) -> Pattern:
    voices = tuple(range(rng.integers(2, 6)))
    steps = (Step(beat, length, voices) for beat, length in draw_rhythm(rng, num_beats))
    return Pattern(tuple(steps), "chord")


def strum(rng: np.random.Generator, num_beats: int) -> Pattern:
    return dataclasses.replace(block(rng, num_beats), roll=float(rng.uniform(0.008, 0.04)))


def arpeggio(rng: np.random.Generator, num_beats: int) -> Pattern:
    grid = rng.choice((1.0, 0.5, 0.5, 0.25, 1 / 3))
    order = rng.permutation(rng.integers(3, 7))
    sustain = grid * rng.choice((0.6, 1.0, 3.0))
    beats = enumerate(np.arange(0.0, num_beats - 1e-6, grid))
    steps = (Step(float(beat), sustain, (int(order[n % len(order)]),)) for n, beat in beats)
    return Pattern(tuple(steps), "chord")


def melody(rng: np.random.Generator, num_beats: int) -> Pattern:
    rhythm = draw_rhythm(rng, num_beats)
    walk = np.abs(rng.integers(0, 8) + np.cumsum(rng.integers(-2, 3, len(rhythm))))
    steps = (Step(*time, (int(rung),)) for time, rung in zip(rhythm, walk, strict=True))
    return Pattern(tuple(steps), "scale")


def roots(rng: np.random.Generator, num_beats: int) -> Pattern:
    rhythm = draw_rhythm(rng, num_beats)
    rungs = rng.choice((0, 0, 0, 1, 2, 3), len(rhythm))
    steps = (Step(*time, (int(rung),)) for time, rung in zip(rhythm, rungs, strict=True))
    return Pattern(tuple(steps), "root")


def kit(rng: np.random.Generator, num_beats: int) -> Pattern:
    """Kick, snare, cymbals and extras, any of which may be missing, but not all."""
    return drums(rng, num_beats, (0.8, 0.8, 0.8, 0.3))


def full_kit(rng: np.random.Generator, num_beats: int) -> Pattern:
    """Kick, snare and cymbals, sometimes extras."""
    return drums(rng, num_beats, (1.0, 1.0, 1.0, 0.3))


def drums(rng: np.random.Generator, num_beats: int, chances: tuple[float, ...]) -> Pattern:
    """A rhythm; `chances` say how likely kick, snare, cymbals and extras are in it."""
    backbeat = np.arange(num_beats) % 2 == 1
    layers = (
        (1.0, KICKS, rng.uniform(0.2, 0.9, num_beats)),
        (1.0, SNARES, np.where(backbeat, 0.9, 0.08)),
        (rng.choice((1.0, 0.5, 0.5, 0.25)), CYMBALS, rng.uniform(0.4, 1.0)),
        (rng.choice((0.5, 0.25)), EXTRAS, rng.uniform(0.05, 0.5)),
    )
    present = rng.random(len(layers)) < chances
    present[rng.integers(3)] = True
    steps = [
        Step(float(beat), 0.25, (int(pitch),))
        for (grid, pitches, chance), on in zip(layers, present, strict=True)
        if on
        for pitch in [rng.choice(pitches)]
        for beat in draw_hits(rng, num_beats, grid, chance)
    ]
    return Pattern(tuple(steps), "kit")


PATTERNS = {
    "pad": pad,
    "block": block,
    "strum": strum,
    "arpeggio": arpeggio,
    "melody": melody,
    "roots": roots,
    "kit": kit,
    "full kit": full_kit,
}


def draw_rhythm(rng: np.random.Generator, num_beats: int) -> list[tuple[float, float]]:
    """Onsets and lengths in beats, anything from one long note to all sixteenths."""
    grid = rng.choice((1.0, 1.0, 0.5, 0.5, 0.25, 1 / 3))
    onsets = draw_hits(rng, num_beats, grid, rng.uniform(0.25, 1.0))
    lengths = np.diff(onsets, append=num_beats) * rng.uniform(0.35, 1.0)
    return [(float(onset), float(length)) for onset, length in zip(onsets, lengths, strict=True)]


def draw_hits(
    rng: np.random.Generator, num_beats: int, grid: float, chance: float | np.ndarray
) -> np.ndarray:
    """The points of a grid over a bar that are played, at least one."""
    points = np.arange(0.0, num_beats - 1e-6, grid)
    hits = rng.random(len(points)) < chance
    hits[0] |= not hits.any() or rng.random() < 0.6
    return points[hits]


def play_bar(
    rng: np.random.Generator,
    pattern: Pattern,
    harmony: Harmony,
    bar: int,
    pitches: range,
    loudness: float,
) -> Iterator[Note]:
    """The notes of a pattern in one bar, with the small irregularities of a player."""
    rungs = climb(pattern.ladder, harmony, bar, pitches)
    for step in pattern.steps:
        if rng.random() < 0.06:
            continue
        beat = bar * harmony.num_beats + step.beat
        start = harmony.seconds(beat) + abs(rng.normal(0.0, 0.006))
        duration = max(step.length * 60 / harmony.tempo, 0.06)
        accent = 8 if step.beat % 1 == 0 else 0
        sounding = {rungs[min(voice, len(rungs) - 1)] for voice in step.voices}
        for order, rung in enumerate(sorted(sounding)):
            velocity = int(np.clip(loudness + accent + rng.normal(0, 6), 20, 127))
            yield Note(start + order * pattern.roll, duration, rung, velocity)


def climb(ladder: str, harmony: Harmony, bar: int, pitches: range) -> list[int]:
    """The pitches that the voices of a pattern count, from the lowest up."""
    if ladder == "kit":
        return list(pitches)
    root, chord = harmony.chord(bar)
    classes = harmony.scale() if ladder == "scale" else chord
    rungs = [pitch for pitch in pitches if pitch % 12 in classes]
    if ladder == "root":
        return rungs[[pitch % 12 for pitch in rungs].index(root) :]
    return rungs


def example(config: Config, index: int) -> Song:
    """A quiet pop song in C for all five families; four bars last ten seconds."""
    rng = np.random.default_rng((config.seed, index))
    harmony = Harmony(96.0, 4, 0.5, key=0, mode="major", degrees=(5, 3, 0, 4), chord_size=3)
    num_bars = int(np.ceil(config.duration / (4 * 60 / harmony.tempo)))
    parts = []
    for family, (program, gain, pitches, loudness, pattern) in EXAMPLE.items():
        bars = (play_bar(rng, pattern, harmony, n, pitches, loudness) for n in range(num_bars))
        notes = in_time(list(itertools.chain.from_iterable(bars)), config.duration)
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


def when_heard(voice: np.ndarray) -> list[tuple[float, float, bool]]:
    """Start and end in seconds of stretches in which a voice is heard or not, without gaps."""
    size = round(VOICE_FRAME_SECONDS * SAMPLE_RATE)
    frames = np.pad(voice, (0, -len(voice) % size)).reshape(-1, size)
    power = np.square(frames, dtype=np.float64).mean(axis=1)
    level = power[power > 1e-8].mean() if (power > 1e-8).any() else 1.0
    heard = power > level * 10 ** (-VOICE_BELOW_DB / 10)
    for value, seconds in ((False, VOICE_GAP_SECONDS), (True, VOICE_LEAST_SECONDS)):
        for start, end in runs_of(heard, value):
            is_inside = 0 < start and end < len(heard)
            if (is_inside or value) and (end - start) * VOICE_FRAME_SECONDS < seconds:
                heard[start:end] = not value
    edges = [0, *(np.flatnonzero(np.diff(heard)) + 1).tolist(), len(heard)]
    seconds = [min(edge * size, len(voice)) / SAMPLE_RATE for edge in edges]
    return [
        (*pair, bool(heard[edge]))
        for pair, edge in zip(itertools.pairwise(seconds), edges, strict=False)
    ]


def runs_of(flags: np.ndarray, value: bool) -> list[tuple[int, int]]:
    """First and last-plus-one of every run of a value."""
    steps = np.diff(np.concatenate([[False], flags == value, [False]]).astype(int))
    return list(zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True))


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
        rows = (f"{start:.3f} {end:.3f} {'sing' if is_heard else 'nosing'}\n"
                for start, end, is_heard in when_heard(stems[VOICE]))  # fmt: skip
        (partial / "voice.lab").write_text("".join(rows), encoding="utf-8")
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
    synthesizer = synthesis.find(config.synthesizer, config.soundfont)
    if config.composer == "sung":
        singing.check_installed()
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
