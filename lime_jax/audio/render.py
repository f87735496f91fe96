"""Components to sound: for listeners, and for models that take waveforms."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from lime_jax.audio import features
from lime_jax.audio.segment import SegmentedAudio
from lime_jax.core.components import recompose
from lime_jax.core.host import HostModel, host_model
from lime_jax.core.pytree import pytree, static


def render(
    audio: SegmentedAudio, mask: Bool[Array, " num_components"]
) -> Float[Array, " num_samples"]:
    """The sound of the components in `mask`, exactly as the model hears it.

    Stems and times are switched hard, without fades; time-frequency pieces keep the phase they have
    in the input. All on is the input: bit for bit for waveforms, to 1e-6 of full scale through the
    STFT.

    Args:
      audio: from `lime_jax.audio.segment`.
      mask: bool `(num_components,)`, for example `lime_jax.mask_of(indices, num_components)`.
    """
    return _to_waveform(recompose(audio.components, mask), audio.n_fft, len(audio.waveform))


def hearing(model: Any, audio: SegmentedAudio) -> Callable[[Any], Any]:
    """What `lime_jax.explain` needs to explain a model of waveforms over `audio.components`.

    Args:
      model: any callable pytree or host model, waveforms `(batch, num_samples)` to outputs
        `(batch, num_outputs)`.
      audio: from `lime_jax.audio.segment`.

    Returns:
      The model itself for components over the waveform; for components over the STFT the model
      behind an inverse STFT. The model's weights stay leaves.

    Example:
      >>> import jax.numpy as jnp, lime_jax as lj
      >>> from lime_jax.audio import render, segment
      >>> tone = jnp.sin(jnp.arange(4000.0))
      >>> audio = segment.by_frequency(tone, 16_000, 4)
      >>> power = lambda waveforms: jnp.square(waveforms).mean(axis=1, keepdims=True)
      >>> explanation = lj.explain(render.hearing(power, audio), audio.components, lj.exhaustive())
      >>> audio.pieces[int(explanation.coefficients[0].argmax())].name
      'F3'
    """
    if audio.n_fft is None:
        return model
    if isinstance(model, HostModel):
        return _host_model_behind_istft(model, audio.n_fft, len(audio.waveform))
    return _BehindIstft(model, audio.n_fft, len(audio.waveform))


@pytree
class _BehindIstft:
    """A model of waveforms as a model of their complex STFT."""

    model: Any
    n_fft: int = static()
    num_samples: int = static()

    def __call__(self, spectrograms: Complex[Array, "batch num_bins num_frames"]) -> Any:
        return self.model(_to_waveform(spectrograms, self.n_fft, self.num_samples))


def _host_model_behind_istft(model: HostModel, n_fft: int, num_samples: int) -> HostModel:
    to_waveforms = jax.jit(functools.partial(_to_waveform, n_fft=n_fft, num_samples=num_samples))

    @functools.wraps(model.function)
    def function(spectrograms: np.ndarray) -> Any:
        return model.function(np.asarray(to_waveforms(spectrograms)))

    return host_model(function, sample_rate=model.sample_rate, output_names=model.output_names)


def _to_waveform(signal: Any, n_fft: int | None, num_samples: int) -> Any:
    if n_fft is None:
        return signal
    return features.istft(signal, n_fft=n_fft, hop_length=n_fft // 4, num_samples=num_samples)
