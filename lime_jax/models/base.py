"""What every model of this library looks like from outside."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float

from lime_jax.core.execution.precision import products
from lime_jax.core.pytree import pytree, static
from lime_jax.core.receptive_fields.declaration import declare_tested
from lime_jax.core.receptive_fields.windows import Windowed, windowed

Waveforms = Float[Array, "batch num_samples"]
Outputs = Float[Array, "batch num_outputs"]


@dataclasses.dataclass(frozen=True)
class PatchWindow:
    """The samples that one patch of a long waveform is made of, in samples.

    Attributes:
      front_end: `(batch, num_samples)` to what the network sees of these samples alone.
      num_samples: of a patch.
      stride: between the starts of two patches.
      pad: reflected at both ends of the waveform.
    """

    front_end: Callable[[Any], Any]
    num_samples: int
    stride: int
    pad: int


class Network(Protocol):
    """A network over spectrogram patches, with its own front end.

    Where patches lie side by side it may have a `window`, a `PatchWindow`; its explanations are
    then made from patches.
    """

    def front_end(self, waveforms: Waveforms) -> Float[Array, "batch num_patches *patch"]:
        """Returns what the network sees of a waveform; pure jax.numpy."""
        ...

    def __call__(self, patches: Float[Array, "batch *patch"]) -> Outputs:
        """Logits of every patch."""
        ...


@runtime_checkable
class WaveformModel(Protocol):
    """A model that comes by name, as `lime_jax.models.load` returns it."""

    @property
    def network(self) -> Any:
        """The weights."""
        ...

    @property
    def sample_rate(self) -> int:
        """Of the waveforms, in Hz."""
        ...

    @property
    def patch_num_samples(self) -> int:
        """The shortest waveform it takes, in samples."""
        ...

    @property
    def output_names(self) -> tuple[str, ...]:
        """One per output."""
        ...

    @property
    def resampler(self) -> str:
        """What its training data were resampled with; `lime_jax.audio.io.load` takes it."""
        ...

    def __call__(self, waveforms: Waveforms) -> Outputs:
        """Probabilities `(batch, num_outputs)` of waveforms `(batch, num_samples)`."""
        ...


@pytree
class Tagger:
    """A multi-label model of audio: waveforms in, probabilities averaged over patches out.

    Attributes:
      network: a `Network`; its weights are the leaves of this pytree.
      sample_rate: of the waveforms, in Hz.
      patch_num_samples: the shortest waveform it takes, in samples.
      output_names: one per output.
      resampler: what its training data were resampled with; `lime_jax.audio.io.load` takes it.
    """

    network: Any
    sample_rate: int = static()
    patch_num_samples: int = static()
    output_names: tuple[str, ...] = static()
    resampler: str = static(default="soxr")

    def __call__(self, waveforms: Waveforms) -> Outputs:
        """Returns probabilities `(batch, num_outputs)` of waveforms `(batch, num_samples)`.

        Raises:
          ValueError: if the waveforms are shorter than one patch.
        """
        check_waveforms(waveforms, self.patch_num_samples, self.sample_rate)
        # The fast products of accelerators move logits by more than rounding.
        with products():
            patches = self.network.front_end(waveforms)
            logits = self.network(patches.reshape(-1, *patches.shape[2:]))
        return jax.nn.sigmoid(logits).reshape(*patches.shape[:2], -1).mean(axis=1)

    @property
    def receptive_field(self) -> Windowed | None:
        """The mean over patches, where the network says which samples one of them sees."""
        window = getattr(self.network, "window", None)
        if window is None:
            return None
        return declare_tested(
            windowed(
                self,
                backbone=_Patch(self.network, window),
                head="mean",
                window=window.num_samples,
                stride=window.stride,
                pad=window.pad,
            )
        )


def check_waveforms(waveforms: Any, patch_num_samples: int, sample_rate: int) -> None:
    """Checks the input of a model of waveforms.

    Args:
      waveforms: `(batch, num_samples)`.
      patch_num_samples: the fewest samples that the model takes.
      sample_rate: in Hz.

    Raises:
      ValueError: for another shape, or fewer samples.
    """
    if waveforms.ndim != 2 or waveforms.shape[1] < patch_num_samples:
        raise ValueError(
            "`waveforms` must have shape (batch, num_samples) with num_samples at least "
            f"{patch_num_samples} ({patch_num_samples / sample_rate:.2f} s), "
            f"got {waveforms.shape}. Use a longer excerpt."
        )


@pytree
class _Patch:
    """Probabilities of single patches, from the samples they are made of."""

    network: Any
    window: PatchWindow = static()

    def __call__(self, waveforms: Waveforms) -> Outputs:
        with products():
            return jax.nn.sigmoid(self.network(self.window.front_end(waveforms)))
