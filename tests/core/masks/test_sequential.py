"""As many masks as an answer needs: chosen, counted, and the same whatever the way."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.core.execution import accumulate, sequential, stepwise
from lime_jax.core.masks.sequential import Auto
from lime_jax.core.methods import most_evaluations, resolve

D = 13
WEIGHTS = jax.random.normal(jax.random.key(0), (D, 3))
STEMS = lj.from_stems(jnp.eye(D))


def network(inputs):
    return jax.nn.sigmoid(inputs @ WEIGHTS + inputs[:, :3] * inputs[:, 3:6])


def exact(components=STEMS, **options):
    return lj.explain(network, components, lj.exhaustive(equivalent_num_samples=1000, **options))


class TestChoice:
    @pytest.mark.parametrize(
        ("num_components", "expected"),
        [(4, 16), (11, 2048), (12, 2049), (16, 2049), (17, 8193), (64, 32_769), (65, 2049)],
    )
    def test_all_masks_then_arrays_then_coins(self, num_components, expected):
        assert most_evaluations(lj.lime("auto"), num_components) == expected

    def test_coins_in_sixteen_equal_blocks_stay_below_the_ceiling(self):
        assert most_evaluations(lj.lime(lj.auto(max_evaluations=1500)), 70) == 16 * 93 + 1

    def test_beyond_arrays_the_unperturbed_input_is_predicted_too(self):
        components = lj.from_stems(jnp.eye(70))
        method = lj.lime(lj.auto(max_evaluations=200))
        found = lj.explain(lambda x: x[:, :2], components, method, key=jax.random.key(0))
        np.testing.assert_array_equal(found.prediction, [1.0, 1.0])

    def test_a_looked_up_mask_may_be_one_of_more(self):
        sampler = resolve(lj.lime("auto"), 14, with_lookup=True).sampler
        assert sampler.equivalent_num_samples == 1000 and not isinstance(sampler, Auto)

    @pytest.mark.slow
    def test_a_ceiling_below_three_arrays_means_coins(self):
        method = lj.lime(lj.auto(std_error=1e-9, max_evaluations=1500))
        explanation = lj.explain(network, STEMS, method, key=jax.random.key(0))
        assert explanation.num_evaluations == 1489 <= 1500
        assert explanation.degrees_of_freedom == 15

    def test_a_number_keeps_limes_own_masks(self):
        assert lj.lime(500).sampler(jax.random.key(0), D).num_masks == 500


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"std_error": 0.002}, {"top_k": 3, "confidence": 0.9}])
def test_the_answer_is_the_limit_within_its_errors(options, getkey):
    explanation = lj.explain(network, STEMS, lj.lime(lj.auto(**options)), key=getkey())
    off = np.abs(explanation.coefficients - exact().coefficients)
    assert (off <= 6 * explanation.std_error).all()
    assert explanation.num_samples == 1000


@pytest.mark.slow
def test_the_ridge_does_not_depend_on_the_number_of_rounds(getkey):
    """With a strong ridge a thousand samples and four thousand have quite different limits."""
    method = lj.lime(lj.auto(std_error=1e-9, max_evaluations=20_000), alpha=100.0)
    found = lj.explain(network, STEMS, method, key=getkey())
    np.testing.assert_allclose(
        found.coefficients, exact(alpha=100.0).coefficients, atol=6 * found.std_error.max()
    )
    assert found.num_evaluations == 9 * 2049


@pytest.mark.slow
def test_a_grid_of_slime_is_no_harder_than_its_neighbours():
    """At 25 components three may be off: 2626 masks, where arrays would see next to nothing."""

    def model(x):
        return jax.nn.sigmoid(x.sum(axis=1, keepdims=True) / 5)

    method = lj.slime(lj.auto(equivalent_num_samples=2**25))
    found = lj.explain(model, lj.from_stems(jnp.eye(25)), method)
    assert found.num_evaluations == 2626
    drop = float(model(jnp.ones((1, 25)))[0, 0] - model(jnp.ones((1, 25)).at[0, 0].set(0.0))[0, 0])
    weight = np.exp(-8.0)
    # Single components off, each of count one: the occlusion of SPEC's closed form.
    np.testing.assert_allclose(found.coefficients, drop * weight / (1 + weight), rtol=0.02)


@pytest.mark.parametrize("width", [0.05, 0.02])
def test_a_kernel_without_neighbours_is_no_constant_output(width):
    explanation = lj.explain(network, STEMS, lj.lime("auto", distance="l2", kernel_width=width))
    assert (explanation.status != lj.Status.CONSTANT_OUTPUT).all()


@pytest.mark.slow
@pytest.mark.parametrize("num_components", [10, 13])
def test_a_narrow_kernel_needs_its_neighbours_only(num_components):
    """70 000 samples of SLIME see single and pairs of components off, and nothing else."""
    weights = WEIGHTS[:num_components]

    def model(x):
        return jax.nn.sigmoid(x @ weights + x[:, :3] * x[:, 3:6])

    stems = lj.from_stems(jnp.eye(num_components))
    found = lj.explain(model, stems, lj.slime("auto"))
    limit = lj.explain(model, stems, lj.exhaustive(distance="l2", equivalent_num_samples=70_000))
    assert found.num_samples == 70_000
    assert found.num_evaluations == 1 + num_components + math.comb(num_components, 2)
    scale = float(jnp.abs(limit.coefficients).max())
    np.testing.assert_allclose(found.coefficients, limit.coefficients, atol=1e-5 * scale)
    np.testing.assert_allclose(found.fidelity, limit.fidelity, atol=1e-4)


@pytest.mark.slow
def test_inside_jit_an_unknown_width_is_taken_to_be_wide(getkey):
    def run(width):
        return lj.explain(
            network, STEMS, lj.lime("auto", kernel_width=width), key=jax.random.key(0)
        )

    assert jax.jit(run)(jnp.float32(0.25)).num_evaluations == 2049


def test_a_round_fills_the_next_slots():
    rule = resolve(lj.lime(lj.auto(std_error=0.1)), D).stopping
    rounds = sequential.start_rounds(rule, D, 1)
    one = accumulate.empty_blocks(D, 1, (1, 4))
    filled = dataclasses.replace(one, weight=jnp.arange(1.0, 5.0)[None])
    for number in range(9):
        rounds = sequential.add_round(rounds, filled)
        weights = np.asarray(rounds.blocks.weight[0])
        expected = [(1 + slot % 4) * (1 + (number - slot // 4) // 8) for slot in range(32)]
        np.testing.assert_array_equal(weights, expected)


def test_the_highest_output_alone_can_be_what_counts():
    assert lj.auto(top_k=1, outputs=1).targets.outputs == 1
    assert lj.auto(top_k=1, outputs=[0]).targets.outputs == (0,)


class TestStopping:
    def test_targets_are_met_or_the_ceiling_is_reached(self, getkey):
        key = getkey()

        def run(**options):
            return lj.explain(network, STEMS, lj.lime(lj.auto(**options)), key=key)

        loose, tight = run(std_error=0.01), run(std_error=0.001)
        assert loose.num_evaluations < tight.num_evaluations < 70_000
        assert tight.std_error.max() <= 0.001
        endless = run(std_error=1e-9, max_evaluations=6_200)
        assert endless.num_evaluations == 3 * 2049

    @pytest.mark.slow
    def test_a_ranking_is_waited_for(self, getkey):
        key = getkey()

        def run(**options):
            return lj.explain(network, STEMS, lj.lime(lj.auto(**options)), key=key)

        sure = run(top_k=4, confidence=0.999, max_evaluations=200_000)
        assert (lj.top_k_confidence(sure, 4) >= 0.999).all()
        one = run(top_k=4, confidence=0.999, outputs=1, max_evaluations=200_000)
        named = run(top_k=4, confidence=0.999, outputs=(1,), max_evaluations=200_000)
        highest = int(sure.prediction.argmax())
        assert lj.top_k_confidence(one, 4)[highest] >= 0.999
        assert lj.top_k_confidence(named, 4)[1] >= 0.999
        assert max(one.num_evaluations, named.num_evaluations) <= sure.num_evaluations

    @pytest.mark.slow
    def test_every_item_stops_alone(self, getkey):
        method = lj.lime(lj.auto(std_error=0.001))
        scales = jnp.array([0.01, 1.0, 3.0])
        many = jax.vmap(lambda scale: lj.from_stems(scale * jnp.eye(D)))(scales)
        keys = jax.random.split(getkey(), 3)
        batch = lj.explain_batch(network, many, method, key=keys)
        assert len(set(batch.num_evaluations.tolist())) > 1
        for i in range(3):
            alone = lj.explain(network, lj.from_stems(scales[i] * jnp.eye(D)), method, key=keys[i])
            assert alone.num_evaluations == batch.num_evaluations[i]
            np.testing.assert_allclose(alone.coefficients, batch.coefficients[i], atol=1e-6)

    @pytest.mark.slow
    def test_a_constant_or_broken_output_is_not_waited_for(self, getkey):
        def broken(inputs):
            good = network(inputs)[:, :1]
            return jnp.concatenate([good, jnp.ones_like(good), good * jnp.nan], axis=1)

        method = lj.lime(lj.auto(std_error=0.005))
        explanation = lj.explain(broken, STEMS, method, key=getkey())
        assert explanation.num_evaluations < 20_000
        assert explanation.status.tolist() == [0, 1, 2]


class TestWays:
    METHOD = lj.lime(lj.auto(std_error=0.001))

    @pytest.mark.slow
    def test_a_host_model_steps_progress_and_jit_agree(self, getkey, monkeypatch):
        key = getkey()
        program = lj.explain(network, STEMS, self.METHOD, key=key)
        traced = jax.jit(lambda key: lj.explain(network, STEMS, self.METHOD, key=key))(key)
        host = lj.explain(
            lj.host_model(lambda x: np.asarray(network(jnp.asarray(x)))),
            STEMS, self.METHOD, key=key, batch_size=512,
        )  # fmt: skip
        told = []

        def progress(done, total):
            return told.append((done, total))

        stepped = lj.explain(network, STEMS, self.METHOD, key=key, progress=progress)
        monkeypatch.setattr(stepwise, "HEAVY_FLOPS", 0.0)
        heavy = lj.explain(network, STEMS, self.METHOD, key=key)
        for other in (traced, host, stepped, heavy):
            assert other.num_evaluations == program.num_evaluations
            np.testing.assert_allclose(other.coefficients, program.coefficients, atol=1e-6)
            np.testing.assert_allclose(other.std_error, program.std_error, atol=1e-6)
        done, total = told[-1]
        assert done == program.num_evaluations and total == most_evaluations(self.METHOD, D)

    @pytest.mark.slow
    def test_a_lookup_is_sampled_too(self, getkey):
        """Fifteen times, windows that overlap two of them, a head that is no sum."""

        def whole(x):
            return jnp.tanh(x).reshape(len(x), 15, 2).sum(axis=2).max(axis=1)[:, None]

        local = lj.receptive_fields.windowed(
            whole,
            backbone=lambda x: jnp.tanh(x).sum(axis=1),
            head=lambda x: x.max(axis=1)[:, None],
            window=2,
            stride=2,
        )
        signal = jax.random.normal(getkey(), (30,))
        components = lj.from_labels(signal, lj.equal_segments(30, 15), 15)
        key = getkey()
        few = lj.explain(local, components, lj.lime("auto"), key=key)
        many = lj.explain(whole, components, lj.lime("auto"), key=key)
        assert few.num_evaluations == 30 and many.num_evaluations == 2049
        np.testing.assert_allclose(few.coefficients, many.coefficients, atol=1e-6)

    @pytest.mark.slow
    def test_one_program_for_all_clips(self, getkey):
        from lime_jax.core.execution import compiled

        def count_calls(inputs):
            return network(inputs)

        before = compiled.explain_one._cache_size()
        for scale in (0.5, 1.0, 2.0):
            method = lj.lime(lj.auto(std_error=0.01 * scale))
            lj.explain(count_calls, lj.from_stems(scale * jnp.eye(D)), method, key=getkey())
        assert compiled.explain_one._cache_size() - before == 1


@pytest.mark.slow
def test_what_it_would_have_cost_as_lime():
    """The number told is the one with which LIME's own variance is the one reached."""
    num_runs, num_samples = 200, 1000
    keys = jax.random.split(jax.random.key(5), num_runs)
    many = jax.vmap(lj.from_stems)(jnp.broadcast_to(jnp.eye(D), (num_runs, D, D)))
    runs = lj.explain_batch(network, many, lj.lime(num_samples), key=keys)
    variance = np.asarray(runs.coefficients).var(axis=0).sum(axis=1)
    assert (runs.num_lime_samples == num_samples).all()
    found = lj.explain(network, STEMS, TestWays.METHOD, key=jax.random.key(1))
    implied = np.square(found.std_error).sum(axis=1) * found.num_lime_samples / float(num_samples)
    np.testing.assert_allclose(implied, variance, rtol=0.25)
    assert (np.asarray(found.num_lime_samples) > 3 * int(found.num_evaluations)).all()
    assert jnp.isinf(exact().num_lime_samples).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lj.lime("many"), "`num_samples` must be a number or \"auto\", got 'many'"),
        (lambda: lj.auto(std_error=0), "`std_error` must be positive and finite, got 0"),
        (lambda: lj.auto(std_error=float("inf")), "positive and finite, got inf"),
        (lambda: lj.auto(top_k=0), "`top_k` must be at least 1, got 0"),
        (lambda: lj.auto(sign="pos"), "`sign`"),
        (lambda: lj.auto(outputs=()), "`outputs` is empty"),
        (lambda: lj.auto(outputs=[-1]), "`outputs` must be at least 0, got -1"),
        (
            lambda: lj.explain(
                network, STEMS, lj.lime(lj.auto(top_k=1, outputs=[0, 3])), key=jax.random.key(0)
            ),
            "`outputs` must be indices below 3, got 3",
        ),
        (
            lambda: lj.explain(
                network, STEMS, dataclasses.replace(lj.shapley(), sampler=lj.auto())
            ),
            "`auto` is for `lime` and `slime`",
        ),
        (lambda: lj.auto(confidence=95), "`confidence` must lie between 0 and 1, got 95"),
        (lambda: lj.auto(outputs=0), "`outputs` must be at least 1"),
        (
            lambda: lj.auto(max_evaluations=10),
            "`max_evaluations` must be at least 128",
        ),
        (lambda: lj.explain(network, STEMS, lj.lime("auto")), "`key` is None"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_sampler_of_a_method_can_be_replaced():
    method = dataclasses.replace(lj.lime(10), sampler=lj.auto())
    assert resolve(method, 4).sampler(None, 4).num_masks == 16
