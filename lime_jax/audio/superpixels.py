"""Regions of an image that belong together, numbered without gaps."""

import numpy as np
from jaxtyping import Float, Int

from lime_jax.core.arguments import MOST, one_of, whole_number

ALGORITHMS = ("slic", "felzenszwalb")

# SLIC weighs closeness in the image against likeness in level (here in [0, 1]) by this factor.
_COMPACTNESS = 0.2

_SCALES = (0.1, 1e4)
_NUM_BISECTIONS = 12


def superpixels(
    image: Float[np.ndarray, "rows columns"], num_segments: int, algorithm: str
) -> Int[np.ndarray, "rows columns"]:
    """Returns labels `0 ... d-1` of connected regions, each used at least once.

    Args:
      image: levels within [0, 1].
      num_segments: SLIC gives about so many regions, Felzenszwalb at most.
      algorithm: "slic" or "felzenszwalb".

    Raises:
      ValueError: for an unknown algorithm, or more regions than pixels.

    References:
      Achanta et al., SLIC Superpixels Compared to State-of-the-art Superpixel Methods, 2012.
      Felzenszwalb and Huttenlocher, Efficient Graph-Based Image Segmentation, 2004.
    """
    algorithm = one_of("algorithm", algorithm, ALGORITHMS)
    num_segments = whole_number("num_segments", num_segments, -MOST)
    if not 1 <= num_segments <= image.size:
        raise ValueError(
            f"`num_segments` must lie between 1 and {image.size}, the pixels of the image, got "
            f"{num_segments}. Use fewer superpixels or a longer excerpt."
        )
    regions = {"slic": _slic, "felzenszwalb": _felzenszwalb}[algorithm](image, num_segments)
    # The libraries differ, also between versions, in where labels start and which are left out.
    return np.unique(regions, return_inverse=True)[1].reshape(image.shape).astype(np.int32)


def _slic(image: np.ndarray, num_segments: int) -> np.ndarray:
    from skimage.segmentation import slic

    return slic(
        image, n_segments=num_segments, compactness=_COMPACTNESS, channel_axis=None, start_label=0
    )


def _felzenszwalb(image: np.ndarray, num_segments: int) -> np.ndarray:
    """The finest scale with at most `num_segments` regions; more scale, fewer regions."""
    from skimage.segmentation import felzenszwalb

    smallest = max(1, image.size // (4 * num_segments))
    low, high = _SCALES
    best = np.zeros(image.shape, np.int32)
    for _ in range(_NUM_BISECTIONS):
        scale = np.sqrt(low * high)
        regions = felzenszwalb(image, scale=scale, sigma=0.8, min_size=smallest, channel_axis=None)
        if regions.max() < num_segments:
            best, high = regions, scale
        else:
            low = scale
    return best
