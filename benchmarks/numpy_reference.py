"""The published way, without any of this library: masks, occlusion and ridge in NumPy.

Draws masks on the host, occludes copies of the excerpt in NumPy, calls the same jitted network
batch by batch and fits the weighted ridge with NumPy: what the SLIME code does with TensorFlow
and scikit-learn, without its avoidable losses (it is vectorised over a batch).
"""

from collections.abc import Callable

import numpy as np


def explain(
    predict: Callable[[np.ndarray], np.ndarray],
    excerpt: np.ndarray,
    labels: np.ndarray,
    masks: np.ndarray,
    *,
    batch_size: int = 16,
    kernel_width: float = 0.25,
    alpha: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns coefficients `(num_outputs, num_components)` and intercepts by SLIME's algorithm.

    Args:
      predict: maps a NumPy batch to outputs; converts and waits, as host code must.
      excerpt: `(*input)`.
      labels: the component of every element, broadcastable to the excerpt.
      masks: bool `(num_samples, num_components)`.
      batch_size: 16 in the original.
      kernel_width: of the exponential kernel on l2 distances.
      alpha: of the ridge.
    """
    outputs = []
    for start in range(0, len(masks), batch_size):
        some = masks[start : start + batch_size]
        keep = some[:, labels]
        outputs.append(predict(np.where(keep, excerpt, np.float32(0))))
    distances = np.sqrt((~masks).sum(axis=1))
    weights = np.exp(-(distances**2) / (2 * kernel_width**2))
    return ridge(masks.astype(np.float64), np.concatenate(outputs), weights, alpha)


def ridge(
    masks: np.ndarray, outputs: np.ndarray, weights: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted ridge regression with an unpenalised intercept, in float64."""
    mask_mean = np.average(masks, axis=0, weights=weights)
    output_mean = np.average(outputs.astype(np.float64), axis=0, weights=weights)
    centred = masks - mask_mean
    weighted = (centred * weights[:, None]).T
    gram = weighted @ centred + alpha * np.eye(masks.shape[1])
    coefficients = np.linalg.solve(gram, weighted @ (outputs - output_mean)).T
    return coefficients, output_mean - coefficients @ mask_mean
