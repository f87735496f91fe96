"""States of PyTorch against a forward pass in PyTorch's layout, in float64."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from lime_jax.errors import ModelError
from lime_jax.models import recommender

SIZES = (1, 64, 128, 128, 128, 64)


def norm_of(rng, size):
    return {
        "weight": rng.normal(1, 0.3, size),
        "bias": rng.normal(0, 0.2, size),
        "running_mean": rng.normal(0, 0.2, size),
        "running_var": rng.uniform(0.5, 2, size),
        "num_batches_tracked": np.int64(7),
    }


def layers_of(seed=0):
    """Layers with all their arrays; what belongs to time and to frequency differs."""
    rng = np.random.default_rng(seed)
    layers = {"norm": {**norm_of(rng, 1), "running_mean": [-40.0], "running_var": [400.0]}}
    for index, (num_in, num_out) in enumerate(itertools.pairwise(SIZES)):
        kernel = rng.normal(0, np.sqrt(2 / (9 * num_in)), (num_out, num_in, 3, 3))
        layers[f"conv{index}"] = {"weight": kernel, "bias": rng.normal(0, 0.1, num_out)}
        layers[f"bn{index}"] = norm_of(rng, num_out)
    layers["dense"] = {"weight": rng.normal(0, 0.1, (1, 128)), "bias": rng.normal(0, 0.1, 1)}
    return layers


def normalised(x, layer):
    """Of channels, which come first."""
    weight, bias, mean, var = (
        np.asarray(layer[name], float)[:, None, None]
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(var + 1e-5) * weight + bias


def logit_of_torch(spectrum, layers):
    """Of one track, `(mel, time)`, in the layout `(channel, mel, time)`."""
    x = normalised(np.asarray(spectrum, float)[None], layers["norm"])
    for index in range(5):
        kernel, bias = layers[f"conv{index}"].values()
        windows = sliding_window_view(np.pad(x, [(0, 0), (1, 1), (1, 1)]), (3, 3), axis=(1, 2))
        x = np.einsum("imtfs,oifs->omt", windows, kernel, optimize=True) + bias[:, None, None]
        x = np.maximum(normalised(x, layers[f"bn{index}"]), 0)
        mels, times = x.shape[1] // 2, x.shape[2] // 2
        x = x[:, : 2 * mels, : 2 * times].reshape(len(x), mels, 2, times, 2).max(axis=(2, 4))
    pooled = np.concatenate([x.mean(axis=(1, 2)), x.max(axis=(1, 2))])
    return layers["dense"]["weight"] @ pooled + layers["dense"]["bias"]


def state_of(layers, order=None, name="{layer}.{leaf}"):
    """What `state_dict` holds of layers that were made in this order."""
    layers = {layer: layers[layer] for layer in order or layers}
    entries = [(layer, leaf, a) for layer, leaves in layers.items() for leaf, a in leaves.items()]
    return {
        name.format(layer=layer, leaf=leaf, n=n): np.asarray(array)
        for n, (layer, leaf, array) in enumerate(entries)
    }


FRONT_END = {"spec.window": np.ones(512), "mel.fb": np.ones((257, 256))}
STATES = {
    "as layers follow": lambda layers: state_of(layers),
    "convolutions first": lambda layers: state_of(
        layers, sorted(layers, key=lambda name: not name.startswith("conv"))
    ),
    "of a module in another": lambda layers: state_of(layers, name="module.net.{layer}.{leaf}"),
    "by number": lambda layers: state_of(layers, name="arr_{n}"),
    "with a front end": lambda layers: FRONT_END | state_of(layers),
    "with a front end behind": lambda layers: state_of(layers) | FRONT_END,
    "without counters": lambda layers: {
        name: array for name, array in state_of(layers).items() if np.ndim(array)
    },
}


@pytest.mark.parametrize("make", STATES.values(), ids=STATES)
def test_states_are_read_whatever_layers_are_called(make):
    state = make(layers_of())
    arrays = recommender.to_arrays(recommender.from_torch_arrays(state, source="a test"))
    layers = layers_of()
    for index in range(5):
        kernel = arrays[f"stages.{index}.conv.kernel"]
        expected = layers[f"conv{index}"]["weight"].astype(np.float32)
        for time, mel in ((0, 0), (0, 2), (2, 1)):
            np.testing.assert_array_equal(kernel[time, mel], expected[:, :, mel, time].T)
        for ours, theirs in {"mean": "running_mean", "scale": "weight"}.items():
            expected = layers[f"bn{index}"][theirs].astype(np.float32)
            np.testing.assert_array_equal(arrays[f"stages.{index}.norm.{ours}"], expected)


@pytest.mark.slow
@pytest.mark.parametrize("num_frames", [32, 41])
def test_logits_are_those_of_the_original_layout(num_frames):
    layers = layers_of()
    spectra = -40 + 20 * np.random.default_rng(1).normal(size=(2, 256, num_frames))
    expected = [logit_of_torch(spectrum, layers) for spectrum in spectra]
    assert abs(expected[0] - expected[1]) > 0.001
    judge = recommender.from_torch_arrays(state_of(layers), source="a test")
    frames = jnp.asarray(np.swapaxes(spectra, 1, 2), jnp.float32)
    np.testing.assert_allclose(judge.network.logits(frames), expected, rtol=1e-4, atol=1e-4)


def without(*names):
    return lambda state: {name: a for name, a in state.items() if not name.startswith(names)}


def with_shape(name, shape):
    return lambda state: {**state, name: np.ones(shape)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("conv4", "bn4"), "4 convolutions, 5 normalisations and 1 dense"),
        (without("dense"), "5 convolutions, 6 normalisations and 0 dense"),
        (without("dense.bias"), r"shape \(1, 128\) followed by \[\]"),
        (without("conv1.bias", "bn1.running_var"), r"\(128,\) followed by \[\(128,\), \(128, 128"),
        (with_shape("lstm", (3, 4, 5)), r"an array of shape \(3, 4, 5\)"),
        (with_shape("conv1.bias", 64), r"\(128, 64, 3, 3\) followed by \[\(64,\)\]"),
        (with_shape("conv0.weight", (64, 1, 5, 5)), r"stages\.0\.conv\.kernel` has shape \(5, 5"),
        (with_shape("dense.weight", (1, 64)), r"`output\.kernel` has shape \(64, 1\)"),
        (lambda _: {}, "0 convolutions"),
    ],
)
def test_others_are_refused(change, message):
    with pytest.raises(ModelError, match=rf"(?s)weights in `a test`.*{message}"):
        recommender.from_torch_arrays(change(state_of(layers_of())), source="a test")
