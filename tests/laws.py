"""The laws that every sampler, kernel, surrogate, fill, segmentation and executor keeps.

Each object stands once in a table; a new one gets all laws of its kind by one row. Segmentations of
sound, which need excerpts and extents, have theirs in tests/audio/test_segment.py.
"""

import contextlib
import dataclasses
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.core import choose
from lime_jax.core.execution.compiled import Compiled
from lime_jax.core.execution.host import Host
from lime_jax.core.execution.meshed import Meshed
from lime_jax.core.execution.stepwise import Stepwise
from lime_jax.core.execution.traced import Traced
from lime_jax.core.masks import neighbourhood
from lime_jax.core.masks.bernoulli import Bernoulli, BernoulliBlocks
from lime_jax.core.masks.exhaustive import Exhaustive
from lime_jax.core.masks.nearest import Nearest
from lime_jax.core.masks.orthogonal_array import OrthogonalArray
from lime_jax.core.masks.shapley_pairs import KernelShap
from lime_jax.core.plan import format_bytes, format_seconds
from lime_jax.core.predictor import as_predictor
from lime_jax.core.problem import Problem
from lime_jax.core.pytree import pytree
from lime_jax.core.receptive_fields import windows_executor
from lime_jax.core.receptive_fields.layers_executor import Layers
from lime_jax.core.receptive_fields.sums_executor import ExactSums
from lime_jax.core.receptive_fields.windows_executor import Windows
from lime_jax.core.surrogates import kernels
from lime_jax.core.surrogates.banzhaf import Banzhaf
from lime_jax.core.surrogates.ridge import Ridge
from lime_jax.core.surrogates.shapley import Shapley
from lime_jax.core.surrogates.sparse import ForwardSelection, HighestWeights, LassoPath

D = 6

# --- samplers -------------------------------------------------------------------------------------

SAMPLERS = {
    "Bernoulli rows": Bernoulli(300, distinct=False),
    "Bernoulli table": Bernoulli(300),
    "BernoulliBlocks": BernoulliBlocks(160),
    "Exhaustive": Exhaustive(),
    "KernelShap rows": KernelShap(40),
    "KernelShap table": KernelShap(300),
    "Nearest": Nearest(2, 1000),
    "OrthogonalArray": OrthogonalArray(3 * 128),
    "Auto": lj.auto(std_error=0.1),
}


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
class TestSamplers:
    def test_masks_are_bool_of_the_size_that_is_told_without_drawing(self, sampler, getkey):
        drawn, size = sampler(getkey(), D), neighbourhood.size_of(sampler, D)
        assert drawn.masks.dtype == bool
        assert drawn.masks.shape == (size.num_masks, D)
        told = size.num_blocks, size.has_table, size.is_exact
        assert told == (drawn.num_blocks, drawn.table is not None, drawn.is_exact)

    def test_the_unperturbed_input_comes_first_or_behind_those_that_count(self, sampler, getkey):
        drawn = sampler(getkey(), D)
        place = 0 if drawn.num_counted is None else drawn.num_counted
        assert np.asarray(drawn.masks)[place].all()
        assert place in (0, drawn.num_masks - 1)

    def test_the_same_key_gives_the_same_masks(self, sampler, getkey):
        key = getkey()
        first, second = sampler(key, D), sampler(key, D)
        np.testing.assert_array_equal(first.masks, second.masks)
        np.testing.assert_array_equal(first.counts, second.counts)

    def test_a_row_depends_on_its_index_alone(self, sampler, getkey):
        drawn = sampler(getkey(), D)
        some = np.array([drawn.num_masks - 1, 3, 0])
        np.testing.assert_array_equal(drawn.rows(jnp.asarray(some)), np.asarray(drawn.masks)[some])

    def test_masks_differ_and_so_do_those_of_other_keys(self, sampler, getkey):
        drawn, other = (sampler(getkey(), D) for _ in range(2))
        assert len(np.unique(np.asarray(drawn.masks), axis=0)) > D
        if not drawn.is_exact and drawn.table is None:
            assert (np.asarray(drawn.masks) != np.asarray(other.masks)).any()
        if not drawn.is_exact and drawn.table is not None and drawn.num_masks < drawn.num_samples:
            assert (np.asarray(drawn.counts) != np.asarray(other.counts)).any()

    def test_jit_meets_the_same_function_for_the_same_settings(self, sampler, getkey):
        again = dataclasses.replace(sampler)
        assert sampler(getkey(), D).draw is again(getkey(), D).draw

    def test_works_inside_jit(self, sampler, getkey):
        key = getkey()
        inside = jax.jit(lambda key: sampler(key, D).masks)(key)
        np.testing.assert_array_equal(inside, sampler(key, D).masks)

    def test_counts_are_not_negative(self, sampler, getkey):
        drawn = sampler(getkey(), D)
        counts = np.asarray(drawn.counts)
        assert counts.shape == (drawn.num_masks,)
        assert counts.min() >= 0 and counts.sum() > 0

    def test_its_masks_are_distributed_as_it_says(self, sampler, getkey):
        """Fair coins, alone and in pairs; which `num_lime_samples` relies on."""
        drawn = sampler(getkey(), D)
        if drawn.distribution == "other":
            pytest.skip("it says nothing")
        rows = [sampler(key, D) for key in jax.random.split(getkey(), 30)]
        counts = np.concatenate([np.asarray(row.counts) for row in rows])
        masks = np.concatenate([np.asarray(row.masks) for row in rows]).astype(float)
        pairs = (masks * counts[:, None]).T @ masks / counts.sum()
        expected = np.full((D, D), 0.25) + np.eye(D) / 4
        np.testing.assert_allclose(pairs, expected, atol=5 / np.sqrt(counts.sum()))

    @pytest.mark.slow
    def test_standard_errors_are_how_far_runs_scatter(self, sampler, getkey):
        weights = np.random.default_rng(0).normal(size=(D, 2)).astype(np.float32)
        components = lj.from_stems(np.eye(D, dtype=np.float32))
        method = lj.Method(sampler, kernels.Flat(), Ridge(1e-2))

        def explain(key):
            return lj.explain(lambda x: jnp.tanh(x @ weights) ** 2, components, method, key=key)

        runs = jax.jit(jax.vmap(explain))(jax.random.split(getkey(), 60))
        scatter, told = runs.coefficients.std(axis=0), np.asarray(runs.std_error).mean(axis=0)
        if (told == 0).all():
            np.testing.assert_allclose(scatter, 0, atol=1e-6)
        elif not np.isnan(told).all():
            ratio = float(np.sqrt((scatter**2).mean() / (told**2).mean()))
            assert 0.6 < ratio < 1.5

    def test_without_a_key_nothing_is_drawn_but_what_needs_none(self, sampler):
        try:
            drawn = sampler(None, D)
        except ValueError as error:
            assert "`key` is None" in str(error)
        else:
            assert drawn.is_exact


# --- kernels --------------------------------------------------------------------------------------

KERNELS = {
    "Flat": kernels.Flat(),
    "cosine": kernels.Exponential(0.25, kernels.cosine),
    "l2": kernels.Exponential(0.7, kernels.l2),
    "hamming": kernels.Exponential(0.5, kernels.hamming),
    "Shapley": kernels.Shapley(),
}
ALL_MASKS = np.asarray(Exhaustive()(None, D).masks)


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
class TestKernels:
    def test_weights_are_finite_and_not_negative(self, kernel):
        weights = np.asarray(kernel(jnp.asarray(ALL_MASKS)))
        assert weights.shape == (2**D,) and weights.dtype == np.float32
        assert np.isfinite(weights).all() and weights.min() >= 0 and weights.max() > 0

    def test_the_order_of_components_does_not_matter(self, kernel):
        order = np.random.default_rng(0).permutation(D)
        there, back = kernel(jnp.asarray(ALL_MASKS)), kernel(jnp.asarray(ALL_MASKS[:, order]))
        np.testing.assert_allclose(there, back, rtol=1e-6)

    def test_weights_by_zeros_are_those_of_the_masks(self, kernel):
        by_zeros = kernels.weights_by_zeros(kernel, D)
        expected = by_zeros[(~ALL_MASKS).sum(axis=1)]
        np.testing.assert_allclose(kernel(jnp.asarray(ALL_MASKS)), expected, rtol=1e-5)

    def test_works_inside_jit(self, kernel):
        inside = jax.jit(lambda kernel, masks: kernel(masks))(kernel, jnp.asarray(ALL_MASKS))
        np.testing.assert_allclose(inside, kernel(jnp.asarray(ALL_MASKS)), rtol=1e-6)


def test_a_kernel_that_tells_components_apart_has_no_weights_by_zeros():
    """Of two components one order in two is no change."""

    @pytree
    class First:
        def __call__(self, masks):
            return 1.0 + masks[:, 0].astype(jnp.float32)

    assert kernels.weights_by_zeros(First(), 2) is None


# --- surrogates -----------------------------------------------------------------------------------

SURROGATES = {
    "Ridge": Ridge(1.0),
    "ForwardSelection": ForwardSelection(3),
    "HighestWeights": HighestWeights(3),
    "LassoPath": LassoPath(3),
    "Shapley": Shapley(),
    "Banzhaf": Banzhaf(),
}
NUM_ROWS, NUM_OUTPUTS = 150, 3


def sampled_outputs(seed=6):
    """Masks with all on in front and all off behind, and outputs that are not linear in them."""
    rng = np.random.default_rng(seed)
    masks = rng.random((NUM_ROWS, 7)) < 0.5
    masks[0], masks[-1] = True, False
    linear, pairs = rng.normal(size=(7, NUM_OUTPUTS)), rng.normal(size=(7, 7, NUM_OUTPUTS)) / 7
    z = masks.astype(float)
    summed = z @ linear + np.einsum("ni,nj,ijl->nl", z, z, pairs)
    return masks, (1 / (1 + np.exp(-summed))).astype(np.float32)


def fit(surrogate, masks, outputs, counts=None):
    method = lj.Method(Bernoulli(1000), kernels.Exponential(0.25, kernels.cosine), surrogate)
    counts = jnp.ones(len(masks)) if counts is None else jnp.asarray(counts, jnp.float32)
    return lj.fit_surrogate(jnp.asarray(masks), jnp.asarray(outputs), method, counts=counts)


@pytest.mark.parametrize("surrogate", SURROGATES.values(), ids=SURROGATES)
class TestSurrogates:
    def test_permuting_components_permutes_coefficients(self, surrogate):
        masks, outputs = sampled_outputs()
        order = np.random.default_rng(0).permutation(7)
        one, other = fit(surrogate, masks, outputs), fit(surrogate, masks[:, order], outputs)
        there = np.asarray(one.coefficients)[:, order]
        np.testing.assert_allclose(there, other.coefficients, atol=2e-6)

    def test_scaling_an_output_scales_its_coefficients(self, surrogate):
        masks, outputs = sampled_outputs()
        one, other = fit(surrogate, masks, outputs), fit(surrogate, masks, 3 * outputs)
        scaled = 3 * np.asarray(one.coefficients)
        np.testing.assert_allclose(scaled, other.coefficients, atol=5e-6)
        np.testing.assert_allclose(one.fidelity, other.fidelity, atol=5e-6)

    def test_outputs_do_not_meet(self, surrogate):
        masks, outputs = sampled_outputs()
        together = np.asarray(fit(surrogate, masks, outputs).coefficients)
        for label in range(NUM_OUTPUTS):
            alone = fit(surrogate, masks, np.repeat(outputs[:, [label]], NUM_OUTPUTS, axis=1))
            np.testing.assert_allclose(together[label], alone.coefficients[0], atol=1e-6)

    def test_counting_a_row_twice_is_repeating_it(self, surrogate):
        masks, outputs = sampled_outputs()
        counts = 1.0 + (np.arange(NUM_ROWS) % 3 == 0)
        repeated = np.repeat(np.arange(NUM_ROWS), counts.astype(int))
        one = fit(surrogate, masks, outputs, counts)
        other = fit(surrogate, masks[repeated], outputs[repeated])
        np.testing.assert_allclose(one.coefficients, other.coefficients, atol=2e-6)

    def test_a_nan_output_spoils_no_other(self, surrogate):
        masks, outputs = sampled_outputs()
        broken = outputs.copy()
        broken[17, 1] = np.nan
        one, other = (np.asarray(fit(surrogate, masks, y).coefficients) for y in (outputs, broken))
        np.testing.assert_allclose(one[[0, 2]], other[[0, 2]], atol=1e-6)


# --- fills ----------------------------------------------------------------------------------------

FILLS = {
    "zero": lambda x, key: lj.fills.zero(x),
    "minimum": lambda x, key: lj.fills.minimum(x),
    "maximum": lambda x, key: lj.fills.maximum(x),
    "mean": lambda x, key: lj.fills.mean(x),
    "uniform": lambda x, key: lj.fills.uniform(x, key=key),
    "noise": lambda x, key: lj.fills.noise(x, key=key),
    "shuffle": lambda x, key: lj.fills.shuffle(x, key=key),
}
SIGNAL = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


@pytest.mark.parametrize("fill_of", FILLS.values(), ids=FILLS)
class TestFills:
    def test_a_fill_is_finite_and_fits_the_signal(self, fill_of, getkey):
        fill = fill_of(jnp.asarray(SIGNAL), getkey())
        assert fill.dtype == jnp.float32 and np.isfinite(fill).all()
        assert np.broadcast_shapes(fill.shape, SIGNAL.shape) == SIGNAL.shape

    def test_all_on_is_the_signal_and_all_off_the_fill(self, fill_of, getkey):
        fill = fill_of(jnp.asarray(SIGNAL), getkey())
        labels = jnp.asarray(np.arange(6, dtype=np.int32)[:, None] // 2)
        components = lj.from_labels(SIGNAL, labels, 3, fill=fill)
        on, off = (lj.recompose(components, jnp.asarray([state] * 3)) for state in (True, False))
        np.testing.assert_array_equal(on, SIGNAL)
        np.testing.assert_array_equal(off, np.broadcast_to(fill, SIGNAL.shape))

    def test_the_same_key_gives_the_same_fill_inside_jit_too(self, fill_of, getkey):
        key = getkey()
        inside = jax.jit(fill_of)(jnp.asarray(SIGNAL), key)
        np.testing.assert_allclose(inside, fill_of(jnp.asarray(SIGNAL), key), rtol=1e-6)


# --- segmentations --------------------------------------------------------------------------------

N, T, F, S = 101, 23, 17, 3


def noise(*shape):
    drawn = np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)
    return jax.device_put(drawn)


def mask_of(on):
    return jax.device_put(np.asarray(on, bool))


def whole_of(components):
    return sum(np.asarray(components.sources))


def segments(size, num_segments):
    return np.asarray(lj.equal_segments(size, num_segments))


def superpixels(shape, d):
    rows = np.arange(shape[0])[:, None] // 3
    return (rows + np.arange(shape[1]) // 5) % d


SEGMENTATIONS = {
    "stems": lambda fill: lj.from_stems(noise(S, N), fill),
    "spectrogram stems": lambda fill: lj.from_stems(noise(S, T, F), fill),
    "time": lambda fill: lj.from_labels(noise(N), lj.equal_segments(N, 7), 7, fill),
    "time of a spectrogram": lambda fill: lj.from_labels(
        noise(T, F), segments(T, 4)[:, None], 4, fill
    ),
    "frequency": lambda fill: lj.from_labels(noise(T, F), segments(F, 5)[None, :], 5, fill),
    "grid": lambda fill: lj.from_labels(noise(T, F), lj.grid((3, 4), (T, F)), 12, fill),
    "superpixels": lambda fill: lj.from_labels(noise(T, F), superpixels((T, F), 6), 6, fill),
    "complex spectrogram": lambda fill: lj.from_labels(
        np.asarray(noise(T, F)) * np.complex64(1 + 1j), lj.grid((2, 2), (T, F)), 4, fill
    ),
    "stems × time": lambda fill: lj.cross(
        lj.from_stems(noise(S, N), fill), lj.equal_segments(N, 4), 4
    ),
    "grid × stems": lambda fill: lj.cross(
        lj.cross(lj.from_stems(noise(S, T, F), fill), segments(T, 2)[:, None], 2),
        segments(F, 3)[None, :],
        3,
    ),
}

for_masks = jax.jit(jax.vmap(lj.recompose, (None, 0)))
for_inputs = jax.jit(jax.vmap(lj.recompose, (0, None)))


def pieces_of(components):
    return np.asarray(for_masks(components, np.eye(components.num_components, dtype=bool)))


@pytest.mark.parametrize("make", SEGMENTATIONS.values(), ids=SEGMENTATIONS)
class TestSegmentations:
    def test_all_on_is_the_input(self, make):
        components = make(0.25)
        everything = lj.recompose(components, mask_of(np.ones(components.num_components)))
        np.testing.assert_array_equal(everything, whole_of(components))

    def test_all_off_is_the_fill(self, make):
        components = make(0.25)
        nothing = lj.recompose(components, mask_of(np.zeros(components.num_components)))
        np.testing.assert_array_equal(
            nothing, np.full(nothing.shape, 0.25 * len(components.sources))
        )

    def test_pieces_add_up(self, make):
        components = make(0.0)
        pieces = pieces_of(components)
        np.testing.assert_allclose(pieces.sum(axis=0), whole_of(components), atol=1e-5)

    def test_every_piece_holds_something(self, make):
        components = make(0.0)
        pieces = pieces_of(components)
        assert np.abs(pieces).reshape(len(pieces), -1).max(axis=1).min() > 0

    def test_a_mask_and_its_complement_share_nothing(self, make):
        components = make(0.0)
        mask = np.random.default_rng(0).random(components.num_components) < 0.5
        one, other = (np.asarray(lj.recompose(components, mask_of(m))) for m in (mask, ~mask))
        np.testing.assert_allclose(one + other, whole_of(components), atol=1e-5)

    def test_works_under_jit_and_vmap_over_inputs(self, make):
        components = make(0.5)
        many = jax.tree.map(lambda x: jax.device_put(np.stack([x, 2 * np.asarray(x)])), components)
        mask = mask_of(np.arange(components.num_components) % 2 == 0)
        both = np.asarray(for_inputs(many, mask))
        np.testing.assert_array_equal(both[0], lj.recompose(components, mask))


# --- executors ------------------------------------------------------------------------------------

SIZE, NUM_SEGMENTS, WINDOW, STRIDE = 24, 8, 6, 3
WEIGHTS = np.random.default_rng(1).normal(size=(WINDOW, 2)).astype(np.float32)
INPUTS = np.random.default_rng(2).normal(size=(2, SIZE)).astype(np.float32)


def backbone(windows):
    return jnp.tanh(jnp.matmul(windows, WEIGHTS, precision="highest"))


def all_windows(inputs):
    starts = np.arange(0, SIZE - WINDOW + 1, STRIDE)
    windows = inputs[:, starts[:, None] + np.arange(WINDOW)]
    return backbone(windows.reshape(-1, WINDOW)).reshape(len(inputs), len(starts), 2)


def summed(inputs):
    return all_windows(inputs).sum(axis=1)


def loudest(inputs):
    return all_windows(inputs).max(axis=1)


def of_windows(whole, head):
    return lj.receptive_fields.windowed(
        whole, backbone=backbone, head=head, window=WINDOW, stride=STRIDE
    )


def pair(columns):
    return jnp.tanh(columns.sum(axis=1))


def loudest_pair(inputs):
    columns = all_windows(inputs)
    pairs = jnp.stack([columns[:, :-1], columns[:, 1:]], axis=2)
    return pair(pairs.reshape(-1, 2, 2)).reshape(len(inputs), -1, 2).max(axis=1)


LAYERWISE = lj.receptive_fields.layerwise(
    loudest_pair,
    layers=[
        lj.receptive_fields.layer(backbone, window=WINDOW, stride=STRIDE),
        lj.receptive_fields.layer(pair, window=2),
    ],
    head=lambda columns: columns.max(axis=1),
)
METHOD, SAMPLED = lj.exhaustive(), lj.lime(200)
ONE_DEVICE = jax.sharding.Mesh(jax.devices()[:1], ("devices",))


def components_of(signal, cut=NUM_SEGMENTS):
    return lj.from_labels(signal, lj.equal_segments(SIZE, cut), cut)


def unchanged(function):
    return function


def with_backbone(model):
    """The model with a function in place of what it makes of a window."""
    return lambda function: dataclasses.replace(model, backbone=as_predictor(function))


def with_first_layer(model):
    def put(function):
        layer = dataclasses.replace(model.layers[0], apply=as_predictor(function))
        return dataclasses.replace(model, layers=(layer, *model.layers[1:]))

    return put


@dataclasses.dataclass(frozen=True)
class Way:
    """A case that an executor is chosen for.

    Attributes:
      executor: its class.
      predict: the model, which is `whole` or declares it.
      whole: the same model as a plain function.
      options: of `explain`.
      inside: what `explain` is called inside of.
      cut: how many components there are; another size is another case.
      is_sampled: whether it draws the masks of a sampler.
      reports: whether progress is reported.
      says_plan: whether there is a plan to be seen before it runs.
      refusal: what it says inside jit; None if it explains there.
      broken_by: the model with a function in place of what it computes first.
      first: what it computes first.
    """

    executor: type
    predict: Any
    whole: Any = summed
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    inside: Any = unchanged
    cut: int = NUM_SEGMENTS
    is_sampled: bool = True
    reports: bool = True
    says_plan: bool = True
    refusal: str | None = None
    broken_by: Any = unchanged
    first: Any = summed

    def components(self, signal):
        return components_of(signal, self.cut)

    def expected(self, item, method=METHOD, key=None):
        """The same as one program."""
        components = self.components(jnp.asarray(INPUTS[item]))
        key = jax.random.key(3) if key is None else key
        problem = Problem.of_item(self.whole, components, method, key=key)
        return Compiled().run(Compiled().plan(problem))

    def explain(self, item, method=METHOD, **options):
        options = self.options | {"key": jax.random.key(3)} | options

        def explain(signal):
            return lj.explain(self.predict, self.components(signal), method, **options)

        with self.must_run():
            return self.inside(explain)(jnp.asarray(INPUTS[item]))

    def may_refuse(self):
        """Whether it runs or says what it must."""
        if self.refusal is None:
            return contextlib.nullcontext()
        return pytest.raises(ValueError, match=self.refusal)

    @contextlib.contextmanager
    def must_run(self):
        """No law is kept by an executor that did not run."""
        run = self.executor.run
        with mock.patch.object(self.executor, "run", autospec=True, side_effect=run) as spy:
            yield
        assert spy.call_count == 1


ON_HOST = lj.host_model(lambda x: np.asarray(summed(jnp.asarray(x))))
SUM, LOUDEST = of_windows(summed, "sum"), of_windows(loudest, lambda x: x.max(axis=1))
EXECUTORS = {
    "Host": Way(
        Host, ON_HOST, refusal="a host model cannot run inside jit", broken_by=lj.host_model
    ),
    "Traced": Way(Traced, summed, inside=jax.jit, reports=False, says_plan=False),
    "ExactSums": Way(
        ExactSums, SUM, is_sampled=False, broken_by=with_backbone(SUM), first=backbone
    ),
    "Layers": Way(
        Layers, LAYERWISE, loudest_pair, broken_by=with_first_layer(LAYERWISE), first=backbone
    ),
    "Windows": Way(Windows, LOUDEST, loudest, broken_by=with_backbone(LOUDEST), first=backbone),
    "Meshed": Way(Meshed, summed, options={"mesh": ONE_DEVICE}),
    "Stepwise": Way(Stepwise, summed, options={"progress": lambda done, total: None}),
    "Compiled": Way(Compiled, summed, reports=False),
}


def same(one, other):
    for field in ("coefficients", "intercept", "fidelity", "local_prediction", "prediction"):
        ours, theirs = np.asarray(getattr(one, field)), np.asarray(getattr(other, field))
        np.testing.assert_allclose(ours, theirs, atol=1e-5, err_msg=field)
    np.testing.assert_array_equal(one.status, other.status)


def test_every_executor_has_its_laws():
    assert [type(executor).__name__ for executor in choose.EXECUTORS] == list(EXECUTORS)


@pytest.mark.parametrize("way", EXECUTORS.values(), ids=EXECUTORS)
class TestExecutors:
    def test_all_masks_are_explained_as_by_one_program(self, way):
        same(way.explain(0), way.expected(0))

    def test_sampled_masks_are_those_of_the_key(self, way):
        """With errors, numbers of evaluations and all; sums have no samples, but their limit."""
        if not way.is_sampled:
            pytest.skip("nothing is sampled")
        found, expected = way.explain(0, SAMPLED), way.expected(0, SAMPLED)
        same(found, expected)
        for field in ("std_error", "deviations", "degrees_of_freedom", "num_lime_samples"):
            ours, theirs = np.asarray(getattr(found, field)), np.asarray(getattr(expected, field))
            np.testing.assert_allclose(ours, theirs, atol=1e-5, err_msg=field)
        assert found.num_samples == expected.num_samples
        if way.predict is way.whole:
            assert found.num_evaluations == expected.num_evaluations

    def test_given_masks_are_predicted_as_by_the_whole_model(self, way):
        """Whoever explains: executors that evaluate no given masks leave it to others."""
        rng = np.random.default_rng(4)
        components = way.components(jnp.asarray(INPUTS[0]))
        given = jnp.asarray(rng.random((60, way.cut)) < 0.5)
        options = {k: v for k, v in way.options.items() if k not in ("mesh", "progress")}
        masks, outputs = lj.predict_neighbourhood(
            way.predict, components, given, batch_size=7, **options
        )
        np.testing.assert_array_equal(masks, given)
        expected = way.whole(jax.vmap(lj.recompose, (None, 0))(components, given))
        np.testing.assert_allclose(outputs, expected, atol=1e-5)

    @pytest.mark.parametrize("batch_size", [7, pytest.param(1000, marks=pytest.mark.slow)])
    def test_the_batch_size_changes_nothing(self, way, batch_size):
        same(way.explain(0, batch_size=batch_size), way.expected(0))

    def test_items_are_explained_as_if_alone(self, way):
        options = {name: option for name, option in way.options.items() if name != "progress"}

        def explain(inputs):
            items = jax.vmap(way.components)(inputs)
            return lj.explain_batch(way.predict, items, METHOD, **options)

        together = way.inside(explain)(jnp.asarray(INPUTS))
        for item in range(len(INPUTS)):
            alone = jax.tree.map(lambda x, item=item: x[item], together)
            same(alone, way.expected(item))

    def test_every_item_has_masks_of_its_own_key(self, way):
        if not way.is_sampled:
            pytest.skip("nothing is sampled")
        options = {name: option for name, option in way.options.items() if name != "progress"}
        keys = jax.random.split(jax.random.key(5), len(INPUTS))

        def explain(inputs):
            items = jax.vmap(way.components)(inputs)
            return lj.explain_batch(way.predict, items, SAMPLED, key=keys, **options)

        together = way.inside(explain)(jnp.asarray(INPUTS))
        for item in range(len(INPUTS)):
            alone = jax.tree.map(lambda x, item=item: x[item], together)
            same(alone, way.expected(item, SAMPLED, keys[item]))

    def test_a_plan_runs_nothing(self, way):
        if not way.says_plan:
            pytest.skip("there is no plan to be seen")
        calls = []

        def spy(inputs):
            if isinstance(inputs, np.ndarray):
                calls.append(1)
            else:
                jax.debug.callback(lambda: calls.append(1))
            return way.first(jnp.asarray(inputs))

        components = way.components(jnp.asarray(INPUTS[0]))
        plan = lj.plan(way.broken_by(spy), components, METHOD, **way.options)
        jax.effects_barrier()
        assert type(plan.executor) is way.executor and not calls

    def test_progress_is_reported_once_in_full(self, way):
        if not way.reports:
            pytest.skip("progress has another executor take over, or nobody to tell")
        reports = []
        way.explain(0, progress=lambda done, total: reports.append((done, total)))
        done, totals = zip(*reports, strict=True)
        assert len(set(totals)) == 1, "of one total"
        assert list(done) == sorted(set(done)) and done[-1] == totals[0]

    def test_inside_jit_and_vmap_it_explains_or_says_why_not(self, way):
        options = {name: option for name, option in way.options.items() if name != "mesh"}

        def explain(signal):
            return lj.explain(way.predict, way.components(signal), METHOD, **options)

        with way.may_refuse():
            traced = jax.jit(jax.vmap(explain))(jnp.asarray(INPUTS))
            same(jax.tree.map(lambda x: x[0], traced), way.expected(0))

    @pytest.mark.slow  # whatever is traced goes one way, which the law before has met
    def test_gradients_go_through_or_it_says_why_not(self, way):
        def strongest(signal):
            explanation = lj.explain(way.predict, way.components(signal), METHOD)
            return explanation.coefficients[0, 0]

        with way.may_refuse():
            gradient = jax.grad(strongest)(jnp.asarray(INPUTS[0]))
            assert np.isfinite(gradient).all() and np.any(gradient)

    def test_a_model_that_raises_keeps_its_traceback(self, way):
        def broken(inputs):
            raise ZeroDivisionError("a fault of the model")

        with pytest.raises((ZeroDivisionError, lj.errors.ModelError)) as caught:
            dataclasses.replace(way, predict=way.broken_by(broken)).explain(0)
        error = caught.value.__cause__ or caught.value
        assert isinstance(error, ZeroDivisionError) and "a fault of the model" in str(caught.value)
        names, frame = [], error.__traceback__
        while frame is not None:
            names.append(frame.tb_frame.f_code.co_name)
            frame = frame.tb_next
        assert names[-1] == "broken"

    def test_the_plan_says_what_will_be_done_and_runs_nothing(self, way):
        if not way.says_plan:
            pytest.skip("there is nothing to print inside a program")
        components = way.components(jnp.asarray(INPUTS[0]))
        problem = Problem.of_item(way.predict, components, METHOD, **way.options)
        plan = choose.best_plan(problem)
        assert type(plan.executor) is way.executor
        explanation = way.explain(0)
        assert plan.is_exact == bool((np.asarray(explanation.std_error) == 0).all())
        if plan.unit != "passes":
            assert plan.num_evaluations == explanation.num_evaluations
        words = str(plan)
        assert "\n" not in words and f"{plan.num_evaluations:,} {plan.unit}" in words
        assert words.startswith("exact through") and plan.num_bytes > 0
        public = lj.plan(way.predict, problem.components, METHOD, **way.options)
        assert str(public) == words == repr(public)


def of_twelve(way):
    return dataclasses.replace(way, cut=12)


OF_TWELVE = of_twelve(EXECUTORS["Compiled"])
OF_WHOLE_INPUTS = ("Host", "Traced", "Meshed", "Stepwise")


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(EXECUTORS[name], marks=pytest.mark.slow if name != "Stepwise" else ())
        for name in OF_WHOLE_INPUTS
    ],
    ids=OF_WHOLE_INPUTS,
)
def test_rounds_end_alike_whatever_the_way(way):
    """Twelve components: arrays of 512 masks, four to a round, of which three fit the ceiling."""
    method = lj.lime(lj.auto(std_error=1e-9, max_evaluations=6200))
    explanation, expected = (
        x.explain(0, method, batch_size=300) for x in (of_twelve(way), OF_TWELVE)
    )
    assert explanation.num_evaluations == 3 * 2049
    assert np.isfinite(explanation.num_lime_samples).all()
    np.testing.assert_allclose(explanation.coefficients, expected.coefficients, atol=1e-5)
    np.testing.assert_allclose(explanation.std_error, expected.std_error, atol=1e-5)


def test_the_ridge_is_as_strong_whatever_the_number_of_rounds():
    method = lj.lime(lj.auto(std_error=1e-9, max_evaluations=6200), alpha=100.0)
    limit = lj.exhaustive(equivalent_num_samples=1000, alpha=100.0)
    found, exact = (OF_TWELVE.explain(0, m) for m in (method, limit))
    apart = np.abs(np.asarray(found.coefficients) - np.asarray(exact.coefficients))
    assert (apart <= 6 * np.asarray(found.std_error) + 1e-6).all()


def test_rounds_are_shares_of_all_there_could_be():
    reports = []
    of_twelve(EXECUTORS["Stepwise"]).explain(
        0,
        lj.lime(lj.auto(std_error=1e-9, max_evaluations=6200)),
        progress=lambda done, total: reports.append((done, total)),
    )
    assert reports[-1] == (3 * 2049, 3 * 2049) and {total for _, total in reports} == {3 * 2049}


def test_all_on_is_compared_too_where_a_declaration_is_checked():
    """Both neighbours must be on for what this model makes of them."""

    def linked(inputs):
        return loudest_pair(inputs) + inputs[:, :1] * inputs[:, 3:4]

    model = dataclasses.replace(LAYERWISE, whole=as_predictor(linked))
    with pytest.raises(ValueError, match="differ from `whole`"):
        lj.explain(model, components_of(jnp.asarray(INPUTS[0])), METHOD)


def test_windows_and_masks_keep_to_the_batch_that_fits(monkeypatch):
    """Where memory runs out, both are made smaller."""
    sizes = []
    retry = windows_executor.memory.retry_with_smaller_batches
    monkeypatch.setattr(
        windows_executor.memory, "retry_with_smaller_batches", lambda run, _: retry(run, 3)
    )
    run = windows_executor.run_windowed
    monkeypatch.setattr(
        windows_executor,
        "run_windowed",
        lambda *arguments: sizes.append(arguments[-1]) or run(*arguments),
    )
    EXECUTORS["Windows"].explain(0)
    assert sizes == [(3, 3)]


class TestPlans:
    def test_what_stops_at_targets_takes_at_most_so_many_and_a_round_at_a_time(self):
        method = lj.lime(lj.auto(std_error=0.1, max_evaluations=6200))
        plan = lj.plan(summed, components_of(jnp.asarray(INPUTS[0]), 12), method, batch_size=5000)
        assert (plan.num_evaluations, plan.num_at_a_time, plan.is_exact) == (6147, 2049, False)
        assert "at most 6,147 evaluations, 2,049 at a time" in str(plan)

    def test_windows_are_counted_as_they_are(self):
        predict = EXECUTORS["Windows"].predict
        method = lj.lime(lj.auto(std_error=0.1, max_evaluations=6200))
        plan = lj.plan(predict, components_of(jnp.asarray(INPUTS[0]), 12), method)
        assert plan.unit == "windows" and "most" not in str(plan)
        assert plan.num_at_a_time <= plan.num_evaluations

    def test_many_items_share_a_batch(self):
        items = jax.vmap(components_of)(jnp.asarray(INPUTS))
        plan = lj.plan(summed, items, METHOD, batch_size=1000)
        assert plan.num_at_a_time == 2 * 256
        assert "256 evaluations for each of 2 items" in str(plan)

    def test_who_wants_to_be_told_is_explained_step_by_step(self):
        plan = lj.plan(
            summed, components_of(jnp.asarray(INPUTS[0])), METHOD, progress=lambda *_: None
        )
        assert type(plan.executor) is Stepwise

    @pytest.mark.parametrize(
        ("number", "words"),
        [(999, "999 bytes"), (1234, "1.23 kB"), (999_900_000, "1 GB"), (5e12, "5 TB")],
    )
    def test_bytes_are_told_in_the_unit_that_fits(self, number, words):
        assert format_bytes(int(number)) == words

    @pytest.mark.parametrize(
        ("seconds", "words"),
        [(0.4, "0.4 s"), (9.6, "10 s"), (44.0, "40 s"), (600.0, "10 min"), (9000.0, "2.5 h")],
    )
    def test_times_are_told_as_exactly_as_they_are_known(self, seconds, words):
        assert format_seconds(seconds) == words
