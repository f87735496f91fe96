"""Components to waveforms: for listeners, and for models that take waveforms."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from lime_jax.audio import features
from lime_jax.audio.segment import SegmentedAudio
from lime_jax.audio.segmented_audio import check_audio, check_waveform
from lime_jax.audio.waveform import check_floating, whole_rate
from lime_jax.core.arguments import array, real_number
from lime_jax.core.components import recompose
from lime_jax.core.execution.host_model import HostModel, host_model
from lime_jax.core.predictor import check_predict
from lime_jax.core.pytree import pytree, static


def render(
    audio: SegmentedAudio, mask: Bool[Array, " num_components"]
) -> Float[Array, " num_samples"]:
    """Recomposes the waveform of the components in `mask`, exactly as the model gets it.

    Stems and times are switched hard, without fades (see `render_faded`); time-frequency components
    keep the phase they have in the input. All on is the input: bit for bit for waveforms, to 1e-6
    of full scale through the STFT.

    Args:
      audio: from `lime_jax.audio.segment`.
      mask: bool `(num_components,)`, for example `lime_jax.mask_of(indices, num_components)`.
    """
    check_audio(audio)
    return _to_waveform(recompose(audio.components, mask), audio.n_fft, len(audio.waveform))


FADE_SECONDS = 0.01
"""Long enough for no click, short enough to keep the attack of a drum."""

_SILENCE_DB = -60.0
_MARGIN_SECONDS = 0.05


def render_faded(
    audio: SegmentedAudio,
    mask: Bool[Array | np.ndarray, " num_components"],
    *,
    fade: float = FADE_SECONDS,
) -> Float[np.ndarray, " num_samples"]:
    """Recomposes the components in `mask` for listeners: like `render`, without clicks.

    Where a stem or time is switched on or off in the middle of the sound, it fades within what is
    on, so that nothing is heard of what is off. All on is the input, and time-frequency components
    are as in `render`: the STFT fades them.

    Args:
      audio: from `lime_jax.audio.segment`.
      mask: bool `(num_components,)`.
      fade: in seconds.
    """
    check_audio(audio)
    mask = _checked_mask(mask, audio)
    fade = real_number("fade", fade, "be seconds from 0 to 3600", lambda f: 0 <= f <= 3600)
    if audio.n_fft is not None:
        return np.asarray(render(audio, jnp.asarray(mask)))
    components = audio.components
    sources, fill = np.asarray(components.sources), np.asarray(components.fill)
    by_segment = np.asarray(mask).reshape(components.num_segments, components.num_sources)
    labels = np.broadcast_to(np.asarray(components.labels), sources.shape[1:])
    gains = np.stack([_gain(on[labels], round(fade * audio.sample_rate)) for on in by_segment.T])
    return (gains * sources + (1 - gains) * fill).sum(axis=0, dtype=np.float32)


def trim_silence(
    waveform: Float[np.ndarray, " num_samples"], sample_rate: int
) -> Float[np.ndarray, " at_most_num_samples"]:
    """Cuts off the silence at both ends, fading in and out.

    Silent is what lies 60 dB below the peak; 50 ms around the rest stay. What is silent
    throughout stays as it is.

    Args:
      waveform: `(num_samples,)`.
      sample_rate: in Hz.
    """
    check_floating(waveform, "waveform")
    waveform, sample_rate = np.asarray(waveform), whole_rate(sample_rate)
    check_waveform(waveform.shape)
    threshold = 10 ** (_SILENCE_DB / 20) * np.abs(waveform).max(initial=0.0)
    loud = np.flatnonzero(np.abs(waveform) > threshold)
    if not len(loud):
        return waveform
    margin = round(_MARGIN_SECONDS * sample_rate)
    first, last = max(0, loud[0] - margin), min(len(waveform), loud[-1] + 1 + margin)
    inside = np.pad(np.ones(last - first, bool), 1)
    gain = _gain(inside, round(FADE_SECONDS * sample_rate))[1:-1]
    return (waveform[first:last] * gain).astype(np.float32)


def waveform_predictor(model: Any, audio: SegmentedAudio) -> Callable[[Any], Any]:
    """Returns the predictor that explains a model of waveforms over `audio.components`.

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
      >>> predict = render.waveform_predictor(power, audio)
      >>> explanation = lj.explain(predict, audio.components, lj.exhaustive())
      >>> audio.names[int(explanation.coefficients[0].argmax())]
      'F3'
    """
    check_audio(audio)
    check_predict(model)
    if audio.n_fft is None:
        return model
    if isinstance(model, HostModel):
        return _host_model_behind_istft(model, audio.n_fft, len(audio.waveform))
    return _BehindIstft(model, audio.n_fft, len(audio.waveform))


def _checked_mask(mask: Any, audio: SegmentedAudio) -> np.ndarray:
    num_components, made = audio.components.num_components, array("mask", mask)
    if made.shape != (num_components,) or made.dtype != bool:
        raise ValueError(
            f"`mask` must be True and False of shape ({num_components},), one per component, got "
            f"{made.dtype} of shape {made.shape}."
        )
    return np.asarray(made)


def _gain(on: np.ndarray, num_samples: int) -> np.ndarray:
    """1 where `on`, 0 where not, with half a cosine inside the edges.

    It takes so many samples, but no more than half of what is on.
    """
    gain = on.astype(np.float32)
    edges = np.flatnonzero(np.diff(np.pad(gain, 1)))
    for first, end in edges.reshape(-1, 2):
        size = min(num_samples, (end - first) // 2)
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(size) + 0.5) / max(size, 1))
        if first > 0:
            gain[first : first + size] = ramp
        if end < len(gain):
            gain[end - size : end] = ramp[::-1]
    return gain


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
