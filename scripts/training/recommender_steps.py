"""Steps of training a recommender, and how it is judged meanwhile."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from lime_jax.core.execution.precision import products
from lime_jax.models import recommender
from lime_jax.models.recommender import SAMPLE_RATE, Recommender
from lime_jax.models.recommender_network import Network
from scripts.experiments.lemons import play_counts
from scripts.experiments.lemons.play_counts import Example
from scripts.training.recommender_data import (
    FULL_SCALE,
    TRACKS_AT_ONCE,
    Config,
    Tracks,
    crops,
    purpose_key,
)

State = tuple[Any, Any, Any]
"""Weights, statistics of the normalisations, and what the optimiser remembers."""


@dataclasses.dataclass
class Run:
    """The training of a user, as far as it is."""

    user: str
    examples: dict[str, list[Example]]
    state: State
    curve: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    best: dict[str, Any] | None = None


@functools.cache
def graph_of() -> Any:
    """Returns the structure of the network, without weights."""
    network = nnx.eval_shape(lambda: Network(rngs=nnx.Rngs(0)))
    return nnx.split(network, nnx.Param, nnx.BatchStat)[0]


def optimiser_of(config: Config) -> optax.GradientTransformation:
    """Adam whose decay of weights is part of the gradient, as in PyTorch's."""
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay), optax.adam(config.learning_rate)
    )


def begin(config: Config, number: int) -> State:
    """Of the user of this number, before the first step."""
    network = Network(rngs=nnx.Rngs(params=jax.random.fold_in(purpose_key(config, 0), number)))
    _, params, statistics = nnx.split(network, nnx.Param, nnx.BatchStat)
    return params, statistics, optimiser_of(config).init(params)


def loss_of(
    params: Any,
    statistics: Any,
    waveforms: Float[Array, "batch samples"],
    labels: Float[Array, " batch"],
    key: Key[Array, ""],
) -> tuple[Float[Array, ""], Any]:
    """Mean cross-entropy, and the statistics after this batch."""
    network = nnx.merge(graph_of(), params, statistics, copy=True)
    frames = recommender.log_mel(waveforms)
    logits = network.logits(frames, key=key)[:, 0]
    loss = optax.sigmoid_binary_cross_entropy(logits, labels).mean()
    return loss, nnx.state(network, nnx.BatchStat)


@functools.partial(jax.jit, static_argnames="config", donate_argnames="state")
def train_step(
    state: State,
    samples: Int[Array, "tracks samples"],
    lengths: Int[Array, " tracks"],
    rows: Int[Array, " batch"],
    labels: Float[Array, " batch"],
    key: Key[Array, ""],
    index: Int[np.ndarray, ""],
    *,
    config: Config,
) -> tuple[State, Float[Array, ""]]:
    """Returns one step on a second of each of these tracks; returns the loss as well.

    Steps are programs of their own: on CPUs convolutions inside loops are a hundred times slower.
    """
    params, statistics, remembered = state
    key_crops, key_dropout = jax.random.split(jax.random.fold_in(key, index))
    waveforms = crops(samples, lengths, rows, key_crops)
    gradient = jax.value_and_grad(loss_of, has_aux=True)
    with products(config.precision):
        (loss, statistics), slope = gradient(params, statistics, waveforms, labels, key_dropout)
    updates, remembered = optimiser_of(config).update(slope, remembered, params)
    return (optax.apply_updates(params, updates), statistics, remembered), loss


@functools.partial(jax.jit, static_argnames=("num_samples", "precision"))
def logits_of(
    params: Any,
    statistics: Any,
    samples: Int[Array, "tracks samples"],
    rows: Int[Array, " batch"],
    *,
    num_samples: int,
    precision: str,
) -> Float[Array, " batch"]:
    """Of the first so many samples of tracks."""
    network = nnx.merge(graph_of(), params, statistics)
    waveforms = samples[rows, :num_samples].astype(jnp.float32) / FULL_SCALE
    with products(precision):
        return network.logits(recommender.log_mel(waveforms))[:, 0]


def judge(
    state: State, tracks: Tracks, examples: Sequence[Example], precision: str
) -> Float[np.ndarray, " examples"]:
    """Returns logits of tracks up to their last whole second, so that tracks share programs."""
    params, statistics, _ = state
    rows = np.array([tracks.rows[example.track] for example in examples])
    seconds = tracks.lengths[rows] // SAMPLE_RATE
    found = np.zeros(len(rows))
    told = []
    for length in np.unique(seconds):
        places = np.flatnonzero(seconds == length)
        for first in range(0, len(places), TRACKS_AT_ONCE):
            some = places[first : first + TRACKS_AT_ONCE]
            padded = np.resize(some, TRACKS_AT_ONCE)
            size = {"num_samples": int(length) * SAMPLE_RATE, "precision": precision}
            told.append((some, logits_of(params, statistics, tracks.samples, rows[padded], **size)))
    for some, logits in told:
        found[some] = np.asarray(logits)[: len(some)]
    return found


def scores_of(examples: Sequence[Example], logits: Float[np.ndarray, " examples"]) -> dict:
    """Loss, AUC and average precision."""
    labels = np.array([example.is_relevant for example in examples])
    return {
        "loss": float((np.logaddexp(0, logits) - labels * logits).mean()),
        "auc": play_counts.roc_auc(labels, logits),
        "map": play_counts.average_precision(labels, logits),
    }


def is_better(config: Config, found: Mapping[str, Any], best: Mapping[str, Any] | None) -> bool:
    if not np.isfinite(found["loss"]):
        return False
    if config.best == "loss":
        return best is None or found["loss"] < best["loss"]
    return best is None or found["auc"] + found["map"] > best["auc"] + best["map"]


def recommender_of(state: State) -> Recommender:
    return Recommender(nnx.merge(graph_of(), *state[:2]))
