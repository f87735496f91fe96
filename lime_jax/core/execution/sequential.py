"""Rounds of masks until the targets are met, decided on the device for every item alone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lime_jax.core.components import Recomposable
from lime_jax.core.execution import accumulate, finalize
from lime_jax.core.explanation import Explanation
from lime_jax.core.forward_only import forward_only
from lime_jax.core.masks.neighbourhood import Neighbourhood, size_of
from lime_jax.core.masks.stopping import StoppingRule
from lime_jax.core.methods import Method
from lime_jax.core.predictor import Predictor
from lime_jax.core.pytree import pytree, varying_like
from lime_jax.core.surrogates import uncertainty
from lime_jax.core.surrogates.statistics import Statistics
from lime_jax.core.surrogates.uncertainty import t_quantile

_NORMAL = 1.959964  # the quantile of a 95 % interval, with any number of rounds


@pytree
class Rounds:
    """The statistics of one item so far.

    Attributes:
      blocks: independent statistics, `(1, num_slots, …)`; unused ones are empty.
      number: how many rounds they hold.
    """

    blocks: Statistics
    number: Int[Array, ""]


def explain_item(
    predictor: Predictor,
    components: Recomposable,
    method: Method,
    keys: accumulate.Keys,
    batch_size: int,
    devices: tuple[str, ...] = (),
) -> Explanation:
    """Explains one item in as many rounds as it takes."""
    rule, num_components = rule_of(method), components.num_components

    def blocks_of(number: Int[Array, ""]) -> Statistics:
        neighbourhood = draw_round(method, keys, number, num_components)
        return accumulate.accumulate(
            predictor, components, method, neighbourhood, batch_size, devices
        )

    def one_more(rounds: Rounds) -> Rounds:
        return add_round(rounds, blocks_of(rounds.number))

    means = jax.eval_shape(lambda number: blocks_of(number).output_shift, jnp.int32(0))
    nothing = start_rounds(rule, num_components, means.shape[-1])
    nothing = varying_like(nothing, predictor, components, method, keys)
    if rule.most_rounds == 1:
        return finalize_rounds(method, one_more(nothing))

    def goes_on(rounds: Rounds) -> Bool[Array, ""]:
        return (rounds.number == 0) | (
            (rounds.number < rule.most_rounds) & ~targets_are_met(method, rounds)
        )

    rounds = forward_only(jax.lax.while_loop(goes_on, one_more, nothing))
    return finalize_rounds(method, rounds)


def rule_of(method: Method) -> StoppingRule:
    """Returns the rule, which there is here."""
    assert method.stopping is not None
    return method.stopping


def draw_round(
    method: Method, keys: accumulate.Keys, number: Int[Array, ""], num_components: int
) -> Neighbourhood:
    """Draws the neighbourhood of one round."""
    keys = None if keys is None else jax.vmap(jax.random.fold_in, (0, None))(keys, number)
    return accumulate.draw(method, keys, 1, num_components)


def start_rounds(rule: StoppingRule, num_components: int, num_outputs: int) -> Rounds:
    """Returns rounds that hold no masks yet."""
    nothing = accumulate.empty_blocks(num_components, num_outputs, (1, rule.num_slots))
    return Rounds(nothing, jnp.int32(0))


def add_round(rounds: Rounds, blocks: Statistics) -> Rounds:
    """Puts the statistics of one more round in the next slots, in turn."""
    num_slots, num_new = rounds.blocks.weight.shape[1], blocks.weight.shape[1]
    slots = (rounds.number * num_new + jnp.arange(num_new, dtype=jnp.int32)) % num_slots
    earlier = jax.tree.map(lambda x: x[:, slots], rounds.blocks)
    merged = jax.vmap(jax.vmap(Statistics.__add__))(earlier, blocks)

    def put(x: Array, new: Array) -> Array:
        return x.at[:, slots].set(new)

    return Rounds(jax.tree.map(put, rounds.blocks, merged), rounds.number + 1)


def targets_are_met(method: Method, rounds: Rounds) -> Bool[Array, ""]:
    """Returns whether every target is met by every output that counts."""
    rule, targets = rule_of(method), rule_of(method).targets
    explanation = jax.tree.map(lambda x: x[0], finalize_rounds(method, rounds))
    # A constant or broken output gets no better.
    open_outputs = _counting(rule, explanation.prediction) & (explanation.status == 0)
    met = jnp.ones_like(open_outputs)
    if targets.std_error is not None:
        few = t_quantile(explanation.degrees_of_freedom, 0.95) / _NORMAL
        met &= explanation.std_error.max(axis=-1) * few <= targets.std_error
    if targets.top_k is not None:
        confidence = uncertainty.top_k_confidence(explanation, targets.top_k, sign=targets.sign)
        met &= 1 - confidence <= (1 - targets.confidence) * _share_of_doubt(rounds.number, rule)
    return (met | ~open_outputs).all()


def _share_of_doubt(number: Int[Array, ""], rule: StoppingRule) -> Float[Array, ""]:
    """Returns how much of the doubt that is allowed may be spent after a round.

    Who looks after every round must doubt less at each: the shares of all rounds add up to one.
    Few of them at first, where few arrays tell the errors and near ties look decided.

    References:
      Lan and DeMets, Discrete Sequential Boundaries for Clinical Trials, 1983.
    """

    def spent(number: Any) -> Any:
        return (number / (number + 3.0)) ** 4

    looks = number.astype(jnp.float32)
    return (spent(looks) - spent(looks - 1)) / spent(rule.most_rounds)


def finalize_rounds(method: Method, rounds: Rounds) -> Explanation:
    """Returns the explanation from all rounds, with a leading axis of one item."""
    rule = rule_of(method)
    num_components = rounds.blocks.mask_mean.shape[-1]
    one_round = size_of(method.sampler, num_components)
    num_counted = rounds.number * one_round.num_counted
    # The same strength of the ridge, however many rounds it took.
    scale = rule.equivalent_num_samples / num_counted.astype(jnp.float32)
    num_slots = rounds.blocks.weight.shape[1]
    return finalize.explain_blocks(
        method,
        rounds.blocks.scale(scale),
        num_counted=float(rule.equivalent_num_samples),
        num_used=jnp.minimum(rounds.number * one_round.num_blocks, num_slots)[None],
        num_evaluations=(rounds.number * one_round.num_masks)[None],
        num_samples=rule.equivalent_num_samples,
        distribution=one_round.distribution,
    )


def _counting(
    rule: StoppingRule, prediction: Float[Array, " all_outputs"]
) -> Bool[Array, " all_outputs"]:
    """The outputs whose targets count: of the first group, those that are asked for."""
    num_first = len(prediction) // rule.num_groups
    asked_for = _asked_for(rule.targets.outputs, prediction[:num_first])
    return jnp.pad(asked_for, (0, len(prediction) - num_first))


def _asked_for(
    outputs: tuple[int, ...] | int | None, prediction: Float[Array, " num_outputs"]
) -> Bool[Array, " num_outputs"]:
    if outputs is None:
        return jnp.ones(prediction.shape, bool)
    if isinstance(outputs, tuple):
        if max(outputs) >= len(prediction):
            raise ValueError(
                f"`outputs` must be indices below {len(prediction)}, got {max(outputs)}."
            )
        return jnp.zeros(prediction.shape, bool).at[np.array(outputs)].set(True)
    highest = jnp.argsort(-prediction)[: min(outputs, len(prediction))]
    return jnp.zeros(prediction.shape, bool).at[highest].set(True)
