"""Averaging over fills: the mean of the fills' explanations, in one pass, of any model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.core import over_fills
from lime_jax.core.receptive_fields import Declaration, declaration
from lime_jax.errors import ModelError
from tests import programs

SIZE, BANDS, D, NUM_OUTPUTS = 24, 3, 6, 2
SIGNAL = jax.random.normal(jax.random.key(0), (SIZE, BANDS))
STEMS = jax.random.normal(jax.random.key(1), (3, SIZE, BANDS))
TIME = lj.equal_segments(SIZE, D)[:, None]
WEIGHTS = jax.random.normal(jax.random.key(2), (SIZE * BANDS, NUM_OUTPUTS)) / 6
FILLS = [SIGNAL.mean(axis=0), lj.fills.noise(SIGNAL, key=jax.random.key(3)), 0.0]


def network(weights, inputs):
    return jax.nn.sigmoid(jnp.matmul(inputs.reshape(len(inputs), -1), weights, precision="highest"))


def on_host(inputs):
    flat = inputs.reshape(len(inputs), -1).astype(np.float64)
    return 1 / (1 + np.exp(-flat @ np.asarray(WEIGHTS, np.float64)))


PREDICT = jax.tree_util.Partial(network, WEIGHTS)


def by_time(fill):
    return lj.from_labels(SIGNAL, TIME, D, fill)


def by_grid(fill):
    return lj.from_labels(SIGNAL, lj.grid((3, 2), (SIZE, BANDS)), 6, fill)


def by_stems(fill):
    return lj.cross(lj.from_stems(STEMS, fill), lj.equal_segments(SIZE, 2)[:, None], 2)


COMPONENTS = {"time": by_time, "grid": by_grid, "stems × time": by_stems}

LINEAR = {
    "lime": lj.lime(40),
    "lime, all masks counted": lj.lime(500),
    "slime": lj.slime(300),
    "exhaustive": lj.exhaustive(),
    "shapley": lj.shapley(),
    "kernel_shap": lj.kernel_shap(40),
    "banzhaf": lj.banzhaf(),
    "auto": lj.lime("auto"),
}
SPARSE = {
    "forward": lj.lime(40, feature_selection="forward_selection", num_features=2),
    "lasso": lj.lime(40, feature_selection="lasso_path", num_features=3),
}
METHODS = LINEAR | SPARSE
PER_OUTPUT = (
    "coefficients", "intercept", "fidelity", "local_prediction", "prediction", "std_error",
    "deviations", "status", "num_evaluations", "degrees_of_freedom", "num_lime_samples",
)  # fmt: skip


def same(one, other, fields=PER_OUTPUT, atol=2e-6):
    for field in fields:
        ours, theirs = (np.asarray(getattr(x, field)) for x in (one, other))
        np.testing.assert_allclose(ours, theirs, atol=atol, rtol=1e-4, err_msg=field)
    assert one.num_samples == other.num_samples


def of_fill(found, index):
    return jax.tree.map(lambda x: x[index], found.fills)


def often(table, names):
    """Rows of a table; those without a name there only where time does not matter."""

    def slow(name):
        return () if name in names else pytest.mark.slow

    return [pytest.param(row, id=name, marks=slow(name)) for name, row in table.items()]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("lime", "time"),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in [(name, "time") for name in METHODS if name != "lime"]
            + [("lime", "grid"), ("lime", "stems × time")]
        ),
    ],
)
def test_every_fill_is_explained_as_by_itself(name, kind, getkey):
    method, make, key = METHODS[name], COMPONENTS[kind], getkey()
    found = lj.explain_over_fills(PREDICT, make(0.0), FILLS, method, key=key)
    for index, fill in enumerate(FILLS[:2]):
        same(of_fill(found, index), lj.explain(PREDICT, make(fill), method, key=key))


@pytest.mark.parametrize("method", often(LINEAR, ("lime", "shapley")))
def test_the_mean_of_a_linear_surrogate_is_the_mean_of_the_fills(method, getkey):
    found = lj.explain_over_fills(PREDICT, by_time(0.0), FILLS, method, key=getkey())
    for field in ("coefficients", "intercept", "local_prediction", "prediction", "deviations"):
        each = np.asarray(getattr(found.fills, field), np.float64)
        np.testing.assert_allclose(
            getattr(found.explanation, field), each.mean(axis=0), atol=2e-6, err_msg=field
        )
    number = int(found.fills.num_evaluations[0])
    assert found.explanation.num_evaluations == number * len(FILLS)


@pytest.mark.parametrize("method", often(METHODS, ("lime", "forward")))
def test_the_mean_is_explained_as_a_model_of_its_own(method, getkey):
    """The referee averages the outputs itself and fits them with the same masks."""
    key = getkey()
    found = lj.explain_over_fills(PREDICT, by_time(0.0), FILLS, method, key=key)

    def mean_of_fills(gates):
        def output_of(row, fill):
            return PREDICT(jnp.where(row[TIME] > 0, SIGNAL, fill)[None])[0]

        fills = [jnp.broadcast_to(fill, SIGNAL.shape) for fill in FILLS]

        def one(row):
            return jnp.stack([output_of(row, fill) for fill in fills]).mean(axis=0)

        return jax.vmap(one)(gates)

    gates = lj.from_labels(jnp.ones(D), jnp.arange(D), D)
    expected = lj.explain(mean_of_fills, gates, method, key=key)
    fields = [field for field in PER_OUTPUT if field != "num_evaluations"]
    same(found.explanation, expected, fields)


def test_the_spread_is_the_sample_deviation_between_fills(getkey):
    found = lj.explain_over_fills(PREDICT, by_time(0.0), FILLS, lj.lime(40), key=getkey())
    expected = np.asarray(found.fills.coefficients, np.float64).std(axis=0, ddof=1)
    np.testing.assert_allclose(found.spread, expected, rtol=1e-4)
    assert found.spread.shape == (NUM_OUTPUTS, D) and (found.spread > 0).all()


def test_fills_are_one_more_axis_of_the_input():
    components = lj.from_labels(SIGNAL[0], lj.equal_segments(len(SIGNAL[0]), 3), 3)
    problem = over_fills.state_over_fills(jnp.tanh, components, [0.0, 1.0], lj.shapley())
    assert problem.components.input_ndim == components.input_ndim + 1
    assert problem.is_single and problem.components.sources.shape[-1] == 2


def test_a_single_fill_is_explain(getkey):
    key = getkey()
    found = lj.explain_over_fills(PREDICT, by_time(9.0), [FILLS[1]], lj.lime(40), key=key)
    expected = lj.explain(PREDICT, by_time(FILLS[1]), lj.lime(40), key=key)
    same(found.explanation, expected)
    same(of_fill(found, 0), expected)
    np.testing.assert_array_equal(found.spread, np.zeros((NUM_OUTPUTS, D)))


@pytest.mark.slow
def test_a_host_model_is_explained_alike(getkey):
    key = getkey()
    host = lj.host_model(on_host)
    ours = lj.explain_over_fills(host, by_time(0.0), FILLS, lj.lime(40), key=key, batch_size=10)
    theirs = lj.explain_over_fills(PREDICT, by_time(0.0), FILLS, lj.lime(40), key=key)
    for one, other in ((ours.explanation, theirs.explanation), (ours.fills, theirs.fills)):
        same(one, other, ("coefficients", "prediction", "std_error", "num_evaluations"))


def test_a_broken_host_model_is_named_once():
    def broken(batch):
        raise RuntimeError("no such layer")

    with pytest.raises(ModelError, match=r"^the host model 'broken' failed .*no such layer$"):
        lj.explain_over_fills(lj.host_model(broken), by_time(0.0), FILLS, lj.exhaustive())


KERNEL = jax.random.normal(jax.random.key(4), (4 * BANDS, 5)) / 3
LAST = jax.random.normal(jax.random.key(5), (5, NUM_OUTPUTS))


def backbone(windows):
    return jnp.tanh(jnp.matmul(windows.reshape(len(windows), -1), KERNEL, precision="highest"))


def head(features):
    return jax.nn.sigmoid(jnp.matmul(features.max(axis=1), LAST, precision="highest"))


def judge(windows):
    return jnp.matmul(backbone(windows), LAST, precision="highest")


def in_windows(part, whole_of, inputs):
    windows = inputs.reshape(-1, 4, BANDS)
    return whole_of(part(windows).reshape(len(inputs), SIZE // 4, -1))


def maximum(inputs):
    return in_windows(backbone, head, inputs)


def mean(inputs):
    return in_windows(judge, lambda x: x.mean(axis=1), inputs)


def across(inputs):
    return maximum(inputs.swapaxes(1, 2))


SIZES = {"window": 4, "stride": 4}
LOCAL = {
    "a head": (
        maximum,
        lj.receptive_fields.windowed(maximum, backbone=backbone, head=head, **SIZES),
        by_time,
    ),
    "a mean": (
        mean,
        lj.receptive_fields.windowed(mean, backbone=judge, head="mean", **SIZES),
        by_time,
    ),
    "another axis": (
        across,
        lj.receptive_fields.windowed(
            across, backbone=lambda x: backbone(x.swapaxes(1, 2)), head=head, axis=1, **SIZES
        ),
        lambda fill: lj.from_labels(SIGNAL.T, TIME.T, D, fill),
    ),
}


class Declaring:
    """A model whose attribute says how local it is."""

    receptive_field = LOCAL["a mean"][1]
    __call__ = staticmethod(mean)


@pytest.mark.slow
@pytest.mark.parametrize("case", often(LOCAL, ("a head", "a mean")))
@pytest.mark.parametrize(
    "method", often({"lime": lj.lime(5000), "shapley": lj.shapley()}, "shapley")
)
def test_a_receptive_field_pays_for_all_fills(case, method, getkey):
    whole, local, make = case
    key, fills = getkey(), [0.0, 0.5, -1.0]
    few = lj.explain_over_fills(local, make(0.0), fills, method, key=key)
    all_masks = lj.explain_over_fills(whole, make(0.0), fills, method, key=key)
    fields = ("coefficients", "intercept", "fidelity", "prediction")
    same(few.explanation, all_masks.explanation, fields)
    same(few.fills, all_masks.fills, fields)
    np.testing.assert_allclose(few.spread, all_masks.spread, atol=2e-6)
    # Six windows of one segment each, on or off, for every fill.
    assert few.explanation.num_evaluations == 12 * len(fills)
    assert (few.fills.num_evaluations == 12).all()
    assert all_masks.explanation.num_evaluations == 64 * len(fills)


@pytest.mark.slow
def test_an_attribute_declares_a_receptive_field_too():
    found = lj.explain_over_fills(Declaring(), by_time(0.0), [0.0, 0.5], lj.exhaustive())
    assert declaration(Declaring(), Declaration)
    assert found.explanation.num_evaluations == 24
    expected = lj.explain_over_fills(mean, by_time(0.0), [0.0, 0.5], lj.exhaustive())
    same(found.explanation, expected.explanation, ("coefficients", "intercept", "fidelity"))


@pytest.mark.slow
def test_complex_inputs(getkey):
    spectrum = jax.lax.complex(SIGNAL, SIGNAL[::-1])

    def make(fill):
        return lj.from_labels(spectrum, TIME, D, fill)

    def power(x):
        return jnp.square(jnp.abs(x)).sum(axis=(1, 2))[:, None]

    key = getkey()
    found = lj.explain_over_fills(power, make(0.0), [0.0, 1 + 1j], lj.lime(40), key=key)
    expected = lj.explain(power, make(1 + 1j), lj.lime(40), key=key)
    same(of_fill(found, 1), expected, atol=1e-4)


@pytest.mark.slow
def test_inside_jit_and_vmap_it_is_the_same(getkey):
    keys = jax.random.split(getkey(), 2)
    signals = jnp.stack([SIGNAL, SIGNAL[::-1]])

    def of(signal, key):
        components = lj.from_labels(signal, TIME, D)
        fills = [lj.fills.zero(signal), lj.fills.minimum(signal)]
        return lj.explain_over_fills(PREDICT, components, fills, lj.lime(40), key=key)

    together = jax.jit(jax.vmap(of))(signals, keys)
    for index in range(2):
        alone = of(signals[index], keys[index])
        one = jax.tree.map(lambda x, index=index: x[index], together)
        same(one.explanation, alone.explanation)
        same(one.fills, alone.fills)
        np.testing.assert_allclose(one.spread, alone.spread, atol=2e-6)


@pytest.mark.slow
def test_a_mesh_shares_the_masks(getkey):
    key, mesh = getkey(), jax.make_mesh((1,), ("devices",))
    one, other = (
        lj.explain_over_fills(PREDICT, by_time(0.0), FILLS, lj.lime(40), key=key, mesh=m)
        for m in (None, mesh)
    )
    same(one.explanation, other.explanation)


def test_clips_fills_and_weights_share_programs(getkey):
    def explain(scale):
        predict = jax.tree_util.Partial(network, scale * WEIGHTS)
        components = lj.from_labels(scale * SIGNAL, TIME, D)
        return lj.explain_over_fills(
            predict, components, [scale, scale * SIGNAL], lj.lime(40), key=getkey(), batch_size=20
        )

    explain(1.0)
    with programs.counted() as made:
        explain(2.0)
    assert not made


def test_the_batch_size_counts_fills():
    shapes = []

    def model(batch):
        shapes.append(len(batch))
        return on_host(batch)

    host = lj.host_model(model)
    lj.explain_over_fills(host, by_time(0.0), FILLS, lj.exhaustive(), batch_size=17)
    assert set(shapes) == {15}
    shapes.clear()
    lj.explain_over_fills(host, by_time(0.0), FILLS, lj.exhaustive(), batch_size=1)
    assert set(shapes) == {len(FILLS)}


def test_progress_counts_fills():
    told = []
    lj.explain_over_fills(
        PREDICT, by_time(0.0), FILLS, lj.exhaustive(), progress=lambda *x: told.append(x)
    )
    assert told[-1] == (64 * len(FILLS), 64 * len(FILLS))


@pytest.mark.slow
@pytest.mark.parametrize("outputs", often({"all": None, "highest": 1, "index": (0,)}, "highest"))
def test_auto_stops_by_the_mean_alone(outputs, getkey):
    """The fills cancel: their mean is linear and sure at once, each of them never."""

    def rough(x):
        return jnp.sin(7 * x.sum(axis=1, keepdims=True)) * x[:, -1:]

    components = lj.from_labels(jnp.ones(21), jnp.arange(21).clip(max=19), 20)
    fills = [jnp.zeros(21).at[20].set(1.0), jnp.zeros(21).at[20].set(-1.0)]

    def model(x):
        return jnp.concatenate([x[:, :1] + rough(x), x[:, :1]], axis=1)

    method = lj.lime(lj.auto(std_error=0.01, outputs=outputs, max_evaluations=9000))
    found = lj.explain_over_fills(model, components, fills, method, key=getkey())
    assert found.explanation.num_evaluations < 2 * 9000
    assert found.explanation.std_error.max() < found.fills.std_error.max()


@pytest.mark.slow
def test_pooling_keys_pools_fills_too(getkey):
    keys = jax.random.split(getkey(), 3)

    def of(key):
        return lj.explain_over_fills(PREDICT, by_time(0.0), FILLS, lj.lime(20), key=key)

    several = [of(key) for key in keys]
    pooled = over_fills.pool(several)
    means = np.stack([found.fills.coefficients for found in several]).mean(axis=0)
    np.testing.assert_allclose(pooled.fills.coefficients, means, atol=1e-6)
    np.testing.assert_allclose(pooled.explanation.coefficients, means.mean(axis=0), atol=2e-6)
    np.testing.assert_allclose(pooled.spread, means.std(axis=0, ddof=1), atol=2e-6)
    assert pooled.fills.deviations.shape[0] == len(FILLS)
    errors = np.stack([found.fills.std_error for found in several])
    expected = np.sqrt(np.square(errors).sum(axis=0)) / 3
    np.testing.assert_allclose(pooled.fills.std_error, expected, rtol=1e-4)


MISTAKES = {
    "`fills` is empty": lambda: lj.explain_over_fills(PREDICT, by_time(0.0), [], lj.exhaustive()),
    "`fill` must be broadcastable to the signal": lambda: lj.explain_over_fills(
        PREDICT, by_time(0.0), [0.0, jnp.zeros(5)], lj.exhaustive()
    ),
    "`components` have a leading axis over items": lambda: lj.explain_over_fills(
        PREDICT, jax.vmap(lj.from_stems)(STEMS[None]), [0.0], lj.exhaustive()
    ),
    "`predict` must map a batch": lambda: lj.explain_over_fills(
        lambda x: x, by_time(0.0), [0.0], lj.exhaustive()
    ),
    "`batch_size` must be at least 1": lambda: lj.explain_over_fills(
        PREDICT, by_time(0.0), [0.0], lj.exhaustive(), batch_size=0
    ),
    "`key` must be a single key": lambda: lj.explain_over_fills(
        PREDICT, by_time(0.0), [0.0], lj.lime(40), key=jax.random.split(jax.random.key(0))
    ),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_named(message):
    with pytest.raises(ValueError, match=message):
        MISTAKES[message]()


def test_a_broken_fill_leaves_the_others_whole():
    found = lj.explain_over_fills(
        PREDICT, by_time(0.0), [0.0, jnp.float32(np.nan)], lj.exhaustive()
    )
    bad = lj.Status.NONFINITE_OUTPUT
    assert (found.fills.status == jnp.array([[0], [bad]])).all()
    assert (found.explanation.status == bad).all()
