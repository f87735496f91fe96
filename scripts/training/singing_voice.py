r"""Trains the singing voice detector that the package ships, on songs whose voice is known.

    uv run --group music python -m scripts.music.render_songs \
        --composer sung --num-songs 400 --duration 30
    uv run python -m scripts.training.singing_voice --songs songs

The network is that of Schlüter and Grill (2015) in the layout of Mishra et al. (2020), and so is
the training: binary cross-entropy with targets of 0.02 and 0.98, Nesterov momentum of 0.95, every
sequence with another speed, pitch (30 % at most) and filter (10 dB at most). Examples come in
sequences of 12, nine frames apart, which share what the convolutions see of neighbours.

Songs are those of `render_songs.py`, with choirs, singing and, as in rap, speech: all of it counts
as singing. Jamendo can be named instead, and RWC for further tests, if they are there.

The weights that do best on the validation songs are kept; the threshold that makes the fewest
errors there is used on the test songs, frame by frame, without smoothing.
"""

import dataclasses
import importlib.metadata
import io
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from lime_jax.errors import LimeJaxError
from lime_jax.models import singing_voice, singing_voice_front_end
from lime_jax.models.singing_voice import SingingVoice
from lime_jax.models.singing_voice_front_end import HOP_LENGTH, N_FFT, NUM_FRAMES
from lime_jax.models.singing_voice_network import SvdNet
from scripts.experiments.common import (
    augmentation,
    command_line,
    corpus,
    detection,
    early_stopping,
    results,
    vocals,
)
from scripts.experiments.common.augmentation import Variant
from scripts.experiments.common.detection import Scores

MOMENTUM = 0.95
LOW_TARGET, HIGH_TARGET = 0.02, 0.98
PAPERS = {
    "R0 on Jamendo's test songs, threshold 0.66": Scores(0.081, 0.901, 0.926, 0.912, 0.913),
    "R1 on Jamendo's test songs, threshold 0.50": Scores(0.084, 0.896, 0.925, 0.908, 0.910),
}
"""Table I of Mishra et al.: the network of Schlüter and Grill, and their own."""

OURS = {
    "licence": "CC0-1.0",
    "data": "songs of scripts/music/render_songs.py --composer sung: the MIT-licensed FluidR3 "
    "soundfont, and eSpeak NG",
}

_NUM_EXAMPLES, _STRIDE = 12, 9
_SEQUENCE = NUM_FRAMES + _STRIDE * (_NUM_EXAMPLES - 1)
_SOURCE = round(_SEQUENCE * (1 + augmentation.MOST_STRETCH)) + 1
_SOURCE_SAMPLES = (_SOURCE - 1) * HOP_LENGTH + N_FFT
_PLACES = NUM_FRAMES // 2 + _STRIDE * np.arange(_NUM_EXAMPLES)

Statistics = tuple[Float[Array | np.ndarray, "80"], Float[Array | np.ndarray, "80"]]


@dataclasses.dataclass(frozen=True)
class Config:
    """How to train.

    Attributes:
      songs: a folder that `render_songs.py --composer sung` filled, or Jamendo.
      test_songs: a folder with further test songs, such as RWC; their scores are told as well.
      output: where the weights and their description go.
      seed: of the initial weights and the examples.
      num_epochs: after which the learning rate has reached zero.
      steps_per_epoch: gradient steps between validations.
      num_sequences: of 12 examples each, per step.
      learning_rate: the highest, at first.
      max_songs: of every split; all if not given.
    """

    songs: Path = Path("songs")
    test_songs: Path | None = None
    output: Path = Path("lime_jax/data")
    seed: int = 0
    num_epochs: int = 40
    steps_per_epoch: int = 200
    num_sequences: int = 8
    learning_rate: float = 0.01
    max_songs: int | None = None


@dataclasses.dataclass(frozen=True)
class Recording:
    """A song in memory: 16-bit samples, and where it sings."""

    samples: Int[np.ndarray, " num_samples"]
    is_singing: Bool[np.ndarray, " num_frames"]

    @property
    def waveform(self) -> Float[np.ndarray, " num_samples"]:
        """Between -1 and 1."""
        return self.samples.astype(np.float32) / np.float32(32767)


def read(folder: Path, split: str, max_songs: int | None) -> list[Recording]:
    """The songs of a split that have labels, long enough for an excerpt with room to stretch."""
    if max_songs is not None and max_songs < 1:
        raise ValueError(f"`max_songs` must be at least 1, got {max_songs}.")
    songs = [s for s in vocals.open_corpus(folder) if s.split == split and s.has_labels]
    if not songs:
        raise LimeJaxError(f"`{folder}` holds no {split} songs with labels. Render more.")
    found = []
    for song in songs[:max_songs]:
        mix = song.mix()
        mix = np.pad(mix, (0, max(0, _SOURCE_SAMPLES + 1 - len(mix))))
        samples = np.round(np.clip(mix, -1, 1) * 32767).astype(np.int16)
        found.append(Recording(samples, song.labels((len(mix) - N_FFT) // HOP_LENGTH + 1)))
    return found


log_mel = jax.jit(singing_voice_front_end.log_mel)


def statistics_of(songs: list[Recording]) -> Statistics:
    """Mean and standard deviation of every band over all frames of all songs."""
    total, squares, number = np.zeros(80), np.zeros(80), 0
    for song in songs:
        frames = np.asarray(log_mel(song.waveform), np.float64)
        total += frames.sum(axis=0)
        squares += np.square(frames).sum(axis=0)
        number += len(frames)
    mean = total / number
    return mean.astype(np.float32), np.sqrt(squares / number - mean**2).astype(np.float32)


def draw(
    rng: np.random.Generator, songs: list[Recording], speeds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Excerpts as int16 `(sequences, samples)`, and what is sung in each at its 12 targets."""
    waveforms = np.zeros((len(speeds), _SOURCE_SAMPLES), np.int16)
    targets = np.zeros((len(speeds), _NUM_EXAMPLES), np.float32)
    for row, speed in enumerate(speeds):
        song = songs[rng.integers(len(songs))]
        first = rng.integers((len(song.samples) - _SOURCE_SAMPLES) // HOP_LENGTH + 1)
        waveforms[row] = song.samples[first * HOP_LENGTH :][:_SOURCE_SAMPLES]
        places = first + np.round(_PLACES * speed).astype(int)
        targets[row] = np.where(song.is_singing[places], HIGH_TARGET, LOW_TARGET)
    return waveforms, targets


def sequences(
    statistics: Statistics, waveforms: Int[Array | np.ndarray, "batch samples"], variants: Variant
) -> Float[Array, "batch frames 80"]:
    """Standardised log-mel frames of changed excerpts."""

    def one(samples: Array, variant: Variant) -> Array:
        source = singing_voice_front_end.magnitudes(samples.astype(jnp.float32) / 32767)
        bands = singing_voice_front_end.bands(augmentation.warped(source, variant, _SEQUENCE))
        bands = augmentation.filtered(bands, variant, singing_voice_front_end.CENTRES)
        return singing_voice_front_end.logarithm(bands)

    mean, std = (jnp.asarray(x)[None, None] for x in statistics)
    return (jax.vmap(one)(waveforms, variants) - mean) / std


def loss_of(
    network: SvdNet,
    frames: Float[Array, "batch frames 80"],
    targets: Float[Array, "batch examples"],
    key: Key[Array, ""],
) -> Float[Array, ""]:
    """Mean cross-entropy over all examples in the sequences."""
    cells = network.features(frames)
    windows = jnp.stack([cells[:, :, i : i + 11] for i in range(_NUM_EXAMPLES)], axis=1)
    logits = network.logits(windows.reshape(-1, *windows.shape[2:]), key=key)
    return optax.sigmoid_binary_cross_entropy(logits[:, 0], targets.ravel()).mean()


@nnx.jit
def train_step(
    network: SvdNet,
    optimizer: nnx.Optimizer,
    statistics: Statistics,
    waveforms: Int[Array | np.ndarray, "batch samples"],
    targets: Float[Array | np.ndarray, "batch examples"],
    variants: Variant,
    key: Key[Array, ""],
) -> Float[Array, ""]:
    frames = sequences(statistics, waveforms, variants)
    value, gradients = nnx.value_and_grad(loss_of)(network, frames, targets, key)
    optimizer.update(network, gradients)
    return value


def epochs(
    config: Config, songs: list[Recording], validation: list[Recording], statistics: Statistics
) -> Iterator[tuple[float, SingingVoice]]:
    """Yields share of wrong validation frames, and detector, after every epoch."""
    network = SvdNet(rngs=nnx.Rngs(config.seed))
    num_steps = config.num_epochs * config.steps_per_epoch
    schedule = optax.cosine_decay_schedule(config.learning_rate, num_steps)
    transform = optax.sgd(schedule, momentum=MOMENTUM, nesterov=True)
    optimizer = nnx.Optimizer(network, transform, wrt=nnx.Param)
    rng = np.random.default_rng((config.seed, 1))
    keys = jax.random.split(jax.random.key(config.seed), config.num_epochs)
    start = time.perf_counter()
    for epoch, key in enumerate(keys):
        losses = []
        for key_step in jax.random.split(key, config.steps_per_epoch):
            key_variants, key_dropout = jax.random.split(key_step)
            variants = draw_variants(jax.random.split(key_variants, config.num_sequences))
            batch = draw(rng, songs, np.asarray(variants.speed))
            losses.append(train_step(network, optimizer, statistics, *batch, variants, key_dropout))
        voice = SingingVoice(_copied(network), *statistics)
        truth, told = judge(voice, validation)
        error = detection.scores(truth, told, detection.best_threshold(truth, told)).error
        minutes = (time.perf_counter() - start) / 60
        print(
            f"epoch {epoch + 1:3d}  {minutes:5.1f} min  training loss {np.mean(losses):.4f}  "
            f"validation error {100 * error:.1f} %",
            flush=True,
        )
        yield error, voice


draw_variants = jax.jit(jax.vmap(augmentation.draw))


def _copied(network: SvdNet) -> SvdNet:
    """One whose training leaves the other alone."""
    return nnx.merge(*jax.tree.map(jnp.copy, nnx.split(network)))


def judge(voice: SingingVoice, songs: list[Recording]) -> tuple[np.ndarray, np.ndarray]:
    """Truth and probability of every frame of all songs."""
    told = [singing_voice.curve(voice, song.waveform) for song in songs]
    return np.concatenate([song.is_singing for song in songs]), np.concatenate(told)


def run(config: Config) -> dict[str, Scores]:
    """Trains, tests and exports; returns the scores, by the songs they are of."""

    def read_some(split):
        return read(config.songs, split, config.max_songs)

    train, validation, test = map(read_some, ("train", "validation", "test"))
    statistics = statistics_of(train)
    every = epochs(config, train, validation, statistics)
    arrays = in_half_precision(early_stopping.best_of(every, config.num_epochs))
    voice = singing_voice.from_arrays(arrays, source="training")
    threshold = detection.best_threshold(*judge(voice, validation))
    tests = {"our test songs": test}
    if config.test_songs is not None:
        tests[config.test_songs.name] = read(config.test_songs, "test", config.max_songs)
    scores = {
        f"{name}, threshold {limit:.2f}": detection.scores(*judge(voice, songs), limit)
        for name, songs in tests.items()
        for limit in (threshold, 0.5)
    }
    numbers = {"training": len(train), "validation": len(validation), "test": len(test)}
    export(config, arrays, describe(config, numbers, scores))
    return scores


def describe(
    config: Config, num_songs: dict[str, int], scores: dict[str, Scores]
) -> dict[str, Any]:
    """Returns what the JSON file beside the weights says."""
    packages = ("lime-jax", "jax", "flax", "optax", "numpy")
    places = ("songs", "test_songs", "output")
    settings = dataclasses.asdict(config)
    # Of weights that were trained on other songs, those decide about the licence.
    origin = OURS if corpus.is_rendered(config.songs) else {"data": config.songs.absolute().name}
    return {
        **origin,
        "made_by": "scripts/training/singing_voice.py",
        "num_songs": num_songs,
        "test": {name: dataclasses.asdict(one) for name, one in scores.items()},
        "papers": {name: dataclasses.asdict(one) for name, one in PAPERS.items()},
        "training": {k: v for k, v in settings.items() if k not in places},
        "versions": {package: importlib.metadata.version(package) for package in packages},
    }


def in_half_precision(voice: SingingVoice) -> dict[str, np.ndarray]:
    """Returns the weights as they are shipped; statistics of the data stay as they are."""
    arrays = singing_voice.to_arrays(voice)

    def half(name, x):
        return x if name in ("mean", "std") else x.astype(np.float16)

    return {name: half(name, array) for name, array in arrays.items()}


def export(config: Config, arrays: dict[str, np.ndarray], description: dict[str, Any]) -> None:
    """Writes the weights and their description."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    path = results.write_bytes(config.output / singing_voice.WEIGHTS, buffer.getvalue())
    results.write_text(path.with_suffix(".json"), json.dumps(description, indent=1) + "\n")


def tell(scores: dict[str, Scores]) -> None:
    """Prints the scores beside the papers'."""
    rows = {**scores, **PAPERS}
    width = max(map(len, rows))
    print(f"{'':{width}}  error  precision  recall  specificity  F")
    for name, one in rows.items():
        print(
            f"{name:{width}}  {100 * one.error:4.1f} %  {one.precision:9.3f}  {one.recall:6.3f}"
            f"  {one.specificity:11.3f}  {one.f_measure:.3f}"
        )


if __name__ == "__main__":
    sys.exit(command_line.main(run, Config, tell))
