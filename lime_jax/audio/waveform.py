"""The type of a mono waveform, and what is none though it has its shape."""

from typing import Any, SupportsFloat

import numpy as np
from jaxtyping import Float

from lime_jax.core.arguments import array, real_number

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
    given = getattr(samples, "dtype", None)
    given = array(name, samples).dtype if given is None else given
    if not isinstance(given, np.dtype) or given.kind not in "iubcfV":
        raise ValueError(f"`{name}` must hold floating-point samples, got {given}.")
    dtype = np.dtype(given)
    if dtype.kind in "iub":
        raise ValueError(
            f"`{name}` must hold floating-point samples of full scale 1, got {dtype}. Divide "
            "integers by their full scale, which is 32768 for 16 bits."
        )
    if dtype.kind == "c":
        raise ValueError(
            f"`{name}` must hold real samples, got {dtype}. Pass the waveform, not its spectrum."
        )


def known_rate(sample_rate: SupportsFloat) -> Any:
    """Returns a sample rate of any kind as a number of Python, a whole one where it is one.

    Raises:
      ValueError: if it is no number.
    """
    rate = float(real_number("sample_rate", sample_rate, "be in Hz", lambda rate: True))
    return int(rate) if rate.is_integer() else rate


_HIGHEST_RATE = 1e8


def whole_rate(sample_rate: SupportsFloat) -> int:
    """Returns a sample rate of any kind as the number of Python that records can hold.

    Raises:
      ValueError: if it is no positive whole number, or higher than any sound has.
    """

    def allows(rate: float) -> bool:
        return rate.is_integer() and 0 < rate <= _HIGHEST_RATE

    return int(real_number("sample_rate", sample_rate, "be a positive whole number in Hz", allows))
