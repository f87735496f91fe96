"""Separators whole and in blocks: the same stems; and whatever does not fit is refused."""

import numpy as np
import pytest

from lime_jax.separation import Separator, Stems, StemStream, stream_stems, with_residual
from lime_jax.separation.base import gather_stems
from tests.separation.conftest import RATE, Halves, noise

MONO, ONE, STEREO = (1_000,), (1, 1_000), (2, 1_000)


class Streaming:
    """The same stems as `Halves`, in blocks of other sizes than it gets."""

    name, version = "streaming", "1"

    def __call__(self, waveform, sample_rate):
        return gather_stems(self.stream, waveform, sample_rate)

    def stream(self, blocks, sample_rate):
        halves = (part for block in blocks for part in np.array_split(block, 3, axis=1))
        return StemStream(
            Halves.names,
            (np.stack([0.5 * part, 0.25 * part]).astype(np.float32) for part in halves),
        )


class Fixed(Halves):
    """Returns what it was made with."""

    def __init__(self, stems):
        super().__init__("fixed")
        self.stems = stems

    def __call__(self, waveform, sample_rate):
        return self.stems


def stems_of(stream):
    return np.concatenate(list(stream.blocks), axis=-1)


def in_blocks(waveform, *sizes):
    return iter(np.split(np.atleast_2d(waveform), np.cumsum(sizes), axis=1))


@pytest.mark.parametrize("make", [Halves, Streaming])
@pytest.mark.parametrize("shape", [ONE, STEREO])
@pytest.mark.parametrize("sizes", [(), (1,), (400, 400), (10,) * 50])
def test_blocks_and_the_whole_give_the_same_stems(make, shape, sizes):
    separator, waveform = make(), noise(*shape)
    assert isinstance(separator, Separator)
    stream = stream_stems(separator, in_blocks(waveform, *sizes), RATE)
    whole = separator(waveform, RATE)
    assert stream.names == whole.names == Halves.names
    np.testing.assert_array_equal(stems_of(stream), whole.waveforms)


@pytest.mark.parametrize("shape", [MONO, ONE, STEREO])
def test_stems_have_the_channels_of_the_sound(shape):
    stems = Streaming()(noise(*shape), RATE)
    assert stems.waveforms.shape == (2, *shape) and stems.waveforms.dtype == np.float32
    assert stems.sample_rate == RATE


def test_mono_is_the_mean_over_channels():
    waveform = noise(*STEREO)
    mono = Halves()(waveform, RATE).mono()
    np.testing.assert_allclose(mono.waveforms[0], 0.5 * waveform.mean(axis=0), atol=1e-7)
    np.testing.assert_array_equal(mono.mono().waveforms, mono.waveforms)
    assert (mono.names, mono.sample_rate) == (Halves.names, RATE)


def stems(*shape, rate=RATE):
    return Stems(noise(*shape), Halves.names, rate)


WRONG = {
    "shorter": (stems(2, 2, 999), r"of shape \(2, 2, 1000\) at 8000 Hz, got \(2, 2, 999\)"),
    "mono": (stems(2, 1_000), r"got \(2, 1000\)"),
    "a stem too many": (stems(3, 2, 1_000), r"got \(3, 2, 1000\)"),
    "another rate": (stems(2, 2, 1_000, rate=44_100), r"got .* at 44100 Hz"),
}


@pytest.mark.parametrize("case", WRONG)
def test_stems_that_do_not_belong_to_the_sound_are_refused(case):
    wrong, message = WRONG[case]
    with pytest.raises(ValueError, match=f"`fixed` must return stems.*{message}") as error:
        stream_stems(Fixed(wrong), in_blocks(noise(*STEREO)), RATE)
    assert "\n" not in str(error.value)


class Miscut(Streaming):
    """Streams what does not belong to the sound."""

    name = "miscut"

    def __init__(self, change):
        self.change = change

    def stream(self, blocks, sample_rate):
        stream = super().stream(blocks, sample_rate)
        return StemStream(stream.names, (self.change(block) for block in stream.blocks))


@pytest.mark.parametrize(
    "change", [lambda b: b[..., 1:], lambda b: b[:1], lambda b: b[:, :1], lambda b: b[..., :0]]
)
def test_streams_that_do_not_belong_to_the_sound_are_refused(change):
    stream = stream_stems(Miscut(change), in_blocks(noise(*STEREO), 500), RATE)
    with pytest.raises(ValueError, match=r"`miscut` must return stems of shape \(2, 2, \d+\)"):
        list(stream.blocks)


@pytest.mark.parametrize("shape", [(0,), (2, 0), (1, 2, 3)])
def test_waveforms_of_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"`waveform` must have shape .* got \(") as error:
        gather_stems(Streaming().stream, np.zeros(shape, np.float32), RATE)
    assert "\n" not in str(error.value)


def test_with_the_residual_stems_sum_to_the_mixture():
    mix = noise(*MONO)
    whole = with_residual(Halves()(mix, RATE), mix)
    assert whole.names == (*Halves.names, "residual")
    np.testing.assert_allclose(whole.waveforms.sum(axis=0), mix, atol=1e-6)


def test_stems_that_sum_to_the_mixture_get_no_residual():
    mix = noise(*MONO)
    whole = with_residual(Halves(gains=(0.7, 0.3))(mix, RATE), mix)
    assert whole.names == Halves.names
    np.testing.assert_allclose(whole.waveforms.sum(axis=0), mix, atol=1e-6)


def test_a_residual_of_channels_is_refused():
    with pytest.raises(ValueError, match=r"must be mono.*`stems.mono\(\)`"):
        with_residual(Halves()(noise(*STEREO), RATE), noise(*MONO))


def test_a_residual_of_another_length_is_refused():
    with pytest.raises(ValueError, match="must have the same length"):
        with_residual(Halves()(noise(*MONO), RATE), noise(2_000))
