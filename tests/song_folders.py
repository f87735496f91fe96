"""Songs for tests, as scripts/music/render_songs.py lays them out: tones, bursts and chords."""

import json

import numpy as np

SAMPLE_RATE = 16_000
FAMILIES = ("piano", "guitar", "bass", "drums", "strings")


def stems_of(number, duration):
    """Five families that sound different from each other."""
    rng = np.random.default_rng(number)
    time = np.arange(round(duration * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = 110 * 2 ** (rng.integers(12) / 12)
    beat = time % 0.5

    def tone(multiple):
        return np.sin(2 * np.pi * pitch * multiple * time)

    return {
        "piano": 0.2 * tone(4) * np.exp(-6 * beat),
        "guitar": 0.2 * np.sign(tone(2)) * np.exp(-3 * beat),
        "bass": 0.2 * tone(0.5),
        "drums": rng.uniform(-0.3, 0.3, len(time)) * (beat < 0.08),
        "strings": 0.1 * (tone(3) + tone(3.01) + tone(3.02)),
    }


def write_songs(folder, number, *, duration=3.0, splits=("train", "validation", "test")):
    """Fills a folder with songs, whose splits take turns."""
    import soundfile

    for index in range(number):
        song = folder / f"song-{index:03d}"
        song.mkdir(parents=True)
        text = json.dumps({"name": song.name, "split": splits[index % len(splits)]})
        (song / "song.json").write_text(text, encoding="utf-8")
        for family, stem in stems_of(index, duration).items():
            soundfile.write(song / f"{family}.flac", stem, SAMPLE_RATE)
    return folder
