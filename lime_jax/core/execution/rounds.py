"""Explanations driven from outside jit: what draws, sums up and finishes is called one by one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lime_jax.core.components import Components
from lime_jax.core.execution import accumulate, finalize, sequential
from lime_jax.core.execution.progress import Progress
from lime_jax.core.explanation import Explanation
from lime_jax.core.keys import MaybeKey
from lime_jax.core.methods import Method


def explain_in_rounds(
    sum_up: Callable[..., Any],
    components: Components,
    method: Method,
    keys: MaybeKey,
    progress: Progress | None,
) -> Explanation:
    """Explains a group from one neighbourhood, or from rounds of them until targets are met.

    Args:
      sum_up: `(neighbourhoods, progress=…)` to the statistics of their blocks.
      components: of a group.
      method: how it is explained.
      keys: one per item, or None.
      progress: counts all rounds there could be.
    """
    num_items, num_components = components.num_items, components.num_components
    if method.stopping is None:
        neighbourhoods = _draw(method, keys, num_items, num_components)
        return _finish(method, neighbourhoods, sum_up(neighbourhoods, progress=progress))
    most = method.stopping.most_rounds
    rounds = None
    for number in range(most):
        neighbourhoods = _draw_round(method, keys, jnp.int32(number), num_components)
        report = None if progress is None else _later(progress, number, most)
        blocks = sum_up(neighbourhoods, progress=report)
        if rounds is None:
            num_outputs = blocks.output_shift.shape[-1]
            rounds = sequential.start_rounds(method.stopping, num_components, num_outputs)
        rounds = _add_round(rounds, blocks)
        if most == 1 or bool(_is_sure(method, rounds)):
            break
    return _finish_rounds(method, rounds)


def _later(progress: Progress, number: int, most: int) -> Progress:
    """Progress of round `number` as a share of all `most` rounds."""
    return lambda done, total: progress(number * total + done, most * total)


fold = jax.jit(accumulate.fold)
no_blocks = jax.jit(accumulate.no_blocks, static_argnums=(1, 2))
_finish = jax.jit(finalize.finalize)
_draw = jax.jit(accumulate.draw, static_argnums=(2, 3))
_draw_round = jax.jit(sequential.draw_round, static_argnums=3)
_add_round = jax.jit(sequential.add_round)
_is_sure = jax.jit(sequential.targets_are_met)
_finish_rounds = jax.jit(sequential.finalize_rounds)
