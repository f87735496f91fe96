"""Trains the instrument tagger that the package ships, on songs whose stems are known.

    # about 20 min on two cores
    uv run --group music python -m scripts.music.render_songs --num-songs 1600 --duration 10
    # about 32 min, machine shared
    uv run python -m scripts.training.instrument_tagger

Expected (one run) on 480 excerpts of 2.5 s from 160 unseen songs, area under the ROC curve / F1:
piano 0.905 / 0.80, guitar 0.973 / 0.92, bass 0.964 / 0.90, drums 0.988 / 0.97,
strings 0.963 / 0.89.

Songs are split into training, validation and test songs. Every training example is a fresh mix of a
random subset of stems, from one song or from several, with random gains, pitch, silenced stretches
and noise: an explanation removes stems and segments, so the network must have met such mixes. A
family is labelled present when its stem, as it went into the mix, has an RMS of at least -60 dBFS
and is at most 20 dB below the mix. The best network on the validation songs is kept (Orbax) and
exported.
"""

import dataclasses
import importlib.metadata
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
import soundfile
import tyro
from flax import nnx
from sklearn.metrics import f1_score, roc_auc_score

from lime_jax.models import instrument_tagger, weights
from lime_jax.models.instrument_tagger import InstrumentTagger

NETWORK = instrument_tagger.Config()
FAMILIES = NETWORK.output_names
SPLITS = {"training": 0.8, "validation": 0.1, "test": 0.1}
PRESENT_DBFS, PRESENT_BELOW_MIX_DB = -60.0, -20.0

Stems = np.ndarray  # int16 (num_songs, num_families, num_samples)
Examples = tuple[np.ndarray, np.ndarray]  # float32 (num, num_samples), bool (num, num_families)


@dataclasses.dataclass(frozen=True)
class Config:
    """How to train.

    Attributes:
      songs: the folder that `render_songs.py` filled.
      checkpoints: where Orbax keeps the best network; made anew.
      output: where the weights and their description go.
      seed: of the split, the initial weights and the examples.
      num_epochs: at most; the learning rate reaches zero at the end.
      steps_per_epoch: gradient steps between validations.
      batch_size: examples per step.
      learning_rate: the highest; a cosine follows a short warm-up.
      weight_decay: of AdamW.
      patience: epochs without improvement before training stops.
      num_validation: fixed random mixes of validation songs that decide which network is best.
    """

    songs: Path = Path("songs")
    checkpoints: Path = Path("checkpoints/instrument_tagger")
    output: Path = Path("lime_jax/data")
    seed: int = 0
    num_epochs: int = 24
    steps_per_epoch: int = 200
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    patience: int = 8
    num_validation: int = 1536


def read_song(folder: Path) -> np.ndarray:
    """The stems of a song, int16 `(num_families, num_samples)`; families that rest are zero."""
    paths = [folder / f"{family}.flac" for family in FAMILIES]
    stems = [soundfile.read(p, dtype="int16")[0] if p.exists() else None for p in paths]
    silence = np.zeros_like(next(stem for stem in stems if stem is not None))
    return np.stack([silence if stem is None else stem for stem in stems])


def read_splits(config: Config) -> dict[str, Stems]:
    """Returns all songs by split; a song is in one split only."""
    folders = sorted(path.parent for path in config.songs.glob("*/song.json"))
    order = np.random.default_rng(config.seed).permutation(len(folders))
    edges = np.cumsum([0, *SPLITS.values()]) * len(folders)
    bounds = zip(SPLITS, edges.round().astype(int), edges[1:].round().astype(int), strict=False)
    return {
        split: np.stack([read_song(folders[n]) for n in order[low:high]])
        for split, low, high in bounds
    }


def draw_examples(rng: np.random.Generator, stems: Stems, count: int) -> Examples:
    mixes, labels = zip(*(draw_example(rng, stems) for _ in range(count)), strict=True)
    return np.stack(mixes), np.stack(labels)


def draw_example(rng: np.random.Generator, stems: Stems) -> tuple[np.ndarray, np.ndarray]:
    """Returns a random mix of random stems, and which of them can be heard in it."""
    semitones = rng.choice((0.0, rng.uniform(-2, 2)))
    num_samples = round(NETWORK.patch_num_samples * 2 ** (semitones / 12))
    parts = draw_parts(rng, stems, num_samples)
    cut_out(rng, parts)
    mix = transpose(parts.sum(axis=0))
    if rng.random() < 0.5:
        mix += 10 ** (rng.uniform(-95, -60) / 20) * rng.standard_normal(mix.shape, np.float32)
    return mix, present(parts)


def draw_parts(rng: np.random.Generator, stems: Stems, num_samples: int) -> np.ndarray:
    """Excerpts of one song's stems, or of stems of different songs, at random levels, float32."""
    num_songs, num_families, latest = *stems.shape[:2], stems.shape[2] - num_samples
    size = num_families if rng.random() < 0.5 else 1
    songs = np.broadcast_to(rng.integers(num_songs, size=size), num_families)
    starts = np.broadcast_to(rng.integers(latest, endpoint=True, size=size), num_families)
    gains = draw_gains(rng, num_families)
    parts = np.zeros((num_families, num_samples), np.float32)
    for family in np.flatnonzero(gains):
        excerpt = stems[songs[family], family, starts[family] :][:num_samples]
        np.multiply(excerpt, gains[family] / 32768, out=parts[family])
    return parts


def transpose(waveform: np.ndarray) -> np.ndarray:
    """As many samples as a patch has: a longer excerpt is played faster and sounds higher."""
    if len(waveform) == NETWORK.patch_num_samples:
        return waveform
    places = np.linspace(0, len(waveform) - 1, NETWORK.patch_num_samples)
    return np.interp(places, np.arange(len(waveform)), waveform).astype(np.float32)


def draw_gains(rng: np.random.Generator, num_families: int) -> np.ndarray:
    """Amplitudes within 9 dB of each other's middle, zero for stems that are left out."""
    decibels = rng.uniform(-9, 9, num_families) + rng.uniform(-9, 3)
    keep = rng.random(num_families) < rng.uniform(0.2, 1.1)
    return np.where(keep, 10 ** (decibels / 20), 0).astype(np.float32)


def cut_out(rng: np.random.Generator, parts: np.ndarray) -> None:
    """Silences random stretches of all stems together, or of each on its own, or none."""
    num_families, num_samples = parts.shape
    style = rng.choice(("none", "together", "apart"), p=(0.6, 0.2, 0.2))
    if style == "none":
        return
    edges = np.linspace(0, num_samples, rng.integers(2, 10), dtype=int)[1:]
    edges = [0, *(edges - rng.integers(edges[0])), num_samples]
    silent = rng.random((num_families, len(edges) - 1)) > rng.uniform(0.2, 0.9)
    if style == "together":
        silent[:] = silent[0]
    for family, segment in np.argwhere(silent):
        parts[family, edges[segment] : edges[segment + 1]] = 0


def present(parts: np.ndarray) -> np.ndarray:
    """Returns which stems count as heard: neither too quiet nor too far below the mix."""
    levels, mix = decibels(parts), decibels(parts.sum(axis=0))
    return (levels >= PRESENT_DBFS) & (levels >= mix + PRESENT_BELOW_MIX_DB)


def decibels(waveforms: np.ndarray) -> np.ndarray:
    energy = np.einsum("...n,...n->...", waveforms, waveforms)
    return 10 * np.log10(energy / waveforms.shape[-1] + 1e-12)


def whole_mixes(stems: Stems) -> Examples:
    """Neighbouring excerpts of songs as they are, without any change."""
    size = NETWORK.patch_num_samples
    starts = range(0, stems.shape[-1] - size + 1, size)
    parts = [song[:, s : s + size].astype(np.float32) / 32768 for song in stems for s in starts]
    return np.stack([p.sum(axis=0) for p in parts]), np.stack([present(p) for p in parts])


@nnx.jit
def train_step(
    network: InstrumentTagger, optimizer: nnx.Optimizer, waveforms: jax.Array, labels: jax.Array
) -> jax.Array:
    def loss(network):
        logits = network(network.front_end(waveforms)[:, 0])
        return optax.sigmoid_binary_cross_entropy(logits, labels.astype(logits.dtype)).mean()

    value, gradients = nnx.value_and_grad(loss)(network)
    optimizer.update(network, gradients)
    return value


@nnx.jit
def judge(network: InstrumentTagger, waveforms: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(network(network.front_end(waveforms)[:, 0]))


def predict(network: InstrumentTagger, waveforms: np.ndarray) -> np.ndarray:
    """Returns probabilities `(num, num_families)` of excerpts, in batches of one size."""
    network.eval()
    padded = np.pad(waveforms, [(0, -len(waveforms) % 64), (0, 0)])
    batches = padded.reshape(-1, 64, padded.shape[1])
    outputs = np.concatenate([np.asarray(judge(network, batch)) for batch in batches])
    network.train()
    return outputs[: len(waveforms)]


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    chosen = np.where(labels, probabilities, 1 - probabilities)
    return float(-np.log(np.maximum(chosen, 1e-7)).mean())


def score(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, dict[str, float]]:
    """Area under the ROC curve and F1 at probability 0.5, per family."""
    columns = zip(FAMILIES, labels.T, probabilities.T, strict=True)
    return {
        family: {
            "auc": round(float(roc_auc_score(truth, guess)), 4),
            "f1": round(float(f1_score(truth, guess > 0.5)), 4),
        }
        for family, truth, guess in columns
    }


def make_optimizer(config: Config, network: InstrumentTagger) -> nnx.Optimizer:
    num_steps = config.num_epochs * config.steps_per_epoch
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, max(1, num_steps // 40), num_steps
    )
    transform = optax.adamw(schedule, weight_decay=config.weight_decay)
    return nnx.Optimizer(network, transform, wrt=nnx.Param)


def train(config: Config, splits: dict[str, Stems]) -> Iterator[tuple[float, dict]]:
    """Validation loss and weights after every epoch; one line each."""
    network = InstrumentTagger(NETWORK, rngs=nnx.Rngs(config.seed))
    optimizer = make_optimizer(config, network)
    rng = np.random.default_rng((config.seed, 1))
    mixes, labels = draw_examples(
        np.random.default_rng((config.seed, 2)), splits["validation"], config.num_validation
    )
    start = time.perf_counter()
    for epoch in range(config.num_epochs):
        losses = []
        for _ in range(config.steps_per_epoch):
            batch = draw_examples(rng, splits["training"], config.batch_size)
            losses.append(train_step(network, optimizer, *batch))
        guesses = predict(network, mixes)
        loss = cross_entropy(guesses, labels)
        auc = np.mean([family["auc"] for family in score(guesses, labels).values()])
        minutes = (time.perf_counter() - start) / 60
        print(
            f"epoch {epoch + 1:3d}  {minutes:5.1f} min  training loss {np.mean(losses):.4f}  "
            f"validation loss {loss:.4f}  mean AUC {auc:.4f}",
            flush=True,
        )
        yield loss, weights.arrays_of(network)


def keep_best(config: Config, epochs: Iterator[tuple[float, dict]]) -> dict[str, np.ndarray]:
    """The weights with the lowest validation loss; stops when they stay the lowest for long."""
    options = ocp.CheckpointManagerOptions(
        max_to_keep=1, best_fn=lambda metrics: metrics["loss"], best_mode="min"
    )
    shutil.rmtree(config.checkpoints, ignore_errors=True)
    best = (0, float("inf"))
    with ocp.CheckpointManager(config.checkpoints.absolute(), options=options) as manager:
        for epoch, (loss, arrays) in enumerate(epochs):
            manager.save(epoch, args=ocp.args.StandardSave(arrays), metrics={"loss": loss})
            best = min(best, (epoch, loss), key=lambda pair: pair[1])
            if epoch - best[0] >= config.patience:
                break
        manager.wait_until_finished()
        return manager.restore(best[0], args=ocp.args.StandardRestore(arrays))


def evaluate(config: Config, network: InstrumentTagger, stems: Stems) -> dict[str, dict]:
    """Scores on songs never seen: as they are, and remixed as in training."""
    rng = np.random.default_rng((config.seed, 3))
    sets = {"songs": whole_mixes(stems), "remixes": draw_examples(rng, stems, 2048)}
    return {
        name: {"num_excerpts": len(mixes), **score(predict(network, mixes), labels)}
        for name, (mixes, labels) in sets.items()
    }


def describe(config: Config, splits: dict[str, Stems], scores: dict[str, dict]) -> dict:
    """Returns what the JSON file beside the weights says."""
    packages = ("lime-jax", "jax", "flax", "optax", "orbax-checkpoint", "numpy")
    settings = dataclasses.asdict(config)
    places = ("songs", "checkpoints", "output")
    return {
        "licence": "CC0-1.0",
        "made_by": "scripts/training/instrument_tagger.py",
        "data": "songs of scripts/music/render_songs.py with the MIT-licensed FluidR3 soundfont",
        "num_songs": {split: len(stems) for split, stems in splits.items()},
        "test": scores,
        "network": dataclasses.asdict(NETWORK),
        "training": {k: v for k, v in settings.items() if k not in places},
        "versions": {package: importlib.metadata.version(package) for package in packages},
    }


def export(config: Config, arrays: dict[str, np.ndarray], description: dict) -> None:
    config.output.mkdir(parents=True, exist_ok=True)
    path = config.output / instrument_tagger.WEIGHTS
    np.savez(path, **arrays)
    text = json.dumps(description, indent=1)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def run(config: Config) -> dict:
    """Trains, tests and exports; returns the description of the result."""
    splits = read_splits(config)
    arrays = keep_best(config, train(config, splits))
    network = instrument_tagger.from_arrays(NETWORK, arrays, source=str(config.checkpoints))
    description = describe(config, splits, evaluate(config, network, splits["test"]))
    export(config, arrays, description)
    return description


if __name__ == "__main__":
    print(json.dumps(run(tyro.cli(Config))["test"], indent=1))
