"""The type of a mono waveform, and what is none though it has its shape."""

from typing import Any

import numpy as np
from jaxtyping import Float

Waveform = Float[np.ndarray, " num_samples"]
"""Full scale is 1."""


def check_floating(samples: Any, name: str) -> None:
    """Refuses integers: taken for samples of full scale 1 they are thousands of times too loud.

    Args:
      samples: an array, also one that is traced, or nested sequences of numbers.
      name: of the argument, for the message.

    Raises:
      ValueError: for integer, boolean and complex numbers.
    """
    dtype = np.dtype(getattr(samples, "dtype", None) or np.asarray(samples).dtype)
    if dtype.kind in "iub":
        raise ValueError(
            f"`{name}` must hold floating-point samples of full scale 1, got {dtype}. Divide "
            "integers by their full scale, which is 32768 for 16 bits."
        )
    if dtype.kind == "c":
        raise ValueError(
            f"`{name}` must hold real samples, got {dtype}. Pass the waveform, not its spectrum."
        )
