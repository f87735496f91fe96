"""Renders a library of music in many styles, and simulates listeners of known taste.

    apt-get install fluidsynth fluid-soundfont-gm espeak-ng
    uv run --group music python -m scripts.music.render_library --folder library    # 800 tracks, 10 min

Writes `FOLDER/audio/TRACK/SOURCE.ogg` (16 kHz, mono) for those of Spleeter's five sources that play
in a track, `FOLDER/library.json`, and what the listeners of `personas.py` play: `FOLDER/plays.tsv`
and `FOLDER/personas.json`. A mix is the sum of its sources; no subset of them leaves [-1, 1].

Within a style (see `styles.py`) instruments come and go from track to track, so that a style does
not tell which sources play. A track depends on the seed and its index alone, and so does its split:
of ten tracks, eight are for training, one is for validation and one is for tests. Tracks that are
there already are left alone; an index that lists others than those asked for is not overwritten.

The sampler that the package ships, `lime_jax/data/lemons`, has the metadata of all tracks and the
audio of the first held-out ones; it is made from the library by

    uv run --group music python -m scripts.music.render_library --folder library --sampler lime_jax/data/lemons

The rendered audio is released under CC0-1.0. The soundfonts are FluidR3 (MIT) or, without
FluidSynth, TimGM6mb (GPL-2).
"""

import dataclasses
import functools
import io
import itertools
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scripts.music import patterns, personas, render_songs, singing, synthesis, titles
from scripts.music.patterns import Harmony, Note, Pattern, Step
from scripts.music.render_songs import SAMPLE_RATE, Part, Song
from scripts.music.singing import VOICE, Singer
from scripts.music.styles import GROOVES, SOURCES, STYLES, Role, Style
from scripts.music.synthesis import Synthesizer

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
_BLOCK = 2**15
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


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
    """The style of a track; every style comes once before one comes again."""
    block, place = divmod(index, len(STYLES))
    return STYLES[np.random.default_rng((config.seed, block, 1)).permutation(len(STYLES))[place]]


def split_of(config: Config, index: int) -> str:
    """Whether a track is for training, validation or tests."""
    block, place = divmod(index, len(SPLITS))
    return SPLITS[np.random.default_rng((config.seed, block, 2)).permutation(len(SPLITS))[place]]


def compose(config: Config, index: int) -> Song:
    """The song of a track; its parts are of the families `SOURCES`."""
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
    """What the players of a source play; together they are as loud as one."""
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
    """One to three runs of bars, cut at every second bar."""
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
    """The players of a source: one, or some for the source other."""
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
    """What a player plays in the sections in which its source does not rest."""
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
    """The notes, ended where their section ends, since a rest is to be heard as one."""
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
    """The steps of a line of sixteenths, see `styles.Role`."""
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


def render(song: Song, synthesizer: Synthesizer) -> dict[str, np.ndarray]:
    """The sources of a song as 16 kHz waveforms, in the order of `SOURCES`."""
    sounds = render_songs.render(song, synthesizer)
    if VOICE in sounds:
        sounds[VOCALS] = sounds.pop(VOICE)
    stems = {source: without_tails(sounds[source]) for source in SOURCES if source in sounds}
    peak = np.abs(np.stack(list(stems.values()))).sum(axis=0).max()
    return {source: stem * min(1.0, FULL_SCALE / peak) for source, stem in stems.items()}


def without_tails(stem: np.ndarray) -> np.ndarray:
    """The stem with digital silence wherever it is all but silent for a while."""
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


def encoded(stems: Mapping[str, np.ndarray]) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """The files of all sources, and what they sound like when decoded.

    The codec may lift peaks; then all sources are made softer.
    """
    gain = 1.0
    while True:
        files = {
            name: vorbis(stem * gain, zlib.crc32(name.encode())) for name, stem in stems.items()
        }
        heard = {name: decoded(file) for name, file in files.items()}
        if np.abs(np.stack(list(heard.values()))).sum(axis=0).max() <= 1.0:
            return files, heard
        gain *= 0.95


def vorbis(waveform: np.ndarray, serial: int) -> bytes:
    """An Ogg Vorbis file."""
    import soundfile

    target = io.BytesIO()
    with soundfile.SoundFile(
        target, "w", SAMPLE_RATE, 1, "VORBIS", format="OGG", compression_level=COMPRESSION
    ) as sound:
        # libsndfile overflows its stack on long Vorbis waveforms in one piece.
        for first in range(0, len(waveform), _BLOCK):
            sound.write(waveform[first : first + _BLOCK])
    return with_serial(target.getvalue(), serial)


def with_serial(ogg: bytes, serial: int) -> bytes:
    """The file with the serial number that libsndfile draws at random, so that files repeat."""
    pages, start = [], 0
    while start < len(ogg):
        num_segments = ogg[start + 26]
        body = sum(ogg[start + 27 : start + 27 + num_segments])
        end = start + 27 + num_segments + body
        page = bytearray(ogg[start:end])
        page[14:18], page[22:26] = serial.to_bytes(4, "little"), bytes(4)
        page[22:26] = ogg_checksum(bytes(page)).to_bytes(4, "little")
        pages.append(bytes(page))
        start = end
    return b"".join(pages)


def ogg_checksum(page: bytes) -> int:
    """Ogg's CRC is that of zlib without its reflections and inversions."""
    mirrored = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def decoded(file: bytes) -> np.ndarray:
    import soundfile

    return soundfile.read(io.BytesIO(file), dtype="float32")[0]


def describe(
    song: Song,
    config: Config,
    index: int,
    synthesizer: Synthesizer,
    heard: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """The entry of a track in the library."""
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
    """The level of a source relative to that of the mix."""
    power = np.square(stem, dtype=np.float64).mean(), np.square(mix, dtype=np.float64).mean()
    return float(10 * np.log10(max(power[0], 1e-12) / max(power[1], 1e-12)))


def activity(stem: np.ndarray, mix: np.ndarray) -> float:
    """The share of time in which a source is heard beside the mix."""
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
    partial = target.with_name(f".{name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    files, heard = encoded(render(song, synthesizer))
    for source, file in files.items():
        (partial / f"{source}.ogg").write_bytes(file)
    entry = describe(song, config, index, synthesizer, heard)
    text = json.dumps({"settings": settings, **entry}, indent=1, ensure_ascii=False)
    (partial / "track.json").write_text(text + "\n", encoding="utf-8")
    os.replace(partial, target)
    return entry


def read_track(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a track that is there; refuses one of other settings."""
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
    write_whole(folder / "library.json", f'{start}, "tracks": [\n{lines}\n]}}\n')
    personas.write(folder, tracks, seed)


def write_whole(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


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
    if not config.duration >= render_songs.SHORTEST:
        raise SystemExit(f"`--duration` must be at least {render_songs.SHORTEST} s.")
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
