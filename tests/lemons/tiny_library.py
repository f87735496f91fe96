"""A tiny library with a recommender whose reason is known: what is loud in the third fifth."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from lime_jax.audio import io

RATE, SECONDS = 16_000, 1
SOURCES = ("vocals", "piano", "drums", "bass", "other")
HOSTILE = '<img src=x onerror="alert(1)">'
NUM_TRACKS = 12
# Every track is loudest here, in the drums, so that all explanations have a known answer.
SEGMENT, LOUD = 2, SOURCES.index("drums")
NUM_PERSONAS = 5
_WEIGHTS = b"tiny weights "


class Recommender:
    """How loud the third fifth is, from 0 to 1."""

    def __call__(self, waveforms):
        heard = waveforms[:, fifth(waveforms.shape[1])]
        return jax.nn.sigmoid(60 * jnp.sqrt(jnp.square(heard).mean(axis=1, keepdims=True)) - 6)


def fifth(num_samples):
    """Where it matters."""
    return slice(SEGMENT * num_samples // 5, (SEGMENT + 1) * num_samples // 5)


def stems_of(number, seconds=SECONDS):
    """Noise at a common level, louder where it matters; later tracks are softer."""
    rng = np.random.default_rng(number)
    waveforms = rng.standard_normal((5, seconds * RATE)) * 0.004
    moment = fifth(seconds * RATE)
    waveforms[LOUD, moment] *= 35 - 1.5 * number
    waveforms[0, moment] *= 5
    return waveforms.astype(np.float32)


def write_library(folder, seconds=SECONDS):
    """A folder as the one that comes with the package."""
    tracks = [_entry(number, seconds) for number in range(NUM_TRACKS)]
    for number, track in enumerate(tracks):
        audio = folder / "audio" / track["id"]
        audio.mkdir(parents=True)
        for source, waveform in zip(SOURCES, stems_of(number, seconds), strict=True):
            io.save(audio / f"{source}.wav", waveform, RATE)
    unheard = {**_entry(NUM_TRACKS, seconds), "title": "Heard elsewhere", "audio": False}
    listing = {
        "name": "Tiny",
        "sample_rate": RATE,
        "sources": SOURCES,
        "tracks": [*tracks, unheard],
    }
    _write(folder / "library.json", {**listing, "tracks": [*tracks, unheard]})
    _write(folder / "personas.json", [_persona(number) for number in range(NUM_PERSONAS)])
    lines = [
        f"p{p}\ttrack-{t}\t{1 + (3 * t + p) % 7}" for p in range(NUM_PERSONAS) for t in range(13)
    ]
    (folder / "plays.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "recommenders").mkdir()
    for number in range(NUM_PERSONAS):
        (folder / "recommenders" / f"p{number}.npz").write_bytes(_WEIGHTS + b"%d" % number)
    return folder


def is_tiny(path):
    """Whether a file of weights is one of these, which are none."""
    return path.read_bytes().startswith(_WEIGHTS)


def _entry(number, seconds):
    return {
        "id": f"track-{number}",
        "title": HOSTILE if number == 0 else f"Song {number}",
        "artist": HOSTILE if number == 1 else f"Artist {number % 4}",
        "album": "Album",
        "style": ["Ballad", "Rock", "Waltz"][number % 3],
        "tempo": 120,
        "duration": seconds,
        "sources": SOURCES,
        "split": "test",
    }


def _persona(number):
    return {
        "id": f"p{number}",
        "name": "Elizabeth" if number == 3 else f"Listener {number}",
        "taste": f"I like it loud {HOSTILE}.",
        "loves": ["drums"],
        "rule": "Plays what is loud in the third fifth.",
    }


def _write(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
