"""What is counted about the confounder, on explanations whose answers are known."""

import numpy as np
import pytest

from scripts.experiments.common import results
from scripts.experiments.confounder.excerpts import Excerpts


@pytest.fixture(scope="module")
def confounder(script):
    pytest.importorskip("optax", reason="training needs the extra `train`")
    return script("experiments.confounder.reproduce")


@pytest.fixture(scope="module")
def tables(script):
    return script("experiments.confounder.tables")


def row(test_set, label, predicted, top, *, seed=0, separator="oracle", trained=True):
    return {
        "variant": "gpdb", "seed": seed, "test_set": test_set, "separator": separator,
        "label": label, "predicted": predicted, "top": top, "trained": trained, "song": "a",
    }  # fmt: skip


SAME, SWAPPED = "t_dr-gtr", "t_dr-pno"
ROWS = [
    row(SAME, "guitar", "guitar", "drums"),
    row(SAME, "piano", "piano", "piano"),
    row(SWAPPED, "piano", "guitar", "drums"),
    row(SWAPPED, "piano", "guitar", "bass"),
    row(SWAPPED, "guitar", "piano", None),
    row(SWAPPED, "guitar", "guitar", "drums"),
    row(SWAPPED, "piano", "guitar", "drums", separator="one-vs-all"),
    row(SWAPPED, "piano", "guitar", "drums", separator="one-vs-all+residual"),
]


def test_table_2_counts_every_excerpt_once(tables):
    assert tables.table_2(ROWS) == [
        {"variant": "gpdb", "seed": 0, "test_set": SAME, "accuracy": 100.0},
        {"variant": "gpdb", "seed": 0, "test_set": SWAPPED, "accuracy": 25.0},
    ]


def test_table_3_is_about_guitar_on_the_swapped_set(tables):
    found = {(r["separator"], r["which"]): r for r in tables.table_3(ROWS)}
    assert found["oracle", "all"]["num_explanations"] == 3
    assert found["oracle", "all"]["drums_on_top"] == pytest.approx(66.67)
    assert found["oracle", "misclassified"]["num_explanations"] == 2
    assert found["oracle", "misclassified"]["drums_on_top"] == 50
    assert found["one-vs-all", "misclassified"]["drums_on_top"] == 100


def test_a_residual_may_change_two_points(tables):
    rows = [
        row(SWAPPED, "piano", "guitar", "drums" if n < count else "bass", separator=separator)
        for separator, count in (("oracle", 100), ("halves", 97), ("halves+residual", 94))
        for n in range(100)
    ]
    passed = {f.what.split(", ")[-1]: f.passed for f in tables.figures_of_table_3(rows)}
    assert passed == {"oracle": True, "halves": False, "halves+residual": False}


@pytest.mark.parametrize(
    ("accuracies", "passed"),
    [
        ([(97.0, 25.0)] * 8 + [(50.0, 50.0)] * 2, True),
        ([(97.0, 25.0)] * 7 + [(96.9, 25.0), (97.0, 25.1), (0.0, 0.0)], False),
    ],
)
def test_eight_of_ten_seeds_must_be_confounded(tables, accuracies, passed, monkeypatch):
    table = [
        {"variant": "gpdb", "seed": seed, "test_set": name, "accuracy": value}
        for seed, pair in enumerate(accuracies)
        for name, value in zip(tables.TEST_SETS, pair, strict=True)
    ]
    monkeypatch.setattr(tables, "table_2", lambda rows: table)
    rows = [row(SAME, "guitar", "guitar", "drums", seed=seed) for seed in range(10)]
    first, second = tables.figures_of_table_2(rows)
    assert (first.passed, second.passed) == (None, passed)
    assert second.paper == "12.58 ± 2.98"


def test_cells_are_shares_of_their_label_and_prediction(tables):
    cells = tables.cells_of(ROWS)
    some = results.where(cells, separator="oracle", test_set=SWAPPED, label="piano")
    assert {cell["component"]: cell["share"] for cell in some} == {"drums": 0.5, "bass": 0.5}
    (none,) = results.where(cells, predicted="piano", label="guitar")
    assert none["component"] is None and none["num_explanations"] == 1


def test_untrained_networks_are_compared_with_trained_ones(tables):
    even = [row(SWAPPED, "piano", "guitar", top, trained=False) for top in ("drums", "bass")] * 20
    trained = [row(SWAPPED, "piano", "guitar", "drums")] * 40
    (figure,) = tables.figures_of_untrained(trained, even)
    assert figure.passed and figure.ours.startswith("bass, 50.0 % of 40")
    (figure,) = tables.figures_of_untrained(trained, trained)
    assert not figure.passed


def test_components_of_a_separator_and_its_residual_are_the_mixture(confounder):
    class Halves:
        name = version = "halves"

        def __call__(self, waveform, sample_rate):
            from lime_jax.separation import Stems

            stems = np.stack([0.5 * waveform, 0.2 * waveform]).astype(np.float32)
            return Stems(stems, ("one", "two"), sample_rate)

    stems = np.random.default_rng(0).normal(0, 0.1, (3, 4, 2000)).astype(np.float32)
    excerpts = Excerpts(stems, ("guitar",) * 3, ("a", "b", "c"))
    found = confounder.stems_by_separator(excerpts, "gpdb", {"halves": Halves()})
    assert list(found) == ["oracle", "halves", "halves+residual"]
    assert found["oracle"][0] == ("guitar", "piano", "bass", "drums")
    names, with_residual = found["halves+residual"]
    assert names == ("one", "two", "residual")
    np.testing.assert_allclose(with_residual.sum(axis=1), stems.sum(axis=1), atol=1e-6)


def test_the_predicted_class_is_explained_by_its_largest_positive_weight(confounder):
    class LoudDrums:
        """Guitar where the fourth stem's level is heard."""

        def __call__(self, waveforms):
            import jax.numpy as jnp

            level = jnp.clip(jnp.abs(waveforms).mean(axis=1), 0, 1)
            return jnp.stack([level, 1 - level], axis=1)

    stems = np.zeros((2, 4, 100), np.float32)
    stems[0, 3], stems[0, 0], stems[1, 1] = 0.8, 0.1, 0.2
    excerpts = Excerpts(stems, ("piano", "piano"), ("a", "b"))
    components = {"oracle": (("guitar", "piano", "bass", "drums"), stems)}
    first, second = confounder.rows_of(LoudDrums(), excerpts, components)
    assert (first["predicted"], first["top"]) == ("guitar", "drums")
    assert second["predicted"] == "piano" and second["top"] != "piano"
    assert first["weights"][3] > first["weights"][0] > 0 > second["weights"][1]
