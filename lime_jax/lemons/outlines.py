"""The outlines of waveforms, for drawing."""

import numpy as np
from jaxtyping import Float

NUM_COLUMNS = 480


def outline(waveform: Float[np.ndarray, " num_samples"]) -> dict[str, list[float]]:
    """Returns the lowest and the highest sample of each of at most `NUM_COLUMNS` excerpts.

    Example:
      >>> outline(np.array([0.0, 0.5, -0.25], np.float32))
      {'low': [0.0, 0.5, -0.25], 'high': [0.0, 0.5, -0.25]}
    """
    num_columns = min(NUM_COLUMNS, len(waveform))
    starts = np.arange(num_columns) * len(waveform) // max(num_columns, 1)
    if not num_columns:
        return {"low": [], "high": []}
    low, high = np.minimum.reduceat(waveform, starts), np.maximum.reduceat(waveform, starts)
    return {"low": _round(low), "high": _round(high)}


def _round(values: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in values]
