"""Models that are not JAX: any function from a NumPy batch to outputs, evaluated outside jit."""

from collections.abc import Callable, Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np

from lime_jax.core.arguments import function as checked_function
from lime_jax.core.arguments import texts, whole_number
from lime_jax.core.asked_again import are_alike
from lime_jax.errors import ModelError


class HostModel:
    """A model that runs on the host; make it with `host_model`.

    The device prepares the next chunk of inputs while the function works on the current one. It
    is never called from inside a compiled program, where host callbacks can deadlock.
    """

    def __init__(
        self,
        function: Callable[[np.ndarray], Any],
        sample_rate: int | None,
        output_names: tuple[str, ...],
    ):
        self.function = function
        self.sample_rate = sample_rate
        self.output_names = output_names
        # Of its latest explanation; unknown before a batch was evaluated again.
        self.is_function: bool | None = None

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Returns outputs float32 `(batch, num_outputs)` of inputs `(batch, *input)`.

        Raises:
          ModelError: if the function raises, or returns anything but one row per input.
        """
        name = getattr(self.function, "__name__", type(self.function).__name__)
        try:
            outputs = np.asarray(self.function(inputs))
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(
                f"the host model {name!r} failed on a batch of shape {inputs.shape}: "
                f"{type(error).__name__}: {error}"
            ) from error
        if outputs.dtype.kind == "V" and jnp.issubdtype(outputs.dtype, jnp.floating):
            outputs = outputs.astype(np.float32)  # bfloat16 and its kind, which NumPy does not know
        if outputs.ndim != 2 or len(outputs) != len(inputs) or outputs.dtype.kind not in "fiub":
            raise ModelError(
                f"the host model {name!r} must map {len(inputs)} inputs to real numbers of shape "
                f"({len(inputs)}, num_outputs), got {outputs.dtype} {outputs.shape}. Keep the "
                "batch axis first and one column per output."
            )
        if outputs.shape[1] == 0:
            raise ModelError(f"the host model {name!r} must return an output per column, got none.")
        return outputs.astype(np.float32)


def host_model(
    function: Callable[[np.ndarray], Any],
    *,
    sample_rate: int | None = None,
    output_names: Iterable[Any] = (),
) -> HostModel:
    """Makes any function of a NumPy batch a model: PyTorch, ONNX, TensorFlow, a remote service.

    `explain` gives the same explanation as for the same function written in JAX.

    Args:
      function: maps float32 `(batch, *input)` to `(batch, num_outputs)`; always called with the
        same batch size within one explanation.
      sample_rate: of the waveforms it takes, in Hz; the command line needs it.
      output_names: one per output, texts or what becomes one.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np, lime_jax as lj
      >>> loudness = lj.host_model(lambda batch: np.square(batch).mean(axis=1, keepdims=True))
      >>> stems = lj.from_stems(jnp.array([[0.0, 0.0], [1.0, 1.0]]))
      >>> explanation = lj.explain(loudness, stems, lj.exhaustive(alpha=0.0))
      >>> explanation.coefficients.round(3)
      Array([[0., 1.]], dtype=float32)
    """
    checked_function("function", function)
    if sample_rate is not None:
        sample_rate = whole_number("sample_rate", sample_rate)
    return HostModel(function, sample_rate, texts("output_names", output_names))


def check_function(
    model: HostModel, inputs: np.ndarray, outputs: np.ndarray, batch_size: int
) -> None:
    """Notes whether a model gives the same outputs again, in another place of another batch.

    Only where that is not known.

    Args:
      model: what is asked again.
      inputs: of which the first batch is evaluated again.
      outputs: what it gave for them.
      batch_size: inputs at a time.
    """
    if model.is_function is None:
        inputs = inputs[:batch_size]
        some = (len(inputs) + 1) // 2
        others = np.repeat(inputs[:1], len(inputs) - some, axis=0)
        mixed = np.concatenate([others, inputs[:some]])
        again = predict_in_batches(model, mixed, batch_size)[len(others) :]
        model.is_function = are_alike(outputs[:some], again)


def predict_in_batches(model: HostModel, inputs: np.ndarray, batch_size: int) -> np.ndarray:
    """Returns outputs of many inputs; every call has `batch_size` of them, the last filled up."""
    missing = -len(inputs) % batch_size
    filled = np.concatenate([inputs, np.repeat(inputs[-1:], missing, axis=0)])
    starts = range(0, len(filled), batch_size)
    outputs = [model(filled[start : start + batch_size]) for start in starts]
    return np.concatenate(outputs)[: len(inputs)]
