"""Songs of a library: their style, who plays, when, and what."""

import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from scripts.music import patterns, singing
from scripts.music.composers import Part, Song
from scripts.music.patterns import Harmony, Note, Pattern, Step
from scripts.music.singing import Singer
from scripts.music.styles import GROOVES, SOURCES, STYLES, Role, Style

NAME, LICENCE = "Lime Jukebox", "CC0-1.0"
VOCALS = SOURCES[0]
SPLITS = (*["train"] * 8, "validation", "test")
# Tracks of one source, or of all, are rarer than chance alone would make them.
ALONE_AGAIN, ALL_AGAIN = 0.75, 0.5
# Gains in dB of a source that is up front, and of one in the background.
FRONT_DB, BACK_DB, BACK = (-2.0, 4.0), (-14.0, -9.0), 0.18
# A second player of a source is that much louder or softer.
SPREAD_DB = 2.0
NEVER_RESTS = 0.35
# What is so far below the peak of a source is the rest of a tail, and cut to digital silence where
# it lasts.
TAIL_DB, TAIL_SECONDS = -50.0, 0.35
FRAME_SECONDS, FADE_SECONDS = 0.01, 0.03
# A source sounds in a quarter of a second in which it is so close to the level of the mix.
HEARD_SECONDS, HEARD_DB = 0.25, -30.0
# Room for what the codec changes.
FULL_SCALE = 0.92
# Between 0 (best) and 1; about 28 kbit/s.
COMPRESSION = 0.8


@dataclasses.dataclass(frozen=True)
class Config:
    """What to render.

    Attributes:
      folder: of the library.
      num_tracks: how many.
      seed: another seed gives other tracks.
      duration: of every track, in seconds.
      split: "test" or another split renders only its tracks.
      sampler: a folder that gets the part of the library that the package ships; the library must
        be there already.
      sampler_size: the number of tracks whose audio goes to the sampler.
      synthesizer: fluidsynth, tinysoundfont (from PyPI), or auto: the first where it is installed.
      soundfont: a General MIDI soundfont; FluidR3 or, without FluidSynth, TimGM6mb if not given.
      processes: tracks rendered at a time.
    """

    folder: Path = Path("library")
    num_tracks: int = 800
    seed: int = 0
    duration: float = 16.0
    split: Literal["all", "train", "validation", "test"] = "all"
    sampler: Path | None = None
    sampler_size: int = 28
    synthesizer: Literal["auto", "fluidsynth", "tinysoundfont"] = "auto"
    soundfont: Path | None = None
    processes: int = 2


def identifier(config: Config, index: int) -> str:
    """Of a track."""
    return f"tr-{config.seed}-{index:04d}"


def style_of(config: Config, index: int) -> Style:
    """Returns the style of a track; every style comes once before one comes again."""
    block, place = divmod(index, len(STYLES))
    return STYLES[np.random.default_rng((config.seed, block, 1)).permutation(len(STYLES))[place]]


def split_of(config: Config, index: int) -> str:
    """Returns whether a track is for training, validation or tests."""
    block, place = divmod(index, len(SPLITS))
    return SPLITS[np.random.default_rng((config.seed, block, 2)).permutation(len(SPLITS))[place]]


def compose(config: Config, index: int) -> Song:
    """Returns the song of a track; its parts are of the families `SOURCES`."""
    rng = np.random.default_rng((config.seed, index))
    style = style_of(config, index)
    harmony = draw_harmony(rng, style)
    sources = draw_sources(rng, style)
    sections = draw_sections(rng, harmony, config.duration)
    plays = draw_rests(rng, style, sources, len(sections))
    parts: list[Part] = []
    singer = None
    for source in sources:
        gain = draw_gain(rng)
        runs = [bars for bars, on in zip(sections, plays[source], strict=True) if on]
        if source == VOCALS and rng.random() < style.sung:
            singer = draw_singer(rng, harmony, runs, config.duration, gain)
        else:
            parts += draw_parts(rng, style, source, harmony, runs, config.duration, gain)
    return Song(identifier(config, index), config.duration, harmony, tuple(parts), singer)


def draw_parts(
    rng: np.random.Generator,
    style: Style,
    source: str,
    harmony: Harmony,
    runs: Sequence[range],
    duration: float,
    gain: float,
) -> Iterator[Part]:
    """Yields what the players of a source play; together they are as loud as one."""
    roles = draw_roles(rng, style, source)
    for role in roles:
        notes = draw_notes(rng, role, harmony, runs, duration)
        program, reverb = int(rng.choice(role.programs)), int(rng.integers(0, style.reverb))
        spread = float(rng.uniform(-SPREAD_DB, SPREAD_DB)) if len(roles) > 1 else 0.0
        level = gain + spread - 10 * float(np.log10(len(roles)))
        yield Part(source, 0, program, reverb, level, notes)


def draw_harmony(rng: np.random.Generator, style: Style) -> Harmony:
    return Harmony(
        tempo=round(float(rng.uniform(*style.tempo)), 1),
        num_beats=int(rng.choice(style.num_beats)),
        swing=float(rng.choice(style.swing)),
        key=int(rng.integers(12)),
        mode=str(rng.choice(style.modes)),
        degrees=style.progressions[rng.integers(len(style.progressions))],
        chord_size=int(rng.choice(style.chord_size)),
    )


def draw_sources(rng: np.random.Generator, style: Style) -> tuple[str, ...]:
    """Who plays, in the order of `SOURCES`."""
    while True:
        plays = rng.random(len(SOURCES)) < style.chances
        again = {0: 1.0, 1: ALONE_AGAIN, len(SOURCES): ALL_AGAIN}.get(int(plays.sum()), 0.0)
        if rng.random() >= again:
            return tuple(itertools.compress(SOURCES, plays))


def draw_sections(rng: np.random.Generator, harmony: Harmony, duration: float) -> list[range]:
    """Returns one to three runs of bars, cut at every second bar."""
    num_bars = int(np.ceil(duration / (harmony.num_beats * 60 / harmony.tempo)))
    places = np.arange(2, num_bars - 1, 2)
    cuts = rng.choice(places, min(int(rng.integers(0, 3)), len(places)), replace=False)
    edges = [0, *sorted(int(cut) for cut in cuts), num_bars]
    return [range(*edge) for edge in itertools.pairwise(edges)]


def draw_rests(
    rng: np.random.Generator, style: Style, sources: Sequence[str], num_sections: int
) -> dict[str, np.ndarray]:
    """In which sections every source plays; there is none in which all rest."""
    rest = {role.source: role.rest for role in style.roles}
    plays = {}
    for source in sources:
        plays[source] = rng.random(num_sections) >= rest[source]
        plays[source] |= rng.random() < NEVER_RESTS
        plays[source][rng.integers(num_sections)] = True
    for section in range(num_sections):
        if not any(on[section] for on in plays.values()):
            plays[sources[rng.integers(len(sources))]][section] = True
    return plays


def draw_gain(rng: np.random.Generator) -> float:
    return float(rng.uniform(*(BACK_DB if rng.random() < BACK else FRONT_DB)))


def draw_roles(rng: np.random.Generator, style: Style, source: str) -> list[Role]:
    """Returns the players of a source: one, or some for the source other."""
    roles = [role for role in style.roles if role.source == source]
    count = min(int(rng.integers(1, style.most_others, endpoint=True)), len(roles))
    return [roles[n] for n in sorted(rng.permutation(len(roles))[:count])]


def draw_notes(
    rng: np.random.Generator,
    role: Role,
    harmony: Harmony,
    runs: Sequence[range],
    duration: float,
) -> tuple[Note, ...]:
    """Returns what a player plays in the sections in which its source does not rest."""
    low, start, high = role.register
    pitches = range(int(rng.integers(low, start, endpoint=True)), high + 1)
    notes: list[Note] = []
    for bars in runs:
        pattern = draw_pattern(rng, role, harmony.num_beats)
        loudness = rng.uniform(68, 108)
        for bar in bars:
            notes += patterns.play_bar(rng, pattern, harmony, bar, pitches, loudness)
    notes = within(notes, runs, harmony)
    return patterns.in_time(notes, duration) or draw_notes(rng, role, harmony, runs, duration)


def within(notes: Sequence[Note], runs: Sequence[range], harmony: Harmony) -> list[Note]:
    """Returns the notes, ended where their section ends, since a rest is to be heard as one."""
    ends = [harmony.seconds(bars[-1] * harmony.num_beats + harmony.num_beats) for bars in runs]
    kept = []
    for note in notes:
        end = next((end for end in ends if note.start < end - 0.03), None)
        if end is not None:
            kept.append(dataclasses.replace(note, duration=min(note.duration, end - note.start)))
    return kept


def draw_pattern(rng: np.random.Generator, role: Role, num_beats: int) -> Pattern:
    line = role.lines[rng.integers(len(role.lines))]
    if line in patterns.PATTERNS:
        return patterns.PATTERNS[line](rng, num_beats)
    if line in GROOVES:
        return groove(rng, GROOVES[line], num_beats)
    voices = tuple(range(int(rng.integers(3, 6))))
    return Pattern(tuple(written(line, voices, num_beats)), role.ladder)


def groove(rng: np.random.Generator, lanes: Mapping[int, str], num_beats: int) -> Pattern:
    """A rhythm of the kit, now and then without one of its lanes or with a few strokes more."""
    missing = rng.choice(list(lanes)) if rng.random() < 0.12 and len(lanes) > 1 else None
    steps = [
        Step(step.beat, 0.25, (pitch,))
        for pitch, line in lanes.items()
        if pitch != missing
        for step in written(line, (0,), num_beats)
    ]
    for _ in range(int(rng.integers(0, 3))):
        extra = int(rng.choice(list(lanes)))
        steps.append(Step(float(rng.integers(num_beats * 4)) / 4, 0.25, (extra,)))
    return Pattern(tuple(dict.fromkeys(steps)), "kit")


def written(line: str, voices: tuple[int, ...], num_beats: int) -> list[Step]:
    """Returns the steps of a line of sixteenths, see `styles.Role`."""
    steps = []
    for match in re.finditer(r"([0-9x])(-*)", line[: num_beats * 4]):
        mark = match[1]
        sounding = voices if mark == "x" else (int(mark),)
        steps.append(Step(match.start() / 4, len(match[0]) / 4, sounding))
    return steps


def draw_singer(
    rng: np.random.Generator,
    harmony: Harmony,
    runs: Sequence[range],
    duration: float,
    gain: float,
) -> Singer:
    """Sung words; a phrase ends with every second bar."""
    pitches = singing.REGISTERS[rng.integers(len(singing.REGISTERS))]
    low, high = pitches[0], pitches[-1]
    lines = (
        "0-----2---3-4---",
        "0---2---4-------",
        "4---3-2---1-----",
        "2-2---3---1-0---",
        "melody",
    )
    role = Role(VOCALS, (0,), lines, "scale", (low, low + 2, high))
    notes = draw_notes(rng, role, harmony, runs, duration)
    bar_seconds = harmony.num_beats * 60 / harmony.tempo
    # A phrase of a few seconds sounds like one; so the last beat of every other bar is a breath.
    kept = [
        note
        for note in notes
        if not (note.start // bar_seconds % 2 == 1 and note.start % bar_seconds > 0.8 * bar_seconds)
    ]
    return singing.draw_singer(rng, "sung", gain, kept or notes)
