"""Masks on the mixture: lengths, channels and rates are kept, and weights come from disk."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lime_jax import separation
from lime_jax.errors import ModelError
from lime_jax.models import cache, weights
from lime_jax.separation import one_vs_all
from lime_jax.separation.one_vs_all import OneVsAllConfig, OneVsAllNetwork
from tests.networks import initialise

pytest.importorskip("soxr")

TINY = OneVsAllConfig(instruments=("low", "high"), num_channels=4, dilations=(1, 2))


@pytest.fixture(autouse=True)
def short_grid(monkeypatch):
    monkeypatch.setattr(one_vs_all, "_GRID", 4096)


@pytest.fixture(scope="module")
def network():
    return initialise(lambda: OneVsAllNetwork(TINY, rngs=nnx.Rngs(0)))


@pytest.fixture
def separator(network):
    return one_vs_all.as_separator(network)


def noise(*shape):
    return np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)


def with_masks(*biases):
    """A network whose masks are the same everywhere."""
    network = initialise(lambda: OneVsAllNetwork(TINY, rngs=nnx.Rngs(0)))
    for one, bias in zip(network.networks, biases, strict=True):
        one.last.kernel[...] = jnp.zeros_like(one.last.kernel[...])
        one.last.bias[...] = jnp.full_like(one.last.bias[...], bias)
    return one_vs_all.as_separator(network)


@pytest.mark.parametrize("shape", [(1,), (3000,), (2, 4096), (1, 5000)])
@pytest.mark.parametrize("sample_rate", [16_000, 44_100, 8000])
def test_stems_have_the_shape_and_rate_of_the_mixture(separator, shape, sample_rate):
    stems = separator(noise(*shape), sample_rate)
    assert stems.waveforms.shape == (2, *shape) and stems.waveforms.dtype == np.float32
    assert stems.names == ("low", "high") and stems.sample_rate == sample_rate
    assert np.isfinite(stems.waveforms).all()


def test_open_masks_give_the_mixture_and_closed_ones_silence():
    waveform = noise(9000)
    low, high = with_masks(30.0, -30.0)(waveform, 16_000).waveforms
    np.testing.assert_allclose(low, waveform, atol=1e-5)
    np.testing.assert_allclose(high, 0, atol=1e-5)


def test_masks_are_shares_of_the_mixture():
    waveform = noise(9000)
    low, high = with_masks(0.0, float(np.log(3)))(waveform, 16_000).waveforms
    np.testing.assert_allclose(low, 0.5 * waveform, atol=1e-5)
    np.testing.assert_allclose(high, 0.75 * waveform, atol=1e-5)


def test_channels_are_separated_on_their_own(separator):
    waveform = noise(2, 6000)
    both = separator(waveform, 16_000).waveforms
    for channel in range(2):
        alone = separator(waveform[channel], 16_000).waveforms
        np.testing.assert_allclose(both[:, channel], alone, atol=1e-5)


def test_filling_up_does_not_change_stems(separator, monkeypatch):
    waveform = noise(6000)
    first = separator(waveform, 16_000).waveforms
    monkeypatch.setattr(one_vs_all, "_GRID", 20_000)
    # The last frames of the shorter one see its end.
    second = separator(waveform, 16_000).waveforms
    np.testing.assert_allclose(first[:, :4000], second[:, :4000], atol=1e-5)


@pytest.mark.parametrize("shape", [(0,), (2, 0), (1, 2, 3)])
def test_other_shapes_are_refused(separator, shape):
    with pytest.raises(ValueError, match="`waveform` must have shape"):
        separator(np.zeros(shape, np.float32), 16_000)


def test_the_version_is_that_of_the_weights(network):
    assert one_vs_all.as_separator(network).version == one_vs_all.as_separator(network).version
    assert one_vs_all.as_separator(network).version != with_masks(0.0, 0.0).version


class TestWeights:
    @pytest.fixture
    def stored(self, network, tmp_path, monkeypatch):
        monkeypatch.setenv("LIME_JAX_CACHE", str(tmp_path))
        monkeypatch.setattr(one_vs_all, "OneVsAllConfig", lambda: TINY)
        folder = one_vs_all.default_folder()
        cache.write(folder, {one_vs_all.NAME: weights.arrays_of(network)}, origin="a test")
        return folder

    def test_they_are_found_in_the_cache_and_elsewhere(self, stored, tmp_path):
        assert separation.is_fetched("one-vs-all")
        first = separation.load("one-vs-all")
        elsewhere = stored.rename(tmp_path / "elsewhere")
        assert not separation.is_fetched("one-vs-all")
        assert separation.load("one-vs-all", checkpoint=elsewhere).version == first.version
        assert isinstance(first, separation.Separator) and first.name == "one-vs-all"

    def test_missing_ones_say_how_to_make_them(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LIME_JAX_CACHE", str(tmp_path))
        with pytest.raises(ModelError, match=r"scripts/training/separator\.py"):
            separation.load("one-vs-all")

    def test_there_is_nothing_to_fetch_and_nothing_to_cross_fade(self):
        with pytest.raises(ModelError, match="no published weights"):
            separation.fetch("one-vs-all")
        with pytest.raises(ValueError, match="`crossfade` goes with Spleeter"):
            separation.load("one-vs-all", crossfade=1.0)
