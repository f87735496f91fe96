"""Weights of Spleeter by the rule that the reference data were made with, and their input."""

import zlib

import numpy as np
from flax import nnx

from lime_jax.models import weights
from lime_jax.separation import spleeter_weights
from lime_jax.separation.unet import CONFIGS, SpleeterNetwork

RATE = 44_100
NORM = {"scale": "gamma", "bias": "beta", "mean": "moving_mean", "var": "moving_variance"}


def variable(name, shape):
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    kind = name.rpartition("/")[2]
    if kind == "moving_variance":
        values = rng.uniform(0.5, 2, shape)
    elif kind == "gamma":
        values = rng.uniform(0.7, 1.3, shape)
    elif kind == "kernel":
        values = rng.standard_normal(shape) * np.sqrt(1 / np.prod(shape[:3]))
    else:
        values = 0.1 * rng.standard_normal(shape)
    return values.astype(np.float32)


def network(size):
    config = CONFIGS[size]

    def make():
        return SpleeterNetwork(config, rngs=nnx.Rngs(0))

    scopes = spleeter_weights.layers(len(config.instruments))
    arrays = {}
    for name, shape in weights.shapes_of(make).items():
        layer, _, leaf = name.rpartition(".")
        kind = NORM[leaf] if "norm" in layer else leaf
        arrays[name] = variable(f"{scopes[layer]}/{kind}", shape)
    return weights.network_of(make, arrays, source="the rule")


def waveform():
    time = np.arange(3 * RATE) / RATE
    rng = np.random.Generator(np.random.PCG64(0))
    left = 0.3 * np.sin(2 * np.pi * 220 * time) + 0.05 * rng.standard_normal(time.size)
    right = 0.2 * np.sin(2 * np.pi * 554 * time) + 0.05 * rng.standard_normal(time.size)
    return np.stack([left, right]).astype(np.float32)
