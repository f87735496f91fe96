"""What every model of this library looks like from outside."""

from typing import Any, Protocol

import jax
from jaxtyping import Array, Float

from lime_jax.core.precision import products
from lime_jax.core.pytree import pytree, static

Waveforms = Float[Array, "batch num_samples"]
Outputs = Float[Array, "batch num_outputs"]


class Network(Protocol):
    """A network over spectrogram patches, with its own front end."""

    def front_end(self, waveforms: Waveforms) -> Float[Array, "batch num_patches *patch"]:
        """What the network sees of a waveform; pure jax.numpy."""
        ...

    def __call__(self, patches: Float[Array, "batch *patch"]) -> Outputs:
        """Logits of every patch."""
        ...


@pytree
class Tagger:
    """A multi-label model of audio: waveforms in, probabilities averaged over patches out.

    Attributes:
      network: a `Network`; its weights are the leaves of this pytree.
      sample_rate: of the waveforms, in Hz.
      patch_num_samples: the shortest waveform it can judge, in samples.
      output_names: one per output.
      resampler: what its training data were resampled with; `lime_jax.audio.io.load` takes it.
    """

    network: Any
    sample_rate: int = static()
    patch_num_samples: int = static()
    output_names: tuple[str, ...] = static()
    resampler: str = static(default="soxr")

    def __call__(self, waveforms: Waveforms) -> Outputs:
        """Probabilities `(batch, num_outputs)` of waveforms `(batch, num_samples)`.

        Raises:
          ValueError: if the waveforms are shorter than one patch.
        """
        if waveforms.ndim != 2 or waveforms.shape[1] < self.patch_num_samples:
            raise ValueError(
                "`waveforms` must have shape (batch, num_samples) with num_samples at least "
                f"{self.patch_num_samples} ({self.patch_num_samples / self.sample_rate:.2f} s), "
                f"got {waveforms.shape}. Use a longer excerpt."
            )
        # The fast products of accelerators move logits by more than rounding.
        with products():
            patches = self.network.front_end(waveforms)
            logits = self.network(patches.reshape(-1, *patches.shape[2:]))
        return jax.nn.sigmoid(logits).reshape(*patches.shape[:2], -1).mean(axis=1)
