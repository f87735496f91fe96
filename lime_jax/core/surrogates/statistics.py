"""The sums over a neighbourhood from which every surrogate is solved.

They are kept centred (weight, means, scatter about the means) rather than as raw moments: float32
stays accurate where the outputs vary little about a large mean, and adding two of them with the
rule of Chan et al. merges two neighbourhoods.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lime_jax.core.pytree import pytree

# The default matmul precision on GPU (tf32) and TPU (bf16) is too coarse for normal equations.
EXACT = jax.lax.Precision.HIGHEST


@pytree
class Statistics:
    """Weighted sums over masks and outputs; `a + b` are the sums over both neighbourhoods.

    Attributes:
      weight: sum of the weights.
      mask_mean: weighted mean of the masks, `(num_components,)`.
      output_mean: weighted mean of the outputs, `(num_outputs,)`.
      mask_scatter: weighted sum of products about the mean, `(num_components, num_components)`.
      cross_scatter: masks × outputs, `(num_components, num_outputs)`.
      output_scatter: weighted sum of squares about the mean, `(num_outputs,)`.
      low, high: extremes of the outputs, `(num_outputs,)`, unweighted.
      full: the outputs with everything on, `(num_outputs,)`; -inf if never evaluated.
      empty: the outputs with everything off, `(num_outputs,)`; -inf if never evaluated.

    References:
      Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample
      Variances, 1979.
    """

    weight: Float[Array, "..."]
    mask_mean: Float[Array, "..."]
    output_mean: Float[Array, "..."]
    mask_scatter: Float[Array, "..."]
    cross_scatter: Float[Array, "..."]
    output_scatter: Float[Array, "..."]
    low: Float[Array, "..."]
    high: Float[Array, "..."]
    full: Float[Array, "..."]
    empty: Float[Array, "..."]

    def __add__(self, other: "Statistics") -> "Statistics":
        weight = self.weight + other.weight
        share = jnp.where(weight > 0, other.weight / jnp.where(weight > 0, weight, 1), 0)
        masks = other.mask_mean - self.mask_mean
        outputs = other.output_mean - self.output_mean
        between = self.weight * share
        return Statistics(
            weight,
            self.mask_mean + share * masks,
            self.output_mean + share * outputs,
            self.mask_scatter + other.mask_scatter + between * jnp.outer(masks, masks),
            self.cross_scatter + other.cross_scatter + between * jnp.outer(masks, outputs),
            self.output_scatter + other.output_scatter + between * jnp.square(outputs),
            jnp.minimum(self.low, other.low),
            jnp.maximum(self.high, other.high),
            jnp.maximum(self.full, other.full),
            jnp.maximum(self.empty, other.empty),
        )

    def scale(self, factor: Float[Array, ""] | float) -> "Statistics":
        """As if every weight were `factor` times as large."""
        return dataclasses.replace(
            self,
            weight=self.weight * factor,
            mask_scatter=self.mask_scatter * factor,
            cross_scatter=self.cross_scatter * factor,
            output_scatter=self.output_scatter * factor,
        )


def empty(num_components: int, num_outputs: int) -> Statistics:
    """Returns the statistics of no rows at all, the neutral element of `+`."""
    infinite = jnp.full(num_outputs, jnp.inf, jnp.float32)
    return Statistics(
        jnp.zeros((), jnp.float32),
        jnp.zeros(num_components, jnp.float32),
        jnp.zeros(num_outputs, jnp.float32),
        jnp.zeros((num_components, num_components), jnp.float32),
        jnp.zeros((num_components, num_outputs), jnp.float32),
        jnp.zeros(num_outputs, jnp.float32),
        infinite,
        -infinite,
        -infinite,
        -infinite,
    )


def summarise(
    masks: Bool[Array, "rows num_components"],
    outputs: Float[Array, "rows num_outputs"],
    weights: Float[Array, " rows"],
    drawn: Bool[Array, " rows"] | None = None,
) -> Statistics:
    """Returns the statistics of some rows.

    Rows that were not `drawn` count for nothing, not even if their outputs are NaN; they only tell
    what the outputs are at all on and all off.
    """
    drawn = jnp.ones(len(masks), bool) if drawn is None else drawn
    everything, nothing_on = masks.all(axis=1)[:, None], ~masks.any(axis=1)[:, None]
    full = jnp.where(everything, outputs, -jnp.inf).max(axis=0)
    empty = jnp.where(nothing_on, outputs, -jnp.inf).max(axis=0)
    first = jnp.where(drawn.any(), outputs[jnp.argmax(drawn)], 0.0)[None]
    outputs = jnp.where(drawn[:, None], outputs, first)
    values = masks.astype(jnp.float32)
    weight = weights.sum()
    shares = weights / jnp.where(weight > 0, weight, 1)
    # Relative to one row, so that a constant output has a scatter of exactly zero.
    outputs_from_first = outputs - first
    mask_mean = _dot(shares, values)
    output_shift = _dot(shares, outputs_from_first)
    centred = values - mask_mean[None]
    residual = outputs_from_first - output_shift[None]
    weighted = (centred * weights[:, None]).T
    return Statistics(
        weight,
        mask_mean,
        jnp.where(weight > 0, first[0] + output_shift, 0),
        _dot(weighted, centred),
        _dot(weighted, residual),
        _dot(weights, jnp.square(residual)),
        jnp.where(drawn[:, None], outputs, jnp.inf).min(axis=0),
        jnp.where(drawn[:, None], outputs, -jnp.inf).max(axis=0),
        full,
        empty,
    )


def combine(blocks: Statistics, keep: Bool[Array, " num_blocks"]) -> Statistics:
    """Returns the sum of those blocks along the leading axis that `keep` names.

    Extremes and the outputs at all on and all off are facts, not samples: all blocks tell them.
    """
    weights = jnp.where(keep, blocks.weight, 0)
    weight = weights.sum()
    shares = weights / jnp.where(weight > 0, weight, 1)
    mask_mean, output_mean = _dot(shares, blocks.mask_mean), _dot(shares, blocks.output_mean)
    masks = blocks.mask_mean - mask_mean[None]
    outputs = blocks.output_mean - output_mean[None]
    weighted = (masks * weights[:, None]).T

    def within(scatter):
        return jnp.tensordot(keep.astype(jnp.float32), scatter, 1, precision=EXACT)

    return Statistics(
        weight,
        mask_mean,
        output_mean,
        within(blocks.mask_scatter) + _dot(weighted, masks),
        within(blocks.cross_scatter) + _dot(weighted, outputs),
        within(blocks.output_scatter) + _dot(weights, jnp.square(outputs)),
        blocks.low.min(axis=0),
        blocks.high.max(axis=0),
        blocks.full.max(axis=0),
        blocks.empty.max(axis=0),
    )


def add_across(part: Statistics, devices: tuple[str, ...]) -> Statistics:
    """The sum of the statistics of several devices, inside `shard_map` over these mesh axes."""

    def add(x):
        return jax.lax.psum(x, devices)

    weight = add(part.weight)
    share = jnp.where(weight > 0, part.weight / jnp.where(weight > 0, weight, 1), 0)
    mask_mean, output_mean = add(share * part.mask_mean), add(share * part.output_mean)
    masks, outputs = part.mask_mean - mask_mean, part.output_mean - output_mean
    return Statistics(
        weight,
        mask_mean,
        output_mean,
        add(part.mask_scatter + part.weight * jnp.outer(masks, masks)),
        add(part.cross_scatter + part.weight * jnp.outer(masks, outputs)),
        add(part.output_scatter + part.weight * jnp.square(outputs)),
        jax.lax.pmin(part.low, devices),
        jax.lax.pmax(part.high, devices),
        jax.lax.pmax(part.full, devices),
        jax.lax.pmax(part.empty, devices),
    )


def _dot(a: Any, b: Any) -> Any:
    return jnp.matmul(a, b, precision=EXACT)
