"""Which TensorFlow variable becomes which weight of our networks."""

from collections.abc import Callable, Mapping

import numpy as np
from flax import nnx

from lime_jax.models.weights import Arrays, check_shapes, shapes_of

# Layer of ours -> scope of the variables, which TensorFlow numbered in the order of their creation.
MUSICNN_LAYERS = {
    "input_norm": "batch_normalization",
    "timbral.0.conv": "conv2d",
    "timbral.0.norm": "batch_normalization_1",
    "timbral.1.conv": "conv2d_1",
    "timbral.1.norm": "batch_normalization_2",
    "temporal.0.conv": "conv2d_2",
    "temporal.0.norm": "batch_normalization_3",
    "temporal.1.conv": "conv2d_3",
    "temporal.1.norm": "batch_normalization_4",
    "temporal.2.conv": "conv2d_4",
    "temporal.2.norm": "batch_normalization_5",
    "middle.0.conv": "conv2d_5",
    "middle.0.norm": "batch_normalization_6",
    "middle.1.conv": "conv2d_6",
    "middle.1.norm": "batch_normalization_7",
    "middle.2.conv": "conv2d_7",
    "middle.2.norm": "batch_normalization_8",
    "pooled_norm": "batch_normalization_9",
    "hidden": "dense",
    "hidden_norm": "batch_normalization_10",
    "output": "dense_1",
}

VGG_LAYERS = {
    "input_norm": "batch_normalization",
    "blocks.0.conv": "1CNN",
    "blocks.0.norm": "batch_normalization_1",
    "blocks.1.conv": "2CNN",
    "blocks.1.norm": "batch_normalization_2",
    "blocks.2.conv": "3CNN",
    "blocks.2.norm": "batch_normalization_3",
    "blocks.3.conv": "4CNN",
    "blocks.3.norm": "batch_normalization_4",
    "blocks.4.conv": "5CNN",
    "blocks.4.norm": "batch_normalization_5",
    "output": "dense",
}

_NORM_VARIABLES = {
    "scale": "gamma",
    "bias": "beta",
    "mean": "moving_mean",
    "var": "moving_variance",
}
_TRAINING_STATE = (
    "/Adam",
    "/Adam_1",
    "/Momentum",
    "beta1_power",
    "beta2_power",
    "global_step",
)


def from_tensorflow(
    tensors: Arrays,
    layers: Mapping[str, str],
    make: Callable[[], nnx.Module],
    *,
    source: str,
) -> dict[str, np.ndarray]:
    """Maps the tensors of a TensorFlow checkpoint to weights for `weights.network_of`.

    A 1-D convolution takes the kernel of a 2-D one that is as tall as its input: axes of size one
    may differ. State of the optimiser is left out.

    Args:
      tensors: by variable name, as from `lime_jax.models.tf_checkpoint.read`.
      layers: see `MUSICNN_LAYERS`.
      make: builds the network.
      source: where the tensors come from, for the message.

    Raises:
      ModelError: if names or shapes differ; it lists them, twenty at most.
    """
    shapes = shapes_of(make)
    variables = {name: _variable(name, layers) for name in shapes}
    used = {k: v for k, v in tensors.items() if not k.endswith(_TRAINING_STATE)}
    expected = {variables[name]: shape for name, shape in shapes.items()}
    fitted = {variable: _fit(array, expected.get(variable)) for variable, array in used.items()}
    check_shapes(expected, {name: array.shape for name, array in fitted.items()}, source=source)
    return {name: fitted[variable] for name, variable in variables.items()}


def _variable(name: str, layers: Mapping[str, str]) -> str:
    layer, _, leaf = name.rpartition(".")
    is_norm = any(part.endswith("norm") for part in layer.split("."))
    return f"{layers[layer]}/{_NORM_VARIABLES[leaf] if is_norm else leaf}"


def _fit(array: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray:
    """`array` in `shape` if they differ in axes of size one at most, unchanged otherwise."""
    if shape is None or [n for n in array.shape if n != 1] != [n for n in shape if n != 1]:
        return array
    return array.reshape(shape)
