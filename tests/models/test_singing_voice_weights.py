"""The loaded network is the original one, computed here again from the same file in float64."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import convolve2d, correlate2d

from lime_jax.errors import ModelError
from lime_jax.models import singing_voice_weights, weights
from lime_jax.models.crc32c import crc32c

STEM = "Jamendo_augment_mel"
TENSORFLOW = {
    "conv2d": (3, 3, 1, 64),
    "conv2d_1": (3, 3, 64, 32),
    "conv2d_2": (3, 3, 32, 128),
    "conv2d_3": (3, 3, 128, 64),
    "dense": (4928, 256),
    "dense_1": (256, 64),
    "dense_2": (64, 1),
}
LASAGNE = [(64, 1, 3, 3), (32, 64, 3, 3), (128, 32, 3, 3), (64, 128, 3, 3)]
LASAGNE += [(4928, 256), (256, 64), (64, 1)]
OURS = ["convs.0", "convs.1", "convs.2", "convs.3", "dense.0", "dense.1", "output"]


@pytest.fixture(scope="module")
def tensors():
    rng = np.random.default_rng(1)
    arrays = {}
    for scope, shape in TENSORFLOW.items():
        arrays[f"{scope}/kernel"] = random_kernel(rng, shape, np.prod(shape[:-1]))
        arrays[f"{scope}/bias"] = 0.1 * rng.standard_normal(shape[-1:], np.float32)
    return arrays


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(2)
    arrays = []
    for shape in LASAGNE:
        is_conv = len(shape) == 4
        arrays.append(random_kernel(rng, shape, np.prod(shape[1:] if is_conv else shape[:1])))
        num_units = shape[0] if is_conv else shape[1]
        arrays.append(0.1 * rng.standard_normal(num_units, np.float32))
    return {f"param{i}": array for i, array in enumerate(arrays)}


@pytest.fixture
def excerpt():
    return np.random.default_rng(3).standard_normal((115, 80), np.float32)


def random_kernel(rng, shape, num_inputs):
    return rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / num_inputs))


def tensorflow_referee(excerpt, tensors):
    """Images mel × time, correlated with kernels (mel, time, in, out); channels vary fastest."""
    kernels = [tensors[f"{scope}/kernel"].astype(float) for scope in TENSORFLOW]
    biases = [tensors[f"{scope}/bias"].astype(float) for scope in TENSORFLOW]
    x = excerpt.T[None].astype(float)
    for i in range(4):
        planes = [
            sum(correlate2d(x[j], kernels[i][:, :, j, k], "valid") for j in range(len(x)))
            for k in range(kernels[i].shape[3])
        ]
        x = leaky(np.stack(planes) + biases[i][:, None, None])
        x = maxima(x) if i in (1, 3) else x
    return classified(np.moveaxis(x, 0, -1).reshape(-1), kernels[4:], biases[4:])


def lasagne_referee(excerpt, params):
    """Images time × mel, convolved with kernels (out, in, time, mel); channels vary slowest."""
    arrays = [params[f"param{i}"].astype(float) for i in range(14)]
    kernels, biases = arrays[::2], arrays[1::2]
    x = excerpt[None].astype(float)
    for i in range(4):
        planes = [
            sum(convolve2d(plane, kernel, "valid") for plane, kernel in zip(x, stack, strict=True))
            for stack in kernels[i]
        ]
        x = leaky(np.stack(planes) + biases[i][:, None, None])
        x = maxima(x) if i in (1, 3) else x
    return classified(x.reshape(-1), kernels[4:], biases[4:])


def leaky(x):
    return np.where(x > 0, x, 0.01 * x)


def maxima(x):
    """Of squares of 3 × 3; what is left at the end counts nowhere."""
    height, width = x.shape[1] // 3, x.shape[2] // 3
    squares = x[:, : 3 * height, : 3 * width].reshape(len(x), height, 3, width, 3)
    return squares.max(axis=(2, 4))


def classified(x, kernels, biases):
    x = leaky(x @ kernels[0] + biases[0])
    x = leaky(x @ kernels[1] + biases[1])
    return 1 / (1 + np.exp(-(x @ kernels[2] + biases[2])))


def assert_same_probability(network, excerpt, expected):
    assert 0.05 < expected[0] < 0.95, "saturated, which would hide mistakes"
    np.testing.assert_allclose(network(jnp.asarray(excerpt[None]))[0], expected, atol=1e-5, rtol=0)


def message_of(read, path):
    with pytest.raises(ModelError) as error:
        read(path)
    assert "\n" not in str(error.value)
    return str(error.value)


class TestTensorFlow:
    @pytest.fixture
    def write(self, tf, tmp_path):
        def write(tensors):
            tf(crc=crc32c).write(tmp_path, STEM, tensors)
            return tmp_path / STEM

        return write

    @pytest.mark.parametrize("ending", ["", ".index"])
    def test_every_weight_finds_its_place(self, write, tensors, ending):
        path = write(tensors)
        network = singing_voice_weights.from_tensorflow(path.with_name(path.name + ending))
        arrays = weights.arrays_of(network)
        assert len(arrays) == len(tensors)
        for ours, scope in zip(OURS, TENSORFLOW, strict=True):
            for leaf in ("kernel", "bias"):
                np.testing.assert_array_equal(arrays[f"{ours}.{leaf}"], tensors[f"{scope}/{leaf}"])

    def test_state_of_the_optimiser_is_left_out(self, write, tensors):
        slots = {f"{n}/Momentum": np.full_like(a, np.nan) for n, a in tensors.items()}
        step = {"global_step": np.asarray(7, np.int64)}
        network = singing_voice_weights.from_tensorflow(write({**tensors, **slots, **step}))
        kernel = weights.arrays_of(network)["output.kernel"]
        np.testing.assert_array_equal(kernel, tensors["dense_2/kernel"])

    @pytest.mark.slow
    def test_hears_what_the_original_hears(self, write, tensors, excerpt):
        network = singing_voice_weights.from_tensorflow(write(tensors))
        assert_same_probability(network, excerpt, tensorflow_referee(excerpt, tensors))

    @pytest.mark.parametrize(
        ("changes", "part"),
        [
            ({"dense_1/bias": None}, "missing `dense_1/bias` (64,)"),
            ({"conv2d_4/kernel": np.zeros((3, 3))}, "unexpected `conv2d_4/kernel` (3, 3)"),
            ({"dense_2/bias": np.zeros(2, np.float32)}, "`dense_2/bias` has shape (2,) instead"),
            ({"conv2d/bias": np.full(64, np.nan)}, "`conv2d/bias` in "),
            ({"conv2d/bias": np.full(64, -np.inf)}, "`conv2d/bias` in "),
            ({"conv2d/bias": np.full(64, 1j)}, "`conv2d/bias` in "),
        ],
    )
    def test_other_weights_are_refused(self, write, tensors, changes, part):
        changed = {n: a for n, a in {**tensors, **changes}.items() if a is not None}
        path = write(changed)
        message = message_of(singing_voice_weights.from_tensorflow, path)
        assert part in message and f"`{path}`" in message

    @pytest.mark.parametrize("ending", [".index", ".data-00000-of-00001"])
    def test_missing_files_are_named(self, write, tensors, ending):
        path = write(tensors)
        missing = path.with_name(STEM + ending)
        missing.unlink()
        assert f"`{missing}`" in message_of(singing_voice_weights.from_tensorflow, path)


class TestLasagne:
    def test_hears_what_the_original_hears(self, tmp_path, params, excerpt):
        np.savez(tmp_path / "lasagne.npz", **params)
        network = singing_voice_weights.from_lasagne(tmp_path / "lasagne.npz")
        assert_same_probability(network, excerpt, lasagne_referee(excerpt, params))

    @pytest.mark.parametrize(
        ("changes", "part"),
        [
            ({"param13": None}, "missing `param13` (1,)"),
            ({"param14": np.zeros(5)}, "unexpected `param14` (5,)"),
            ({"param2": np.zeros((3, 3, 64, 32))}, "instead of (32, 64, 3, 3)"),
            ({"param8": np.zeros((256, 4928))}, "instead of (4928, 256)"),
            ({"param11": np.full(64, np.nan)}, "`param11` in "),
            ({"param11": np.full(64, 1e300)}, "`param11` in "),
            ({"param13": np.array(["a"])}, "`param13` in "),
            ({"param13": np.array([None])}, "Object arrays cannot be loaded"),
        ],
    )
    def test_other_weights_are_refused(self, tmp_path, params, changes, part):
        path = tmp_path / "lasagne.npz"
        np.savez(path, **{n: a for n, a in {**params, **changes}.items() if a is not None})
        message = message_of(singing_voice_weights.from_lasagne, path)
        assert part in message and f"`{path}`" in message


MEAN_STD = {"mean": np.linspace(-2, 3, 80), "std": np.linspace(1.5, 2.5, 80)}


class TestMeanStd:
    def test_they_come_back_in_single_precision(self, tmp_path):
        np.savez(tmp_path / "meanstd.npz", **MEAN_STD, count=7)
        found = singing_voice_weights.read_mean_std(tmp_path / "meanstd.npz")
        for array, expected in zip(found, MEAN_STD.values(), strict=True):
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, expected.astype(np.float32))

    @pytest.mark.parametrize(
        ("changes", "part"),
        [
            ({"std": None}, "holds `mean` (80,) instead of"),
            ({"mean": np.zeros(372)}, "`mean` (372,)"),
            ({"std": np.ones((1, 80))}, "`std` (1, 80)"),
            ({"mean": np.full(80, np.nan)}, "`mean` in "),
            ({"std": np.full(80, np.inf)}, "`std` in "),
            ({"std": np.arange(80)}, "has 0.0 in band 0"),
            ({"std": np.full(80, 1e-60)}, "has 0.0 in band 0"),
            ({"std": np.arange(-79, 1)}, "has -79.0 in band 0"),
            ({"std": np.array([None] * 80)}, "Object arrays cannot be loaded"),
        ],
    )
    def test_other_statistics_are_refused(self, tmp_path, changes, part):
        path = tmp_path / "meanstd.npz"
        np.savez(path, **{n: a for n, a in {**MEAN_STD, **changes}.items() if a is not None})
        message = message_of(singing_voice_weights.read_mean_std, path)
        assert part in message and f"`{path}`" in message


@pytest.mark.parametrize("name", ["from_lasagne", "read_mean_std"])
class TestArchives:
    def test_missing_files_are_named(self, tmp_path, name):
        for path in (tmp_path / "nowhere.npz", tmp_path):
            message = message_of(getattr(singing_voice_weights, name), path)
            assert f"`{path}` cannot be read" in message

    def test_other_files_are_refused(self, tmp_path, name):
        path = tmp_path / "file.npz"
        np.savez(path, **MEAN_STD)
        whole = path.read_bytes()
        np.save(tmp_path / "array.npy", MEAN_STD["mean"])
        for content in (
            b"",
            b"text",
            (tmp_path / "array.npy").read_bytes(),
            whole[:-1],
            whole[:400] + b"?" + whole[401:],
        ):
            path.write_bytes(content)
            message = message_of(getattr(singing_voice_weights, name), path)
            assert f"`{path}` cannot be read" in message
