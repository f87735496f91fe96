"""Early stopping, and weights on disk."""

import numpy as np
import pytest

from scripts.experiments.common import early_stopping


def epochs(losses, seen):
    for number, loss in enumerate(losses):
        seen.append(number)
        yield loss, f"state {number}"


@pytest.mark.parametrize(
    ("losses", "patience", "best", "run"),
    [
        ([3.0, 2.0, 1.0], 2, 2, 3),
        ([1.0, 2.0, 3.0, 0.5], 2, 0, 3),  # the fourth would be better, but comes too late
        ([1.0, 2.0, 0.5, 3.0, 3.0, 0.1], 2, 2, 5),
        ([1.0, 1.0, 1.0], 5, 0, 3),
        ([float("nan"), 1.0], 5, 1, 2),
    ],
)
def test_the_best_state_is_kept_and_no_epoch_wasted(losses, patience, best, run):
    seen = []
    assert early_stopping.best_of(epochs(losses, seen), patience) == f"state {best}"
    assert len(seen) == run


@pytest.mark.parametrize("losses", [[], [float("nan")], [float("inf")]])
def test_training_that_goes_wrong_is_reported(losses):
    with pytest.raises(ValueError, match="finite validation loss"):
        early_stopping.best_of(epochs(losses, []), 3)


def test_weights_come_back_and_damaged_ones_do_not(tmp_path):
    arrays = {"layer.kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}
    folder = tmp_path / "weights"
    assert early_stopping.kept(folder) is None
    early_stopping.keep(folder, arrays, origin="a test")
    np.testing.assert_array_equal(
        early_stopping.kept(folder)["layer.kernel"], arrays["layer.kernel"]
    )
    largest = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    largest.write_bytes(b"damaged")
    assert early_stopping.kept(folder) is None
