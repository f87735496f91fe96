"""How many inputs to predict at a time: what fits into memory, then what runs fastest."""

import inspect
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from lime_jax.core.components import Components
from lime_jax.core.execution import accumulate, memory
from lime_jax.core.execution.signature_cache import SignatureCache, signature
from lime_jax.core.item_axis import as_one_item
from lime_jax.core.masks import neighbourhood
from lime_jax.core.masks.neighbourhood import Size
from lime_jax.core.methods import Method
from lime_jax.core.plan import Executor, Plan
from lime_jax.core.predictor import Predictor
from lime_jax.core.problem import Problem, once_per_problem

# Trying sizes pays where the work is many times what the trials cost.
_WORTH_SECONDS = 3.0
_SHARE_FOR_TRIALS = 0.1
_WORTH_BATCHES = 8
_SMALLEST = 8
_REPEATS = 3

_batch_sizes: SignatureCache[int] = SignatureCache()
_largest_sizes: SignatureCache[tuple[int, int]] = SignatureCache()
_num_inputs: SignatureCache[int] = SignatureCache()
_neighbourhood_sizes: SignatureCache[Size] = SignatureCache()


@once_per_problem
def choose_batch_size(problem: Problem) -> int:
    """Returns the batch size asked for, the one remembered for a model and shapes, or a good one.

    Small work gets the largest batch that fits and leaves next to nothing over. Before large work
    a few sizes are tried, for a tenth of its time at most, and the fastest is remembered: the
    best size can be several times faster than its neighbours, and nothing but trying finds it.
    """
    if problem.masks is not None:
        return min(problem.batch_size or len(problem.masks), len(problem.masks))
    if problem.batch_size is not None:
        return problem.batch_size
    shapes = problem.signature
    if (remembered := _batch_sizes.get(shapes)) is not None:
        return remembered
    largest = _measure(problem)[1]
    size = size_of_neighbourhood(problem)
    untried = accumulate.even_batch_size(size.num_masks, size.round_size, largest)
    # As much as was done with this model so far may well come again.
    num_inputs = (_num_inputs.get(shapes) or 0) + size.num_masks * problem.num_items
    # Inside jit there is no time to be measured; processes that share the work could find
    # different sizes.
    if not problem.may_measure or problem.is_traced or jax.process_count() > 1:
        return untried
    if num_inputs < _WORTH_BATCHES * largest:
        return untried
    sizes = [untried, *candidates(largest, size.round_size)]
    return _batch_sizes.put(shapes, fastest(time_batches(problem), sizes, num_inputs))


def remember_done(plan: Plan, reached: int) -> None:
    """Remembers how much was done, and the batch size that fitted where the chosen one did not."""
    problem = plan.problem
    if problem.batch_size is not None:
        return
    shapes = problem.signature
    if reached != plan.batch_size:
        _batch_sizes.put(shapes, reached)
    number = size_of_neighbourhood(problem).num_masks * problem.num_items
    _num_inputs.put(shapes, (_num_inputs.get(shapes) or 0) + number)


def agree(batch_size: int, mesh: Mesh | None) -> int:
    """Returns the choice of process 0: all must compile the same program."""
    if mesh is None or jax.process_count() == 1:
        return batch_size
    return int(multihost_utils.broadcast_one_to_all(np.int32(batch_size)))


def plan_of(executor: Executor, problem: Problem, batch_size: int, way: str) -> Plan:
    """Returns the plan of evaluating whole inputs."""
    if problem.masks is not None:
        number, is_exact, is_most, there = len(problem.masks), False, False, len(problem.masks)
    else:
        size, stopping = size_of_neighbourhood(problem), problem.method.stopping
        rounds = 1 if stopping is None else stopping.most_rounds
        number, is_exact = rounds * size.num_masks, size.is_exact
        is_most = rounds > 1
        # Every item stops when its own targets are met.
        there = size.num_masks * (problem.num_items if stopping is None else 1)
    return Plan(
        executor=executor,
        problem=problem,
        way=way,
        num_evaluations=number,
        is_most=is_most,
        batch_size=batch_size,
        num_at_a_time=min(batch_size, there),
        is_exact=is_exact,
    )


class OfWholeInputs:
    """What executors of whole inputs have in common."""

    def num_bytes(self, plan: Plan) -> int:
        """Estimates what a batch takes, on each device."""
        return plan.num_at_a_time * bytes_per_input(plan.problem)


def bytes_per_input(problem: Problem) -> int:
    """Estimates what the evaluation of one input takes, were nothing fused."""
    return _measure(problem)[0]


@once_per_problem
def size_of_neighbourhood(problem: Problem) -> Size:
    """Returns the size of a neighbourhood of whole inputs, which is not drawn."""
    return neighbourhood_size(problem.method, problem.key, problem.num_components)


def neighbourhood_size(method: Method, key: Any, num_components: int) -> Size:
    """Returns how large a neighbourhood is.

    Args:
      method: its sampler would draw the neighbourhood, which is not drawn.
      key: one or many, or None; only whether there is any matters.
      num_components: of the input.
    """
    shapes = (signature(method), key is None, num_components)
    drawn_from = None if key is None else "any"
    return _neighbourhood_sizes.get_or_make(
        shapes, lambda: neighbourhood.size_of(method.sampler, num_components, drawn_from)
    )


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


def time_batches(problem: Problem, repeats: int = _REPEATS) -> Callable[[int], float]:
    """Returns a function that runs batches of a size and returns the seconds of one."""
    components = problem.first[0]
    items = as_one_item(components)

    def seconds(size: int) -> float:
        masks = jnp.arange(size)[:, None] % (jnp.arange(components.num_components)[None] + 2) > 0

        def run() -> Any:
            return jax.block_until_ready(
                accumulate.evaluate(problem.predictor, items, masks[None], batch_size=size)
            )

        run()
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return float(np.median(times))

    return seconds


def _measure(problem: Problem) -> tuple[int, int]:
    """Returns the bytes of one input on its way, and how many inputs fit."""

    def evaluate(predictor: Predictor, components: Components, mask: Any) -> Any:
        items = jax.tree.map(lambda x: x[None], components)
        # Without jit of its own, whose arguments would seem to stay alive.
        return inspect.unwrap(accumulate.evaluate)(predictor, items, mask, batch_size=1)

    shapes = problem.signature
    if (measured := _largest_sizes.get(shapes)) is not None:
        return measured
    mask = jax.ShapeDtypeStruct((1, 1, problem.num_components), jnp.bool_)
    number = memory.num_bytes(evaluate, problem.predictor, problem.first[0], mask)
    return _largest_sizes.put(shapes, (number, memory.num_fitting(number)))
