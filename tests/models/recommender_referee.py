"""LEMONS' recommender in float64 NumPy, in the published order of its layers."""

import numpy as np
from flax import nnx
from numpy.lib.stride_tricks import sliding_window_view

from lime_jax.models import recommender
from lime_jax.models.recommender import Recommender
from lime_jax.models.recommender_network import Network
from tests.networks import initialise

CHANNELS = (1, 64, 128, 128, 128, 64)


def noise(num_samples, seed=0, level=0.1):
    return (level * np.random.default_rng(seed).normal(size=num_samples)).astype(np.float32)


def bank():
    """HTK's triangles of peak one over the bins of 512 samples at 16 kHz."""
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 258)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = np.linspace(0, 8000, 257)
    bank = np.zeros((256, 257))
    for band, (left, peak, right) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        bank[band] = np.interp(bins, [left, peak, right], [0, 1, 0])
    return bank


def frames_of_loops(waveform):
    padded = np.pad(waveform.astype(np.float64), 256, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    starts = range(0, len(padded) - 511, 256)
    power = [np.abs(np.fft.rfft(padded[s : s + 512] * window)) ** 2 for s in starts]
    return 10 * np.log10(np.maximum(np.array(power) @ bank().T, 1e-10))


def normalised(x, arrays, name):
    weights = {
        key: arrays[f"{name}.{key}"].astype(np.float64) for key in "scale bias mean var".split()
    }
    deviation = np.sqrt(weights["var"] + 1e-5)
    return (x - weights["mean"]) / deviation * weights["scale"] + weights["bias"]


def stage_of_loops(x, arrays, index):
    """Published order: convolution and bias, normalisation, rectifier, maximum."""
    name = f"stages.{index}"
    kernel = arrays[f"{name}.conv.kernel"].astype(np.float64)
    padded = np.pad(x, [(1, 1), (1, 1), (0, 0)])
    windows = sliding_window_view(padded, (3, 3), axis=(0, 1))
    x = np.einsum("tfcij,ijco->tfo", windows, kernel, optimize=True)
    x = np.maximum(normalised(x + arrays[f"{name}.conv.bias"], arrays, f"{name}.norm"), 0)
    time, bands = (size // 2 for size in x.shape[:2])
    return x[: 2 * time, : 2 * bands].reshape(time, 2, bands, 2, -1).max(axis=(1, 3))


def logit_of_loops(frames, arrays):
    x = normalised(frames[..., None], arrays, "norm")
    for index in range(5):
        x = stage_of_loops(x, arrays, index)
    pooled = np.concatenate([x.mean(axis=(0, 1)), x.max(axis=(0, 1))])
    return pooled @ arrays["output.kernel"].astype(np.float64) + arrays["output.bias"]


def model_of_random_weights():
    """With weights, gains and statistics that all matter; some gains are negative."""
    rng = np.random.default_rng(1)
    arrays = recommender.to_arrays(Recommender(initialise(lambda: Network(rngs=nnx.Rngs(0)))))
    for name, array in arrays.items():
        if name.endswith("bias"):
            arrays[name] = rng.normal(0, 0.1, array.shape)
        elif name.endswith(("mean", "scale")):
            arrays[name] = rng.normal(0.2, 0.7, array.shape)
        elif name.endswith("var"):
            arrays[name] = rng.uniform(0.5, 2, array.shape)
    arrays |= {"norm.mean": np.array([-40.0]), "norm.var": np.array([400.0])}
    arrays["norm.scale"] = np.array([1.1])
    return recommender.from_arrays(arrays, source="a test")
