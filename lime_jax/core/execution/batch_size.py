"""How many inputs to predict at a time: what fits into memory, then what runs fastest."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lime_jax.core.components import Components
from lime_jax.core.execution import accumulate, memory
from lime_jax.core.execution.signature_cache import SignatureCache, signature
from lime_jax.core.masks import neighbourhood
from lime_jax.core.methods import Method
from lime_jax.core.predictor import Predictor

# Trying sizes pays where the work is many times what the trials cost.
_WORTH_SECONDS = 3.0
_SHARE_FOR_TRIALS = 0.1
_WORTH_BATCHES = 8
_SMALLEST = 8
_REPEATS = 3

_batch_sizes: SignatureCache[int] = SignatureCache()
_largest_sizes: SignatureCache[int] = SignatureCache()
_num_inputs: SignatureCache[int] = SignatureCache()
_neighbourhood_sizes: SignatureCache[tuple[int, int]] = SignatureCache()


def choose_batch_size(
    predictor: Predictor,
    components: Components,
    method: Method,
    key: Any,
    *,
    num_items: int = 1,
    may_try: bool = True,
) -> int:
    """Returns the batch size remembered for a model and shapes, or a good one.

    Small work gets the largest batch that fits and leaves next to nothing over. Before large work
    a few sizes are tried, for a tenth of its time at most, and the fastest is remembered: the
    best size can be several times faster than its neighbours, and nothing but trying finds it.

    Args:
      predictor: the model.
      components: of one item.
      method: its neighbourhood says how much work there is.
      key: of one item, or None.
      num_items: how many items are to be explained.
      may_try: whether there is time to be measured; inside jit there is not.
    """
    shapes = signature(predictor, components)
    if (remembered := _batch_sizes.get(shapes)) is not None:
        return remembered
    largest = _largest(shapes, predictor, components)
    num_masks, round_size = neighbourhood_size(method, key, components.num_components)
    untried = accumulate.even_batch_size(num_masks, round_size, largest)
    # As much as was done with this model so far may well come again.
    num_inputs = (_num_inputs.get(shapes) or 0) + num_masks * num_items
    # Processes that share the work could find different sizes.
    if not may_try or jax.process_count() > 1:
        return untried
    if num_inputs < _WORTH_BATCHES * largest:
        _num_inputs.put(shapes, num_inputs)
        return untried
    sizes = [untried, *candidates(largest, round_size)]
    return remember(
        predictor, components, fastest(_trial(predictor, components), sizes, num_inputs)
    )


def remember(predictor: Predictor, components: Components, batch_size: int) -> int:
    """Remembers a batch size for this model and these shapes; returns it."""
    return _batch_sizes.put(signature(predictor, components), batch_size)


def check_batch_size(batch_size: int | None) -> int | None:
    """Returns the batch size that was asked for, if any.

    Raises:
      ValueError: if it is less than one.
    """
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1 or None, got {batch_size}.")
    return batch_size


def neighbourhood_size(method: Method, key: Any, num_components: int) -> tuple[int, int]:
    """Returns how many masks a neighbourhood has and how many rows a round of it has.

    Args:
      method: its sampler would draw the neighbourhood, which is not drawn.
      key: of one item, or None.
      num_components: of the input.
    """

    def measure() -> tuple[int, int]:
        size = neighbourhood.size_of(method.sampler, num_components, key)
        return size.num_masks, size.round_size

    shapes = (signature(method), key is None, num_components)
    return _neighbourhood_sizes.get_or_make(shapes, measure)


def candidates(largest: int, round_size: int = 1) -> list[int]:
    """Returns powers of two and their middles up to the largest batch, downwards."""
    smallest = max(_SMALLEST, round_size)
    steps = [factor << power for power in range(3, 20) for factor in (1, 3)]
    return sorted(
        (n for n in steps if smallest <= n <= largest and n % round_size == 0), reverse=True
    )


def fastest(trial: Callable[[int], float], sizes: list[int], num_inputs: int) -> int:
    """Returns the size with the least time per input; tries no more than the work is worth.

    Args:
      trial: the seconds that one batch of a size takes.
      sizes: the first is tried in any case.
      num_inputs: how many inputs are to be predicted.
    """
    per_input: dict[int, float] = {}
    start = time.perf_counter()
    for size in sizes:
        per_input[size] = trial(size) / size
        expected = num_inputs * min(per_input.values())
        if time.perf_counter() - start > _SHARE_FOR_TRIALS * expected:
            break
        if expected < _WORTH_SECONDS:
            break
    return min(per_input, key=lambda size: per_input[size])


def _trial(predictor: Predictor, components: Components) -> Callable[[int], float]:
    items = jax.tree.map(lambda x: x[None], components)

    def seconds(size: int) -> float:
        masks = jnp.arange(size)[:, None] % (jnp.arange(components.num_components)[None] + 2) > 0

        def run() -> Any:
            return jax.block_until_ready(
                accumulate.compiled_evaluate(predictor, items, masks[None], batch_size=size)
            )

        run()
        times = []
        for _ in range(_REPEATS):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return float(np.median(times))

    return seconds


def _largest(shapes: Any, predictor: Predictor, components: Components) -> int:
    def evaluate(predictor: Predictor, components: Components, mask: Any) -> Any:
        items = jax.tree.map(lambda x: x[None], components)
        return accumulate.evaluate(predictor, items, mask, batch_size=1)

    mask = jax.ShapeDtypeStruct((1, 1, components.num_components), jnp.bool_)
    return _largest_sizes.get_or_make(
        shapes, lambda: memory.batch_size_for(evaluate, predictor, components, mask)
    )
