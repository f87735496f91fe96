"""The type of a mono waveform."""

import numpy as np
from jaxtyping import Float

Waveform = Float[np.ndarray, " num_samples"]
"""Full scale is 1."""
