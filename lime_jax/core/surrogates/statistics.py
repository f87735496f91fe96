"""The sums over a neighbourhood from which every surrogate is solved.

They are kept centred (weight, means, scatter about the means) rather than as raw moments: float32
stays accurate where the outputs vary little about a large mean, and adding two of them with the
rule of Chan et al. merges two neighbourhoods. Means of outputs are kept as one of the outputs and
how far the mean is from it, and their scatter as its root, so that neither large nor small outputs
are lost.
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
      output_base: one of the outputs, `(num_outputs,)`.
      output_shift: weighted mean of the outputs less `output_base`, `(num_outputs,)`.
      mask_scatter: weighted sum of products about the mean, `(num_components, num_components)`.
      cross_scatter: masks × outputs, `(num_components, num_outputs)`.
      output_spread: root of the weighted sum of squares about the mean, `(num_outputs,)`.
      low, high: extremes of the outputs, `(num_outputs,)`, unweighted.
      full: the outputs with everything on, `(num_outputs,)`; -inf if never evaluated.
      empty: the outputs with everything off, `(num_outputs,)`; -inf if never evaluated.

    References:
      Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample
      Variances, 1979.
    """

    weight: Float[Array, "..."]
    mask_mean: Float[Array, "..."]
    output_base: Float[Array, "..."]
    output_shift: Float[Array, "..."]
    mask_scatter: Float[Array, "..."]
    cross_scatter: Float[Array, "..."]
    output_spread: Float[Array, "..."]
    low: Float[Array, "..."]
    high: Float[Array, "..."]
    full: Float[Array, "..."]
    empty: Float[Array, "..."]

    def __add__(self, other: "Statistics") -> "Statistics":
        weight = self.weight + other.weight
        share = jnp.where(weight > 0, other.weight / jnp.where(weight > 0, weight, 1), 0)
        masks = other.mask_mean - self.mask_mean
        base = jnp.where(self.weight > 0, self.output_base, other.output_base)
        shift = self.output_mean_from(base)
        outputs = other.output_mean_from(base) - shift
        between = self.weight * share
        return Statistics(
            weight,
            self.mask_mean + share * masks,
            base,
            shift + share * outputs,
            self.mask_scatter + other.mask_scatter + between * jnp.outer(masks, masks),
            self.cross_scatter + other.cross_scatter + between * jnp.outer(masks, outputs),
            root_of_squares(
                jnp.stack([self.output_spread, other.output_spread, jnp.sqrt(between) * outputs])
            ),
            jnp.minimum(self.low, other.low),
            jnp.maximum(self.high, other.high),
            jnp.maximum(self.full, other.full),
            jnp.maximum(self.empty, other.empty),
        )

    @property
    def output_mean(self) -> Float[Array, "..."]:
        """The weighted mean of the outputs, `(num_outputs,)`."""
        return self.output_base + self.output_shift

    def output_mean_from(self, base: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns the mean of the outputs less some value near it."""
        # The difference first: two numbers that are close have an exact one.
        shift = (self.output_base - base) + self.output_shift
        return jnp.where(self.weight[..., None] > 0, shift, 0)

    def scale(self, factor: Float[Array, ""] | float) -> "Statistics":
        """As if every weight were `factor` times as large."""
        return dataclasses.replace(
            self,
            weight=self.weight * factor,
            mask_scatter=self.mask_scatter * factor,
            cross_scatter=self.cross_scatter * factor,
            output_spread=self.output_spread * jnp.sqrt(factor),
        )


def empty(num_components: int, num_outputs: int) -> Statistics:
    """Returns the statistics of no rows at all, the neutral element of `+`."""
    infinite = jnp.full(num_outputs, jnp.inf, jnp.float32)
    return Statistics(
        jnp.zeros((), jnp.float32),
        jnp.zeros(num_components, jnp.float32),
        jnp.zeros(num_outputs, jnp.float32),
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
    # Of a row that counts, so that a constant output has a scatter of exactly zero.
    heaviest = jnp.argmax(jnp.where(drawn, weights, -1.0))
    base = jnp.where(drawn.any(), outputs[heaviest], 0.0)[None]
    outputs = jnp.where(drawn[:, None], outputs, base)
    values = masks.astype(jnp.float32)
    weight = weights.sum()
    shares = weights / jnp.where(weight > 0, weight, 1)
    outputs_from_base = outputs - base
    mask_mean = _dot(shares, values)
    output_shift = _dot(shares, outputs_from_base)
    centred = values - mask_mean[None]
    residual = outputs_from_base - output_shift[None]
    weighted = (centred * weights[:, None]).T
    return Statistics(
        weight,
        mask_mean,
        jnp.where(weight > 0, base[0], 0),
        jnp.where(weight > 0, output_shift, 0),
        _dot(weighted, centred),
        _dot(weighted, residual),
        root_of_squares(residual, weights),
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
    base = blocks.output_base[jnp.argmax(weights)]
    shifts = blocks.output_mean_from(base[None])
    mask_mean, output_shift = _dot(shares, blocks.mask_mean), _dot(shares, shifts)
    masks = blocks.mask_mean - mask_mean[None]
    outputs = shifts - output_shift[None]
    weighted = (masks * weights[:, None]).T

    def within(scatter):
        return jnp.tensordot(keep.astype(jnp.float32), scatter, 1, precision=EXACT)

    return Statistics(
        weight,
        mask_mean,
        base,
        output_shift,
        within(blocks.mask_scatter) + _dot(weighted, masks),
        within(blocks.cross_scatter) + _dot(weighted, outputs),
        root_of_squares(
            jnp.concatenate([blocks.output_spread, outputs]),
            jnp.concatenate([keep.astype(jnp.float32), weights]),
        ),
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
    base = jnp.where(part.weight > 0, part.output_base, -jnp.inf)
    base = jnp.where(weight > 0, jax.lax.pmax(base, devices), 0)
    shift = part.output_mean_from(base)
    mask_mean, output_shift = add(share * part.mask_mean), add(share * shift)
    masks, outputs = part.mask_mean - mask_mean, shift - output_shift
    spread = root_of_squares(jnp.stack([part.output_spread, jnp.sqrt(part.weight) * outputs]))
    largest = jax.lax.pmax(jax.lax.stop_gradient(spread), devices)
    unit = jnp.where(largest > 0, largest, 1)
    return Statistics(
        weight,
        mask_mean,
        base,
        output_shift,
        add(part.mask_scatter + part.weight * jnp.outer(masks, masks)),
        add(part.cross_scatter + part.weight * jnp.outer(masks, outputs)),
        unit * _root(add(jnp.square(spread / unit))),
        jax.lax.pmin(part.low, devices),
        jax.lax.pmax(part.high, devices),
        jax.lax.pmax(part.full, devices),
        jax.lax.pmax(part.empty, devices),
    )


def root_of_squares(
    values: Float[Array, "rows *rest"], weights: Float[Array, " rows"] | None = None
) -> Float[Array, "*rest"]:
    """Returns the root of the (weighted) sum of squares over the leading axis.

    In units of the largest value: the square of 1e-20 is zero in float32, that of 1e20 infinite.
    """
    largest = jax.lax.stop_gradient(jnp.abs(values).max(axis=0))
    unit = jnp.where(largest > 0, largest, 1)
    squares = jnp.square(values / unit[None])
    return unit * _root(squares.sum(axis=0) if weights is None else _dot(weights, squares))


def _root(square: Any) -> Any:
    """The square root, with a slope of zero at zero."""
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), square)


def _dot(a: Any, b: Any) -> Any:
    return jnp.matmul(a, b, precision=EXACT)
