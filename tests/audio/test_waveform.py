"""Integers are thousands of times too loud for full scale 1: every door refuses them."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from lime_jax import separation
from lime_jax.audio import features, io, render, segment
from lime_jax.models import singing_voice_front_end
from lime_jax.separation import base

RATE = 16_000
TONE = (9_000 * np.sin(np.arange(4_096.0))).astype(np.int16)
FLOATS = TONE / np.float32(2**15)
NAMES = ("a", "b")

DOORS = {
    "time": lambda x: segment.by_time(x, RATE, 4),
    "frequency": lambda x: segment.by_frequency(x, RATE, 4),
    "grid": lambda x: segment.by_grid(x, RATE, (2, 2)),
    "superpixels": lambda x: segment.by_superpixels(x, RATE, 4),
    "kind": lambda x: segment.by_kind("time", x[None], RATE, 4),
    "stems": lambda x: segment.by_stems(_twice(x), NAMES, RATE),
    "stems-time": lambda x: segment.by_stems_and_time(_twice(x), NAMES, RATE, 4),
    "residual-stems": lambda x: segment.with_residual(_twice(x), NAMES, 2 * FLOATS),
    "residual-mix": lambda x: segment.with_residual(_twice(FLOATS), NAMES, x),
    "encode": lambda x: io.encode(x, RATE, "wav"),
    "trim": lambda x: render.trim_silence(x, RATE),
    "stft": lambda x: features.stft(x, n_fft=256, hop_length=64),
    "front-end": singing_voice_front_end.magnitudes,
    "traced": jax.jit(lambda x: features.stft(x, n_fft=256, hop_length=64)),
    "separator": base.as_waveform,
}
KINDS = {
    "int16": lambda x: x,
    "int32": lambda x: x.astype(np.int32) << 16,
    "uint8": lambda x: ((x >> 8) + 128).astype(np.uint8),
    "jax": jnp.asarray,
}


def _twice(x):
    return np.stack([x, x])


@pytest.fixture
def _unchecked_annotations():
    """As for users: only tests check annotations at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("_unchecked_annotations")
@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
class TestDoors:
    @pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
    def test_integers_are_refused_with_the_way_out(self, door, kind):
        with pytest.raises(
            ValueError, match=r"floating-point samples of full scale 1, got u?int\d+.*32768"
        ):
            door(kind(TONE))

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
    def test_floating_samples_of_any_width_are_not(self, door, dtype):
        door(FLOATS.astype(dtype))

    def test_spectra_are_refused(self, door):
        with pytest.raises(ValueError, match="must hold real samples, got complex64"):
            door(FLOATS.astype(np.complex64))


@pytest.mark.usefixtures("_unchecked_annotations")
def test_a_list_is_judged_by_its_numbers():
    assert segment.by_time([0.0, 0.5, 1.0], RATE, 3).waveform.shape == (3,)
    with pytest.raises(ValueError, match="full scale 1, got int"):
        segment.by_time([0, 9_000, 1], RATE, 3)


@pytest.mark.usefixtures("_unchecked_annotations")
def test_what_a_separator_returns_is_a_door_too():
    class Separator:
        name = "integers"

        def __call__(self, waveform, sample_rate):
            return separation.Stems(np.stack([TONE[None], TONE[None]]), NAMES, sample_rate)

    with pytest.raises(ValueError, match=r"`integers\(\)` must hold floating-point"):
        base.stream_stems(Separator(), iter([FLOATS[None]]), RATE)
