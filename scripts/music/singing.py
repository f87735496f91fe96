"""Voices of songs: what they sing or speak, how it sounds, and when it is heard.

    apt-get install espeak-ng

eSpeak NG says the words of a phrase, and Praat, which comes as the package praat-parselmouth from
PyPI, tunes them to its notes.
"""

import dataclasses
import importlib.util
import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scripts.music import patterns
from scripts.music.patterns import Harmony, Note

Manner = Literal["choir", "sung", "spoken"]

VOICE = "voice"
# How voices come about; choirs are programs of the soundfont.
MANNERS: dict[Manner, float] = {"choir": 0.3, "sung": 0.5, "spoken": 0.2}
CHOIRS = ((0, 52), (0, 53), (0, 54), (0, 85), (0, 91))
TEXTURES = {"melody": 1}
CHOIR_TEXTURES = {"pad": 1, "block": 1, "melody": 2}
REGISTERS = (range(45, 65), range(52, 72), range(57, 77))
GAIN_DB = (0.0, 10.0)
# How likely a voice rests during a section, and during a bar of the others.
REST, BAR_REST = 0.35, 0.25

PROGRAM, PACKAGE = "espeak-ng", "parselmouth"
LANGUAGES = ("en-us", "en-gb", "de", "es", "fr-fr", "it", "pt", "sv", "fi")
VARIANTS = (*(f"m{n}" for n in range(1, 8)), *(f"f{n}" for n in range(1, 6)))
WORDS = (
    "all along and away baby beautiful before believe believer better blue burning care come "
    "dancer day deep dream easy every fall far feel fire follow forever free gold golden gone "
    "good heart heaven hello higher hold home hope if in inside into king know lady light little "
    "lonely long love lover many me memory midnight moon morning mountain never night no now of "
    "oh only open over rain remember rider river road run sailor say sea shadow sing slowly so "
    "somebody song stay summer sun sweet take tell time to tomorrow tonight under water we whisper "
    "wild wind wonder yesterday you young"
).split()
# A breath ends a phrase.
BREATH_SECONDS = 0.4
SYLLABLE_SECONDS = 0.28
# Vibrato in semitones and Hz; slides from note to note in seconds.
VIBRATO, VIBRATO_HZ, SLIDE_SECONDS = 0.35, 5.5, 0.06
_STEP_SECONDS, _LONGEST_STRETCH = 0.02, 4.0
# Praat draws the order in which it repeats voiceless sounds.
_TUNE = """
random_initializeWithSeedUnsafelyButPredictably (1)
Get resynthesis (overlap-add)
"""
# A frame is heard down to so much below the level of its voice. Shorter pauses, in which a singer
# breathes, are heard too; shorter sounds are clicks.
FRAME_SECONDS, BELOW_DB, PAUSE_SECONDS, LEAST_SECONDS = 0.02, 35, 0.3, 0.1


@dataclasses.dataclass(frozen=True)
class Phrase:
    """Notes sung in a breath, and their words; pitches are those of MIDI, times in seconds."""

    notes: tuple[tuple[float, float, int], ...]
    words: str

    @property
    def start(self) -> float:
        """Of the first note."""
        return self.notes[0][0]

    @property
    def duration(self) -> float:
        """To the end of the last note."""
        return self.notes[-1][0] + self.notes[-1][1] - self.start


@dataclasses.dataclass(frozen=True)
class Singer:
    """Who sings or speaks, and what.

    Attributes:
      manner: "sung", with the pitches of the notes, or "spoken".
      voice: of eSpeak NG.
      gain: in dB.
      phrases: in order.
    """

    manner: Manner
    voice: str
    gain: float
    phrases: tuple[Phrase, ...]


def draw_manner(rng: np.random.Generator) -> Manner:
    """Returns how a voice comes about."""
    return rng.choice(list(MANNERS), p=list(MANNERS.values())).item()


def draw_notes(
    rng: np.random.Generator, manner: Manner, harmony: Harmony, duration: float
) -> tuple[Note, ...]:
    """Returns what a voice sings: sections and bars in which it rests are part of it."""
    textures = CHOIR_TEXTURES if manner == "choir" else TEXTURES
    bar_seconds = harmony.num_beats * 60 / harmony.tempo
    sections = patterns.draw_sections(rng, int(np.ceil(duration / bar_seconds)))
    sings = rng.random(len(sections)) >= REST
    sings[rng.integers(len(sections))] = True
    pitches = REGISTERS[rng.integers(len(REGISTERS))]
    notes: list[Note] = []
    for bars in (bars for bars, sing in zip(sections, sings, strict=True) if sing):
        pattern, loudness = patterns.draw_pattern(rng, textures, harmony), rng.uniform(70, 110)
        rests = rng.random(len(bars)) < BAR_REST
        rests[0] = False
        for bar in (bar for bar, rest in zip(bars, rests, strict=True) if not rest):
            notes += patterns.play_bar(rng, pattern, harmony, bar, pitches, loudness)
    return patterns.in_time(notes, duration) or draw_notes(rng, manner, harmony, duration)


def draw_singer(
    rng: np.random.Generator, manner: Manner, gain: float, notes: Sequence[Note]
) -> Singer:
    """Returns a random voice with random words for the notes of a melody."""
    voice = f"{rng.choice(LANGUAGES)}+{rng.choice(VARIANTS)}"
    breaths = [0]
    for number, (one, other) in enumerate(itertools.pairwise(notes), start=1):
        if other.start - one.start - one.duration > BREATH_SECONDS:
            breaths.append(number)
    parts = [notes[slice(*edges)] for edges in itertools.pairwise([*breaths, len(notes)])]
    return Singer(manner, voice, gain, tuple(_phrase(rng, part) for part in parts))


def check_installed() -> None:
    """Ends the program with advice if voices cannot be made here."""
    if shutil.which(PROGRAM) is None:
        raise SystemExit(f"The program `{PROGRAM}` was not found: apt-get install {PROGRAM}.")
    if importlib.util.find_spec(PACKAGE) is None:
        raise SystemExit(
            f"The package `{PACKAGE}` was not found. Start this script with `uv run --script`, "
            "which installs it."
        )


def render(singer: Singer, duration: float, sample_rate: int) -> np.ndarray:
    """Returns the waveform of all phrases, mono, as long as `duration` in seconds."""
    voice = np.zeros(round(duration * sample_rate), np.float32)
    for phrase in singer.phrases:
        sound = _phrase_sound(singer, phrase, sample_rate)
        start = round(phrase.start * sample_rate)
        sound = sound[: len(voice) - start]
        voice[start : start + len(sound)] += sound
    return voice


def labels(voice: np.ndarray, sample_rate: int) -> str:
    """When a voice is heard, as the text of a label file."""
    return "".join(
        f"{start:.3f} {end:.3f} {'sing' if is_heard else 'nosing'}\n"
        for start, end, is_heard in when_heard(voice, sample_rate)
    )


def when_heard(voice: np.ndarray, sample_rate: int) -> list[tuple[float, float, bool]]:
    """Start and end in seconds of stretches in which a voice is heard or not, without gaps."""
    size = round(FRAME_SECONDS * sample_rate)
    frames = np.pad(voice, (0, -len(voice) % size)).reshape(-1, size)
    power = np.square(frames, dtype=np.float64).mean(axis=1)
    level = power[power > 1e-8].mean() if (power > 1e-8).any() else 1.0
    heard = power > level * 10 ** (-BELOW_DB / 10)
    for start, end in runs_of(heard, False):
        if 0 < start and end < len(heard) and (end - start) * FRAME_SECONDS < PAUSE_SECONDS:
            heard[start:end] = True
    for start, end in runs_of(heard, True):
        if (end - start) * FRAME_SECONDS < LEAST_SECONDS:
            heard[start:end] = False
    edges = [0, *(np.flatnonzero(np.diff(heard)) + 1).tolist(), len(heard)]
    seconds = [min(edge * size, len(voice)) / sample_rate for edge in edges]
    return [
        (*pair, bool(heard[edge]))
        for pair, edge in zip(itertools.pairwise(seconds), edges[:-1], strict=True)
    ]


def runs_of(flags: np.ndarray, value: bool) -> list[tuple[int, int]]:
    """First and last-plus-one of every run of a value."""
    steps = np.diff(np.concatenate([[False], flags == value, [False]]).astype(int))
    first, end = np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist()
    return list(zip(first, end, strict=True))


def _phrase(rng: np.random.Generator, notes: Sequence[Note]) -> Phrase:
    timed = tuple((note.start, note.duration, note.pitch) for note in notes)
    seconds = timed[-1][0] + timed[-1][1] - timed[0][0]
    wanted = max(len(timed), round(seconds / 2 / SYLLABLE_SECONDS))
    words, syllables = [], 0
    while syllables < wanted:
        words.append(str(rng.choice(WORDS)))
        syllables += _num_syllables(words[-1])
    return Phrase(timed, " ".join(words))


def _num_syllables(word: str) -> int:
    is_vowel = [letter in "aeiouy" for letter in word]
    return max(1, sum(one and not before for before, one in itertools.pairwise([False, *is_vowel])))


def _phrase_sound(singer: Singer, phrase: Phrase, sample_rate: int) -> np.ndarray:
    """A phrase as it is said, then tuned and stretched to its notes."""
    import soxr

    samples, rate = _spoken(singer.voice, phrase.words)
    if singer.manner == "sung":
        samples = _tuned(samples, rate, phrase)
    samples = samples[: round(phrase.duration * rate)].astype(np.float32)
    fade = min(round(0.03 * rate), len(samples))
    samples[len(samples) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return np.asarray(soxr.resample(samples, rate, sample_rate))


def _spoken(voice: str, words: str) -> tuple[np.ndarray, int]:
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder, "words.wav")
        subprocess.run(
            [PROGRAM, "-v", voice, "-s", "150", "-w", str(wav), words],
            check=True, capture_output=True,
        )  # fmt: skip
        samples, rate = soundfile.read(wav, dtype="float32")
    loud = np.flatnonzero(np.abs(samples) > 1e-3)  # eSpeak ends with a pause
    return (samples[loud[0] : loud[-1] + 1] if len(loud) else samples), rate


def _tuned(samples: np.ndarray, rate: int, phrase: Phrase) -> np.ndarray:
    import parselmouth
    from parselmouth.praat import call, run

    sound = parselmouth.Sound(samples.astype(np.float64), rate)
    end = sound.get_total_duration()
    stretch = min(max(phrase.duration / end, 1 / _LONGEST_STRETCH), _LONGEST_STRETCH)
    manipulation: Any = call(sound, "To Manipulation", 0.01, 75, 600)
    pitches = call("Create PitchTier", "melody", 0, end)
    for time in np.arange(0, end, _STEP_SECONDS):
        call(pitches, "Add point", float(time), _pitch_hz(phrase, float(time) * stretch))
    lengths = call("Create DurationTier", "lengths", 0, end)
    call(lengths, "Add point", 0.0, stretch)
    call([manipulation, pitches], "Replace pitch tier")
    call([manipulation, lengths], "Replace duration tier")
    return run(manipulation, _TUNE)[0].values[0]


def _pitch_hz(phrase: Phrase, time: float) -> float:
    """The pitch at a time of the phrase, with slides and a vibrato that sets in late."""
    starts = np.array([start for start, _, _ in phrase.notes]) - phrase.start
    pitches = np.array([pitch for _, _, pitch in phrase.notes], float)
    number = int(np.searchsorted(starts, time, side="right")) - 1
    since = time - starts[number]
    before = pitches[max(number - 1, 0)]
    slide = min(since / SLIDE_SECONDS, 1.0)
    wave = VIBRATO * min(since / 0.5, 1.0) * np.sin(2 * np.pi * VIBRATO_HZ * time)
    pitch = before + (pitches[number] - before) * slide + wave
    return float(440 * 2 ** ((pitch - 69) / 12))
