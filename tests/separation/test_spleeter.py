"""Spleeter in JAX: the original's numbers, and what holds for any weights."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lime_jax.audio import features
from lime_jax.separation import mask_extension, spleeter, unet
from lime_jax.separation.spleeter import HOP_LENGTH, N_FFT, Spleeter
from lime_jax.separation.unet import CONFIGS, NUM_FRAMES, SpleeterConfig, SpleeterNetwork
from tests.networks import initialise

_spec = importlib.util.spec_from_file_location("rule", Path(__file__).with_name("rule_weights.py"))
rule = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(rule)

RATE = spleeter.SAMPLE_RATE
# The least that the networks can halve six times; those of songs have eight times as many.
FEW_FRAMES = 64
CHUNK = FEW_FRAMES * HOP_LENGTH

# Two instruments small enough for a test, with all that the large ones have.
SMALL = SpleeterConfig(("voice", "rest"), num_filters=(2, 2, 2, 2, 2, 2))


@pytest.fixture(scope="module")
def small_network():
    return initialise(lambda: SpleeterNetwork(SMALL, rngs=nnx.Rngs(3)))


@pytest.fixture
def short_chunks(monkeypatch):
    """Chunks of 1.5 s instead of 12 s, which take an eighth of the time."""
    monkeypatch.setattr(spleeter, "NUM_FRAMES", FEW_FRAMES)
    monkeypatch.setattr(spleeter, "_CHUNK", CHUNK - HOP_LENGTH + N_FFT)


@pytest.fixture
def small(small_network, short_chunks):
    return small_network


def separator(network, **options):
    return Spleeter(network, "spleeter:test", "0", **options)


def noise(*shape, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def low_passed(waveform, num_bins):
    """In float64: the waveform without the STFT bins from `num_bins` on."""
    num_samples = waveform.shape[-1]
    num_frames = -(-(num_samples + N_FFT) // HOP_LENGTH)
    padded = np.zeros((*waveform.shape[:-1], (num_frames - 1) * HOP_LENGTH + N_FFT))
    padded[..., N_FFT : N_FFT + num_samples] = waveform
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    total = np.zeros_like(padded)
    for frame in range(num_frames):
        place = slice(frame * HOP_LENGTH, frame * HOP_LENGTH + N_FFT)
        spectrum = np.fft.rfft(padded[..., place] * window)
        spectrum[..., num_bins:] = 0
        total[..., place] += np.fft.irfft(spectrum, N_FFT) * window * 2 / 3
    return total[..., N_FFT : N_FFT + num_samples]


def magnitudes(waveform):
    """What the network gets of a waveform that fits into one chunk."""
    padded = np.zeros((2, (NUM_FRAMES - 1) * HOP_LENGTH + N_FFT), np.float32)
    padded[:, N_FFT : N_FFT + waveform.shape[1]] = waveform
    spectrum = features.stft(padded, n_fft=N_FFT, hop_length=HOP_LENGTH, pad_mode="none")
    return np.abs(spectrum[:, :1024]).transpose(2, 1, 0)[None]


@pytest.mark.slow
@pytest.mark.parametrize(
    "size", ["2stems", pytest.param("4stems", marks=pytest.mark.slow), "5stems"]
)
def test_numbers_of_the_original(reference, size):
    expected = np.load(reference / "spleeter" / f"spleeter_{size}_rule_weights.npz")
    network = rule.network(size)
    seen = magnitudes(rule.waveform())
    np.testing.assert_allclose(seen[:, ::32, ::32], expected["spec_in"], atol=1e-4)

    estimated = np.asarray(network(jnp.asarray(seen)))
    num_frames = -(-(3 * RATE + N_FFT) // HOP_LENGTH)
    masks = np.asarray(mask_extension.masks_of(jnp.asarray(estimated[:, 0]), 2049, "zeros"))
    stems = separator(network)(rule.waveform(), RATE)
    assert stems.names == CONFIGS[size].instruments
    scale = float(seen.max())
    for name, estimate, mask, stem in zip(
        stems.names, estimated, masks, stems.waveforms, strict=True
    ):
        found = estimate[:, ::16, ::16], mask[:num_frames:8, ::32], stem.T[::37]
        for kind, array, full in zip(("net", "mask", "wave"), found, (scale, 1, 1), strict=True):
            wanted = expected[f"{kind}_{name}"]
            np.testing.assert_allclose(array, wanted, rtol=0, atol=1e-4 * full, err_msg=kind)
        # On their own scale, too: these are the larger numbers of a spectrogram.
        assert np.abs(found[0] - expected[f"net_{name}"]).max() < 3e-4 * found[0].max()


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("shape", [(3, 5), (4, 4), (1, 1)])
def test_doubling_is_the_gradient_of_a_halving(getkey, num_channels, shape):
    doubling = initialise(lambda: unet.Doubling(3, num_channels, rngs=nnx.Rngs(1)))
    doubling.bias[...] = jax.random.normal(getkey(), (num_channels,))
    x = jax.random.normal(getkey(), (2, *shape, 3))
    large = (2, 2 * shape[0], 2 * shape[1], num_channels)

    def halving(y):
        kernel = doubling.kernel[...]  # here (rows, columns, num_inputs, num_outputs) of a halving
        return jax.lax.conv_general_dilated(
            y, kernel, (2, 2), ((1, 2), (1, 2)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    (expected,) = jax.vjp(halving, jnp.zeros(large))[1](x)
    np.testing.assert_allclose(
        doubling(x), expected + doubling.bias[...][None, None, None], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("size", CONFIGS)
def test_networks_have_the_published_number_of_weights(size):
    """Per instrument; each has a network of its own."""
    network = nnx.eval_shape(lambda: unet.UNet(CONFIGS[size], rngs=nnx.Rngs(0)))
    state = nnx.state(network, nnx.Any(nnx.Param, nnx.BatchStat))
    count = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(state))
    # The published ones keep a normalisation of 512 features that nothing uses.
    assert count == 9_826_759 - 4 * 512


LENGTHS = [1, 100, HOP_LENGTH, N_FFT - 1, N_FFT, 44_100, CHUNK - N_FFT, CHUNK, CHUNK + 5000]


@pytest.mark.usefixtures("short_chunks")
@pytest.mark.parametrize("num_samples", LENGTHS)
def test_shares_of_one_give_the_sound_back(num_samples):
    """The way there and back, for any length: shorter than a frame, than a chunk, and longer."""
    mix = noise(2, num_samples)
    options = {"n_fft": N_FFT, "hop_length": HOP_LENGTH}

    def everything(samples, weights):
        spectrum = features.stft(samples, pad_mode="none", **options)
        weighted = spectrum * weights[None, None].astype(np.complex64)
        return 2 / 3 * features.overlap_add(weighted, **options)[None]

    for overlap in (0, 7, FEW_FRAMES // 2):
        blocks = spleeter._separate_blocks(iter([mix]), everything, overlap)
        back = np.concatenate(list(blocks), axis=-1)[0]
        assert back.shape == mix.shape
        np.testing.assert_allclose(back, mix, rtol=0, atol=1e-5 * np.abs(mix).max())


@pytest.mark.parametrize("num_bins", spleeter.NUM_BINS.values(), ids=spleeter.NUM_BINS)
@pytest.mark.parametrize("crossfade", [0.0, 0.5])
def test_stems_sum_to_the_low_passed_mix(small, num_bins, crossfade):
    mix = noise(2, CHUNK + 30_000)
    stems = separator(small, num_bins=num_bins, crossfade=crossfade)(mix, RATE)
    total = stems.waveforms.sum(axis=0)
    np.testing.assert_allclose(total, low_passed(mix, num_bins), rtol=0, atol=1e-5)


def test_average_masks_leave_nothing_out(small):
    mix = noise(2, 50_000)
    stems = separator(small, mask_extension="average")(mix, RATE)
    np.testing.assert_allclose(stems.waveforms.sum(axis=0), mix, rtol=0, atol=1e-5)


def test_a_chunk_does_not_hear_the_next(small):
    """So the original's chunks are ours, and a song's beginning does not depend on its length."""
    mix = noise(2, CHUNK + 50_000)
    whole = separator(small)(mix, RATE).waveforms
    start = separator(small)(mix[:, :CHUNK], RATE).waveforms
    certain = CHUNK - 2 * N_FFT
    np.testing.assert_allclose(whole[..., :certain], start[..., :certain], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "crossfade"),
    [(777, 0.5), (16_384, 0.0), (10**6, 0.5)],
)
def test_blocks_of_any_size_give_the_same_stems(small, size, crossfade):
    mix = noise(2, CHUNK + 20_000)
    chosen = separator(small, crossfade=crossfade)
    blocks = (mix[:, first : first + size] for first in range(0, mix.shape[1], size))
    stream = chosen.stream(blocks, RATE)
    stems = np.concatenate(list(stream.blocks), axis=-1)
    np.testing.assert_array_equal(stems, chosen(mix, RATE).waveforms)


def test_crossfades_meet_between_the_chunks(small):
    """Where chunks overlap, stems go over from the one's to the other's; elsewhere all is equal."""
    mix = noise(2, CHUNK + 50_000)
    hard = separator(small)(mix, RATE).waveforms
    soft = separator(small, crossfade=0.5)(mix, RATE).waveforms
    border = CHUNK - HOP_LENGTH * round(0.5 * RATE / HOP_LENGTH)
    early = slice(0, border - N_FFT)
    np.testing.assert_allclose(hard[..., early], soft[..., early], rtol=0, atol=1e-6)
    assert np.abs(hard[..., border:] - soft[..., border:]).max() > 1e-4


def test_mono_is_stereo_with_equal_channels(small):
    mono = noise(50_000)
    stems = separator(small)(mono, RATE)
    stereo = separator(small)(np.stack([mono, mono]), RATE)
    assert stems.waveforms.shape == (2, 50_000)
    np.testing.assert_allclose(stems.waveforms, stereo.mono().waveforms, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("sample_rate", "num_samples"),
    [(8_000, 200), (16_000, 12_345), (22_050, 12_345), (48_000, 201)],
)
def test_other_rates_come_back_in_time_and_length(small, sample_rate, num_samples):
    """The stems of band-limited sound sum to it, at the sample."""
    time = np.arange(num_samples) / sample_rate
    fade = np.minimum(1, np.minimum(time, time[::-1]) * 200)
    mix = (0.3 * np.sin(2 * np.pi * 700 * time) * fade).astype(np.float32)
    stems = separator(small)(mix, sample_rate)
    assert stems.waveforms.shape == (2, num_samples)
    assert stems.sample_rate == sample_rate
    np.testing.assert_allclose(stems.waveforms.sum(axis=0), mix, rtol=0, atol=2e-3)


def test_silence_stays_silent(small):
    stems = separator(small)(np.zeros((2, 5000), np.float32), RATE)
    assert np.abs(stems.waveforms).max() < 1e-6


@pytest.mark.parametrize(
    ("waveform", "options", "message"),
    [
        (noise(3, 100), {}, "one or two channels, got 3"),
        (noise(1, 2, 100), {}, "shape \\(num_samples,\\) or"),
        (np.zeros(0, np.float32), {}, "hold a sample"),
        (noise(2, 100), {"crossfade": 6.0}, "`crossfade` must lie between 0 and 5.94 s"),
        (noise(2, 100), {"crossfade": -1.0}, "`crossfade` must lie"),
        (noise(2, 100), {"mask_extension": "none"}, "`mask_extension` 'none' is unknown"),
    ],
)
def test_impossible_arguments_are_named(small_network, waveform, options, message):
    with pytest.raises(ValueError, match=message):
        separator(small_network, **options)(waveform, RATE)


def test_songs_of_any_length_share_one_program(small):
    before = spleeter._chunk._cache_size()
    chosen = separator(small)
    for num_samples in (100, CHUNK // 2, CHUNK + 1):
        chosen(noise(2, num_samples), RATE)
    assert spleeter._chunk._cache_size() <= before + 1
