"""Public functions of audio, report and runs; run by test_odd_arguments.py."""

import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.audio import features, fills, io, render, segment
from tests.odd_arguments.law import Case, keeps_the_law, leaves_are_finite

pytestmark = pytest.mark.slow

KEY = jax.random.key(0)
RATE = 1000
WAVEFORM = np.sin(np.arange(400) / 5).astype(np.float32)
STEMS = np.stack([WAVEFORM, WAVEFORM[::-1]])
AUDIO = segment.by_time(WAVEFORM, RATE, 3)
MASK = np.array([True, False, True])
FOLDER = Path(tempfile.mkdtemp())
SOUND = FOLDER / "sound.wav"
io.save(SOUND, WAVEFORM, RATE)
(FOLDER / "stems").mkdir()
io.save(FOLDER / "stems" / "a.wav", WAVEFORM, RATE)


def predict(batch):
    return jnp.tanh(batch).sum(axis=1, keepdims=True)


EXPLANATION = lj.explain(predict, AUDIO.components, lj.exhaustive())
lj.report.write(FOLDER / "report", EXPLANATION, AUDIO, output_names=["a"])
lj.runs.write_manifest(FOLDER / "clips.csv", [lj.runs.Item("a", SOUND)])


def open_store(folder):
    """There is none; to make one takes a run."""
    return None if folder is FOLDER else lj.runs.open_store(folder)


def check_audio(audio, /, **_):
    assert len(audio.extents) == audio.components.num_components
    assert type(audio.sample_rate) is int
    for extent in audio.extents:
        assert 0 <= extent.start <= extent.end and 0 <= extent.low <= extent.high


CUT = {"waveform": WAVEFORM, "sample_rate": RATE, "num_segments": 3, "fill": "zero", "key": KEY}
NAMED = {"stems": STEMS, "names": ("a", "b"), "sample_rate": RATE}
FRAMES = {"n_fft": 64, "hop_length": 16}
BANK = {"sample_rate": RATE, "n_fft": 64, "num_mels": 4}
EDGES = {"low": 0.0, "high": None, "htk": False, "norm": "slaney"}
SPECTRUM = np.asarray(features.stft(WAVEFORM, **FRAMES))
EXCERPT = {"sample_rate": RATE, "start": 0.0, "duration": None, "max_channels": 2}
MEL = {"waveform": WAVEFORM, "power": 2.0, "pad_mode": "constant", **BANK, **EDGES}

CASES = {
    "by_time": Case(segment.by_time, {**CUT, "used": None}, check_audio),
    "by_frequency": Case(segment.by_frequency, {**CUT, "n_fft": 64}, check_audio),
    "by_grid": Case(
        segment.by_grid,
        {**CUT, "num_segments": (2, 2), "used": None, "n_fft": 64},
        check_audio,
    ),
    "by_superpixels": Case(
        segment.by_superpixels, {**CUT, "algorithm": "slic", "n_fft": 64}, check_audio, (), 8
    ),
    "by_stems": Case(segment.by_stems, NAMED, check_audio),
    "by_stems_and_time": Case(
        segment.by_stems_and_time, {**NAMED, "num_segments": 2, "used": None}, check_audio
    ),
    "with_residual": Case(
        segment.with_residual, {"stems": STEMS, "names": ("a", "b"), "mix": WAVEFORM}
    ),
    "by_kind": Case(
        segment.by_kind,
        {
            **{"kind": "time", "waveforms": STEMS, "sample_rate": RATE, "num_segments": 2},
            **{"names": ("a", "b"), "fill": "zero", "key": KEY, "used": None},
        },
        check_audio,
    ),
    "fill_of": Case(fills.fill_of, {"name": "uniform", "signal": WAVEFORM, "key": KEY}),
    "stft": Case(
        features.stft, {"waveform": WAVEFORM, "pad_mode": "constant", "symmetric": False, **FRAMES}
    ),
    "istft": Case(features.istft, {"spectrogram": SPECTRUM, "num_samples": 400, **FRAMES}),
    "overlap_add": Case(features.overlap_add, {"spectrogram": SPECTRUM, **FRAMES}),
    "mel_filterbank": Case(features.mel_filterbank, {**BANK, **EDGES}, leaves_are_finite),
    "mel_spectrogram": Case(features.mel_spectrogram, {**MEL, "hop_length": 16}, num_examples=10),
    "log_mel": Case(features.log_mel, {**MEL, "hop_length": 16, "floor": 1e-10}, num_examples=10),
    "decibels": Case(
        features.decibels, {"power": np.abs(SPECTRUM), "floor": 1e-10, "dynamic_range": 80.0}
    ),
    "hz_to_mel": Case(features.hz_to_mel, {"frequency": 440.0, "htk": False}),
    "mel_to_hz": Case(features.mel_to_hz, {"mel": 10.0, "htk": True}),
    "load": Case(io.load, {"path": SOUND, "resampler": "soxr", **EXCERPT}, leaves_are_finite),
    "load_stems": Case(io.load_stems, {"stems": FOLDER / "stems", "resampler": "soxr", **EXCERPT}),
    "encode": Case(io.encode, {"waveform": WAVEFORM, "sample_rate": RATE, "format": "wav"}),
    "save": Case(io.save, {"path": FOLDER / "new.wav", "waveform": WAVEFORM, "sample_rate": RATE}),
    "render": Case(render.render, {"audio": AUDIO, "mask": MASK}, leaves_are_finite),
    "render_faded": Case(
        render.render_faded, {"audio": AUDIO, "mask": MASK, "fade": 0.01}, leaves_are_finite
    ),
    "trim_silence": Case(render.trim_silence, {"waveform": WAVEFORM, "sample_rate": RATE}),
    "waveform_predictor": Case(render.waveform_predictor, {"model": predict, "audio": AUDIO}),
    "to_json": Case(
        lj.report.to_json,
        {
            **{"explanation": EXPLANATION, "audio": AUDIO, "output_names": ["a"], "outputs": [0]},
            **{"top_k": 2, "title": "t", "config": {}, "repeats": None, "over_fills": None},
            "fills": (),
        },
    ),
    "report.read": Case(lj.report.read, {"path": FOLDER / "report"}),
    "check_folder": Case(lj.report.check_folder, {"folder": FOLDER / "report"}),
    "read_manifest": Case(lj.runs.read_manifest, {"path": FOLDER / "clips.csv"}),
    "write_manifest": Case(
        lj.runs.write_manifest,
        {"path": FOLDER / "items.csv", "items": [lj.runs.Item("a", SOUND)]},
    ),
    "items_of": Case(lj.runs.items_of, {"source": str(FOLDER), "layout": "files"}),
    "open_store": Case(open_store, {"folder": FOLDER}),
}


@pytest.mark.parametrize("name", CASES)
def test_odd_arguments(name):
    keeps_the_law(CASES[name])
