"""The classifier of the audioLIME paper, guitar against piano, and how it is trained.

References:
  Haunschmid, Manilow, Widmer, Towards Musically Meaningful Explanations Using Source Separation,
    2020, section 4.1.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from lime_jax.audio import features
from lime_jax.core.execution.precision import products
from lime_jax.core.pytree import pytree
from lime_jax.errors import LimeJaxError
from lime_jax.models import weights
from scripts.experiments.common import early_stopping
from scripts.experiments.confounder.vgg16 import Vgg16, Vgg16Config

SAMPLE_RATE = 16_000
NUM_SAMPLES = 2 * SAMPLE_RATE
OUTPUT_NAMES = ("guitar", "piano")

_NUM_VALIDATION = 4  # snippets of every validation clip, the same after every epoch


@dataclasses.dataclass(frozen=True)
class Training:
    """How the classifier is trained.

    Attributes:
      width: of the network; the published one has 64.
      num_units: of its hidden layers; the published one has 4096.
      num_epochs: at most.
      num_snippets: of every clip in an epoch, from random places; the published training has one.
      patience: epochs without a lower validation loss before training stops.
      batch_size: snippets per step.
      learning_rate: of plain stochastic gradient descent.
    """

    width: int = 64
    num_units: int = 4096
    num_epochs: int = 200
    num_snippets: int = 1
    patience: int = 20
    batch_size: int = 16
    learning_rate: float = 0.01

    @property
    def network(self) -> Vgg16Config:
        """The shape of the network: one logit, which is high for piano."""
        return Vgg16Config(1, self.width, self.num_units)


@dataclasses.dataclass(frozen=True, eq=False)
class Clips:
    """Mixtures to cut snippets from.

    Attributes:
      mixes: int16 waveforms at `SAMPLE_RATE`, each of `NUM_SAMPLES` at least.
      is_piano: what each is; False for guitar.
    """

    mixes: Sequence[Int[np.ndarray, " _num_samples"]]
    is_piano: Bool[np.ndarray, " num_clips"]


@pytree
class GuitarOrPiano:
    """The classifier: waveforms of two seconds in, the probabilities of guitar and piano out."""

    network: Any

    def __call__(
        self, waveforms: Float[Array, "batch num_samples"]
    ) -> Float[Array, "batch num_outputs"]:
        """Probabilities `(batch, 2)`, which sum to one."""
        with products():
            logits = self.network(front_end(waveforms))
        return jax.nn.sigmoid(jnp.concatenate([-logits, logits], axis=1))


def front_end(
    waveforms: Float[Array, "batch num_samples"],
) -> Float[Array, "batch 128 num_frames"]:
    """Logarithms of 128 mel bands of magnitudes, 63 frames in two seconds."""
    return features.log_mel(
        waveforms,
        sample_rate=SAMPLE_RATE,
        n_fft=1024,
        hop_length=512,
        num_mels=128,
        power=1.0,
        floor=1e-5,
    )


def from_arrays(config: Vgg16Config, arrays: weights.Arrays, *, source: str) -> GuitarOrPiano:
    """Returns the classifier with these weights.

    Args:
      config: the shape of its network.
      arrays: of `train`.
      source: where they come from, for the message.

    Raises:
      ModelError: if they do not fit.
    """
    network = weights.network_of(lambda: Vgg16(config, rngs=nnx.Rngs(0)), arrays, source=source)
    return _in_use(network)


def untrained(config: Vgg16Config, seed: int) -> GuitarOrPiano:
    """Returns the classifier with random weights."""
    return _in_use(Vgg16(config, rngs=nnx.Rngs(seed)))


def train(config: Training, train: Clips, validation: Clips, *, seed: int) -> dict[str, np.ndarray]:
    """Returns weights of a trained network, those with the lowest validation loss.

    Args:
      config: how to train.
      train: what to learn from.
      validation: what decides when to stop.
      seed: of the initial weights, the snippets and the dropout.

    Raises:
      LimeJaxError: if there are too few clips for a step.
    """
    if len(train.mixes) * config.num_snippets < config.batch_size or not validation.mixes:
        raise LimeJaxError(
            f"{len(train.mixes)} clips to train with and {len(validation.mixes)} to validate with "
            f"are too few for a batch of {config.batch_size}. Render more songs."
        )
    return early_stopping.best_of(_epochs(config, train, validation, seed), config.patience)


def snippet(mix: np.ndarray, place: float) -> Float[np.ndarray, " num_samples"]:
    """Returns two seconds of a mixture; `place` from 0 to 1 says where."""
    start = int(place * (len(mix) - NUM_SAMPLES))
    return mix[start : start + NUM_SAMPLES].astype(np.float32) / 32768


def _epochs(
    config: Training, train: Clips, validation: Clips, seed: int
) -> Iterator[tuple[float, dict[str, np.ndarray]]]:
    network = Vgg16(config.network, rngs=nnx.Rngs(seed))
    optimizer = nnx.Optimizer(network, _descent(config.learning_rate), wrt=nnx.Param)
    rng, key_dropout = np.random.default_rng((seed, 1)), jax.random.key(seed)
    held_out = list(_validation_batches(validation, seed))
    for epoch in range(config.num_epochs):
        network.train()
        order = rng.permutation(np.arange(len(train.mixes)).repeat(config.num_snippets))
        keys = jax.random.split(jax.random.fold_in(key_dropout, epoch), len(order))
        # A last batch of another size would be compiled for itself.
        for number in range(len(order) // config.batch_size):
            chosen = order[number * config.batch_size :][: config.batch_size]
            waveforms = [snippet(train.mixes[n], rng.random()) for n in chosen]
            batch = np.stack(waveforms), train.is_piano[chosen]
            _step(network, optimizer, keys[number], *batch)
        network.eval()
        loss = np.mean([float(_loss(network, *batch)) for batch in held_out])
        yield float(loss), weights.arrays_of(network)


def _validation_batches(clips: Clips, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng((seed, 2))
    for _ in range(_NUM_VALIDATION):
        yield np.stack([snippet(mix, rng.random()) for mix in clips.mixes]), clips.is_piano


def _descent(learning_rate: float) -> Any:
    import optax

    return optax.sgd(learning_rate)


@nnx.jit
def _step(network: Vgg16, optimizer: Any, key: Any, waveforms: Any, is_piano: Any) -> None:
    gradients = nnx.grad(_cross_entropy)(network, waveforms, is_piano, key)
    optimizer.update(network, gradients)


@nnx.jit
def _loss(network: Vgg16, waveforms: Any, is_piano: Any) -> Float[Array, ""]:
    return _cross_entropy(network, waveforms, is_piano)


def _cross_entropy(
    network: Vgg16, waveforms: Any, is_piano: Any, key: Any = None
) -> Float[Array, ""]:
    logits = network(front_end(waveforms), key=key)[:, 0]
    return jnp.mean(jax.nn.softplus(jnp.where(is_piano, -logits, logits)))


def _in_use(network: Vgg16) -> GuitarOrPiano:
    network.eval()
    return GuitarOrPiano(network)
