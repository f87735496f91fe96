"""Explaining from few windows gives the explanations of the whole model, or an error."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lime_jax as lj
from lime_jax.core.receptive_fields.windows import layout_of, look_up
from lime_jax.models.singing_voice_network import SvdNet
from tests.networks import initialise

SIZE, BANDS, SOURCES = 40, 3, 2
KERNEL = jax.random.normal(jax.random.key(0), (4 * BANDS, 5)) / 3
LAST = jax.random.normal(jax.random.key(1), (5, 2))
STEMS = jax.random.normal(jax.random.key(2), (SOURCES, SIZE, BANDS))


def backbone(windows):
    return jnp.tanh(windows.reshape(len(windows), -1) @ KERNEL)


def head(features):
    return jax.nn.sigmoid(features.max(axis=1) @ LAST)


def windows_of(inputs, stride):
    starts = range(0, inputs.shape[1] - 3, stride)
    return jnp.stack([inputs[:, start : start + 4] for start in starts], axis=1)


@functools.cache
def whole(stride):
    def model(inputs):
        windows = windows_of(inputs, stride)
        features = backbone(windows.reshape(-1, 4, BANDS))
        return head(features.reshape(len(inputs), -1, 5))

    return model


def reflected(inputs):
    return whole(4)(jnp.pad(inputs, ((0, 0), (2, 2), (0, 0)), mode="reflect"))


def across(inputs):
    return whole(2)(inputs.swapaxes(1, 2))


def declare(model, axis=0, **options):
    turn = (lambda x: x.swapaxes(1, 2)) if axis else (lambda x: x)
    return lj.receptive_fields.windowed(
        model, backbone=lambda x: backbone(turn(x)), head=head, window=4, axis=axis, **options
    )


MODELS = {
    "patches": declare(whole(4), stride=4),
    "overlapping": declare(whole(2), stride=2),
    "reflected": declare(reflected, stride=4, pad=2),
}
TIME = lj.equal_segments(SIZE, 6)[:, None]
COMPONENTS = {
    "time": lj.from_labels(STEMS[0], TIME, 6),
    "time with a fill": lj.from_labels(STEMS[0], TIME, 6, fill=STEMS[1].mean(axis=0)),
    "time with another input": lj.from_labels(STEMS[0], TIME, 6, fill=STEMS[1]),
    "stems × time": lj.cross(lj.from_stems(STEMS), TIME, 6),
    "grid": lj.from_labels(STEMS[0], lj.grid((6, 2), (SIZE, BANDS)), 12),
}
METHODS = {
    "lime": lj.lime(5000),
    "shapley": lj.shapley(),
    "forward": lj.lime(5000, feature_selection="forward_selection", num_features=2),
}


def same(one, other, atol=1e-6):
    for field in ("coefficients", "intercept", "fidelity", "prediction", "std_error"):
        ours, theirs = (np.asarray(getattr(x, field)) for x in (one, other))
        np.testing.assert_allclose(ours, theirs, atol=atol, rtol=1e-5, err_msg=field)


PAIRS = [("overlapping", kind) for kind in COMPONENTS] + [
    ("patches", "time with a fill"),
    ("reflected", "stems × time"),
]


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_every_mask_has_the_outputs_of_the_whole_model(name, kind, getkey):
    model, components = MODELS[name], COMPONENTS[kind]
    layout = layout_of(model, components, num_masks=10**9)
    masks = jax.random.bernoulli(getkey(), 0.5, (30, components.num_components))
    lookup = jax.jit(look_up, static_argnames="batch_size")(
        model, components, *layout.arrays, batch_size=7
    )
    outputs = _outputs(model.head, lookup, masks)
    expected = _outputs(model.whole, components, masks)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)


@jax.jit
def _outputs(predictor, recomposable, masks):
    return predictor(jax.vmap(recomposable.recomposed)(masks))


@pytest.mark.parametrize(
    "method",
    [
        METHODS["lime"],
        *(pytest.param(METHODS[name], marks=pytest.mark.slow) for name in ("shapley", "forward")),
    ],
)
def test_the_explanation_is_that_of_the_whole_model(method, getkey):
    key, components = getkey(), COMPONENTS["stems × time"]
    few = lj.explain(MODELS["patches"], components, method, key=key)
    all_masks = lj.explain(whole(4), components, method, key=key)
    same(few, all_masks)
    assert 4 * few.num_evaluations < all_masks.num_evaluations


@pytest.mark.slow
def test_a_batch_is_explained_from_windows(getkey):
    key, many, model = getkey(), two_items(), MODELS["overlapping"]
    batch = lj.explain_batch(model, many, lj.lime(5000), key=key)
    same(batch, lj.explain_batch(whole(2), many, lj.lime(5000), key=key))
    assert (batch.num_evaluations < 1000).all()


@pytest.mark.slow
def test_a_stream_is_explained_from_windows():
    many = two_items()
    items = (jax.tree.map(lambda x, i=i: x[i], many) for i in range(2))
    stream = list(lj.explain_stream(MODELS["overlapping"], items, lj.exhaustive()))
    assert stream[1].num_evaluations < 1000


def two_items():
    def cut(stems):
        return lj.cross(lj.from_stems(stems), TIME, 6)

    return jax.vmap(cut)(jnp.stack([STEMS, STEMS / 2]))


@pytest.mark.slow
def test_windows_may_lie_along_another_axis():
    signal = STEMS[0].T
    components = lj.from_labels(signal, TIME.T, 6)
    model = lj.receptive_fields.windowed(
        lambda x: whole(4)(x.swapaxes(1, 2)),
        backbone=lambda x: backbone(x.swapaxes(1, 2)),
        head=head,
        window=4,
        stride=4,
        axis=1,
    )
    few = lj.explain(model, components, lj.exhaustive())
    same(few, lj.explain(whole(4), lj.from_labels(STEMS[0], TIME, 6), lj.exhaustive()))
    assert few.num_evaluations < 64


def test_where_all_components_overlap_the_whole_model_is_used():
    stems = lj.from_stems(STEMS)
    assert lj.explain(MODELS["patches"], stems, lj.exhaustive()).num_evaluations == 4


@pytest.mark.slow
def test_inside_jit_the_whole_model_is_used():
    def explain(x):
        return lj.explain(MODELS["patches"], lj.from_labels(x, TIME, 6), lj.exhaustive())

    traced = jax.jit(explain)(STEMS[0])
    assert traced.num_evaluations == 64
    same(traced, explain(STEMS[0]))


@pytest.mark.parametrize("options", [{"stride": 3}, {"stride": 2}, {"stride": 4, "pad": 1}])
def test_a_wrong_declaration_is_an_error(options):
    wrong = declare(whole(4), **options)
    with pytest.raises(ValueError, match="`backbone` and `head` differ from `whole`"):
        lj.explain(wrong, COMPONENTS["time"], lj.lime(100_000), key=jax.random.key(0))


def test_impossible_sizes_are_named():
    with pytest.raises(ValueError, match="`window` must be at least 1"):
        lj.receptive_fields.windowed(head, backbone=backbone, head=head, window=0, stride=1)


@pytest.mark.slow
def test_svdnet_declares_its_convolutions():
    network = initialise(lambda: SvdNet(rngs=nnx.Rngs(0)))
    lj.receptive_fields.check_receptive_field(
        network.receptive_field, jax.random.normal(jax.random.key(0), (3, 115, 80))
    )


@pytest.mark.slow
def test_svdnet_is_explained_from_a_hundred_windows(getkey):
    network = initialise(lambda: SvdNet(rngs=nnx.Rngs(0)))
    signal = jax.random.normal(getkey(), (115, 80))
    components = lj.from_labels(signal, lj.equal_segments(115, 10)[:, None], 10)
    few = lj.explain(network, components, lj.exhaustive())
    same(few, lj.explain(lambda inputs: network(inputs), components, lj.exhaustive()))
    assert (few.num_evaluations, few.num_samples) == (100, 1024)


def test_a_silent_first_item_does_not_hide_a_wrong_declaration():
    """Nothing moves its outputs, so it proves nothing: noise is predicted too."""
    wrong = declare(whole(4), stride=2)
    silent = lj.from_labels(jnp.zeros((SIZE, BANDS)), TIME, 6)
    with pytest.raises(ValueError, match="differ from `whole`"):
        lj.explain(wrong, silent, lj.lime(100_000), key=jax.random.key(0))


def test_a_small_output_must_be_right_by_its_own_measure():
    def backbone(x):
        return jnp.stack([x.sum(axis=1), 1e-3 * jnp.square(x).sum(axis=1)], axis=1)

    def head(x):
        return x.sum(axis=1)

    def right(x):
        return head(backbone(x.reshape(-1, 4)).reshape(len(x), -1, 2))

    def wrong(x):
        return right(x) * jnp.array([[1.0, 1.01]])

    inputs = jax.random.normal(jax.random.key(0), (4, 12))
    lj.receptive_fields.check_receptive_field(
        lj.receptive_fields.windowed(right, backbone=backbone, head=head, window=4, stride=4),
        inputs,
    )
    with pytest.raises(ValueError, match="differ from `whole`"):
        lj.receptive_fields.check_receptive_field(
            lj.receptive_fields.windowed(wrong, backbone=backbone, head=head, window=4, stride=4),
            inputs,
        )


def test_infinite_outputs_are_no_difference():
    def backbone(x):
        return jnp.log(jnp.square(x).sum(axis=1))

    def head(x):
        return x.sum(axis=1, keepdims=True)

    def right(x):
        return head(backbone(x.reshape(-1, 4)).reshape(len(x), -1))

    model = lj.receptive_fields.windowed(right, backbone=backbone, head=head, window=4, stride=4)
    lj.receptive_fields.check_receptive_field(
        model, jnp.concatenate([jnp.zeros((1, 12)), jnp.ones((1, 12))])
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=() if (name, kind) in PAIRS else pytest.mark.slow)
        for name in MODELS
        for kind in COMPONENTS
    ],
)
def test_outputs_for_masks_are_those_of_the_whole_model(name, kind):
    model, components = MODELS[name], COMPONENTS[kind]
    masks = jax.random.bernoulli(jax.random.key(3), shape=(3000, components.num_components))
    outputs = lj.predict_neighbourhood(model, components, masks, batch_size=100)[1]
    expected = lj.predict_neighbourhood(model.whole, components, masks)[1]
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


def test_inside_jit_outputs_for_masks_come_from_whole_inputs():
    """The layout is not known there."""
    never = lj.receptive_fields.windowed(
        lambda x: 1 / 0, backbone=backbone, head=head, window=4, stride=4
    )
    components, masks = COMPONENTS["time"], jnp.ones((3000, 6), bool)
    with pytest.raises(ZeroDivisionError):
        jax.jit(lambda masks: lj.predict_neighbourhood(never, components, masks))(masks)


def test_outputs_for_masks_come_from_windows():
    components, masks = COMPONENTS["time"], jnp.ones((3000, 6), bool)
    alone = lj.receptive_fields.windowed(
        whole(4), backbone=lambda x: backbone(x) + 1, head=head, window=4, stride=4
    )
    with pytest.raises(ValueError, match="`backbone` and `head` differ from `whole`"):
        lj.predict_neighbourhood(alone, components, masks)
