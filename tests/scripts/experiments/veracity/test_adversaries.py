import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("optax", reason="adversaries need the extra `train`")

import lime_jax as lj
from lime_jax.core.pytree import pytree, static
from scripts.experiments.veracity import adversaries
from scripts.experiments.veracity.adversaries import Attack, Detector, Hearing

SHAPE, GRID, NUM = (10, 8), (5, 4), 20
LABELS = lj.grid(GRID, SHAPE)


@pytree
class MeanOfOne:
    """Hears the mean of one component above a threshold, as its second output."""

    component: int = static()
    threshold: float = 0.0

    def front_end(self, waveforms):
        return waveforms.reshape(-1, 1, *SHAPE)

    def __call__(self, patches):
        mean = jnp.mean(patches, axis=(1, 2), where=LABELS == self.component)
        return jnp.stack([jnp.zeros_like(mean), 10 * (mean - self.threshold)], axis=1)


@pytest.mark.parametrize("target", [True, False])
@pytest.mark.parametrize("domain", ["waveform", "spectrogram"])
def test_attacks_stop_as_soon_as_the_label_flips(domain, target):
    sign = 1.0 if target else -1.0
    detector = Detector(MeanOfOne(6, sign * 0.0105), 1)
    levels = sign * np.array([0.0, 0.005, -1.0], np.float32)
    inputs = np.tile(levels[:, None, None], (1, *SHAPE))
    model = detector
    if domain == "waveform":
        inputs, model = inputs.reshape(3, -1), Hearing(detector)
    # The last is too far away: nothing within 0.02 reaches the threshold.
    found = adversaries.attack(model, inputs, target, Attack(1e-3, 10.0, 0.02, 50))
    assert found.success.tolist() == [True, True, False]
    assert found.num_steps.tolist() == [11, 6, 50]
    delta = np.asarray(found.delta).reshape(3, *SHAPE)
    assert np.abs(delta).max() <= np.float32(0.02)
    assert not delta[:, np.asarray(LABELS) != 6].any()
    reached = sign * delta[:, np.asarray(LABELS) == 6].mean(axis=1)
    np.testing.assert_allclose(reached, [0.011, 0.006, 0.02], rtol=1e-3)


def test_a_margin_lies_beyond_the_boundary():
    detector = Detector(MeanOfOne(6, 0.0105), 1)
    inputs = np.zeros((1, *SHAPE), np.float32)
    for margin, steps in ((0.0, 11), (0.02, 13), (0.05, 16)):
        found = adversaries.attack(detector, inputs, True, Attack(1e-3, 10.0, 0.02, 50, margin))
        assert found.num_steps.tolist() == [steps] and found.success.tolist() == [True]


def test_an_input_with_the_target_already_is_left_alone():
    detector = Detector(MeanOfOne(6, 0.0), 1)
    settings = Attack(1e-3, 10.0, 0.02, 5)
    found = adversaries.attack(detector, np.ones((1, *SHAPE), np.float32), True, settings)
    assert found.success.tolist() == [True] and found.num_steps.tolist() == [0]
    assert not np.asarray(found.delta).any()


def test_a_weak_target_is_outweighed_by_energy():
    detector = Detector(MeanOfOne(6, 1.0), 1)
    inputs = np.zeros((1, *SHAPE), np.float32)
    far = Attack(1e-3, 100.0, 0.5, 200)
    near = Attack(1e-3, 0.1, 0.5, 200)

    def energy(s):
        return float(np.square(adversaries.attack(detector, inputs, True, s).delta).sum())

    assert energy(near) < 0.5 * energy(far)


def test_signal_to_noise_is_a_ratio_of_energies():
    inputs = np.ones((2, *SHAPE), np.float32)
    delta = inputs * np.array([0.1, 0.01], np.float32)[:, None, None]
    np.testing.assert_allclose(adversaries.signal_to_noise(inputs, delta), [20, 40], rtol=1e-5)


def test_energies_of_components_add_up():
    delta = np.random.default_rng(0).standard_normal((3, *SHAPE), np.float32)
    found = np.asarray(adversaries.energies(delta, LABELS, NUM))
    assert found.shape == (3, NUM)
    np.testing.assert_allclose(found.sum(axis=1), np.square(delta).sum(axis=(1, 2)), rtol=1e-5)
    ours = np.square(delta)[:, np.asarray(LABELS) == 7].sum(axis=1)
    np.testing.assert_allclose(found[:, 7], ours, rtol=1e-5)


def test_strongest_takes_ties_in_order():
    masks = np.asarray(adversaries.strongest(np.array([[1, 3, 1, 2]], np.float32)))
    order = [np.flatnonzero(mask).tolist() for mask in masks[0]]
    assert order == [[1], [1, 3], [0, 1, 3], [0, 1, 2, 3]]


def test_transplants_change_only_what_the_mask_names():
    clean, changed = np.random.default_rng(0).standard_normal((2, 1, *SHAPE), np.float32)
    masks = np.isin(np.arange(NUM), [2, 9])[None]
    mixed = np.asarray(adversaries.transplanted(clean, changed, LABELS, masks))
    inside = np.isin(LABELS, [2, 9])
    assert (mixed[0, inside] == changed[0, inside]).all()
    assert (mixed[0, ~inside] == clean[0, ~inside]).all()


def test_labels_of_many_transplants():
    detector = Detector(MeanOfOne(6, 0.5), 1)
    clean = np.stack([np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.float32)])
    masks = np.tile(np.eye(NUM, dtype=bool), (2, 1, 1))
    says_yes = np.asarray(adversaries.says_yes(detector, clean, 1 - clean, LABELS, masks))
    assert np.flatnonzero(says_yes[0]).tolist() == [6]
    assert np.flatnonzero(~says_yes[1]).tolist() == [6]


@pytest.mark.parametrize("shape", [(80, 64), (115, 80)])
def test_marks_stay_inside_their_components(shape):
    labels = np.asarray(lj.grid(GRID, shape))
    drawn = adversaries.marks(GRID, shape)
    assert len(drawn) == 20 + 16 + 20
    assert len({(mark.shape, mark.components) for mark in drawn}) == len(drawn)
    for mark in drawn:
        assert set(labels[mark.drawing > 0]) == set(mark.components)
        share = mark.drawing.sum() / np.isin(labels, mark.components).sum()
        assert 0.1 < share < 0.5


def test_the_faintest_mark_that_works():
    probabilities = np.array(
        [[[0.1, 0.2], [0.7, 0.6]], [[0.6, 0.9], [1.0, 0.9]], [[0.1, 0.2], [0.5, 0.4]]]
    )
    amplitudes, which = adversaries.faintest(probabilities)
    assert amplitudes.tolist() == [1, 0, 2]
    assert which.tolist() == [0, 1, 0]
