"""MIDI messages to sound, with the program FluidSynth or with packages from PyPI alone."""

import dataclasses
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

# Fast, and clean: what folds back at this rate lies above 10 kHz, outside what is kept at 16 kHz.
RENDER_RATE = 32_000
DRUM_CHANNEL = 9
FLUIDSYNTH, TINYSOUNDFONT = "fluidsynth", "tinysoundfont"
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")

Messages = Iterable[tuple[float, Any]]
_BANK, _ALL_SOUND_OFF = 0, 120


@dataclasses.dataclass(frozen=True)
class Synthesizer:
    """A program or package, and the General MIDI soundfont that it plays."""

    program: str
    soundfont: Path

    @property
    def credits(self) -> str:
        """What the sound was made with."""
        licence = {"FluidR3_GM": "MIT", "TimGM6mb": "GPL-2"}.get(self.soundfont.stem)
        name = self.soundfont.stem + (f" ({licence})" if licence else "")
        return f"{self.program} with the soundfont {name}"

    def __call__(self, messages: Messages, duration: float) -> np.ndarray:
        """The mono sound at `RENDER_RATE`, at least so many seconds.

        Args:
          messages: of mido, with their times in seconds; in order, but for equal times.
          duration: in seconds.
        """
        timed = sorted(messages, key=lambda message: message[0])
        play = _with_fluidsynth if self.program == FLUIDSYNTH else _with_tinysoundfont
        waveform = play(self.soundfont, timed, duration)
        return np.pad(waveform, (0, max(0, round(duration * RENDER_RATE) - len(waveform))))


def find(
    program: Literal["auto", "fluidsynth", "tinysoundfont"], soundfont: Path | None
) -> Synthesizer:
    """Returns the synthesizer asked for; auto is FluidSynth where it is installed.

    Raises:
      SystemExit: if program or soundfont are missing.
    """
    advice = "Debian has it: apt-get install fluidsynth fluid-soundfont-gm"
    if program == "auto":
        is_there = shutil.which(FLUIDSYNTH) is not None and (soundfont or SOUNDFONT).is_file()
        program = FLUIDSYNTH if is_there else TINYSOUNDFONT
    if program == FLUIDSYNTH and shutil.which(FLUIDSYNTH) is None:
        raise SystemExit(f"The program `fluidsynth` was not found. {advice}.")
    if program == TINYSOUNDFONT:
        if importlib.util.find_spec(TINYSOUNDFONT) is None:
            raise SystemExit(
                f"Neither `fluidsynth` nor the package `tinysoundfont` was found. {advice}; or "
                "start this script with `uv run --script`, which installs the package."
            )
        soundfont = soundfont or _small_soundfont()
    soundfont = soundfont or SOUNDFONT
    if not soundfont.is_file():
        raise SystemExit(f"`soundfont` {soundfont} is not a file. {advice}; or name another.")
    return Synthesizer(program, soundfont)


def _small_soundfont() -> Path:
    """The soundfont that comes with the package pretty_midi."""
    spec = importlib.util.find_spec("pretty_midi")  # found, not imported: that takes seconds
    folders = list(spec.submodule_search_locations or []) if spec else []
    return next((Path(folder, "TimGM6mb.sf2") for folder in folders), Path("TimGM6mb.sf2"))


def _with_fluidsynth(
    soundfont: Path, messages: Sequence[tuple[float, Any]], duration: float
) -> np.ndarray:
    import soundfile

    del duration
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder, "song.mid"), Path(folder, "song.wav")
        _write_midi(messages, midi)
        sound = ["-r", str(RENDER_RATE), "-O", "float", "-T", "wav", "-F", str(wav)]
        lazily = ["-o", "synth.dynamic-sample-loading=1"]
        command = [FLUIDSYNTH, "-q", "-n", "-i", *sound, *lazily, str(soundfont), str(midi)]
        subprocess.run(command, check=True, capture_output=True)
        stereo, _ = soundfile.read(wav, dtype="float32")
    return stereo.mean(axis=1)


def _write_midi(messages: Sequence[tuple[float, Any]], path: Path) -> None:
    import mido

    midi = mido.MidiFile(type=0, ticks_per_beat=480)
    track = mido.MidiTrack()
    midi.tracks.append(track)
    ticks_per_second = 2 * midi.ticks_per_beat  # MIDI's default tempo is 120 beats per minute
    now = 0
    for seconds, message in messages:
        tick = round(seconds * ticks_per_second)
        track.append(message.copy(time=tick - now))
        now = tick
    midi.save(path)


def _with_tinysoundfont(
    soundfont: Path, messages: Sequence[tuple[float, Any]], duration: float
) -> np.ndarray:
    import tinysoundfont

    synth = tinysoundfont.Synth(samplerate=RENDER_RATE)
    sounds = synth.sfload(str(soundfont))
    banks: dict[int, int] = {}
    parts, now = [], 0
    for seconds, message in [*messages, (duration, None)]:
        if (count := round(seconds * RENDER_RATE) - now) > 0:
            parts.append(np.frombuffer(bytes(synth.generate(count)), np.float32))
            now += count
        if message is not None:
            _send(synth, sounds, banks, message)
    return np.concatenate(parts).reshape(-1, 2).mean(axis=1)


def _send(synth: Any, sounds: int, banks: dict[int, int], message: Any) -> None:
    channel = message.channel
    if message.type == "note_on":
        synth.noteon(channel, message.note, message.velocity)
    elif message.type == "note_off":
        synth.noteoff(channel, message.note)
    elif message.type == "control_change" and message.control == _BANK:
        banks[channel] = message.value
    elif message.type == "control_change" and message.control == _ALL_SOUND_OFF:
        synth.sounds_off(channel)
    elif message.type == "program_change":
        is_drums = channel == DRUM_CHANNEL
        # Small soundfonts lack the variations; drum kits are bank 128.
        wanted = [(banks.get(channel, 0), message.program), (0, message.program)]
        choices = [(128, message.program), (128, 0)] if is_drums else wanted
        for bank, program in choices:
            if synth.sfpreset_name(sounds, bank, program) is not None:
                synth.program_select(channel, sounds, 0 if is_drums else bank, program, is_drums)
                return
