"""Small changes of an input that make a detector change its mind: found, or drawn by hand."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lime_jax.core.components import from_labels, grid
from lime_jax.core.execution.precision import products
from lime_jax.core.pytree import pytree, static

Patches = Float[Array, "batch frames bands"]
Labels = Int[Array, "frames bands"]


@pytree
class Attack:
    """How an adversary searches.

    Attributes:
      learning_rate: of Adam, which sees the signs of the gradients.
      alpha: how much the target counts against the energy of the change.
      epsilon: the largest change of any element.
      num_steps: at most.
      margin: how far beyond the boundary the logit must be to stop; Carlini and Wagner's κ.
    """

    learning_rate: float
    alpha: float
    epsilon: float
    num_steps: int
    margin: float = 0.0


@pytree
class Detector:
    """One output of a network over patches.

    Attributes:
      network: a `lime_jax.models.base.Network` whose waveforms are one patch long.
      output: index of the output.
    """

    network: Any
    output: int = static()

    def patches(self, waveforms: Float[Array, "batch num_samples"]) -> Patches:
        """Returns what the network sees of waveforms."""
        return self.network.front_end(waveforms)[:, 0]

    def logits(self, patches: Patches) -> Float[Array, " batch"]:
        """Positive where the detector says yes."""
        with products():
            return self.network(patches)[:, self.output]

    def __call__(self, patches: Patches) -> Float[Array, "batch 1"]:
        """Probabilities, as `explain` takes them."""
        return jax.nn.sigmoid(self.logits(patches))[:, None]


@pytree
class Hearing:
    """A detector in front of which stands its front end: waveforms instead of patches."""

    detector: Detector

    def logits(self, waveforms: Float[Array, "batch num_samples"]) -> Float[Array, " batch"]:
        """Positive where the detector says yes."""
        with products():
            patches = self.detector.patches(waveforms)
        return self.detector.logits(patches)


@dataclasses.dataclass(frozen=True)
class Mark:
    """Something drawn on a patch.

    Attributes:
      shape: "lines" or "cross".
      components: that it covers.
      drawing: one where something is drawn, zero elsewhere.
    """

    shape: str
    components: tuple[int, ...]
    drawing: Float[np.ndarray, "frames bands"]


@pytree
class Adversaries:
    """What adversaries found.

    Attributes:
      delta: what they add to the inputs, `(batch, *input)`.
      success: whether the detector then gives the target, `(batch,)`.
      num_steps: that each of them took, `(batch,)`.
    """

    delta: Float[Array, "..."]
    success: Bool[Array, "..."]
    num_steps: Int[Array, "..."]


@jax.jit
def attack(
    model: Any,
    inputs: Float[Array, "batch *input"],
    target: bool | Bool[Array, ""],
    settings: Attack,
) -> Adversaries:
    """Searches changes of little energy that move the label of every input to a target.

    Minimises `sum(delta**2) + alpha * cross_entropy(target)` within `|delta| <= epsilon`, and stops
    for every input as soon as its label is the target, by the margin asked for.

    Args:
      model: a pytree whose `logits` maps inputs to `(batch,)`.
      inputs: `(batch, *input)`.
      target: whether the model is to say yes.
      settings: how to search.

    Returns:
      The last change of every input, whether it succeeded or not.

    References:
      Carlini and Wagner, Towards Evaluating the Robustness of Neural Networks, 2017.
      Praher et al., On the Veracity of Local, Model-agnostic Explanations in Audio Classification:
        Targeted Investigations with Adversarial Examples, 2021.
    """
    import optax

    target = jnp.asarray(target, bool)
    adam = optax.adam(settings.learning_rate)
    gradients_of = jax.grad(functools.partial(_loss, model, target, settings), has_aux=True)

    def is_going_on(state):
        _, _, goes_on, _, step = state
        return goes_on.any() & (step < settings.num_steps)

    def advance(state):
        delta, moments, goes_on, num_steps, step = state
        gradients, logits = gradients_of(delta, inputs)
        goes_on &= jnp.where(target, logits, -logits) <= settings.margin
        # optax 0.2.8 raises a float to its integer count, which strict promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            updates, moments = adam.update(jnp.sign(gradients), moments)
        moved = jnp.clip(delta + updates, -settings.epsilon, settings.epsilon)
        chosen = goes_on.reshape(-1, *(1,) * (inputs.ndim - 1))
        delta = jnp.where(chosen, moved, delta)
        return delta, moments, goes_on, num_steps + goes_on.astype(jnp.int32), step + 1

    delta, batch = jnp.zeros_like(inputs), inputs.shape[0]
    nothing = jnp.zeros(batch, jnp.int32)
    state = (delta, adam.init(delta), jnp.ones(batch, bool), nothing, jnp.int32(0))
    delta, _, _, num_steps, _ = jax.lax.while_loop(is_going_on, advance, state)
    return Adversaries(delta, (model.logits(inputs + delta) > 0) == target, num_steps)


def _loss(
    model: Any, target: Array, settings: Attack, delta: Array, inputs: Array
) -> tuple[Float[Array, ""], Float[Array, " batch"]]:
    import optax

    logits = model.logits(inputs + delta)
    labels = jnp.broadcast_to(target, logits.shape).astype(logits.dtype)
    missed = optax.sigmoid_binary_cross_entropy(logits, labels).sum()
    return jnp.square(delta).sum() + settings.alpha * missed, logits


@jax.jit
def signal_to_noise(
    inputs: Float[Array, "batch *input"], delta: Float[Array, "batch *input"]
) -> Float[Array, " batch"]:
    """Returns how far the changes lie below the inputs, in dB.

    Args:
      inputs: `(batch, *input)`.
      delta: what is added to them.

    Returns:
      The ratio of their energies, infinite where nothing was changed.
    """

    def energy(x):
        return jnp.square(x).reshape(x.shape[0], -1).sum(axis=1)

    return 10 * jnp.log10(energy(inputs) / energy(delta))


@functools.partial(jax.jit, static_argnames="num_components")
def energies(
    delta: Patches, labels: Labels, num_components: int
) -> Float[Array, "batch num_components"]:
    """Returns the energy of every change inside every component.

    Args:
      delta: changes of patches.
      labels: the component of every element of a patch.
      num_components: how many there are.

    Returns:
      Sums of squares, `(batch, num_components)`.
    """
    nothing = jnp.zeros(num_components, delta.dtype)
    return jax.vmap(lambda one: nothing.at[labels].add(jnp.square(one)))(delta)


@jax.jit
def strongest(
    strength: Float[Array, "batch num_components"],
) -> Bool[Array, "batch num_components num_components"]:
    """Returns masks of the strongest component, the strongest two, and so on to all.

    Args:
      strength: of every component; ties are taken in order.

    Returns:
      For every item, mask `k - 1` holds `k` components.
    """
    ranks = jnp.argsort(jnp.argsort(-strength, axis=1, stable=True), axis=1)
    return ranks[:, None, :] <= jnp.arange(strength.shape[1])[None, :, None]


@jax.jit
def transplanted(
    clean: Patches, changed: Patches, labels: Labels, masks: Bool[Array, "batch num_components"]
) -> Patches:
    """Clean patches that are changed inside the components of a mask only.

    Args:
      clean: patches.
      changed: the same patches after a change.
      labels: the component of every element of a patch.
      masks: the components that are taken from `changed`.

    Returns:
      Patches; with all components on they are bit for bit `changed`.
    """

    def one(clean, changed, mask):
        return from_labels(changed, labels, mask.shape[0], fill=clean).recomposed(mask)

    return jax.vmap(one)(clean, changed, masks)


@jax.jit
def says_yes(
    detector: Detector,
    clean: Patches,
    changed: Patches,
    labels: Labels,
    masks: Bool[Array, "batch num_masks num_components"],
) -> Bool[Array, "batch num_masks"]:
    """The detector's labels of patches that are changed inside the components of masks only.

    Args:
      detector: whose labels.
      clean: patches.
      changed: the same patches after a change.
      labels: the component of every element of a patch.
      masks: many for every patch.

    Returns:
      Whether it says yes, `(batch, num_masks)`.
    """

    def one(row):
        clean, changed, masks = row

        def copies(x):
            return jnp.broadcast_to(x, (masks.shape[0], *x.shape))

        patches = transplanted(copies(clean), copies(changed), labels, masks)
        return detector.logits(patches) > 0

    return jax.lax.map(one, (clean, changed, masks))


def marks(num_segments: tuple[int, int], shape: tuple[int, int]) -> list[Mark]:
    """Lines and crosses inside every component, and lines across two that follow each other.

    Args:
      num_segments: of the grid that cuts patches into components, as `lime_jax.grid` takes it.
      shape: of a patch.

    Returns:
      All of them, every shape at every place.
    """
    num_frequency, num = num_segments[1], num_segments[0] * num_segments[1]
    labels = np.asarray(grid(num_segments, shape))
    singles = [(n,) for n in range(num)]
    pairs = [(n, n + num_frequency) for n in range(num - num_frequency)]
    return [
        *(Mark("lines", some, _lines(np.isin(labels, some))) for some in singles + pairs),
        *(Mark("cross", some, _cross(np.isin(labels, some))) for some in singles),
    ]


def faintest(
    probabilities: Float[np.ndarray, "num_patches num_amplitudes num_marks"],
) -> tuple[Int[np.ndarray, " num_patches"], Int[np.ndarray, " num_patches"]]:
    """Returns the first amplitude at which a mark makes a detector say yes.

    Args:
      probabilities: of the marked patches, at rising amplitudes.

    Returns:
      Indices of amplitudes, `num_amplitudes` where no mark does, and of the mark that has the
      highest probability there.
    """
    highest = probabilities.max(axis=2)
    found = np.pad(highest > 0.5, [(0, 0), (0, 1)], constant_values=True).argmax(axis=1)
    shown = np.minimum(found, probabilities.shape[1] - 1)
    return found, probabilities[np.arange(len(shown)), shown].argmax(axis=1)


def _lines(area: Bool[np.ndarray, "frames bands"]) -> Float[np.ndarray, "frames bands"]:
    """Three horizontal lines, each an eighth of the area thick."""
    bands = np.flatnonzero(area.any(axis=0))
    drawn = np.zeros(area.shape[1], bool)
    drawn[bands] = np.isin(np.arange(len(bands)) * 8 // len(bands), (1, 3, 6))
    return (area & drawn).astype(np.float32)


def _cross(area: Bool[np.ndarray, "frames bands"]) -> Float[np.ndarray, "frames bands"]:
    """The two diagonals of a rectangle."""
    frames, bands = (np.flatnonzero(area.any(axis=axis)) for axis in (1, 0))
    x = np.linspace(-1, 1, len(frames))[:, None]
    y = np.linspace(-1, 1, len(bands))
    drawing = np.zeros(area.shape, np.float32)
    drawing[np.ix_(frames, bands)] = np.abs(np.abs(x) - np.abs(y)) < 2.5 / len(bands)
    return drawing
