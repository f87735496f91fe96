"""Explaining layer by layer gives the explanations of the whole network, or an error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.core.receptive_fields import layer_columns
from lime_jax.core.receptive_fields.declaration import declare_tested
from tests import programs

SIZE, SOURCES = 97, 2
KEYS = jax.random.split(jax.random.key(0), 4)
FIRST = jax.random.normal(KEYS[0], (4, 5))
CONVS = [jax.random.normal(key, (3, 5, 5)) / 4 for key in KEYS[1:3]]
LAST = jax.random.normal(KEYS[3], (10, 2)) / 3
STEMS = jax.random.normal(jax.random.key(2), (SOURCES, SIZE))


def frame(windows):
    return jnp.tanh(windows @ FIRST)


def conv_and_pool(kernel, x, padding):
    x = jax.lax.conv_general_dilated(
        x, kernel, (1,), padding, dimension_numbers=("NWC", "WIO", "NWC")
    )
    x = jnp.tanh(x)[:, : x.shape[1] // 2 * 2]
    return x.reshape(len(x), -1, 2, x.shape[-1]).max(axis=2)


def head(columns):
    pooled = jnp.concatenate([columns.mean(axis=1), columns.max(axis=1)], axis=1)
    return jax.nn.sigmoid(pooled @ LAST)


def whole(inputs):
    padded = jnp.pad(inputs, ((0, 0), (2, 2)), mode="reflect")
    starts = np.arange((padded.shape[1] - 4) // 2 + 1) * 2
    x = frame(padded[:, starts[:, None] + np.arange(4)])
    for kernel in CONVS:
        x = conv_and_pool(kernel, x, [(1, 1)])
    return head(x)


def declare(first_stride=2, window=4):
    made = [
        lj.receptive_fields.layer(
            lambda x, kernel=kernel: conv_and_pool(kernel, x, [(0, 0)])[:, 0],
            window=window, stride=2, pad=1,
        )
        for kernel in CONVS
    ]  # fmt: skip
    first = lj.receptive_fields.layer(frame, window=4, stride=first_stride, pad=2)
    return lj.receptive_fields.layerwise(whole, layers=[first, *made], head=head)


def with_rests(stems):
    """The first stem rests at the beginning, the second one throughout the fourth segment."""
    length = SIZE // 5
    return stems.at[0, :length].set(0.0).at[1, 3 * length : 4 * length].set(0.0)


MODEL = declare()
TIME = lj.equal_segments(SIZE, 5)
COMPONENTS = {
    "time": lj.from_labels(STEMS[0], TIME, 5),
    "time with a fill": lj.from_labels(STEMS[0], TIME, 5, fill=0.25),
    "time with another input": lj.from_labels(STEMS[0], TIME, 5, fill=STEMS[1]),
    "stems × time": lj.cross(lj.from_stems(STEMS), TIME, 5),
    "with silence": lj.cross(lj.from_stems(with_rests(STEMS)), TIME, 5),
}
METHODS = {
    "lime": lj.lime(600),
    "all masks": lj.exhaustive(),
    "shapley": lj.shapley(),
    "auto": lj.lime("auto"),
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(layer_columns, "BLOCK", 64)


def same(one, other):
    for field in ("coefficients", "intercept", "fidelity", "prediction", "std_error"):
        ours, theirs = (np.asarray(getattr(x, field)) for x in (one, other))
        np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=1e-4, err_msg=field)


@pytest.mark.parametrize(
    "components, method",
    [
        *((name, "lime") for name in ("stems × time", "with silence")),
        # Their columns are compared mask by mask below.
        pytest.param("time", "lime", marks=pytest.mark.slow),
        pytest.param("time with a fill", "lime", marks=pytest.mark.slow),
        pytest.param("time with another input", "lime", marks=pytest.mark.slow),
        *(("with silence", name) for name in METHODS if name != "lime"),
    ],
)
def test_the_explanation_is_that_of_the_whole_network(components, method, monkeypatch):
    components, method, key = COMPONENTS[components], METHODS[method], jax.random.key(3)
    lookups, look_up_columns = [], layer_columns.look_up_columns

    def count_calls(*arguments):
        lookups.append(look_up_columns(*arguments))
        return lookups[-1]

    monkeypatch.setattr(layer_columns, "look_up_columns", count_calls)
    explanation = lj.explain(MODEL, components, method, key=key)
    assert lookups
    same(explanation, lj.explain(whole, components, method, key=key))


@pytest.mark.parametrize("size", [31, 32, 33, 34, 35, 36, 37, 38, 96, 98])
def test_outputs_of_any_length_are_those_of_the_network(size, getkey):
    lj.receptive_fields.check_receptive_field(MODEL, jax.random.normal(getkey(), (3, size)))


@pytest.mark.parametrize("components", COMPONENTS.values(), ids=COMPONENTS)
def test_every_mask_has_the_outputs_of_the_whole_network(components, getkey):
    masks = jax.random.bernoulli(getkey(), 0.5, (300, components.num_components))
    _, outputs = lj.predict_neighbourhood(MODEL, components, masks)
    _, expected = lj.predict_neighbourhood(whole, components, masks)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)


def test_no_column_sees_silence():
    columns = layer_columns.plan_columns(MODEL, COMPONENTS["with silence"], 1024)
    assert not columns[0].sees[:5, 0].any() and columns[0].sees[:5, 1].all()
    everything = layer_columns.plan_columns(MODEL, COMPONENTS["stems × time"], 1024)
    assert columns[-1].num_entries < everything[-1].num_entries


def test_less_is_computed_where_segments_do_not_meet():
    columns = layer_columns.plan_columns(MODEL, COMPONENTS["stems × time"], 1024)
    shares = [some.num_evaluations for some in columns]
    assert shares == sorted(shares) and shares[0] < 6 and shares[-1] < 20


@pytest.mark.parametrize("num_masks, is_worth_it", [(8, False), (1024, True)])
def test_few_masks_are_evaluated_whole(num_masks, is_worth_it):
    columns = layer_columns.plan_columns(MODEL, COMPONENTS["stems × time"], num_masks)
    assert (columns is not None) == is_worth_it


def test_columns_that_do_not_fit_into_memory_are_not_planned(monkeypatch):
    monkeypatch.setattr(layer_columns, "_MOST_BYTES", 1000)
    assert layer_columns.plan_columns(MODEL, COMPONENTS["stems × time"], 1024) is None


def test_columns_that_see_too_many_components_are_not_planned(monkeypatch):
    monkeypatch.setattr(layer_columns, "_MOST_PER_COLUMN", 3)
    assert layer_columns.plan_columns(MODEL, COMPONENTS["stems × time"], 1024) is None


def test_an_attribute_declares_layers(getkey):
    class Model:
        receptive_field = MODEL

        def __call__(self, inputs):
            return whole(inputs)

    key = getkey()
    components = COMPONENTS["with silence"]
    same(
        lj.explain(Model(), components, lj.lime(600), key=key),
        lj.explain(whole, components, lj.lime(600), key=key),
    )


@pytest.mark.slow
def test_many_items_are_explained_one_by_one(getkey):
    stems = jnp.stack([STEMS, with_rests(STEMS), 2 * STEMS])
    items = jax.vmap(lambda item: lj.cross(lj.from_stems(item), TIME, 5))(stems)
    key = getkey()
    same(
        lj.explain_batch(MODEL, items, lj.lime(600), key=key),
        lj.explain_batch(whole, items, lj.lime(600), key=key),
    )


FILLS = [0.0, 0.25, STEMS[1]]


@pytest.mark.parametrize("method", [pytest.param("lime", marks=pytest.mark.slow), "shapley"])
def test_averages_over_fills_are_those_of_the_whole_network(method, getkey):
    method, key, components = METHODS[method], getkey(), COMPONENTS["time"]
    average = lj.explain_over_fills(MODEL, components, FILLS, method, key=key)
    expected = lj.explain_over_fills(whole, components, FILLS, method, key=key)
    same(average.explanation, expected.explanation)
    same(average.fills, expected.fills)
    np.testing.assert_allclose(average.spread, expected.spread, atol=1e-5)


def test_fills_share_one_plan(monkeypatch, getkey):
    plans, plan_columns = [], layer_columns.plan_columns

    def count_calls(*arguments):
        plans.append(plan_columns(*arguments))
        return plans[-1]

    monkeypatch.setattr(layer_columns, "plan_columns", count_calls)
    lj.explain_over_fills(MODEL, COMPONENTS["time"], FILLS, METHODS["lime"], key=getkey())
    assert len(plans) == 1 and plans[0] is not None


def test_progress_ends_with_everything(getkey):
    reports = []
    components = COMPONENTS["stems × time"]
    lj.explain(
        MODEL, components, lj.lime(600), key=getkey(), progress=lambda *now: reports.append(now)
    )
    assert len(reports) > 3 and reports[-1][0] == reports[-1][1]
    assert [done for done, _ in reports[:-1]] == sorted(done for done, _ in reports[:-1])


@pytest.mark.parametrize("wrong", [{"first_stride": 1}, {"window": 6}])
def test_a_wrong_declaration_is_an_error(wrong, getkey):
    with pytest.raises(ValueError, match="differ from `whole`"):
        lj.explain(declare(**wrong), COMPONENTS["time"], lj.lime(600), key=getkey())


def test_an_error_of_a_layer_names_its_window(getkey):
    """It is the model's own error, with the window that its author declared."""
    short = lj.receptive_fields.layer(lambda x: x @ jnp.ones((4, 5)), window=3, stride=2)
    model = lj.receptive_fields.layerwise(whole, layers=[short, *MODEL.layers[1:]], head=head)
    with pytest.raises(TypeError) as raised:
        lj.explain(model, COMPONENTS["time"], lj.lime(600), key=getkey())
    assert "a layer with `window=3`" in raised.value.__notes__[-1]


def test_a_layer_that_makes_no_column_is_an_error(getkey):
    alone = lj.receptive_fields.layer(lambda x: (x @ FIRST)[0], window=4, stride=2)
    model = lj.receptive_fields.layerwise(whole, layers=[alone, *MODEL.layers[1:]], head=head)
    with pytest.raises(ValueError, match="must make one column of a window"):
        lj.explain(model, COMPONENTS["time"], lj.lime(600), key=getkey())


def test_tracks_share_programs(getkey):
    def apply(x):
        return conv_and_pool(CONVS[0], x, [(0, 0)])[:, 0]

    above = [lj.receptive_fields.layer(apply, window=4, stride=2, pad=1), MODEL.layers[2]]
    model = lj.receptive_fields.layerwise(whole, layers=[MODEL.layers[0], *above], head=head)
    tracks = [lj.cross(lj.from_stems(gain * STEMS), TIME, 5) for gain in (1.0, 2.0)]
    lj.explain(model, tracks[0], lj.lime(600), key=getkey())
    with programs.counted() as made:
        lj.explain(model, tracks[1], lj.lime(600), key=getkey())
    assert not made


@pytest.mark.slow
def test_a_check_whose_outputs_did_not_move_is_repeated(getkey):
    """Silence is the same by any declaration without biases."""
    still = lj.from_labels(jnp.zeros(SIZE), TIME, 5)
    with pytest.raises(ValueError, match="differ from `whole`"):
        lj.explain(declare(window=6), still, lj.lime(600), key=getkey())
    # Of a network whose own tests prove it, no noise is looked at.
    model = declare_tested(declare(window=6))
    lj.explain(model, still, lj.lime(600), key=getkey())
    with pytest.raises(ValueError, match="differ from `whole`"):
        lj.explain(model, COMPONENTS["time"], lj.lime(600), key=getkey())


@pytest.mark.slow
def test_outputs_near_zero_are_no_error(getkey):
    """Rounding is measured by the largest output of the check, not by each."""
    key, components = getkey(), COMPONENTS["time"]
    zero = whole(lj.recompose(components, jnp.ones(5, bool))[None])
    shifted = lj.receptive_fields.layerwise(
        lambda x: whole(x) - zero, layers=MODEL.layers, head=lambda x: head(x) - zero
    )
    lj.explain(shifted, components, lj.lime(600), key=key)


@pytest.mark.slow
def test_out_of_memory_whole_inputs_are_evaluated(monkeypatch, getkey):
    def full(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(layer_columns, "look_up_columns", full)
    key, components = getkey(), COMPONENTS["stems × time"]
    same(
        lj.explain(MODEL, components, lj.lime(600), key=key),
        lj.explain(whole, components, lj.lime(600), key=key),
    )


def test_columns_that_do_not_pay_are_not_listed(monkeypatch):
    listed = property(lambda _: pytest.fail("they were listed"))
    monkeypatch.setattr(layer_columns.Columns, "masks", listed)
    assert layer_columns.plan_columns(MODEL, COMPONENTS["stems × time"], 8) is None


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: lj.receptive_fields.layer(frame, window=0), "`window` must be at least 1"),
        (
            lambda: lj.receptive_fields.layer(frame, window=1, stride=0),
            "`stride` must be at least 1",
        ),
        (lambda: lj.receptive_fields.layer(frame, window=1, pad=-1), "`pad` must be at least 0"),
        (lambda: lj.receptive_fields.layerwise(whole, layers=[], head=head), "`layers` is empty"),
        (
            lambda: lj.receptive_fields.layerwise(whole, layers=[frame], head=head),
            "a list of what `layer` returns",
        ),
        (
            lambda: lj.receptive_fields.layerwise(whole, layers=MODEL.layers[0], head=head),
            "what `layer` returns",
        ),
    ],
)
def test_impossible_sizes_are_errors(make, words):
    with pytest.raises(ValueError, match=words):
        make()
