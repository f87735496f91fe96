import jax
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.audio import fills, render, segment, superpixels, timefrequency
from tests.audio import librosa_in_numpy

RATE = 8_000
N = 6_001
NAMES = ("drums", "bass", "piano")

STEMS = np.stack(
    [
        0.3 * np.random.default_rng(0).standard_normal(N),
        0.5 * np.sin(2 * np.pi * 110 * np.arange(N) / RATE),
        0.4 * np.sin(2 * np.pi * (300 + 200 * np.arange(N) / N) * np.arange(N) / RATE),
    ]
).astype(np.float32)
MIX = STEMS.sum(axis=0)

# Every way to segment an excerpt that may have a fill, then those that are silent where off.
FILLED = {
    "time": lambda **options: segment.by_time(MIX, RATE, 7, **options),
    "frequency": lambda **options: segment.by_frequency(MIX, RATE, 5, **options),
    "grid": lambda **options: segment.by_grid(MIX, RATE, (3, 4), **options),
    "superpixels": lambda **options: segment.by_superpixels(MIX, RATE, 12, **options),
    "felzenszwalb": lambda **options: segment.by_superpixels(
        MIX, RATE, 12, algorithm="felzenszwalb", **options
    ),
}
SEGMENTATIONS = FILLED | {
    "stems": lambda: segment.by_stems(STEMS, NAMES, RATE),
    "stems-time": lambda: segment.by_stems_and_time(STEMS, NAMES, RATE, 4),
}
SPECTRAL = [name for name in FILLED if name != "time"]


@pytest.fixture(scope="module")
def segmented():
    """Each segmentation once."""
    return {name: make() for name, make in SEGMENTATIONS.items()}


@pytest.fixture(scope="module")
def sounds(segmented):
    """Each segmentation with all on, all off, every component alone, and all but it."""

    def sounds_of(audio):
        num = len(audio.extents)
        only = np.eye(num, dtype=bool)
        masks = np.concatenate([np.ones((1, num), bool), np.zeros((1, num), bool), only, ~only])
        rendered = np.asarray(jax.jit(jax.vmap(lambda mask: render.render(audio, mask)))(masks))
        everything, nothing = rendered[:2]
        alone, without = np.split(rendered[2:], 2)
        return dict(everything=everything, nothing=nothing, alone=alone, without=without)

    return {name: sounds_of(audio) for name, audio in segmented.items()}


@pytest.fixture(params=SEGMENTATIONS)
def kind(request):
    return request.param


class TestLaws:
    def test_all_on_is_the_input(self, segmented, sounds, kind):
        tolerance = 0 if segmented[kind].n_fft is None else 1e-6
        np.testing.assert_array_equal(segmented[kind].waveform, MIX)
        np.testing.assert_allclose(sounds[kind]["everything"], MIX, rtol=0, atol=tolerance)

    def test_all_off_is_silent(self, sounds, kind):
        assert not sounds[kind]["nothing"].any()

    def test_components_add_up_to_the_input(self, sounds, kind):
        np.testing.assert_allclose(sounds[kind]["alone"].sum(axis=0), MIX, atol=2e-6)

    def test_a_component_and_all_others_add_up_to_the_input(self, sounds, kind):
        both = sounds[kind]["alone"] + sounds[kind]["without"]
        np.testing.assert_allclose(both, np.broadcast_to(MIX, both.shape), atol=2e-6)

    def test_every_component_has_an_extent_and_an_effect(self, segmented, kind):
        audio = segmented[kind]
        labels = np.asarray(audio.components.labels)
        assert audio.components.num_components == len(audio.extents)
        assert np.bincount(labels.ravel()).all()
        assert labels.max() + 1 == audio.components.num_segments

    def test_names_are_unique(self, segmented, kind):
        extents = segmented[kind].extents
        assert len({extent.name for extent in extents}) == len(extents)

    def test_extents_cover_the_excerpt(self, segmented, kind):
        audio = segmented[kind]
        assert min(extent.start for extent in audio.extents) == 0.0
        assert max(extent.end for extent in audio.extents) == N / RATE
        assert min(extent.low for extent in audio.extents) == 0.0
        assert max(extent.high for extent in audio.extents) == RATE / 2
        area = sum((p.end - p.start) * (p.high - p.low) for p in audio.extents)
        whole = audio.components.num_sources * N / RATE * RATE / 2
        if audio.kind == "superpixels":
            assert area >= whole
        else:
            assert area == pytest.approx(whole)


class TestExtents:
    @pytest.mark.parametrize("name", ["time", "stems-time"])
    def test_a_time_is_silent_outside_its_extent(self, segmented, sounds, name):
        for extent, sound in zip(segmented[name].extents, sounds[name]["alone"], strict=True):
            first, end = round(extent.start * RATE), round(extent.end * RATE)
            source = MIX if extent.source is None else STEMS[NAMES.index(extent.source)]
            np.testing.assert_array_equal(sound[first:end], source[first:end])
            assert not sound[:first].any() and not sound[end:].any()

    @pytest.mark.parametrize("name", SPECTRAL)
    def test_bins_and_frames_lie_inside_the_extent_of_their_component(self, segmented, name):
        audio = segmented[name]
        shape = audio.components.sources.shape[1:]
        labels = np.broadcast_to(audio.components.labels, shape)
        hertz = np.fft.rfftfreq(audio.n_fft, 1 / RATE)
        seconds = np.arange(shape[1]) * audio.hop_length / RATE
        for index, extent in enumerate(audio.extents):
            bins, frames = np.nonzero(labels == index)
            assert (hertz[bins] >= extent.low - 1e-9).all()
            assert (hertz[bins] <= extent.high + 1e-9).all()
            assert (seconds[frames] >= extent.start).all()
            assert (seconds[frames] <= extent.end).all()

    @pytest.mark.parametrize("rate", [16_000, 44_100])
    def test_bands_are_equally_wide_on_the_mel_scale(self, rate):
        edges = timefrequency.band_edges(rate, 9)
        mels = librosa_in_numpy.hz_to_mel(np.array([edges[0][0], *(high for _, high in edges)]))
        np.testing.assert_allclose(np.diff(mels), mels[-1] / 9, rtol=1e-6)

    @pytest.mark.parametrize(("rate", "n_fft"), [(8_000, 512), (16_000, 1024), (44_100, 2048)])
    def test_windows_last_about_64_ms(self, rate, n_fft):
        ones = jax.device_put(np.ones(9, np.float32))
        assert timefrequency.analyse(ones, rate, None).n_fft == n_fft


class TestNames:
    def test_names_count_times_bands_and_cells_from_one(self, segmented):
        names = {kind: list(segmented[kind].names) for kind in segmented}
        assert names["time"] == ["T1", "T2", "T3", "T4", "T5", "T6", "T7"]
        assert names["frequency"] == ["F1", "F2", "F3", "F4", "F5"]
        assert names["grid"][:5] == ["T1 F1", "T1 F2", "T1 F3", "T1 F4", "T2 F1"]
        assert names["superpixels"][0] == "S1"
        assert names["stems"] == list(NAMES)
        assert names["stems-time"][2:5] == ["piano T1", "drums T2", "bass T2"]

    def test_kinds_are_those_of_the_command_line(self, segmented):
        assert {audio.kind for audio in segmented.values()} == {
            "time",
            "frequency",
            "grid",
            "superpixels",
            "stems",
            "stems-time",
        }


def spectrogram_of_mix():
    sources = segment.by_frequency(MIX, RATE, 2).components.sources
    return jax.device_put(np.asarray(sources)[0])


class TestFills:
    @pytest.mark.parametrize(
        ("name", "fill"),
        [("time", fill) for fill in fills.WAVEFORM_FILLS]
        + [("grid", fill) for fill in fills.FILLS],
    )
    def test_all_off_is_the_fill_and_all_on_the_input(self, getkey, name, fill):
        audio = FILLED[name](fill=fill, key=getkey())
        components, num = audio.components, len(audio.extents)
        source, filled = np.asarray(components.sources)[0], np.asarray(components.fill)[0]
        off = lj.recompose(components, jax.device_put(np.zeros(num, bool)))
        np.testing.assert_array_equal(off, np.broadcast_to(filled, off.shape))
        on = lj.recompose(components, jax.device_put(np.ones(num, bool)))
        np.testing.assert_array_equal(on, source)

    @pytest.mark.parametrize("fill", fills.FILLS)
    def test_spectrogram_fills_keep_the_phase(self, getkey, fill):
        spectrogram = spectrogram_of_mix()
        filled = fills.spectrogram_fill(fill, spectrogram, getkey())
        signal = np.asarray(spectrogram)
        turned = np.asarray(filled) * np.conj(signal) / np.abs(signal)
        np.testing.assert_allclose(turned.imag, 0, atol=1e-4)
        assert (turned.real >= -1e-4).all()
        np.testing.assert_allclose(
            turned.real, np.broadcast_to(np.abs(filled), turned.shape), atol=1e-4
        )

    def test_fixed_fills_are_levels_of_the_input(self):
        spectrogram = spectrogram_of_mix()
        magnitude = np.abs(np.asarray(spectrogram))
        for fill, signal, expected in [
            (fills.waveform_fill("mean", jax.device_put(MIX), None), MIX, MIX.mean()),
            (
                fills.spectrogram_fill("minimum", spectrogram, None),
                magnitude,
                magnitude.min(),
            ),
            (
                fills.spectrogram_fill("mean", spectrogram, None),
                magnitude,
                magnitude.mean(),
            ),
        ]:
            np.testing.assert_allclose(
                np.abs(np.broadcast_to(fill, signal.shape)), abs(expected), rtol=1e-4, atol=1e-7
            )

    def test_shuffling_keeps_all_values(self, getkey):
        shuffled = fills.waveform_fill("shuffle", jax.device_put(MIX), getkey())
        np.testing.assert_array_equal(np.sort(shuffled), np.sort(MIX))
        spectrogram = spectrogram_of_mix()
        shuffled = fills.spectrogram_fill("shuffle", spectrogram, getkey())
        np.testing.assert_allclose(
            np.sort(np.abs(np.asarray(shuffled)).ravel()),
            np.sort(np.abs(np.asarray(spectrogram)).ravel()),
            rtol=1e-4,
            atol=1e-6,
        )

    def test_noise_is_as_loud_as_the_input(self, getkey):
        noise = np.asarray(fills.waveform_fill("noise", jax.device_put(MIX), getkey()))
        assert np.sqrt(np.mean(np.square(noise))) == pytest.approx(
            np.sqrt(np.mean(np.square(MIX))), rel=0.05
        )
        spectrogram = np.tile(np.asarray(spectrogram_of_mix()), (1, 8))
        draw = jax.jit(fills.spectrogram_fill, static_argnums=0)
        noise = draw("noise", spectrogram, getkey())

        def energy(x):
            return np.square(np.abs(np.asarray(x))).mean(axis=1)

        np.testing.assert_allclose(energy(noise), energy(spectrogram), rtol=0.5)
        assert np.log10(energy(noise) / energy(spectrogram)).mean() == pytest.approx(0, abs=0.02)

    @pytest.mark.parametrize("fill", ["noise", "shuffle"])
    def test_random_fills_depend_on_the_key_alone(self, getkey, fill):
        first, second = getkey(), getkey()

        def draw(key):
            return FILLED["grid"](fill=fill, key=key).components.fill

        np.testing.assert_array_equal(draw(first), draw(first))
        assert not np.allclose(draw(first), draw(second))


class TestSuperpixels:
    image = np.repeat([[0.1, 0.9, 0.4]], 30, axis=0).repeat([30, 30, 40], axis=1)

    @pytest.mark.parametrize("algorithm", superpixels.ALGORITHMS)
    @pytest.mark.parametrize("num_segments", [1, 3, 20])
    def test_labels_have_no_gaps(self, algorithm, num_segments):
        labels = superpixels.superpixels(self.image, num_segments, algorithm)
        assert labels.dtype == np.int32
        assert set(labels.ravel()) == set(range(labels.max() + 1))
        assert labels.max() + 1 <= 2 * num_segments

    @pytest.mark.parametrize("algorithm", superpixels.ALGORITHMS)
    def test_regions_follow_the_image(self, algorithm):
        labels = superpixels.superpixels(self.image, 3, algorithm)
        for column in (15, 45, 80):
            assert len(np.unique(labels[:, column])) == 1
        assert len({labels[15, 15], labels[15, 45], labels[15, 80]}) == 3

    def test_labels_from_one_or_with_gaps_are_renumbered(self, monkeypatch):
        given = np.where(self.image > 0.5, 7, np.where(self.image > 0.2, 3, 1))
        monkeypatch.setattr("skimage.segmentation.slic", lambda image, **options: given)
        labels = superpixels.superpixels(self.image, 3, "slic")
        np.testing.assert_array_equal(labels, np.searchsorted([1, 3, 7], given))

    def test_more_segments_asked_for_give_more_regions(self):
        view = timefrequency.analyse(jax.device_put(MIX), RATE, None)
        image = timefrequency.image(view, timefrequency.bands(view, 60))
        for algorithm in superpixels.ALGORITHMS:
            counts = [superpixels.superpixels(image, num, algorithm).max() for num in (5, 20, 80)]
            assert counts == sorted(set(counts))
            assert 10 < counts[1] < 32


class TestStems:
    def test_the_order_of_stems_is_free(self):
        order = [2, 0, 1]
        one = segment.by_stems(STEMS, NAMES, RATE)
        other = segment.by_stems(STEMS[order], [NAMES[i] for i in order], RATE)
        mask = np.array([True, False, True])
        np.testing.assert_allclose(
            render.render(one, jax.device_put(mask)),
            render.render(other, jax.device_put(mask[order])),
            atol=1e-6,
        )

    def test_the_residual_completes_the_mixture(self):
        stems, names = segment.with_residual(STEMS[:2], NAMES[:2], MIX)
        assert names == ("drums", "bass", "residual")
        np.testing.assert_allclose(stems[2], STEMS[2], atol=1e-6)
        audio = segment.by_stems(stems, names, RATE)
        np.testing.assert_allclose(audio.waveform, MIX, atol=1e-6)

    @pytest.mark.parametrize(("level", "count"), [(0.9e-3, 3), (1.1e-3, 4)])
    def test_a_residual_below_60_db_is_no_stem(self, level, count):
        mix = MIX * np.float32(1 + level)
        stems, names = segment.with_residual(STEMS, NAMES, mix)
        assert len(stems) == len(names) == count
        np.testing.assert_allclose(stems.sum(axis=0), mix, atol=1e-6)

    def test_a_quiet_residual_goes_to_the_loudest_stem(self):
        stems, names = segment.with_residual(STEMS, NAMES, MIX * np.float32(1 + 1e-4))
        changed = [not np.array_equal(a, b) for a, b in zip(stems, STEMS, strict=True)]
        loudest = int(np.square(STEMS).sum(axis=1).argmax())
        assert names == NAMES and changed == [index == loudest for index in range(3)]

    def test_a_stem_called_residual_is_replaced(self):
        whole, names = segment.with_residual(STEMS[:2], NAMES[:2], MIX)
        again, same = segment.with_residual(whole * [[1], [1], [0.5]], names, MIX)
        assert same == names
        np.testing.assert_allclose(again, whole, atol=1e-6)

    def test_small_differences_in_length_are_cut_off(self):
        stems, names = segment.with_residual(STEMS, NAMES, MIX[:-32])
        assert stems.shape == (3, N - 32)
        assert names == NAMES
        with pytest.raises(ValueError, match=r"same length, got 6001 and 5968 samples"):
            segment.with_residual(STEMS, NAMES, MIX[:-33])


MISTAKES = {
    "fill": (lambda: segment.by_time(MIX, RATE, 3, fill="zeros"), "`fill` 'zeros'.*'zero'"),
    "offset": (lambda: segment.by_time(MIX, RATE, 3, fill="minimum"), "suits spectrograms"),
    "spectral fill": (lambda: segment.by_grid(MIX, RATE, (2, 2), fill="nois"), "'noise'"),
    "key": (lambda: segment.by_time(MIX, RATE, 3, fill="noise"), "`key` is missing"),
    "samples": (
        lambda: segment.by_time(MIX, RATE, N + 1),
        "between 1 and 6001, the number of samp",
    ),
    "none": (lambda: segment.by_time(MIX, RATE, 0), "between 1 and 6001"),
    "frames": (lambda: segment.by_grid(MIX, RATE, (48, 2)), "between 1 and 47, the number of STFT"),
    "bands": (lambda: segment.by_frequency(MIX, RATE, 500), r"between 1 and 1\d\d in frequency"),
    "no band": (lambda: segment.by_grid(MIX, RATE, (2, 0)), "between 1 and 1 in frequency"),
    "regions": (lambda: segment.by_superpixels(MIX, RATE, 10**6), "the pixels of the image"),
    "algorithm": (
        lambda: segment.by_superpixels(MIX, RATE, 9, algorithm="slick"),
        "'slick' is unknown; did you mean 'slic'",
    ),
    "n_fft": (lambda: segment.by_frequency(MIX, RATE, 2, n_fft=1001), "multiple of 4"),
    "empty": (lambda: segment.by_time(MIX[:0], RATE, 1), "hold a sample"),
    "names": (lambda: segment.by_stems(STEMS, NAMES[:2], RATE), "got 2 names"),
    "twice": (lambda: segment.by_stems(STEMS, ("a", "b", "a"), RATE), "a different name for each"),
    "stems samples": (
        lambda: segment.by_stems_and_time(STEMS, NAMES, RATE, N + 1),
        "between 1 and 6001",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_explained(name):
    mistake, message = MISTAKES[name]
    with pytest.raises(ValueError, match=message):
        mistake()


def test_lists_are_taken_as_arrays():
    stems = [[0.1, 0.2, 0.3], [0.0, -0.1, 0.2]]
    audio = segment.by_stems(stems, ("a", "b"), RATE)
    np.testing.assert_allclose(audio.waveform, [0.1, 0.1, 0.5], atol=1e-7)
    mixed, names = segment.with_residual(stems, ("a", "b"), [0.1, 0.1, 1.0])
    assert mixed.shape == (3, 3) and names == ("a", "b", "residual")
    assert len(segment.by_time([0.1, 0.2, 0.3], RATE, 3).extents) == 3


def test_the_most_bands_all_hold_a_bin():
    view = timefrequency.analyse(jax.device_put(MIX), RATE, None)
    most = timefrequency.most_bands(view, 10_000)
    assert len(segment.by_frequency(MIX, RATE, most).extents) == most
    with pytest.raises(ValueError, match=f"between 1 and {most} "):
        segment.by_frequency(MIX, RATE, most + 1)


def test_the_shortest_excerpts_can_be_segmented():
    audio = segment.by_superpixels(MIX[:1], RATE, 2)
    everything = render.render(audio, jax.device_put(np.ones(len(audio.extents), bool)))
    np.testing.assert_allclose(everything, MIX[:1], atol=1e-6)


# Rates as readers of sound return them.
RATES = {"NumPy": np.int64(RATE), "float": float(RATE), "float32": np.float32(RATE)}


@pytest.mark.parametrize("kind", RATES)
@pytest.mark.parametrize("name", SEGMENTATIONS)
def test_rates_may_be_of_any_kind(name, kind, segmented, monkeypatch):
    """Records of what was cut at a rate of NumPy were no JSON, after all the work."""
    monkeypatch.setitem(globals(), "RATE", RATES[kind])
    audio = SEGMENTATIONS[name]()
    assert type(audio.sample_rate) is int and audio.n_fft == segmented[name].n_fft
    assert audio.extents == segmented[name].extents


@pytest.mark.parametrize("rate", [0, -8000, 8000.5, float("nan"), float("inf")])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(ValueError, match="`sample_rate` must be a positive whole number in Hz"):
        segment.by_time(MIX, rate, 3)
