"""Harmony and rhythm of a song, and the patterns that its parts repeat in every bar."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping

import numpy as np

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
KICKS, SNARES, EXTRAS = (35, 36), (37, 38, 39, 40), (41, 43, 45, 47, 48, 49, 56, 62, 63, 76)
CYMBALS = (42, 42, 42, 44, 46, 51, 53, 54, 59, 70)


@dataclasses.dataclass(frozen=True)
class Note:
    """One note; start and duration in seconds, pitch and velocity as in MIDI."""

    start: float
    duration: float
    pitch: int
    velocity: int


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
        """Returns the time of a beat; off-beats come late when the song swings."""
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
    """Returns one to four runs of bars that fill the song."""
    num_cuts = min(int(rng.integers(0, 4)), num_bars - 1)
    cuts = rng.choice(np.arange(1, num_bars), num_cuts, replace=False)
    edges = [0, *sorted(int(cut) for cut in cuts), num_bars]
    return [range(*edge) for edge in itertools.pairwise(edges)]


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
    """Returns a rhythm; `chances` say how likely kick, snare, cymbals and extras are in it."""
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
    """Returns the points of a grid over a bar that are played, at least one."""
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
    """Yields the notes of a pattern in one bar, with the small irregularities of a player."""
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
    """Returns the pitches that the voices of a pattern count, from the lowest up."""
    if ladder == "kit":
        return list(pitches)
    root, chord = harmony.chord(bar)
    classes = harmony.scale() if ladder == "scale" else chord
    rungs = [pitch for pitch in pitches if pitch % 12 in classes]
    if ladder == "root":
        return rungs[[pitch % 12 for pitch in rungs].index(root) :]
    return rungs


def in_time(notes: list[Note], end: float) -> tuple[Note, ...]:
    """Returns the notes that begin before the end, in order, none lasting beyond it."""
    return tuple(
        dataclasses.replace(note, duration=min(note.duration, end - note.start))
        for note in sorted(notes, key=lambda note: note.start)
        if note.start < end - 0.05
    )
