"""Exact explanations of sums equal those from all masks, and go where those cannot."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.core.pytree import pytree
from lime_jax.core.receptive_fields import exact_sums
from lime_jax.core.surrogates import kernels

SIZE, SOURCES = 48, 3
WEIGHTS = jax.random.normal(jax.random.key(0), (12, 2)) / 2
STEMS = jax.random.normal(jax.random.key(1), (SOURCES, SIZE))


def backbone(windows):
    return jax.nn.sigmoid(windows @ WEIGHTS + jnp.square(windows @ WEIGHTS))


@functools.cache
def model(stride, head):
    starts = range(0, SIZE - 11, stride)
    together = {"mean": jnp.mean, "sum": jnp.sum}[head]

    def whole(inputs):
        terms = [backbone(inputs[:, start : start + 12]) for start in starts]
        return together(jnp.stack(terms), axis=0)

    return lj.receptive_fields.windowed(
        whole, backbone=backbone, head=head, window=12, stride=stride
    )


TIME = lj.equal_segments(SIZE, 4)
COMPONENTS = {
    "stems × time": lj.cross(lj.from_stems(STEMS), TIME, 4),
    "time": lj.from_labels(STEMS[0], lj.equal_segments(SIZE, 9), 9),
    "time with a fill": lj.from_labels(STEMS[0], lj.equal_segments(SIZE, 11), 11, fill=STEMS[1]),
}
METHODS = {
    "lime": lj.exhaustive(equivalent_num_samples=1000),
    "all masks": lj.exhaustive(),
    "narrow": lj.exhaustive(distance="l2", equivalent_num_samples=70_000),
    "unpenalised": lj.exhaustive(alpha=0.0, distance="hamming"),
    "shapley": lj.shapley(),
    "banzhaf": lj.banzhaf(),
    "forward": lj.Method(
        lj.exhaustive().sampler,
        lj.lime().kernel,
        lj.lime(feature_selection="forward_selection", num_features=2).surrogate,
    ),
}
FIELDS = ("coefficients", "intercept", "fidelity", "prediction", "local_prediction", "std_error")


FAST = {("stems × time", "lime", 9), ("stems × time", "shapley", 9), ("time", "narrow", 12)}
CASES = [
    (kind, name, stride, head)
    for kind in COMPONENTS
    for name in METHODS
    for stride, head in ((12, "mean"), (9, "sum"))
]


def mark(kind, name, stride, _):
    # Other ridges solve the same statistics, which are those of the cube, below.
    is_quick = name not in ("all masks", "unpenalised") and (kind, stride) == ("time", 9)
    return () if is_quick or (kind, name, stride) in FAST else pytest.mark.slow


@pytest.mark.parametrize(
    ("kind", "name", "stride", "head"), [pytest.param(*case, marks=mark(*case)) for case in CASES]
)
def test_the_explanation_is_that_of_all_masks(kind, name, stride, head):
    declared, components = model(stride, head), COMPONENTS[kind]
    short = lj.explain(declared, components, METHODS[name])
    long = lj.explain(declared.whole, components, METHODS[name])
    assert 3 * short.num_evaluations < long.num_evaluations
    scale = float(jnp.abs(long.prediction).max())
    for field in FIELDS:
        exact, expected = getattr(short, field), getattr(long, field)
        tolerance = 3e-6 * max(1.0, scale) if field != "fidelity" else 2e-5
        np.testing.assert_allclose(exact, expected, atol=tolerance, err_msg=field)


@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_the_moments_are_those_of_the_cube(distance):
    """Every sum of the statistics against float64 over the whole cube, sets that overlap."""
    rng = np.random.default_rng(0)
    d, sets = 7, [np.array(s) for s in ([0, 1, 2], [2, 3], [1, 2, 5, 6], [4])]
    tables = [rng.standard_normal((2 ** len(own), 3)) for own in sets]
    masks = (np.arange(2**d)[:, None] >> np.arange(d)) & 1
    outputs = sum(
        table[masks[:, own] @ (1 << np.arange(len(own)))]
        for table, own in zip(tables, sets, strict=True)
    )
    kernel = kernels.Exponential(0.5, kernels.DISTANCES[distance])
    weights = np.asarray(kernel(jnp.asarray(masks == 1)), np.float64) * (500 / 2**d)
    weight_of = kernels.weights_by_zeros(kernel, d)
    statistics = exact_sums.statistics_of_sum(tables, sets, weight_of, 500.0)
    mean = weights @ masks / weights.sum()
    output_mean = weights @ outputs / weights.sum()
    centred, residual = masks - mean, outputs - output_mean
    expected = {
        "weight": weights.sum(),
        "mask_mean": mean,
        "output_mean": output_mean,
        "mask_scatter": (centred * weights[:, None]).T @ centred,
        "cross_scatter": (centred * weights[:, None]).T @ residual,
        "output_spread": np.sqrt(weights @ residual**2),
        "full": outputs[-1],
        "empty": outputs[0],
    }
    for name, value in expected.items():
        actual = getattr(statistics, name)
        np.testing.assert_allclose(actual, value, rtol=1e-5, atol=1e-5, err_msg=name)
    assert (np.asarray(statistics.low) <= outputs.min(axis=0) + 1e-6).all()
    assert (np.asarray(statistics.high) >= outputs.max(axis=0) - 1e-6).all()


@functools.cache
def song(num_snippets):
    stems = jax.random.normal(jax.random.key(2), (5, 12 * num_snippets))
    labels = lj.equal_segments(12 * num_snippets, num_snippets)
    return lj.cross(lj.from_stems(stems), labels, num_snippets)


SNIPPETS = lj.models.Snippets(jax.tree_util.Partial(backbone), 12)


class TestFiftyComponents:
    @pytest.mark.slow
    def test_shapley_values_are_those_of_each_snippet_shared(self):
        """The Shapley values of a sum of games are the sums of their Shapley values."""
        whole = lj.explain(SNIPPETS, song(10), lj.shapley())
        assert whole.num_evaluations == 320
        stems = jax.random.normal(jax.random.key(2), (5, 120)).reshape(5, 10, 12)
        each = [
            lj.explain(backbone, lj.from_stems(stems[:, i]), lj.shapley()).coefficients
            for i in range(10)
        ]
        np.testing.assert_allclose(whole.coefficients, np.concatenate(each, 1) / 10, atol=1e-6)

    @pytest.mark.slow
    def test_a_long_sampled_run_scatters_around_the_exact_answer(self, getkey):
        exact = lj.explain(SNIPPETS, song(10), lj.exhaustive(equivalent_num_samples=20_000))
        sampled = lj.explain(SNIPPETS, song(10), lj.lime(20_000), key=getkey())
        off = np.abs(sampled.coefficients - exact.coefficients) / np.asarray(sampled.std_error)
        assert off.max() < 5 and np.median(off) < 1.2
        assert (sampled.std_error > 0).all() and (exact.std_error == 0).all()

    @pytest.mark.slow
    def test_auto_is_exact(self):
        explanation = lj.explain(SNIPPETS, song(10), lj.lime("auto"))
        assert explanation.num_evaluations == 320
        assert jnp.isinf(explanation.num_lime_samples).all()
        assert (lj.top_k_confidence(explanation) == 1).all()

    def test_a_batch_equals_its_items(self):
        two = jax.vmap(lambda stems: dataclasses.replace(song(10), sources=stems))(
            jnp.stack([song(10).sources, song(10).sources / 2])
        )
        batch = lj.explain_batch(SNIPPETS, two, lj.banzhaf())
        alone = lj.explain(SNIPPETS, song(10), lj.banzhaf())
        np.testing.assert_allclose(batch.coefficients[0], alone.coefficients, atol=1e-6)
        assert batch.num_evaluations.tolist() == [320, 320]
        assert not np.allclose(batch.coefficients[1], alone.coefficients, atol=1e-3)

    def test_a_constant_output_sets_its_status(self):
        silent = lj.models.Snippets(lambda x: jnp.zeros((len(x), 1)), 12)
        explanation = lj.explain(silent, song(10), lj.lime("auto"))
        assert explanation.status.tolist() == [lj.Status.CONSTANT_OUTPUT]


@pytest.mark.parametrize("num_snippets", [30, pytest.param(64, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name", [pytest.param("shapley", marks=pytest.mark.slow), "banzhaf", "lime"]
)
def test_hundreds_of_components_have_exact_explanations(num_snippets, name):
    """Where float32 can count neither the masks nor the weight of a single one."""
    whole = lj.explain(SNIPPETS, song(num_snippets), METHODS[name]).checked()
    assert jnp.isfinite(whole.coefficients).all() and jnp.isfinite(whole.fidelity).all()
    if name in ("shapley", "banzhaf"):
        stems = song(num_snippets).sources.reshape(5, num_snippets, 12)
        first = lj.explain(backbone, lj.from_stems(stems[:, 0]), METHODS[name]).coefficients
        expected = first / num_snippets
        np.testing.assert_allclose(whole.coefficients[:, :5], expected, atol=1e-6)


def test_explanations_with_a_mesh_are_exact():
    mesh = jax.make_mesh((1,), ("devices",))
    explanation = lj.explain(SNIPPETS, song(10), lj.shapley(), mesh=mesh)
    assert explanation.num_evaluations == 320


def test_without_a_declaration_fifty_components_are_refused():
    with pytest.raises(ValueError, match="`num_components` = 50 means"):
        lj.explain(lambda x: backbone(x[:, :12]), song(10), lj.shapley())


def test_a_head_of_another_name_is_refused():
    with pytest.raises(ValueError, match="`head`"):
        lj.receptive_fields.windowed(
            backbone, backbone=backbone, head="maximum", window=12, stride=12
        )


def test_a_wrong_sum_is_an_error():
    wrong = dataclasses.replace(model(12, "mean"), whole=model(12, "sum").whole)
    with pytest.raises(ValueError, match="differ from `whole`"):
        lj.explain(wrong, COMPONENTS["stems × time"], lj.shapley())


def test_a_kernel_of_single_components_is_evaluated_mask_by_mask():
    @pytree
    class First:
        def __call__(self, masks):
            return jnp.where(masks[:, 0], 1.0, 0.25)

    declared, components = model(12, "mean"), COMPONENTS["stems × time"]
    method = lj.Method(lj.exhaustive().sampler, First(), lj.lime().surrogate)
    assert kernels.weights_by_zeros(First(), 12) is None
    short = lj.explain(declared, components, method)
    long = lj.explain(declared.whole, components, method)
    np.testing.assert_allclose(short.coefficients, long.coefficients, atol=1e-5)
