import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lime_jax as lj
from lime_jax.core.pytree import pytree, static
from scripts.experiments.common import results

SHAPE = (10, 8)


@pytest.fixture(scope="module")
def veracity(script):
    pytest.importorskip("optax", reason="adversaries need the extra `train`")
    names = (
        "experiments.veracity.measures",
        "experiments.veracity.figures",
        "experiments.veracity.reproduce",
    )
    return script(*names)


@pytree
class MeanOfOne:
    """Hears the mean of component 6."""

    slope: float = static()

    def front_end(self, waveforms):
        return waveforms.reshape(-1, 1, *SHAPE)

    def __call__(self, patches):
        mean = jnp.mean(patches, axis=(1, 2), where=lj.grid((5, 4), SHAPE) == 6)
        return self.slope * mean[:, None]


@pytest.fixture
def detector(veracity):
    return veracity.Detector(MeanOfOne(20.0), 0)


def excerpts_of(veracity, is_playing):
    """Noise about a level at which the family plays, or rests."""
    noise = 0.01 * np.random.default_rng(0).standard_normal((6, 80))
    level = 0.05 if is_playing else -0.05
    which = [{"song": f"song {n}", "start": 0.5 * n} for n in range(6)]
    return veracity.Excerpts(which, (noise + level).astype(np.float32))


@pytest.fixture
def measured(veracity, detector):
    """Tables about both directions, for adversaries on the patches."""
    settings = veracity.Attack(0.01, 10.0, 0.2, 50)
    return {
        direction: veracity.measured(
            detector, excerpts_of(veracity, not target), ("spectrogram", direction), settings, 200,
            jax.random.key(0),
        )
        for direction, target in veracity.DIRECTIONS.items()
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["rests to plays", "plays to rests"])
def test_what_the_adversary_changed_is_found(veracity, measured, direction):
    tables = measured[direction]
    assert [row["song"] for row in tables["adversaries"]] == [f"song {n}" for n in range(6)]
    assert all(row["success"] and row["steps"] > 0 for row in tables["adversaries"])
    flips = tables["flips"]
    assert len(flips) == 6 * 2 * 20
    # Only component 6 matters and only it was changed, so both selections begin with it.
    assert all(row["flipped"] for row in flips)
    for table in tables.values():
        assert {row["direction"] for row in table} == {direction}
    single = results.where(tables["subsets"], k=1)
    assert [row["hits"] for row in single] == [1] * 6
    assert all(1 <= row["hits"] <= row["k"] for row in tables["subsets"])
    assert [row["hit"] for row in tables["fidelity"]] == [True] * 6
    assert [row["r2"] for row in tables["fidelity"]] == [row["r2"] for row in single]


def test_flips_follow_the_ranks_and_mark_the_right_sign(veracity, detector):
    clean = np.full((2, *SHAPE), -1, np.float32)
    cases = veracity.Cases([{"song": "a"}, {"song": "b"}], True, clean, -clean)
    # LIME ranks component 6 third in one case; in the other it speaks against the target.
    weights = np.zeros((2, 20), np.float32)
    weights[0, [3, 5, 6]] = 3, 2, 1
    weights[1, [6, 0]] = -1, 1
    rows = results.where(veracity.flips_of(detector, cases, weights), selection="lime")
    first, second = results.where(rows, song="a"), results.where(rows, song="b")
    assert [row["k"] for row in first if row["flipped"]] == list(range(3, 21))
    assert [row["k"] for row in second if row["flipped"]] == [20]
    assert [row["k"] for row in first if row["right_sign"]] == [3]
    assert [row["k"] for row in second if row["right_sign"]] == [1]


def test_marks_on_the_only_component_that_matters_are_found(veracity, detector):
    excerpts = excerpts_of(veracity, False)
    rows = veracity.horses_of(detector, excerpts, 200, jax.random.key(0))["horses"]
    assert all(row["flipped"] and row["hit"] and row["top"] == 6 for row in rows)
    assert all(6 in row["covers"] and row["before"] < 0.5 < row["after"] for row in rows)


def test_marks_that_change_nothing_are_reported(veracity):
    deaf = veracity.Detector(MeanOfOne(1e-6), 0)
    excerpts = dataclasses.replace(excerpts_of(veracity, False), waveforms=np.full((6, 80), -99.0))
    excerpts = dataclasses.replace(excerpts, waveforms=excerpts.waveforms.astype(np.float32))
    rows = veracity.horses_of(deaf, excerpts, 200, jax.random.key(0))["horses"]
    assert not any(row["flipped"] for row in rows)
    shown, covered, fidelity = veracity.horse_figures(rows)
    assert (shown.ours, covered.ours, fidelity.ours) == ("0 % of 6", "none", "none")
    assert covered.passed is None
    assert veracity.draw_horses(rows, veracity.patches_of(deaf, excerpts.waveforms)).texts


def test_without_a_success_the_tables_are_empty_and_drawn(veracity, detector):
    settings = veracity.Attack(1e-4, 10.0, 1e-3, 2)
    part = ("waveform", "rests to plays")
    excerpts = excerpts_of(veracity, False)
    tables = veracity.measured(detector, excerpts, part, settings, 200, jax.random.key(0))
    assert [row["success"] for row in tables["adversaries"]] == [False] * 6
    assert not any(tables[name] for name in ("flips", "subsets", "fidelity"))
    for draw in ("flips", "subsets", "fidelity"):
        assert getattr(veracity, f"draw_{draw}")(tables[draw])
    figures = veracity.figures_of({**tables, "horses": []})
    assert all(figure.passed is None for figure in figures)


def test_figures_compare_with_the_paper(veracity, measured):
    rows = [row for tables in measured.values() for row in tables["flips"]]
    figures = {figure.what: figure for figure in veracity.flip_figures(rows)}
    found = figures["flips by the 3 top components of LIME, spectrogram, rests to plays"]
    assert (found.paper, found.ours) == ("41 %", "100 % of 6")
    assert figures["the same by energy, spectrogram, plays to rests"].passed
    assert figures["flips by all components"].passed
    apart = [{"domain": "waveform", "hit": hit, "r2": 0.5 + 0.2 * hit} for hit in (True, False)]
    assert veracity.fidelity_figures(apart)[0].passed is False
    assert veracity.fidelity_figures(apart)[1].passed is None


def test_chance_is_a_distribution(veracity):
    np.testing.assert_allclose(veracity.by_chance(1), [0.95, 0.05])
    assert sum(veracity.by_chance(5)) == pytest.approx(1)
    expected = sum(hits * p for hits, p in enumerate(veracity.by_chance(5)))
    assert expected == pytest.approx(25 / 20)


def test_excerpts_start_where_the_stem_sounds_throughout(veracity):
    stem = np.zeros(100_000, np.float32)
    stem[40_000:80_000] = 0.1
    starts = np.sort(veracity.starts_in(stem, 10_000, 8000, 3, np.random.default_rng(0)))
    assert len(starts) == 3 and (np.diff(starts) >= 8000).all()
    # Edges are known to within a second, below which gaps count as music.
    assert (starts >= 34_000).all() and (starts + 8000 <= 86_000).all()
    assert not len(veracity.starts_in(0 * stem + 0, 10_000, 200_000, 9, np.random.default_rng(0)))


def test_batches_are_filled_up_and_joined(veracity):
    shapes = []

    def double(x):
        shapes.append(x.shape)
        return {"twice": 2 * x}

    found = veracity.in_batches(double, np.arange(5.0, dtype=np.float32), size=2)
    assert found["twice"].tolist() == [0, 2, 4, 6, 8]
    assert set(shapes) == {(2,)}


def test_sizes_and_names_are_checked(veracity):
    assert veracity.size_of(veracity.Config(full=True, num_songs=3)).num_songs == 3
    with pytest.raises(ValueError, match="does not go with"):
        veracity.size_of(veracity.Config(smoke=True, full=True))
    with pytest.raises(ValueError, match="did you mean 'strings'"):
        veracity.run(veracity.Config(output="string"))


def test_parts_are_made_once(veracity, tmp_path):
    calls = []

    def make():
        calls.append(1)
        return {"flips": [{"k": 1}], "subsets": []}

    for _ in range(2):
        assert veracity.stored(tmp_path / "part", make) == {"flips": [{"k": 1}], "subsets": []}
    assert len(calls) == 1
    assert veracity.minutes_stored(veracity.Config(output_dir=tmp_path)) == 0
