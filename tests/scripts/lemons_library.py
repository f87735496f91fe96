"""A tiny library of sines, one frequency per source, for listeners whose taste is a frequency."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import soundfile

from lime_jax.core.pytree import pytree, static

SOURCES = ("vocals", "piano", "drums", "bass", "other")
# Five segments of 200 samples, and three samples more in the last one.
RATE, NUM_SAMPLES = 8000, 1003
LOUD = (0.3, 0.5, 0.9, 0.7, 0.6)
SOFT = (0.1, 0.1, 0.05, 0.1, 0.1)
PERSONAS = {"ada": ["drums"], "bob": ["piano"], "cy": []}
LIKED = {"ada": "drums", "bob": "piano", "cy": "bass"}
# Levels of the sources in five segments; what is not named is not part of the track.
TRACKS = {
    "all": {source: LOUD if source == "drums" else SOFT for source in SOURCES},
    "duo": {"drums": LOUD, "piano": LOUD[::-1]},
    "late": {"drums": (0, 0, 0.7, 0.9, 0.8), "bass": (0.6, 0.8, 0.7, 0, 0)},
    "piano": {"piano": LOUD, "vocals": SOFT, "other": (0, 0, 0, 0, 0)},
    "soft": {"vocals": SOFT, "drums": SOFT, "bass": SOFT},
    "voice": {"vocals": LOUD, "other": SOFT},
}
PLAYED = {"ada": ("all", "duo", "late"), "bob": ("duo", "piano"), "cy": ("late", "soft")}


@pytree
class Likes:
    """Hears how loud one source is, wherever it plays."""

    source: str = static()
    slope: float = static(default=10.0)

    def __call__(self, waveforms):
        sine = jnp.asarray(sine_of(self.source, waveforms.shape[1]))
        level = 2 * (waveforms * sine[None]).mean(axis=1, keepdims=True)
        return jax.nn.sigmoid(self.slope * (level - 0.3))


def sine_of(source, num_samples):
    """Whole periods in each of five segments: what other sources play is not heard at all."""
    frequency = 400 + 80 * SOURCES.index(source)
    return np.sin(2 * np.pi * frequency * np.arange(num_samples) / RATE).astype(np.float32)


def stems_of(levels, rate=RATE, num_samples=NUM_SAMPLES):
    """Waveforms by source; the samples that are left over are silent."""
    segment = num_samples // 5
    return {
        source: np.pad(np.repeat(five, segment), (0, num_samples - 5 * segment))
        * sine_of(source, num_samples)
        for source, five in levels.items()
    }


def write_library(folder, tracks=None, rate=RATE, num_samples=NUM_SAMPLES, played=None):
    """The folder of a library, and who played what; one track is of another split."""
    tracks = TRACKS if tracks is None else tracks
    splits = {name: "test" for name in tracks} | {"train": "train"}
    entries = []
    for name, split in splits.items():
        stems = stems_of(tracks.get(name, {"drums": LOUD}), rate, num_samples)
        (folder / "audio" / name).mkdir(parents=True)
        for source, waveform in stems.items():
            soundfile.write(folder / "audio" / name / f"{source}.flac", waveform, rate)
        entry = {"id": name, "title": name, "artist": "A", "album": "B", "style": "Waltz"}
        entry |= {"tempo": 120, "duration": num_samples / rate, "sources": list(stems)}
        entries.append({**entry, "split": split})
    listing = {"name": "Sines", "sample_rate": rate, "sources": SOURCES, "tracks": entries}
    _write(folder / "library.json", listing)
    texts = {"taste": "I like it.", "rule": "Plays what it likes."}
    listeners = [{"id": p, "name": p, "loves": loves, **texts} for p, loves in PERSONAS.items()]
    _write(folder / "personas.json", listeners)
    played = PLAYED if played is None else played
    lines = [f"{who}\t{name}\t3\n" for who in PERSONAS for name in (*played[who], "train")]
    (folder / "plays.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def _write(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
