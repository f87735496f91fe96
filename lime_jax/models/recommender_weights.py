"""The original weights of LEMONS' recommender: from PyTorch's order into that of our network.

What the original's layers are called was not published with its weights, but PyTorch stores each
layer as a whole: kernel and bias of a convolution, gain, bias, mean and variance of a
normalisation. So shapes tell what an array is, and the order tells of which layer.
"""

from collections.abc import Iterator

import numpy as np

from lime_jax.errors import ModelError
from lime_jax.models.weights import Arrays

_NORM = ("scale", "bias", "mean", "var")
_COUNTER = "num_batches_tracked"
# The spectrogram's window, and its bank of 257 bins by 256 bands, either way round.
_OF_FRONT_END = ((512,), (257, 256), (256, 257))
_KINDS = {"conv": 5, "norm": 6, "output": 1}


def from_torch(arrays: Arrays, *, source: str) -> dict[str, np.ndarray]:
    """Sorts the arrays of a PyTorch state into weights for `lime_jax.models.weights.network_of`.

    Args:
      arrays: by any name, in the order of `state_dict()`. Counters of batches and what belongs to
        the spectrogram are left out.
      source: where they come from, for the message.

    Raises:
      ModelError: unless there are five convolutions with bias, six normalisations and a dense
        layer. Their shapes are not checked.
    """
    layers: dict[str, list[dict[str, np.ndarray]]] = {kind: [] for kind in _KINDS}
    rest = _weights(arrays)
    for array in rest:
        kind = {4: "conv", 2: "output", 1: "norm"}.get(array.ndim)
        if kind is None:
            raise _error(source, f"an array of shape {array.shape}")
        leaves = _NORM if kind == "norm" else ("kernel", "bias")
        followers = [follower for _, follower in zip(leaves[1:], rest, strict=False)]
        wanted = array.shape if kind == "norm" else array.shape[:1]
        shapes = [follower.shape for follower in followers]
        if shapes != [wanted] * (len(leaves) - 1):
            raise _error(source, f"an array of shape {array.shape} followed by {shapes}")
        first = array if kind == "norm" else array.T
        layers[kind].append(dict(zip(leaves, (first, *followers), strict=True)))
    if (counts := {kind: len(entries) for kind, entries in layers.items()}) != _KINDS:
        counted = "{conv} convolutions, {norm} normalisations and {output} dense layers"
        raise _error(source, counted.format(**counts))
    norms, convs = layers["norm"], layers["conv"]
    named = {"norm": norms[0], "output": layers["output"][0]}
    for index, (conv, norm) in enumerate(zip(convs, norms[1:], strict=True)):
        named |= {f"stages.{index}.conv": conv, f"stages.{index}.norm": norm}
    return {
        f"{layer}.{leaf}": array
        for layer, leaves in named.items()
        for leaf, array in leaves.items()
    }


def _weights(arrays: Arrays) -> Iterator[np.ndarray]:
    for name, array in arrays.items():
        is_counter = name.endswith(_COUNTER) or np.ndim(array) == 0
        if not is_counter and np.shape(array) not in _OF_FRONT_END:
            yield np.asarray(array)


def _error(source: str, content: str) -> ModelError:
    return ModelError(
        f"the weights in `{source}` are not those of LEMONS' recommender in PyTorch's order: it "
        "has five convolutions with bias, six normalisations and one dense layer, each stored as "
        f"a whole, and here is {content}. Pass all arrays of `state_dict()` in their order."
    )
