"""What a person can ask for, and what it resolves to."""

import copy

import numpy as np
import pytest

from lime_jax import settings
from lime_jax.core.masks.sequential import Auto
from lime_jax.errors import LimeJaxError
from lime_jax.outputs import OutputSelection, quoted
from lime_jax.settings import ExplainSettings

NAMES = ("Rock", "ROCK", "jazz")


class TestOutputs:
    def test_all_are_all_in_their_order(self):
        outputs = OutputSelection.parse("all").resolve(NAMES)
        assert outputs.of(np.array([3.0, 1.0, 2.0])) == (0, 1, 2) and outputs.count == 3

    def test_the_highest_predictions_come_first(self):
        outputs = OutputSelection.parse("top:2").resolve(NAMES)
        assert outputs.of(np.array([1.0, 3.0, 2.0])) == (1, 2) and outputs.count == 2

    def test_a_prediction_that_is_no_number_counts_as_lowest(self):
        outputs = OutputSelection.parse("top:2").resolve(NAMES)
        assert outputs.of(np.array([np.nan, 3.0, 4.0])) == (2, 1)

    def test_no_more_outputs_are_reported_than_there_are(self):
        assert OutputSelection.parse("top:9").resolve(NAMES).count == 3

    def test_names_keep_their_order_and_count_once(self):
        outputs = OutputSelection.parse("jazz, Rock,jazz").resolve(NAMES)
        assert outputs.indices == (2, 0) and outputs.count == 2

    def test_outputs_are_found_in_their_own_case_first(self):
        assert OutputSelection.parse("ROCK").resolve(NAMES).indices == (1,)

    def test_another_case_is_found_where_a_single_output_is_meant(self):
        assert OutputSelection.parse("Jazz").resolve(NAMES).indices == (2,)

    @pytest.mark.parametrize(
        ("text", "message"),
        [("rock", "could be 'Rock' or 'ROCK'. Write it exactly"), ("jaz", "did you mean 'jazz'")],
    )
    def test_names_of_no_single_output_are_refused(self, text, message):
        with pytest.raises(LimeJaxError, match=message):
            OutputSelection.parse(text).resolve(NAMES)

    @pytest.mark.parametrize("text", ["top:", "top:0", "top:-1", "top:two", "", " , "])
    def test_what_selects_nothing_is_refused_before_a_model_is_known(self, text):
        with pytest.raises(ValueError, match=r"`--outputs`.* top:N"):
            OutputSelection.parse(text)


# Names of outputs, what is typed, and the outputs meant.
ODD_NAMES = {
    "a name with a comma": (("rock, pop", "jazz"), "rock, pop", (0,)),
    "quoted among others": (("rock, pop", "jazz"), 'jazz, "rock, pop"', (1, 0)),
    "an output called all": (("jazz", "all"), "all", (1,)),
    "all others": (("jazz", "al"), "all", (0, 1)),
    "an output called top:2": (("a", "top:2", "b"), "top:2", (1,)),
    "quoted like a word": (("a", "top:2", "b"), '"top:2"', (1,)),
    "a word among names": (("a", "top:2", "all"), "top:2,all", (1, 2)),
    "quotes within": (('12" mix', 'say "x", y'), '12" mix,"say ""x"", y"', (0, 1)),
    "quotes around": (('"quoted"', "b"), '"""quoted"""', (0,)),
    "quotes as they stand": (('a" onload="b', "b"), 'a" onload="b', (0,)),
    "spaces around": ((" jazz ", "b"), "jazz", (0,)),
    "numbers": (("0", "1", "2"), "2,0", (2, 0)),
}


class TestOddNames:
    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_names_are_found_and_stored(self, name):
        names, text, indices = ODD_NAMES[name]
        selection = OutputSelection.parse(text)
        assert selection.resolve(names).indices == indices
        stored = OutputSelection.parse_stored(selection.serialise(names))
        assert stored.resolve(names).indices == indices

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_a_quoted_name_is_that_name(self, name):
        names, _, _ = ODD_NAMES[name]
        for index, output in enumerate(names):
            assert OutputSelection.parse(quoted(output)).resolve(names).indices == (index,)

    @pytest.mark.parametrize("default", ["all", "top:2"])
    def test_nothing_typed_is_no_name(self, default):
        names = ("all", "top:2", "jazz")
        selection = OutputSelection.parse(None, default)
        assert selection.resolve(names).count == (3 if default == "all" else 2)
        assert selection.serialise(names) == default

    @pytest.mark.parametrize("text", ["all", "top:2", "jazz", "jazz,Rock"])
    def test_what_earlier_versions_stored_stays(self, text):
        assert OutputSelection.parse(text).serialise(NAMES) == text

    @pytest.mark.parametrize("text", ['"rock', '"rock" pop', '"a","b', "a\nb"])
    def test_quotes_that_do_not_match_are_refused(self, text):
        with pytest.raises(ValueError, match="double quotes that do not go together"):
            OutputSelection.parse(text)

    def test_commas_are_hinted_at(self):
        with pytest.raises(LimeJaxError, match="Names with commas go in double quotes"):
            OutputSelection.parse("rock, pop,jazz").resolve(("rock, pop", "jazz"))


class TestMethod:
    @pytest.mark.parametrize(
        ("text", "targets"), [("all", (0, 1, 2)), ("top:2", 2), ("top:9", 3), ("jazz", (2,))]
    )
    def test_auto_aims_at_the_outputs_that_are_reported(self, text, targets):
        method = settings.method_of(ExplainSettings(num_samples="auto", std_error=0.1))
        outputs = OutputSelection.parse(text).resolve(NAMES)
        sampler = settings.target_outputs(method, outputs).sampler
        assert isinstance(sampler, Auto) and sampler.targets.outputs == targets
        assert sampler.targets.std_error == 0.1 and sampler.targets.top_k is None

    @pytest.mark.parametrize("num_samples", [50, "exhaustive"])
    def test_other_methods_have_no_targets(self, num_samples):
        method = settings.method_of(ExplainSettings(num_samples=num_samples))
        assert (
            settings.target_outputs(method, OutputSelection.parse("all").resolve(NAMES)) is method
        )

    def test_confidence_is_that_of_the_top_k(self):
        given = ExplainSettings(num_samples="auto", confidence=0.9, top_k=2)
        sampler = settings.method_of(given).sampler
        assert isinstance(sampler, Auto) and (
            sampler.targets.top_k,
            sampler.targets.confidence,
        ) == (2, 0.9)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, 10),
        ({"components": "grid"}, (6, 4)),
        ({"components": "grid", "segments": "2X3"}, (2, 3)),
        ({"components": "stems"}, None),
        ({"components": "stems-time", "segments": "7"}, 7),
    ],
)
def test_segments_are_one_number_or_two_for_a_grid(given, expected):
    assert ExplainSettings(**given).num_segments == expected


BAD = {
    "segments of a grid": ({"components": "grid", "segments": "4"}, "two numbers such as 6x4"),
    "segments of times": ({"segments": "2x2"}, "one number for time"),
    "no segment": ({"segments": "0"}, "`--segments` must be at least 1"),
    "segments of stems": ({"components": "stems", "segments": "4"}, "does not go with stems"),
    "a fill of stems": ({"components": "stems", "fill": "mean"}, "must be zero for stems"),
    "a level of a waveform": ({"fill": "maximum"}, "zero, mean, uniform, noise or shuffle"),
    "a target of a number": ({"std_error": 0.1}, "goes with `--num-samples auto`"),
    "no top component": ({"top_k": 0}, "`--top-k` must be at least 1"),
    "a negative seed": ({"seed": -1}, "`--seed` must be at least 0"),
    "an empty batch": ({"batch_size": 0}, "`--batch-size` must be at least 1"),
    "a separator of times": ({"separator": "spleeter:2stems"}, "a separator goes with"),
    "a residual of times": ({"residual": False}, "`--no-residual` goes with stems"),
    "stems of no separator": ({"keep_stems": False}, "`--no-keep-stems` goes with a separator"),
    "two separators": ({"separator": "a", "separator_command": "b"}, "Use one of them"),
    "a cross-fade": ({"separator_command": "b", "crossfade": 1.0}, "goes with `--separator`"),
}


@pytest.mark.parametrize(("given", "message"), BAD.values(), ids=BAD)
def test_impossible_settings_are_refused_by_the_name_of_their_flag(given, message):
    with pytest.raises(ValueError, match=message):
        settings.check_explain_settings(ExplainSettings(**given))


WHOLE = {"top_k": 2, "seed": 7, "batch_size": 4, "num_samples": 16}


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint8])
def test_whole_numbers_may_be_of_numpy(kind):
    given = copy.copy(ExplainSettings(**WHOLE))
    for name, value in WHOLE.items():
        object.__setattr__(given, name, kind(value))
    object.__setattr__(given, "segments", kind(4))
    settings.check_explain_settings(given)
    assert given.num_segments == 4
    assert settings.method_of(given).sampler.num_samples == 16


@pytest.mark.parametrize("name", ["seed", "batch_size"])
@pytest.mark.parametrize("value", [2.5, True, "3", np.float64(2)])
def test_what_is_no_whole_number_is_refused(name, value):
    given = copy.copy(ExplainSettings())
    object.__setattr__(given, name, value)
    with pytest.raises(ValueError, match=f"`--{name.replace('_', '-')}` must be a whole number"):
        settings.check_explain_settings(given)
