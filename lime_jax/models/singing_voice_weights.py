"""The original weights of SVDNet: from the files of TensorFlow and Lasagne into our network.

References:
  https://github.com/saum25/local_exp_robustness has the checkpoint of TensorFlow,
  https://github.com/saum25/SoundLIME reads the weights of Lasagne, and
  https://github.com/f0k/ismir2015 writes such weights and the statistics that belong to them.
"""

import itertools
from pathlib import Path

import numpy as np
from flax import nnx
from jaxtyping import Float

from lime_jax.errors import ModelError
from lime_jax.models import conversion, tf_checkpoint, weights
from lime_jax.models.singing_voice_front_end import NUM_MELS
from lime_jax.models.singing_voice_network import SvdNet

# Layer of ours -> scope of the variables in TensorFlow.
_LAYERS = {
    "convs.0": "conv2d",
    "convs.1": "conv2d_1",
    "convs.2": "conv2d_2",
    "convs.3": "conv2d_3",
    "dense.0": "dense",
    "dense.1": "dense_1",
    "output": "dense_2",
}
# Parameter of Lasagne, which numbers them from the input on -> weight of ours.
_PARAMS = {
    f"param{i}": f"{layer}.{leaf}"
    for i, (layer, leaf) in enumerate(itertools.product(_LAYERS, ("kernel", "bias")))
}
_FLATTENED = (64, 11, 7)  # channel, time, mel; ours are mel, time, channel

_ADVICE = "Name an .npz archive of plain arrays, as `np.savez` writes it."


def from_tensorflow(checkpoint: Path) -> SvdNet:
    """Builds the network from a TensorFlow checkpoint; state of the optimiser is left out.

    Args:
      checkpoint: what the names of its files begin with, as `tf.train.Saver` takes it, such as
        `models/svd/model1/Jamendo_augment_mel`; or the index among them.

    Raises:
      ModelError: if a file is missing or damaged, names or shapes are not those of the network, or
        weights are not finite.
    """
    stem = checkpoint.name.removesuffix(".index")
    tensors = tf_checkpoint.read(checkpoint.parent, stem)
    arrays = conversion.from_tensorflow(tensors, _LAYERS, _make, source=str(checkpoint))
    used = {name: a for name, a in tensors.items() if name.endswith(("/kernel", "/bias"))}
    _check_numbers(used, source=checkpoint)
    return weights.network_of(_make, arrays, source=str(checkpoint))


def from_lasagne(path: Path) -> SvdNet:
    """Builds the network from weights that Lasagne learned on patches time × mel.

    Args:
      path: an .npz with `param0` to `param13`, the kernel and the bias of every layer in turn.

    Raises:
      ModelError: if the file is missing, damaged or pickled, names or shapes are not those of the
        network, or weights are not finite.
    """
    params = weights.read_archive(path, advice=_ADVICE)
    shapes = weights.shapes_of(_make)
    expected = {param: _lasagne_shape(shapes[name]) for param, name in _PARAMS.items()}
    weights.check_shapes(expected, {k: a.shape for k, a in params.items()}, source=str(path))
    _check_numbers(params, source=path)
    arrays = {name: _from_lasagne(params[param], name) for param, name in _PARAMS.items()}
    return weights.network_of(_make, arrays, source=str(path))


def read_mean_std(path: Path) -> tuple[Float[np.ndarray, "80"], Float[np.ndarray, "80"]]:
    """Reads the mean and the deviation of the log-mel bands that a network was trained on.

    They belong to that network alone: published files of the same name differ.

    Args:
      path: an .npz with `mean` and `std`, such as `jamendo_meanstd.npz`.

    Raises:
      ModelError: if the file is missing, damaged or pickled, or is not of 80 bands with finite
        means and positive deviations.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     np.savez(Path(folder) / "meanstd.npz", mean=np.zeros(80), std=np.full(80, 2.0))
      ...     mean, std = read_mean_std(Path(folder) / "meanstd.npz")
      >>> log_mel = np.ones((115, 80), np.float32)
      >>> float(((log_mel - mean) / std).max())
      0.5
    """
    arrays = weights.read_archive(path, advice=_ADVICE)
    shapes = {name: arrays[name].shape for name in ("mean", "std") if name in arrays}
    if shapes != {"mean": (NUM_MELS,), "std": (NUM_MELS,)}:
        content = ", ".join(f"`{name}` {array.shape}" for name, array in arrays.items())
        raise ModelError(
            f"`{path}` holds {content or 'nothing'} instead of `mean` ({NUM_MELS},) and `std` "
            f"({NUM_MELS},). Use the statistics of the mel bands that the network was trained on."
        )
    _check_numbers({name: arrays[name] for name in shapes}, source=path)
    mean, std = arrays["mean"].astype(np.float32), arrays["std"].astype(np.float32)
    if (lowest := std.min()) <= 0:
        raise ModelError(
            f"`std` in `{path}` has {lowest} in band {std.argmin()}; deviations are positive. "
            "Compute it from sounds in which every band varies."
        )
    return mean, std


def _make() -> SvdNet:
    return SvdNet(rngs=nnx.Rngs(0))


def _lasagne_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Kernels of convolutions are (out, in, time, mel) there and (mel, time, in, out) here."""
    return shape[::-1] if len(shape) == 4 else shape


def _from_lasagne(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 4:
        return array[:, :, ::-1, ::-1].T  # Theano convolves, where others correlate
    if name == "dense.0.kernel":
        return array.reshape(*_FLATTENED, -1).transpose(2, 1, 0, 3).reshape(array.shape)
    return array


def _check_numbers(arrays: weights.Arrays, *, source: Path) -> None:
    if bad := [f"`{name}`" for name, array in arrays.items() if not _is_finite(array)]:
        raise ModelError(
            f"{', '.join(bad)} in `{source}` must be finite numbers of float32, but hold others. "
            "Use a file from a training that succeeded."
        )


def _is_finite(array: np.ndarray) -> bool:
    if array.dtype.kind not in "fiu":
        return False
    return bool((np.abs(array) <= np.finfo(np.float32).max).all())  # NaN is not
