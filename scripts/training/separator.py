r"""Trains the separator `one-vs-all` on songs whose stems are known.

    # 3 min
    uv run --group music python -m scripts.music.render_songs \
        --composer band --num-songs 400 --duration 30
    # 10 min
    uv run python -m scripts.training.separator --songs songs

Five small networks, one per instrument family, learn to mask their family in a mixture. They are
meant to be imperfect: explanations of the audioLIME experiments are repeated with their stems.
Every training example is a fresh mix of a random subset of stems, from one song or from several,
with random gains. Networks are kept that separate the validation songs best; their scores on the
test songs are printed: the median improvement of SI-SDR over the mixture itself, in dB.

The weights go into the cache, where `--separator one-vs-all` finds them, or to `--output`.
"""

import dataclasses
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from lime_jax.errors import LimeJaxError, ModelError
from lime_jax.models import cache, weights
from lime_jax.separation import one_vs_all
from lime_jax.separation.one_vs_all import OneVsAllConfig, OneVsAllNetwork
from scripts.experiments.common import command_line, corpus, early_stopping

NETWORK = OneVsAllConfig()
SECONDS = 2.0
NUM_SAMPLES = round(SECONDS * NETWORK.sample_rate)
_NUM_VALIDATION, _NUM_TEST = 128, 256

Stems = list[np.ndarray]  # int16 (num_families, num_samples) per song


@dataclasses.dataclass(frozen=True)
class Config:
    """How to train.

    Attributes:
      songs: a folder that `render_songs.py` filled, or Slakh2100.
      output: where the weights go; into the cache if not given.
      seed: of the initial weights and the examples.
      num_epochs: at most; the learning rate reaches zero at the end.
      steps_per_epoch: gradient steps between validations.
      batch_size: examples per step.
      learning_rate: the highest.
      patience: epochs without improvement before training stops.
      max_songs: of every split; all if not given.
    """

    songs: Path = Path("songs")
    output: Path | None = None
    seed: int = 0
    num_epochs: int = 20
    steps_per_epoch: int = 100
    batch_size: int = 16
    learning_rate: float = 2e-3
    patience: int = 6
    max_songs: int | None = None


def read_stems(config: Config, songs: list[corpus.Song], split: str) -> Stems:
    """Returns the stems of a split as 16-bit numbers, which need half the memory."""
    chosen = corpus.of_split(songs, split)[: config.max_songs]
    if not chosen:
        raise LimeJaxError(f"`{config.songs}` holds no {split} songs. Render more.")
    loaded = (corpus.load(song, NETWORK.instruments, NETWORK.sample_rate) for song in chosen)
    return [np.round(np.clip(stems, -1, 1) * 32767).astype(np.int16) for stems in loaded]


def draw_batch(rng: np.random.Generator, songs: Stems, count: int) -> np.ndarray:
    """Stems that play together, `(count, num_families, num_samples)`."""
    return np.stack([draw_example(rng, songs) for _ in range(count)])


def draw_example(rng: np.random.Generator, songs: Stems) -> np.ndarray:
    """Excerpts of one song's stems, or of stems of different songs, some of them left out."""
    num_families = len(NETWORK.instruments)
    size = num_families if rng.random() < 0.5 else 1
    chosen = np.broadcast_to(rng.integers(len(songs), size=size), num_families)
    places = np.broadcast_to(rng.random(size), num_families)
    gains = 10 ** (rng.uniform(-9, 6, num_families) / 20)
    gains *= rng.random(num_families) < rng.choice((0.6, 0.95))
    parts = np.zeros((num_families, NUM_SAMPLES), np.float32)
    for family, (song, place, gain) in enumerate(zip(chosen, places, gains, strict=True)):
        stem = songs[song][family]
        start = int(place * max(1, len(stem) - NUM_SAMPLES))
        excerpt = stem[start : start + NUM_SAMPLES]
        parts[family, : len(excerpt)] = excerpt * np.float32(gain / 32768)
    return parts


def loss_of(network: OneVsAllNetwork, stems: jax.Array) -> jax.Array:
    """Squared errors of masked magnitudes as a share of the mixture's power, compressed.

    Squares and not distances: the best guess at a sound that may be another's is then its expected
    share, not silence.
    """
    mixture = jnp.abs(one_vs_all.spectrogram(stems.sum(axis=1), network.config))
    targets = jnp.abs(one_vs_all.spectrogram(jnp.swapaxes(stems, 0, 1), network.config))

    def compressed(magnitudes):
        return jnp.sqrt(magnitudes + 1e-4)

    errors = jnp.square(compressed(network(mixture) * mixture[None]) - compressed(targets))
    return (errors.mean(axis=(0, 2, 3)) / (mixture.mean(axis=(1, 2)) + 1e-3)).mean()


@nnx.jit
def train_step(network: OneVsAllNetwork, optimizer: nnx.Optimizer, stems: jax.Array) -> jax.Array:
    value, gradients = nnx.value_and_grad(loss_of)(network, stems)
    optimizer.update(network, gradients)
    return value


validation_loss = nnx.jit(loss_of)


def epochs(config: Config, train: Stems, validation: Stems) -> Iterator[tuple[float, dict]]:
    """Validation loss and weights after every epoch."""
    network = OneVsAllNetwork(NETWORK, rngs=nnx.Rngs(config.seed))
    num_steps = config.num_epochs * config.steps_per_epoch
    schedule = optax.cosine_decay_schedule(config.learning_rate, num_steps)
    optimizer = nnx.Optimizer(network, optax.adam(schedule), wrt=nnx.Param)
    rng = np.random.default_rng((config.seed, 1))
    held_out = draw_batch(np.random.default_rng((config.seed, 2)), validation, _NUM_VALIDATION)
    start = time.perf_counter()
    for epoch in range(config.num_epochs):
        losses = [
            train_step(network, optimizer, draw_batch(rng, train, config.batch_size))
            for _ in range(config.steps_per_epoch)
        ]
        batches = np.split(held_out, 8)
        loss = float(np.mean([validation_loss(network, batch) for batch in batches]))
        minutes = (time.perf_counter() - start) / 60
        print(
            f"epoch {epoch + 1:3d}  {minutes:5.1f} min  training loss {np.mean(losses):.4f}  "
            f"validation loss {loss:.4f}",
            flush=True,
        )
        yield loss, weights.arrays_of(network)


def si_sdr(estimate: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., 2019)."""
    scale = (estimate * target).sum(-1, keepdims=True) / (target**2).sum(-1, keepdims=True)
    wanted = scale * target
    return 10 * np.log10((wanted**2).sum(-1) / ((estimate - wanted) ** 2).sum(-1))


def evaluate(config: Config, network: OneVsAllNetwork, songs: Stems) -> dict[str, float]:
    """The median improvement of every stem over the mixture, in dB, where it can be heard."""
    stems = draw_batch(np.random.default_rng((config.seed, 3)), songs, _NUM_TEST)
    mixes = stems.sum(axis=1)
    batches = np.split(mixes, 8)
    found = np.concatenate([one_vs_all.stems_of(network, jnp.asarray(b)) for b in batches])
    scores = {}
    for family, name in enumerate(NETWORK.instruments):
        target = stems[:, family]
        level = (target**2).sum(-1) / np.maximum((mixes**2).sum(-1), 1e-9)
        # A stem that is alone cannot improve on the mixture.
        is_heard = (level > 1e-2) & (((mixes - target) ** 2).sum(-1) > 1e-2 * (mixes**2).sum(-1))
        gain = si_sdr(found[is_heard, family], target[is_heard])
        gain -= si_sdr(mixes[is_heard], target[is_heard])
        scores[name] = round(float(np.median(gain)), 2)
    return scores


def run(config: Config) -> dict[str, float]:
    """Trains, tests and stores; returns the scores."""
    folder = config.output or one_vs_all.default_folder()
    if folder.exists() and not cache.is_complete(folder):
        raise ModelError(f"`{folder}` holds something else. Choose another `--output`.")
    songs = corpus.songs_of(config.songs)
    train, validation, test = (read_stems(config, songs, split) for split in corpus.SPLITS)
    arrays = early_stopping.best_of(epochs(config, train, validation), config.patience)
    network = weights.network_of(
        lambda: OneVsAllNetwork(NETWORK, rngs=nnx.Rngs(0)), arrays, source="training"
    )
    scores = evaluate(config, network, test)
    origin = {"script": "scripts/training/separator.py", "median SI-SDR improvement in dB": scores}
    # A whole folder in the cache is otherwise left alone.
    shutil.rmtree(folder, ignore_errors=True)
    cache.write(folder, {one_vs_all.NAME: arrays}, origin=json.dumps(origin))
    print(f"weights: {folder}")
    return scores


def tell(scores: dict[str, float]) -> None:
    """Prints the scores, and a caution where training was too short."""
    print("improvement of SI-SDR over the mixture, median of test excerpts, in dB:")
    print("  " + ", ".join(f"{name} {score:+.2f}" for name, score in scores.items()))
    if min(scores.values()) < 0:
        print("Some stems are worse than the mixture: train for longer.")


def quickly(songs: Path, folder: Path) -> one_vs_all.OneVsAll:
    """Returns a separator after half a minute of training, for smoke tests; made once."""
    if not cache.is_complete(folder):
        few = {"num_epochs": 2, "steps_per_epoch": 10, "max_songs": 24}
        run(Config(songs, folder, **few))
    return one_vs_all.load(folder)


if __name__ == "__main__":
    sys.exit(command_line.main(run, Config, tell))
