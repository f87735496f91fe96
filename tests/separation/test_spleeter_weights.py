"""Published weights end up in the cache whole, or one sentence says why; never random ones."""

import hashlib
import http.client
import io
import os
import tarfile
import tempfile
import urllib.error
import urllib.request

import numpy as np
import pytest
from flax import nnx

from lime_jax import separation
from lime_jax.errors import ModelError
from lime_jax.models import weights
from lime_jax.models.crc32c import crc32c
from lime_jax.separation import spleeter_weights
from lime_jax.separation.unet import SpleeterConfig, SpleeterNetwork
from tests.checkpoints import CheckpointWriter

SMALL = SpleeterConfig(("voice", "rest"), num_filters=(2, 2, 2, 2, 2, 2))
SIZE, NAME = "2stems", "spleeter:2stems"
FILES = ("model.index", "model.data-00000-of-00001")
NORM = {"scale": "gamma", "bias": "beta", "mean": "moving_mean", "var": "moving_variance"}


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    monkeypatch.setattr(spleeter_weights, "CONFIGS", {SIZE: SMALL})


@pytest.fixture(scope="module")
def abstract_network():
    return nnx.eval_shape(lambda: SpleeterNetwork(SMALL, rngs=nnx.Rngs(0)))


@pytest.fixture(autouse=True)
def networks_traced_once(abstract_network, monkeypatch, request):
    """Tracing initial weights takes longer than reading those of a checkpoint."""
    if not request.node.get_closest_marker("network"):
        monkeypatch.setattr(weights.nnx, "eval_shape", lambda make: abstract_network)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("a download"))


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Where temporary folders lie, which must be empty again at the end."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="module")
def network():
    """One whose arrays all differ."""

    def make():
        return SpleeterNetwork(SMALL, rngs=nnx.Rngs(0))

    rng = np.random.default_rng(1)
    arrays = {
        name: rng.uniform(0.5, 1.5, shape).astype(np.float32)
        for name, shape in weights.shapes_of(make).items()
    }
    return weights.network_of(make, arrays, source="noise")


@pytest.fixture(scope="module")
def tensors(network):
    """As the original stores them, with the normalisation that is never used."""
    scopes = spleeter_weights.layers(len(SMALL.instruments))
    found = {}
    for name, array in weights.arrays_of(network).items():
        layer, _, leaf = name.rpartition(".")
        found[f"{scopes[layer]}/{NORM[leaf] if 'norm' in layer else leaf}"] = array
    for scope in ("batch_normalization_5", "batch_normalization_17"):
        found |= {f"{scope}/{kind}": np.ones(2, np.float32) for kind in NORM.values()}
    return found


def write(folder, tensors, stem="model"):
    CheckpointWriter(crc=crc32c).write(folder, stem, tensors)
    return folder


@pytest.fixture
def checkpoint(tmp_path, tensors):
    return write(tmp_path / "checkpoint", tensors)


def packed(archive, folder, inside="."):
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, f"{inside}/{path.name}")
    return archive


@pytest.fixture
def publish(monkeypatch):
    """Takes an archive for the published one."""

    def call(archive):
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        monkeypatch.setattr(spleeter_weights, "SHA256", {SIZE: digest})
        return archive

    return call


@pytest.fixture
def archive(tmp_path, checkpoint, publish):
    return publish(packed(tmp_path / "2stems.tar.gz", checkpoint))


def assert_same(loaded, network):
    found, expected = weights.arrays_of(loaded), weights.arrays_of(network)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


class TestLayers:
    def test_count_on_from_one_network_to_the_next(self):
        table = spleeter_weights.layers(5)
        assert len(table) == len(set(table.values())) == 5 * (6 + 1 + 6 + 5 + 6)
        assert table["unets.0.down.0"] == "conv2d" and table["unets.0.mask"] == "conv2d_6"
        assert table["unets.4.mask"] == "conv2d_34"
        assert table["unets.1.up.0"] == "conv2d_transpose_6"
        assert table["unets.0.down_norm.4"] == "batch_normalization_4"
        assert table["unets.0.up_norm.0"] == "batch_normalization_6"
        assert table["unets.4.up_norm.5"] == "batch_normalization_59"

    def test_are_all_that_the_networks_have(self, network):
        layers = {name.rpartition(".")[0] for name in weights.arrays_of(network)}
        assert layers == spleeter_weights.layers(2).keys()


class TestCheckpoints:
    def test_give_the_weights_that_were_stored(self, checkpoint, network, cache_folder):
        assert_same(spleeter_weights.load(SIZE, checkpoint=checkpoint), network)
        assert not cache_folder.exists()

    def test_may_come_from_training(self, tmp_path, tensors, network):
        slots = {f"{name}/Adam{n}": array for name, array in tensors.items() for n in ("", "_1")}
        more = {"global_step": np.asarray(5), "beta1_power": np.float32(0.9),
                "beta2_power": np.float32(0.9)}  # fmt: skip
        folder = write(tmp_path / "trained", {**tensors, **slots, **more})
        assert_same(spleeter_weights.load(SIZE, checkpoint=folder), network)

    def test_may_lack_the_normalisation_that_is_never_used(self, tmp_path, tensors, network):
        unused = ("batch_normalization_5/", "batch_normalization_17/")
        used = {name: array for name, array in tensors.items() if not name.startswith(unused)}
        folder = write(tmp_path / "used", used)
        assert_same(spleeter_weights.load(SIZE, checkpoint=folder), network)

    @pytest.mark.parametrize("path", ["model.ckpt-10", "/home/me/model/model.ckpt-10"])
    def test_are_the_latest_that_the_folder_names(self, tmp_path, tensors, network, path):
        folder = write(tmp_path / "several", tensors, "model.ckpt-10")
        write(folder, {name: np.zeros_like(array) for name, array in tensors.items()}, "model")
        (folder / "checkpoint").write_text(
            f'model_checkpoint_path: "{path}"\nall_model_checkpoint_paths: "model"\n'
        )
        assert_same(spleeter_weights.load(SIZE, checkpoint=folder), network)

    @pytest.mark.parametrize("content", [b"\xff\xfe", b"nothing that names one"])
    def test_are_called_model_otherwise(self, checkpoint, network, content):
        (checkpoint / "checkpoint").write_bytes(content)
        assert_same(spleeter_weights.load(SIZE, checkpoint=checkpoint), network)

    @pytest.mark.parametrize("name", FILES)
    def test_lack_no_file(self, checkpoint, name):
        (checkpoint / name).unlink()
        with pytest.raises(ModelError, match=rf"{name}` cannot be read \(No such file"):
            spleeter_weights.load(SIZE, checkpoint=checkpoint)

    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize("size", [0, 100, -1])
    def test_are_whole(self, checkpoint, name, size):
        whole = (checkpoint / name).stat().st_size
        os.truncate(checkpoint / name, size % whole)
        with pytest.raises(ModelError) as error:
            spleeter_weights.load(SIZE, checkpoint=checkpoint)
        assert len(str(error.value).splitlines()) == 1

    @pytest.mark.parametrize("surplus", [1, 3])
    def test_of_more_instruments_are_reported_by_their_number(self, tmp_path, tensors, surplus):
        changed = dict(tensors)
        for number in range(2, 2 + surplus):
            changed[f"conv2d_{7 * number + 6}/kernel"] = np.ones((4, 4, 1, 2), np.float32)
        folder = write(tmp_path / "changed", changed)
        message = f"weights of {2 + surplus} instruments, spleeter:{SIZE} has 2"
        with pytest.raises(ModelError, match=message):
            spleeter_weights.load(SIZE, checkpoint=folder)

    def test_differ_in_a_line_that_can_be_read(self, tmp_path, tensors):
        changed = {name: a for name, a in tensors.items() if not name.endswith("/beta")}
        folder = write(tmp_path / "changed", changed)
        with pytest.raises(ModelError, match=r"and \d+ more\. Use") as error:
            spleeter_weights.load(SIZE, checkpoint=folder)
        assert str(error.value).count("missing") == 20

    @pytest.mark.parametrize("change", ["missing", "surplus", "shape"])
    def test_fit_the_network(self, tmp_path, tensors, change):
        changed = dict(tensors)
        match change:
            case "missing":
                del changed["conv2d_3/kernel"]
            case "surplus":
                changed["conv2d_14/kernel"] = np.ones((5, 5, 2, 2), np.float32)
            case "shape":
                changed["conv2d_3/kernel"] = np.ones((5, 5, 2, 3), np.float32)
        message = {
            "missing": "missing `conv2d_3/kernel`",
            "surplus": "unexpected `conv2d_14/kernel`",
            "shape": r"`conv2d_3/kernel` has shape \(5, 5, 2, 3\) instead of \(5, 5, 2, 2\)",
        }
        folder = write(tmp_path / "changed", changed)
        with pytest.raises(ModelError, match=f"do not fit the network: {message[change]}"):
            spleeter_weights.load(SIZE, checkpoint=folder)

    def test_are_folders(self, tmp_path, checkpoint):
        for path in (tmp_path / "none", checkpoint / "model.index"):
            with pytest.raises(ModelError, match=rf"`{path}` is not a folder.*model.index"):
                spleeter_weights.load(SIZE, checkpoint=path)


class TestArchives:
    @pytest.mark.slow
    @pytest.mark.parametrize("inside", [".", "models/2stems"])
    def test_give_the_weights_wherever_the_files_lie(
        self, tmp_path, checkpoint, network, publish, cache_folder, inside
    ):
        (checkpoint / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/model.ckpt-1"')
        (checkpoint / "._model.index").write_bytes(b"of another system")
        (checkpoint / "model.meta").write_bytes(b"a graph")
        archive = publish(packed(tmp_path / "any-name.tgz", checkpoint, inside))
        assert not separation.is_fetched(NAME)
        assert separation.fetch(NAME, archive=archive) == cache_folder / "spleeter-2stems"
        assert separation.is_fetched(NAME) and separation.is_fetched(f"{NAME}-16kHz")
        assert_same(spleeter_weights.load(SIZE), network)
        assert_same(separation.load(NAME).network, network)

    def test_are_converted_once(self, archive, cache_folder):
        first = separation.fetch(NAME, archive=archive)
        archive.unlink()
        assert separation.fetch(NAME, archive=archive) == separation.fetch(NAME) == first
        assert [path.name for path in cache_folder.iterdir()] == ["spleeter-2stems"]

    @pytest.mark.slow
    def test_are_converted_again_where_the_cache_is_damaged(self, archive, network):
        folder = separation.fetch(NAME, archive=archive)
        (folder / "manifest.json").write_text("{")
        assert not separation.is_fetched(NAME)
        with pytest.raises(ModelError, match="not in the cache"):
            spleeter_weights.load(SIZE)
        separation.fetch(NAME, archive=archive)
        assert_same(spleeter_weights.load(SIZE), network)

    @pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b"text", lambda b: b""])
    def test_are_the_published_ones(self, archive, cache_folder, change):
        archive.write_bytes(change(archive.read_bytes()))
        with pytest.raises(ModelError, match=r"is not the published 2stems.tar.gz: its sha256 is"):
            separation.fetch(NAME, archive=archive)
        assert not cache_folder.exists()

    def test_can_be_read(self, tmp_path, cache_folder):
        for path in (tmp_path / "none.tar.gz", tmp_path):
            with pytest.raises(ModelError, match=rf"`{path}` cannot be read.*--archive"):
                separation.fetch(NAME, archive=path)
        assert not cache_folder.exists()

    def test_are_archives(self, tmp_path, publish, cache_folder):
        (tmp_path / "text").write_text("text")
        with pytest.raises(ModelError, match="is no archive that can be read"):
            separation.fetch(NAME, archive=publish(tmp_path / "text"))
        assert not cache_folder.exists()

    def test_hold_a_checkpoint(self, tmp_path, publish, cache_folder):
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "notes.txt").write_text("mine")
        archive = publish(packed(tmp_path / "other.tar.gz", tmp_path / "other"))
        with pytest.raises(ModelError, match=r"model\.index` cannot be read"):
            separation.fetch(NAME, archive=archive)
        assert not cache_folder.exists()


class Response(io.BytesIO):
    """What `urlopen` returns; it may break after its content."""

    def __init__(self, content, error=None):
        super().__init__(content)
        self.error = error

    def read(self, size):
        block = super().read(size)
        if not block and self.error is not None:
            raise self.error
        return block


def test_without_an_archive_it_is_downloaded(archive, network, monkeypatch):
    asked = []

    def urlopen(url, timeout):
        asked.append(url)
        return Response(archive.read_bytes())

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    separation.fetch(NAME)
    assert_same(spleeter_weights.load(SIZE), network)
    separation.fetch(NAME)
    assert asked == [f"{spleeter_weights.RELEASE}/2stems.tar.gz"]


ERRORS = {
    "no network": (urllib.error.URLError(OSError(-3, "Name or service not known")), "Name or serv"),
    "not there": (urllib.error.HTTPError("url", 404, "Not Found", None, None), "Not Found"),
    "no answer": (TimeoutError("timed out"), "timed out"),
    "reset": (ConnectionResetError(104, "Connection reset by peer"), "Connection reset"),
    "cut off": (http.client.IncompleteRead(b"", 10), "IncompleteRead"),
    "nonsense": (http.client.BadStatusLine("nonsense"), "nonsense"),
}


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("case", ERRORS)
def test_a_download_that_breaks_leaves_nothing(archive, monkeypatch, cache_folder, case, is_late):
    error, reason = ERRORS[case]

    def urlopen(url, timeout):
        if is_late:
            return Response(archive.read_bytes()[:1_000], error)
        raise error

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    with pytest.raises(ModelError, match=rf"2stems.tar.gz cannot be downloaded \(.*{reason}") as e:
        separation.fetch(NAME)
    assert "--archive FILE" in str(e.value) and len(str(e.value).splitlines()) == 1
    assert not cache_folder.exists()


def test_a_download_that_ends_early_leaves_nothing(archive, monkeypatch, cache_folder):
    half = archive.read_bytes()[:1_000]
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Response(half))
    with pytest.raises(ModelError, match=r"is not the published 2stems\.tar\.gz"):
        separation.fetch(NAME)
    assert not cache_folder.exists()


def test_loading_never_fetches_and_never_makes_weights_up(cache_folder):
    with pytest.raises(ModelError, match=r"`spleeter:2stems`.*`lime-jax models fetch.*--archive"):
        spleeter_weights.load(SIZE)
    with pytest.raises(ModelError, match=r"run `lime-jax models fetch spleeter:2stems`"):
        separation.load(NAME)
    assert not cache_folder.exists()


def test_a_cache_that_cannot_be_written_is_named(archive, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LIME_JAX_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot be written.*LIME_JAX_CACHE"):
        separation.fetch(NAME, archive=archive)


@pytest.mark.network
def test_the_published_archive_is_the_one_that_is_known(cache_folder, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("LIME_JAX_CACHE", str(cache_folder))
    try:
        separation.fetch(NAME)
    except ModelError as error:
        if "cannot be downloaded" in str(error):
            pytest.skip("the releases of spleeter cannot be reached from here")
        raise
    assert separation.load(NAME).network.config.instruments == ("vocals", "accompaniment")
