"""The mean over snippets: excerpts of fixed length cut from a track, as in the papers."""

from typing import Any

from jaxtyping import Array, Float

from lime_jax.core.arguments import whole_number
from lime_jax.core.execution.host_model import HostModel
from lime_jax.core.pytree import pytree, static
from lime_jax.core.receptive_fields.declaration import declare_tested
from lime_jax.core.receptive_fields.windows import Windowed, windowed


@pytree
class Snippets:
    """The mean of a model's outputs over snippets, each an input of its own.

    No snippet knows of its neighbours, so explanations of up to 500 components are exact from the
    combinations within each snippet: ten snippets of five stems are 320 evaluations instead of
    2⁵⁰. What is left over at the end is dropped.

    Attributes:
      model: waveforms `(batch, num_samples)` to outputs `(batch, num_outputs)`.
      num_samples: of a snippet.

    Example:
      >>> import jax.numpy as jnp, lime_jax as lj
      >>> def loudness(waveforms):
      ...     return jnp.square(waveforms).mean(axis=1, keepdims=True)
      >>> stems = lj.from_stems(jnp.ones((5, 80)))
      >>> components = lj.cross(stems, lj.equal_segments(80, 10), 10)
      >>> explanation = lj.explain(lj.models.Snippets(loudness, 8), components, lj.shapley())
      >>> components.num_components, int(explanation.num_evaluations)
      (50, 320)
    """

    model: Any
    num_samples: int = static()

    def __post_init__(self) -> None:
        if isinstance(self.model, HostModel):
            raise ValueError(
                "`model` is a host model. Cut the waveforms into snippets in its own function."
            )
        # Static, and so part of what a program is compiled for: one kind of number for all.
        object.__setattr__(self, "num_samples", whole_number("num_samples", self.num_samples))

    def __call__(
        self, waveforms: Float[Array, "batch num_samples"]
    ) -> Float[Array, "batch num_outputs"]:
        number = waveforms.shape[1] // self.num_samples
        if number == 0:
            raise ValueError(
                f"`waveforms` must hold at least one snippet of {self.num_samples} samples, got "
                f"{waveforms.shape}. Use a longer excerpt or shorter snippets."
            )
        whole = waveforms[:, : number * self.num_samples]
        outputs = self.model(whole.reshape(-1, self.num_samples))
        return outputs.reshape(len(waveforms), number, -1).mean(axis=1)

    @property
    def receptive_field(self) -> Windowed:
        """A window per snippet, side by side, and their mean."""
        size = self.num_samples
        return declare_tested(
            windowed(self, backbone=self.model, head="mean", window=size, stride=size)
        )

    @property
    def sample_rate(self) -> int:
        """The sample rate of the model, in Hz."""
        return self.model.sample_rate

    @property
    def output_names(self) -> tuple[str, ...]:
        """The output names of the model."""
        return self.model.output_names

    @property
    def patch_num_samples(self) -> int:
        """The shortest waveform it takes, in samples: a single snippet."""
        return self.num_samples

    @property
    def resampler(self) -> str:
        """What the training data of the model were resampled with."""
        return getattr(self.model, "resampler", "soxr")
