"""The models that are explained: untrained networks cost what trained ones do."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from lime_jax.models.musicnn import Musicnn, MusicnnConfig
from lime_jax.models.singing_voice_network import SvdNet
from scripts.experiments.confounder.vgg16 import Vgg16, Vgg16Config


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and an input for it.

    Attributes:
      name: of the network and its number of outputs.
      predict: `(batch, *input)` to `(batch, num_outputs)`.
      signal: one input.
      cpu_batch_size, accelerator_batch_size: the chunk that is measured.
      num_batches: how many chunks make one measurement.
    """

    name: str
    predict: Any
    signal: jax.Array
    cpu_batch_size: int
    accelerator_batch_size: int
    num_batches: int

    @property
    def batch_size(self) -> int:
        on_cpu = jax.devices()[0].platform == "cpu"
        return self.cpu_batch_size if on_cpu else self.accelerator_batch_size


def singing_voice() -> Case:
    """SVDNet on 115 frames × 80 mel bands, one output; its receptive field is not declared here."""
    network = SvdNet(rngs=nnx.Rngs(0))
    predict = jax.tree_util.Partial(lambda network, x: network(x), network)
    return Case("SVDNet, 1 output", predict, noise(115, 80), 64, 2048, 8)


def musicnn(num_outputs: int = 50) -> Case:
    """Musicnn on 3 s of log-mel frames."""
    network = Musicnn(MusicnnConfig(num_outputs=num_outputs), rngs=nnx.Rngs(0))
    return Case(f"musicnn, {num_outputs} outputs", network, noise(187, 96), 16, 512, 8)


def vgg16(num_outputs: int = 1) -> Case:
    """VGG16 on 128 mel bands × 63 frames, the input of the audioLIME experiments."""
    network = Vgg16(Vgg16Config(num_outputs=num_outputs), rngs=nnx.Rngs(0))
    network.eval()
    return Case(f"VGG16, {num_outputs} outputs", network, noise(128, 63), 16, 512, 4)


def cheap(num_outputs: int = 10) -> Case:
    """Returns one matrix product and a sigmoid on 400 numbers: all time is the explainer's own."""
    weights = jax.random.normal(jax.random.key(1), (400, num_outputs)) / 20
    predict = jax.tree_util.Partial(lambda w, x: jax.nn.sigmoid(x @ w), weights)
    return Case(f"cheap model, {num_outputs} outputs", predict, noise(400), 2048, 16_384, 32)


def noise(*shape: int) -> jax.Array:
    """Returns a signal whose components all differ."""
    return jax.random.normal(jax.random.key(0), shape, jnp.float32)
