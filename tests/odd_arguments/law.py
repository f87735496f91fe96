"""The law of arguments: whatever comes, a result that makes sense or an error in our own words."""

import dataclasses
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lime_jax as lj

PACKAGE = str(Path(lj.__file__).parent)

NUMBERS = [
    *(-(2**70), -7, -1, 0, 1, 2, 3, 2**40, 2**70),
    *(np.int8(2), np.int64(-1), np.uint8(3), np.bool_(True), True, False),
    *(0.5, 2.5, -1.0, -0.0, 1e30, 1e-30, float("nan"), float("inf"), np.float32(0.5)),
    *(np.float64("nan"), 1j, np.complex64(1 + 1j)),
]
ARRAYS = [
    *(np.array(2), np.array(0.5), np.array([]), np.array([1, 2]), np.array([0.5, np.nan])),
    *(np.ones((2, 3), np.float32), np.ones((2, 0)), np.ones((1, 1, 1, 1)), np.ones(4, bool)),
    *(np.ones((2, 2), complex), np.array([None, 1]), np.array(["a", "b"]), np.arange(-2, 2)),
    *(np.array([2**40]), np.array(["2020-01-01"], "datetime64[D]"), np.ones((3, 2), int)),
]
OTHERS = [
    *(None, "", "x", "zero", b"x", [], [1, 2], [0.5], [[1.0, 2.0], [3.0, 4.0]], [[1], [2, 3]]),
    *([None], ["a"], [-1], [True, False], (), (1, 2), (2, 2, 2), {}, {"a": 1}, {1, 2}, ...),
    *(object(), lambda *_: None, slice(2), range(3)),
]


def odd():
    """Anything that somebody may pass by mistake, and much of what is meant."""
    on_device = st.sampled_from([x for x in ARRAYS if x.dtype.kind in "iufb"]).map(jnp.asarray)
    return st.one_of(
        *(st.sampled_from(values) for values in (NUMBERS, ARRAYS, OTHERS)),
        on_device,
        st.just(jax.random.key(1)),
        st.integers(-3, 12),
        st.floats(-2, 2, width=32),
        st.lists(st.integers(-2, 5), max_size=4),
    )


@dataclasses.dataclass(frozen=True)
class Case:
    """A function with arguments that are right, some of which are replaced by odd ones."""

    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    check: Callable[..., Any] = lambda result, /, **arguments: None
    keep: tuple[str, ...] = ()
    num_examples: int = 18


def keeps_the_law(case):
    """Runs a case with odd arguments."""
    assert case.function(**case.arguments) is not Ellipsis, "with the right ones it works"
    names = [name for name in case.arguments if name not in case.keep]

    @settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=case.num_examples * len(names),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.dictionaries(st.sampled_from(names), odd(), min_size=1, max_size=2))
    def law(replaced):
        arguments = {**case.arguments, **replaced}
        try:
            result = case.function(**arguments)
        except Exception as error:
            assert is_ours(error), f"not in our words: {type(error).__name__}: {error}"
        else:
            case.check(result, **arguments)

    law()


def is_ours(error):
    """Whether we raised it, and it says what is wrong."""
    if not isinstance(error, (ValueError, TypeError, lj.errors.LimeJaxError)):
        return False
    last = traceback.extract_tb(error.__traceback__)[-1]
    is_raised = (last.line or "").lstrip().startswith("raise ")
    names_it = "`" in str(error) or isinstance(error, lj.errors.LimeJaxError)
    return last.filename.startswith(PACKAGE) and is_raised and names_it


def leaves_are_finite(result, /, **arguments):
    for leaf in jax.tree.leaves(result):
        assert np.isfinite(np.asarray(leaf)).all()
